from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
import torch
from helpers.toy import RECIPE, toy_manifests, toy_protocol, toys_registered
from helpers.training import run_training

from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import read_json, sha256_file, write_json
from dfad_bench.core.record import ResultRecord, identity, plain, read_record, seal, write_record
from dfad_bench.core.run_parquet import write_predictions
from dfad_bench.report.run_record import build_record, draws_of, rescore


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("record")
    manifests = toy_manifests(folder)
    with toys_registered():
        run_training("toy", toy_protocol(), manifests, folder / "run", recipe=replace(RECIPE, epochs=1), device="cpu")
        build_record(folder / "run", resamples=100)
        yield folder / "run"


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    for name in ("run.json", "predictions.parquet", "record.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    return tmp_path


def schema() -> dict:
    return json.loads((resources.files("dfad_bench.core") / "result_record.schema.json").read_text())


def test_the_record_fits_the_schema_and_reads_back_equal(run: Path, tmp_path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(read_json(run / "record.json"), schema())
    record = read_record(run / "record.json")
    write_record(tmp_path / "again.json", record)
    assert (tmp_path / "again.json").read_bytes() == (run / "record.json").read_bytes()
    assert read_record(tmp_path / "again.json") == record
    assert record.record_id == identity(record)


def test_the_same_run_gives_the_same_record(run: Path) -> None:
    before = (run / "record.json").read_bytes()
    build_record(run, resamples=100)
    assert (run / "record.json").read_bytes() == before


def test_bound_by_hashes(run: Path) -> None:
    record = read_record(run / "record.json")
    assert record.protocol.sha256 == toy_protocol().sha256
    assert record.predictions.sha256 == sha256_file(run / "predictions.parquet")
    assert record.model.checkpoint_sha256 == sha256_file(run / "checkpoint" / "model.safetensors")
    assert record.run.config["seed"] == record.run.seed == 0
    assert record.environment.deterministic
    assert record.model.params_trainable == record.model.params_total > 0


def test_rescoring_agrees_and_says_so(copy: Path) -> None:
    record = rescore(copy)
    assert record.source.trust == "recomputed"
    jsonschema.validate(read_json(copy / "record.json"), schema())
    assert rescore(copy) == record


def test_a_reproduced_record_stays_so_when_it_is_computed_again(copy: Path) -> None:
    old = read_record(copy / "record.json")
    write_record(copy / "record.json", edited(copy, source=replace(old.source, trust="reproduced")))
    assert rescore(copy).source.trust == "reproduced"


def edited(copy: Path, **changes: object) -> ResultRecord:
    """The record with fields changed and a fitting identity: a careful forger's."""
    old = read_record(copy / "record.json")
    return seal({**{name: getattr(old, name) for name in old.__dataclass_fields__ if name != "record_id"}, **changes})


def test_a_better_number_is_found_out(copy: Path) -> None:
    raw = read_json(copy / "record.json")
    raw["metrics"][0]["value"] = 1.0
    write_json(copy / "record.json", raw)
    with pytest.raises(IntegrityError, match="changed after it was written"):
        read_record(copy / "record.json")
    with pytest.raises(IntegrityError, match="changed after"):
        rescore(copy)


def test_a_better_number_with_a_fitting_identity_is_found_out(copy: Path) -> None:
    old = read_record(copy / "record.json")
    forged = ("oscr", "micro")
    metrics = [replace(m, value=0.123) if (m.metric, m.averaging) == forged else m for m in old.metrics]
    write_record(copy / "record.json", edited(copy, metrics=metrics))
    with pytest.raises(IntegrityError, match=r"does not follow from its predictions: metrics: oscr of seen-vs-unseen"):
        rescore(copy)
    groups = {key: replace(g, tp=g.tp + 1) for key, g in old.groups.items()}
    write_record(copy / "record.json", edited(copy, metrics=old.metrics, groups=groups))
    with pytest.raises(IntegrityError, match=r"groups\.synthetic/real\.tp is"):
        rescore(copy)


def test_changed_missing_or_shortened_predictions_are_found_out(copy: Path) -> None:
    frame = pd.read_parquet(copy / "predictions.parquet")
    digest = write_predictions(copy / "predictions.parquet", frame[:-1])
    with pytest.raises(IntegrityError, match="damaged or changed"):
        build_record(copy)
    facts = read_json(copy / "run.json")
    facts["predictions"]["sha256"] = digest
    write_json(copy / "run.json", facts)
    with pytest.raises(IntegrityError, match="44 predictions, 45 faces were evaluated"):
        build_record(copy)
    (copy / "predictions.parquet").unlink()
    with pytest.raises(IntegrityError, match="missing"):
        build_record(copy)
    with pytest.raises(ConfigError, match=r"no run\.json"):
        build_record(copy / "nowhere")


def test_predictions_outside_the_folder_are_refused(copy: Path) -> None:
    with pytest.raises(ConfigError, match="not a plain relative path"):
        edited(copy, predictions={"path": "../other.parquet", "sha256": "0" * 64, "rows": 1, "columns": []})


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("run", "model_selection"), "best_on_test"),
        (("status",), "great"),
        (("schema_version",), "2.0"),
        (("surprise",), 1),
        (("source",), {"kind": "paper", "trust": "self_reported"}),
        (("predictions", "path"), "../../etc/passwd"),
        (("protocol", "sha256"), "abc"),
        (("metrics",), []),
    ],
)
def test_reader_and_schema_refuse_the_same(copy: Path, keys: tuple[str, ...], value: object) -> None:
    raw = read_json(copy / "record.json")
    inner = raw
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(raw, schema())
    write_json(copy / "record.json", raw)
    with pytest.raises(ConfigError):
        read_record(copy / "record.json")


def test_plain_leaves_out_what_is_not_there() -> None:
    from dfad_bench.core.record import Toolkit

    assert plain(Toolkit("1", None, None)) == {
        "name": "dfad_bench",
        "version": "1",
        "git_commit": None,
        "git_dirty": None,
    }


def test_of_many_numbers_that_do_not_follow_three_are_named(copy: Path) -> None:
    old = read_record(copy / "record.json")
    metrics = [replace(m, value=0.123) if m.value is not None else m for m in old.metrics]
    write_record(copy / "record.json", edited(copy, metrics=metrics))
    with pytest.raises(IntegrityError) as caught:
        rescore(copy)
    assert str(caught.value).count("the record says 0.123") == 3


def test_a_record_without_drawn_intervals_has_no_resamples_and_no_seed(run: Path) -> None:
    record = read_record(run / "record.json")
    bare = tuple(replace(m, ci95=None, ci_method="none", ci_resamples=None, ci_seed=None) for m in record.metrics)
    assert draws_of(record) == (100, 0)
    assert draws_of(replace(record, metrics=bare)) == (0, 0)
    seeded = tuple(replace(m, ci_seed=4) if m.ci_resamples else m for m in record.metrics)
    assert draws_of(replace(record, metrics=seeded)) == (100, 4)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("sweep.seen_kept", [0.5], "sweep: the lists of a sweep must be equally long, got"),
        ("groups.synthetic/real.n", 0, "a group has 1 face or more, got n 0"),
    ],
)
def test_lists_and_counts_that_cannot_be_are_refused(copy: Path, where: str, value: object, message: str) -> None:
    raw = read_json(copy / "record.json")
    *path, last = where.split(".")
    inner = raw
    for key in path:
        inner = inner[key]
    inner[last] = value
    write_json(copy / "record.json", raw)
    with pytest.raises(ConfigError, match=message) as caught:
        read_record(copy / "record.json")
    assert "\n" not in str(caught.value)
