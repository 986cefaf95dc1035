"""Every kind of file that is read from outside, changed: of finished and unfinished runs, of a robustness evaluation,
published tables, weight files. Hashes are made again where there are any, as somebody does who knows how.

Each `change_*` takes the folder of `made_runs`, a folder to work in, and a seed; it fails where anything but one line
comes of it. Used by `tests/faults/test_faults_outside.py` and `benchmarks/attacks.py`.
"""

from __future__ import annotations

import json
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import torch
from helpers import hostile
from helpers.hostile import outcome
from helpers.robustness import toy_evaluation
from helpers.runs import write_run
from helpers.toy import RECIPE, toy_manifests, toy_predictions, toy_protocol, toys_registered
from helpers.training import run_training
from safetensors import safe_open
from safetensors.torch import save_file

from dfad_bench.api.runs import compare, leaderboards, scores, verify_record
from dfad_bench.core.errors import DFADError
from dfad_bench.core.files import content_hash, read_json, sha256_file, write_json
from dfad_bench.core.record import plain, read_record, seal
from dfad_bench.core.resources import shipped
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_parquet import read_predictions, read_selection
from dfad_bench.core.strict import read_yaml
from dfad_bench.core.weights import load_into, load_state_dict
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.select import rows_hash, select
from dfad_bench.engine import checkpoint
from dfad_bench.engine.config import config_from, finished, read_config
from dfad_bench.engine.evaluate import without_trained
from dfad_bench.engine.fit import Limits
from dfad_bench.engine.load import load_run
from dfad_bench.engine.trace import Trace
from dfad_bench.report.aggregate import seeds_table
from dfad_bench.report.reported import check_table, read_table
from dfad_bench.report.robustness.scores import build_robustness, read_robustness, rescore_robustness
from dfad_bench.report.robustness.settings import read_settings
from dfad_bench.report.robustness.tables import NUMBERS, check_comparable, curves, robustness_grid, robustness_table
from dfad_bench.report.run_record import build_record, rescore

EARLIER = Path(__file__).resolve().parents[1] / "fixtures" / "earlier_run"


@contextmanager
def made_runs(folder: Path) -> Iterator[Path]:
    """scored: a run of given predictions; trained, begun: real ones; grid: a robustness evaluation."""
    torch.set_num_threads(1)
    write_run(folder / "scored", toy_protocol(), toy_predictions(toy_protocol(), 6), resamples=5)
    toy_evaluation(folder / "grid")
    manifests = toy_manifests(folder)
    with toys_registered():
        recipe = replace(RECIPE, epochs=1)
        for name, limits in (("trained", Limits()), ("begun", Limits(max_steps=2))):
            run_training("toy", toy_protocol(), manifests, folder / name, recipe=recipe, device="cpu", limits=limits)
            build_record(folder / name, resamples=5)
        yield folder


def one_of_each(folder: Path) -> Path:
    """A folder with one file of each kind that is read; see `READERS`."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in EARLIER.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    toy_evaluation(folder / "grid")
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(model.parameters())
    model(torch.zeros(1, 3)).sum().backward()
    optimiser.step()
    best = checkpoint.save_best(folder, model, 0.5, 1)
    checkpoint.save(folder, model, optimiser, checkpoint.Position(0, step=1, best=best), "0" * 64)
    checkpoint.finish(folder, model, {"status": "complete", "selection": "last", "step": 1})
    return folder


# file: how it is changed, how it is read
READERS: dict[str, tuple[Callable[[str, random.Random], bytes] | None, Callable[[Path], object]]] = {
    "run.json": (hostile.changed_json, read_facts),
    "record.json": (hostile.changed_json, read_record),
    "config.yaml": (hostile.changed_text, lambda path: config_from(read_yaml(path), str(path)).sha256),
    "trace.csv": (hostile.changed_text, lambda path: Trace(path, upto=3).write()),
    "predictions.parquet": (None, read_predictions),
    "selection.parquet": (
        None,
        lambda path: rows_hash(read_selection(path).assign(attribution_label=0, detection_label=1)),
    ),
    "grid/settings.json": (hostile.changed_json, read_settings),
    "grid/robustness.json": (hostile.changed_json, read_record),
    "model.json": (hostile.changed_json, lambda path: checkpoint.read_finished(path.parent)),
    "step-00000001/state.json": (hostile.changed_json, lambda path: checkpoint.load_latest(path.parents[1], "0" * 64)),
}


def change_one(sources: Path, name: str, seed: int) -> None:
    """One file of each kind, its hash made again."""
    rng = random.Random(seed)
    change, read = READERS[name]
    path = sources / name
    before = path.read_bytes()
    try:
        if change is None:
            hostile.write_changed_table(path, rng)
        else:
            path.write_bytes(change(before.decode(), rng))
        with suppress(DFADError, TypeError, ValueError, KeyError, AttributeError):
            if path.name == "state.json":
                state = read_json(path)
                write_json(path, {**state, "sha256": content_hash({**state, "sha256": ""})})
            if path.name in ("record.json", "robustness.json"):
                write_json(path, plain(seal(read_json(path))))
        outcome(lambda: read(path))
    finally:
        path.write_bytes(before)
    assert outcome(lambda: read(path)) is None


def copied(folder: Path, scratch: Path) -> Path:
    """A fresh copy of a folder."""
    shutil.rmtree(scratch / folder.name, ignore_errors=True)
    return Path(shutil.copytree(folder, scratch / folder.name))


def uses_of_record(run: Path) -> list[Callable[[], object]]:
    """What reads a record."""
    return [
        *(
            lambda table=table: scores(run, table).render("csv")
            for table in ("metrics", "groups", "sweep", "confusion")
        ),
        lambda: [table.render("markdown") for table in leaderboards([run]).values()],
        lambda: verify_record(run),
        lambda: compare(run, run, resamples=5),
        lambda: seeds_table([read_record(run / "record.json")] * 2),
        lambda: rescore(run),
    ]


def change_record(made: Path, scratch: Path, seed: int) -> None:
    """A record, its identity made again: every use of it."""
    rng, run = random.Random(seed), copied(made / "scored", scratch)
    path = run / "record.json"
    path.write_bytes(hostile.changed_json(path.read_text(), rng))
    with suppress(DFADError, ValueError, TypeError, AttributeError, RecursionError):
        write_json(path, plain(seal(json.loads(path.read_text()))))  # a forger's record: its identity fits
    for use in uses_of_record(run):
        outcome(use)


def change_facts(made: Path, scratch: Path, seed: int) -> None:
    """`run.json` of a trained run."""
    rng, run = random.Random(seed), copied(made / "trained", scratch)
    path = run / "run.json"
    config = read_config(run)
    path.write_bytes(hostile.changed_json(path.read_text(), rng))
    for use in (
        lambda: build_record(run, resamples=0),
        lambda: verify_record(run),
        lambda: finished(run, config),
        lambda: load_run(run),
    ):
        outcome(use)


def change_settings(made: Path, scratch: Path, seed: int) -> None:
    """`config.yaml` of a trained run."""
    rng, run = random.Random(seed), copied(made / "trained", scratch)
    path = run / "config.yaml"
    config = read_config(run)
    path.write_bytes(hostile.changed_text(path.read_text(), rng))
    for use in (lambda: read_config(run), lambda: finished(run, config), lambda: verify_record(run)):
        outcome(use)


def change_tables(made: Path, scratch: Path, seed: int) -> None:
    """Predictions or selection of a trained run, hashed again."""
    rng, run = random.Random(seed), copied(made / "trained", scratch)
    facts = read_json(run / "run.json")
    name = rng.choice(("predictions.parquet", "selection.parquet"))
    hostile.write_changed_table(run / name, rng)
    digest = sha256_file(run / name)
    if name == "predictions.parquet":
        facts["predictions"]["sha256"] = digest
    else:
        facts["run"]["files"][name] = digest
    write_json(run / "run.json", facts)
    chosen = select(toy_protocol(), toys_of(made))
    for use in (
        lambda: build_record(run, resamples=0),
        lambda: verify_record(run),
        lambda: without_trained(chosen, run),
    ):
        outcome(use)


def change_checkpoint(made: Path, scratch: Path, seed: int) -> None:
    """A file of a checkpoint, hashed again; one time in three the run goes on from it."""
    rng, run = random.Random(seed), copied(made / "begun", scratch)
    folder, (place, *_) = run / "checkpoint", sorted((run / "checkpoint").glob("step-*"))[::-1]
    name = rng.choice(("state.json", "model.json", "optimiser.safetensors", "model.safetensors"))
    if name == "model.json":
        (folder / name).write_bytes(hostile.changed_json((folder / name).read_text(), rng))
    elif name == "state.json":
        raw = (place / name).read_text()
        (place / name).write_bytes(hostile.changed_json(raw, rng))
    elif rng.random() < 0.5:
        (place / name).write_bytes(hostile.flipped((place / name).read_bytes(), rng))
    else:
        _change_safetensors(place / name, rng)
    with suppress(DFADError, TypeError, ValueError, KeyError, AttributeError):
        state = read_json(place / "state.json")
        if name.endswith("safetensors"):
            state["files"][name] = sha256_file(place / name)
        write_json(place / "state.json", {**state, "sha256": content_hash({**state, "sha256": ""})})
    digest = str(read_json(run / "run.json")["run"]["config_sha256"])
    outcome(lambda: checkpoint.load_latest(folder, digest))
    outcome(lambda: checkpoint.load_finished(folder))
    outcome(lambda: load_run(run))
    if rng.random() < 0.3:
        manifests = toys_of(made)
        recipe = replace(RECIPE, epochs=1)
        outcome(lambda: run_training("toy", toy_protocol(), manifests, run, recipe=recipe, device="cpu"))


def _change_safetensors(path: Path, rng: random.Random) -> None:
    """Other tensors, or another header of ours."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dict
    if "dfad" in header and rng.random() < 0.5:
        header["dfad"] = json.dumps(hostile.changed(json.loads(header["dfad"]), rng))
    else:
        found = hostile.changed_tensors(tensors, rng)
        found = found if isinstance(found, dict) else {}
        named = {str(name).encode(errors="replace").decode(): value for name, value in found.items()}
        tensors = {n: v.contiguous().clone() for n, v in named.items() if isinstance(v, torch.Tensor)}
    save_file(tensors, path, header)


def toys_of(made: Path) -> list[Manifest]:
    """The manifests of the runs."""
    return [Manifest.open(made / name) for name in ("synthetic", "synthetic-outdoor")]


def change_robustness(made: Path, scratch: Path, seed: int) -> None:
    """A file of a robustness evaluation, hashed again."""
    rng, folder = random.Random(seed), copied(made / "grid", scratch)
    name = rng.choice(("settings.json", "robustness.json", "run.json", "predictions.parquet"))
    path = folder / name
    if name == "predictions.parquet":
        hostile.write_changed_table(path, rng)
        facts = read_json(folder / "run.json")
        facts["predictions"]["sha256"] = sha256_file(path)
        write_json(folder / "run.json", facts)
    else:
        path.write_bytes(hostile.changed_json(path.read_text(), rng))
    with suppress(DFADError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raw = json.loads((folder / "robustness.json").read_text())
        digest = content_hash(read_json(folder / "settings.json"))[:16]
        for value in raw["metrics"]:
            value["params"]["settings_sha256"] = digest
        write_json(folder / "robustness.json", plain(seal(raw)))

    def tables() -> None:
        several = [(label, *read_robustness(folder)) for label in ("a", "b")]
        check_comparable(several)
        robustness_table(several).render("csv")
        robustness_grid(several).render("csv")
        [curves(several[0][1], key) for key in NUMBERS]

    for use in (
        tables,
        lambda: verify_record(folder / "robustness.json"),
        lambda: rescore_robustness(folder),
        lambda: build_robustness(folder, resamples=0),
        tables,
    ):
        outcome(use)


def change_published_table(made: Path, scratch: Path, seed: int) -> None:
    """A published table."""
    rng = random.Random(seed)
    files = sorted(p for p in (shipped("leaderboards") / "reported").glob("*.yaml") if p.stem != "efficiency")
    path = scratch / rng.choice(files).name
    path.write_bytes(hostile.changed_text((files[0].parent / path.name).read_text(), rng))

    def use() -> None:
        table = read_table(path)
        check_table(table, str(path))
        list(table.scores())

    outcome(use)


def change_weights(made: Path, scratch: Path, seed: int) -> None:
    """A PyTorch file, some of them with flipped bits."""
    rng = random.Random(seed)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    path = scratch / "weights.pt"
    with suppress(UnicodeEncodeError):
        torch.save(hostile.changed_tensors(model.state_dict(), rng), path)
        if rng.random() < 0.2:
            path.write_bytes(hostile.flipped(path.read_bytes(), rng))
        outcome(lambda: load_into(model, load_state_dict(path), path, "a small state dict"))


CHANGES: dict[str, Callable[[Path, Path, int], None]] = {
    "records": change_record, "facts": change_facts, "settings": change_settings, "tables": change_tables,
    "robustness": change_robustness, "published tables": change_published_table,
}  # fmt: skip


def change_all(folder: Path, number: int, seed: int = 8) -> tuple[int, list[str]]:
    """Files of runs changed and read, one after another; how many, and those that ended in anything but one line."""
    sources = one_of_each(folder / "sources")
    ways: list[tuple[str, Callable[[Path, Path, int], None]]] = [
        *CHANGES.items(),
        *((name, lambda made, scratch, seed, name=name: change_one(sources, name, seed)) for name in READERS),
    ]
    return _tried(folder, ways, number, seed)


def change_weights_and_checkpoints(folder: Path, number: int, seed: int = 9) -> tuple[int, list[str]]:
    """The same of weight files and, one time in six, of checkpoints."""
    ways = [*[("weights", change_weights)] * 5, ("checkpoints", change_checkpoint)]
    return _tried(folder, ways, number, seed)


def _tried(
    folder: Path, ways: list[tuple[str, Callable[[Path, Path, int], None]]], number: int, seed: int
) -> tuple[int, list[str]]:
    faults = []
    (folder / "made").mkdir(parents=True)
    (folder / "scratch").mkdir()
    with made_runs(folder / "made") as made:
        for turn in range(number):
            name, change = ways[turn % len(ways)]
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # of PyTorch, about what it makes of a value
                try:
                    change(made, folder / "scratch", seed * 1_000_000 + turn)
                except Exception as error:  # whatever it is, it is not one line
                    faults.append(f"{name} {turn}: {type(error).__name__}: {str(error)[:300]}")
    return number, faults
