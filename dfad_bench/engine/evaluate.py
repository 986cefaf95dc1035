"""A trained model on other faces, or under another protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import ConfigError, ProtocolError
from dfad_bench.core.files import content_hash, read_json
from dfad_bench.core.progress import Progress, Silent
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.core.strict import from_mapping
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.select import Selection, Short, manifests_hash, select, used
from dfad_bench.engine import checkpoint
from dfad_bench.engine.config import FACTS, ROWS, RunConfig, locked, read_config
from dfad_bench.engine.devices import Place, place
from dfad_bench.engine.run import Job, RunResult, write_rows
from dfad_bench.views.identity import check_same, read_identity
from dfad_bench.views.provider import ViewProvider

FOLDER = "evaluations"


def run_evaluation(
    run: Path,
    manifests: Sequence[Manifest],
    *,
    protocol: Protocol | str | None = None,
    device: str = "auto",
    views: ViewProvider | None = None,
    allow_partial: bool = False,
    progress: Progress = Silent(),  # noqa: B008  stateless
) -> RunResult:
    """Predict with the model of a finished run.

    Test faces the run was trained on, or that share a source or their pixels with such a face, are left out, counted
    in a warning and stated among the record's deviations. Predictions, facts and the selected faces go to
    `evaluations/<protocol>-<hash>` in the run folder.

    Args:
        run: the folder of a finished run.
        manifests: one a dataset of the protocol.
        protocol: another protocol with the same seen generators; default the run's own.
        device: auto, cpu, cuda or cuda:N.
        views: makes the views the model needs.
        allow_partial: go on where groups are missing or short.
        progress: told about decoding and predicting.

    Raises:
        ConfigError: not a finished run.
        ProtocolError: other seen generators, or too few test faces are left.
        IntegrityError: the model's file is not what was written.
    """
    found = find(run, manifests, protocol=protocol, device=device)
    with locked(found.out):
        opened = Opened(found, views, allow_partial, progress)
        return opened.predict(opened.store(found.protocol.image_size))


@dataclass(frozen=True)
class Found:
    """A finished run, what it is evaluated on, and where that goes."""

    run: Path
    config: RunConfig
    facts: dict[str, Any]  # of the run
    protocol: Protocol
    manifests: list[Manifest]
    place: Place
    out: Path


def find(
    run: Path, manifests: Sequence[Manifest], *, protocol: Protocol | str | None = None, device: str = "auto"
) -> Found:
    """Check that a run can be evaluated so; arguments and errors as of `run_evaluation`."""
    run = Path(run)
    config, known = read_config(run), read_json(run / FACTS)
    trained = from_mapping(Protocol, known["protocol"]["config"], str(run / FACTS))
    wanted = load_protocol(protocol) if isinstance(protocol, str) else protocol or trained
    if _classes(wanted) != _classes(trained):
        raise ProtocolError(
            f"{run}: learnt the generators {', '.join(_classes(trained))} of protocol {trained.name};"
            f" {wanted.name} has {', '.join(_classes(wanted))} as seen"
        )
    mine, where = used(wanted, manifests), place(device, config.precision, config.channels_last)
    key = content_hash([wanted.sha256, manifests_hash(mine)])[:8]
    return Found(run, config, known, wanted, mine, where, run / FOLDER / f"{wanted.name}-{key}")


class Opened:
    """The test faces and the model of an evaluation; its folder must be locked.

    Args:
        found: the run and what it is evaluated on.
        views: makes the views the model needs.
        allow_partial: go on where groups are missing or short.
        progress: told about decoding and predicting.
    """

    def __init__(self, found: Found, views: ViewProvider | None, allow_partial: bool, progress: Progress) -> None:
        self.found, self.progress = found, progress
        if views is not None:
            kept = found.config.views
            check_same(found.run, kept, views.identity(list(read_identity(kept))))
        self.job = Job(found.config, found.protocol, found.manifests, found.place, found.out, views, progress)
        chosen = select(found.protocol, found.manifests, allow_partial=allow_partial, training=False)
        self.selection, dropped = without_trained(chosen, found.run)
        refuse_short(found.protocol, self.selection, allow_partial)
        if dropped:
            self.job.warnings.append(f"{dropped} test faces share a source or pixels with training faces: left out")
        self.model = self.job.build()
        self.model.load_state_dict(checkpoint.load_finished(found.run / "checkpoint"))
        self.finished = read_json(found.run / "checkpoint" / "model.json")

    def store(self, side: int) -> CropStore:
        """The crops of the test faces, resized to `side` where they are of another."""
        return CropStore.open(self.selection.tested, self.found.manifests, side, progress=self.progress)

    def predict(self, store: CropStore) -> RunResult:
        """Predict the test faces as they are, and write predictions and facts."""
        about, finished = self.found.facts["run"], self.finished
        write_rows(self.found.out / ROWS, self.selection)  # so that others can check which faces were left out
        status = self.job.predict(self.model, self.selection, store, about, finished["status"], finished["sha256"])
        return RunResult(self.found.out, status, about["stopped"], True, tuple(self.job.warnings))


def without_trained(selection: Selection, run: Path) -> tuple[Selection, int]:
    """The selection without test faces that a run has learnt from, and how many those were.

    Raises:
        ProtocolError: none are left.
    """
    import pandas as pd

    if not (run / ROWS).is_file():
        raise ConfigError(f"{run}: {ROWS} is missing, so nobody knows what was trained on; train again")
    rows = pd.read_parquet(run / ROWS)
    learnt = rows[rows["part"] != "test"]
    keys, pixels = set(learnt["source_key"]), set(learnt["crop_sha256"].dropna())
    kept = {}
    for name, frame in selection.test.items():
        clean = ~frame["source_key"].isin(keys) & ~frame["crop_sha256"].isin(pixels)
        kept[name] = frame[clean].reset_index(drop=True)
    dropped = sum(map(len, selection.test.values())) - sum(map(len, kept.values()))
    gone = [name for name, frame in kept.items() if frame.empty]
    if len(gone) == len(kept):
        raise ProtocolError(f"{run}: every test face shares a source or its pixels with a training face")
    test = {name: frame for name, frame in kept.items() if len(frame)}
    wanted = {name: len(frame) for name, frame in selection.test.items() if len(frame) > len(kept[name])}
    wanted |= {short.group: short.wanted for short in selection.short}
    short = [Short(name, "test", count, len(kept[name])) for name, count in wanted.items() if name in test]
    return replace(selection, test=test, short=short, missing=[*selection.missing, *gone]), dropped


def refuse_short(protocol: Protocol, selection: Selection, allow_partial: bool) -> None:
    """Refuse groups that lack faces once those trained on are left out, as `select` refuses them before.

    Raises:
        ProtocolError: a group lacks faces under `on_short: error`, or all of them.
    """
    lacking = selection.deviations if protocol.on_short == "error" else [f"missing {key}" for key in selection.missing]
    if lacking and not allow_partial:
        raise ProtocolError(
            f"protocol {protocol.name}, without faces the run was trained on: {'; '.join(lacking)}."
            " --allow-partial goes on and says so"
        )


def _classes(protocol: Protocol) -> list[str]:
    return [group.generator for group in sorted(protocol.seen, key=lambda group: group.label)]
