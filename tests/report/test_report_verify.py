from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.runs import resealed, write_run
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import content_hash, read_json, write_json
from dfad_bench.core.record import plain, read_record, seal, write_record
from dfad_bench.core.run_parquet import write_predictions
from dfad_bench.report.run_record import rescore
from dfad_bench.report.verify import Verification, verify_record


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored") / "run"
    write_run(folder, toy_protocol(), toy_predictions(toy_protocol(), 20), resamples=20)
    return folder


@pytest.fixture
def run(scored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scored, tmp_path / "run"))


def checked(run: Path) -> Verification:
    return verify_record(run, config_hash=content_hash)


def names(run: Path) -> list[str]:
    return [difference.name for difference in checked(run).differences]


def forge(run: Path, **changes: object) -> None:
    """Change fields, by dotted name with `__` for dots, and let the record's own hash fit."""
    forged = {name.replace("__", "."): value for name, value in changes.items()}
    write_record(run / "record.json", resealed(read_record(run / "record.json"), forged))


def test_an_honest_record_agrees_in_every_number(run: Path) -> None:
    found = checked(run)
    assert found.differences == ()
    assert found.compared > 500
    assert verify_record(run / "record.json", config_hash=content_hash) == found
    assert any("config_sha256 was not checked" in note for note in verify_record(run).notes)


def leaves(value: object, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], float]]:
    """Every number of a plain record with its path."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for place, item in enumerate(value) for leaf in leaves(item, (*path, str(place)))]
    return [(path, value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.parametrize("most", [2, pytest.param(5, marks=pytest.mark.heavy)])
def test_any_single_changed_number_is_named(run: Path, most: int) -> None:
    """Numbers from all over a record, one after the other, with a fitting record_id."""
    record = read_record(run / "record.json")
    raw = plain(record)
    for part in ("metrics", "groups", "sweep", "samples", "predictions", "manifest", "run"):
        numbers = leaves(raw[part], (part,))
        assert numbers
        for path, value in numbers[:: max(1, len(numbers) // most + 1)]:
            changed = value + 1 if isinstance(value, int) and path[-1] != "value" else value * 0.5 + 1e-6
            write_record(run / "record.json", resealed(record, {path: changed}))
            assert names(run), path
    write_record(run / "record.json", record)
    assert names(run) == []


def test_a_changed_number_is_named_as_a_reader_would(run: Path) -> None:
    record = read_record(run / "record.json")
    place = next(i for i, m in enumerate(record.metrics) if (m.metric, m.averaging) == ("oscr", "micro"))
    forge(run, **{f"metrics__{place}__value": 0.999})
    assert names(run) == ["metrics: oscr of seen-vs-unseen (attribution, micro).value"]
    with pytest.raises(IntegrityError, match=r"oscr of seen-vs-unseen .*the record says 0\.999"):
        rescore(run)


def test_a_number_left_out_or_twice_is_named(run: Path) -> None:
    raw = plain(read_record(run / "record.json"))
    gone = next(m for m in raw["metrics"] if m["metric"] == "ece" and m["subset"] == "unseen")
    write_record(run / "record.json", seal({**raw, "metrics": [m for m in raw["metrics"] if m != gone]}))
    assert names(run) == ["metrics: ece of unseen (detection, micro)"]
    write_record(run / "record.json", seal({**raw, "metrics": [*raw["metrics"], {**gone, "value": 0.0}]}))
    assert "metrics" in names(run)


def test_one_changed_prediction_is_found(run: Path) -> None:
    frame = pd.read_parquet(run / "predictions.parquet")
    frame.loc[0, "p_fake"] = 1 - frame.loc[0, "p_fake"]
    digest = write_predictions(run / "predictions.parquet", frame)
    found = names(run)
    assert "predictions.sha256" in found
    assert any(name.startswith("metrics: auc") for name in found)
    forge(run, predictions__sha256=digest)  # a forger who mends the hash still has wrong numbers, and other facts
    assert "predictions.sha256" in names(run)  # of run.json
    assert any(name.startswith("groups.") for name in names(run))


def test_other_hashes_and_fields_are_found(run: Path) -> None:
    record = read_record(run / "record.json")
    changes = {
        "protocol.sha256": "1" * 64,
        "run.config_sha256": "2" * 64,
        "manifest.content_sha256": "3" * 64,
        "run.steps": 8,
        "model.params_total": 2,
        "environment.device": "a better one",
        "status": "partial",
    }
    for name, value in changes.items():
        write_record(run / "record.json", resealed(record, {name: value}))
        assert name in names(run), name


def test_a_changed_protocol_is_found(run: Path) -> None:
    forge(run, protocol__config__attribution__thresholds=[0.6, 0.9])
    found = names(run)
    assert "protocol.sha256" in found
    assert any("threshold 0.6" in name for name in found)


def test_a_record_id_that_does_not_fit_is_named_with_the_number(run: Path) -> None:
    raw = read_json(run / "record.json")
    raw["groups"]["synthetic/real"]["tn"] += 1
    write_json(run / "record.json", raw)
    assert {"record_id", "groups.synthetic/real.tn"} <= set(names(run))


def test_checkpoint_and_selection_are_checked_where_they_are(run: Path, tmp_path: Path) -> None:
    protocol, frame = toy_protocol(), toy_predictions(toy_protocol(), 20)
    model = {**plain(read_record(run / "record.json").model), "checkpoint_sha256": "0" * 64}
    write_run(tmp_path / "other", protocol, frame, model=model)
    assert any("checkpoint is not beside" in note for note in checked(tmp_path / "other").notes)
    (tmp_path / "other" / "checkpoint").mkdir()
    (tmp_path / "other" / "checkpoint" / "model.safetensors").write_bytes(b"other weights")
    assert names(tmp_path / "other") == ["model.checkpoint_sha256"]
    selected = frame[["sample_id", "group", "source_key"]].assign(part="test", crop_sha256="0" * 64)
    selected.to_parquet(run / "selection.parquet")
    found = verify_record(run, rows_hash=lambda rows: "0" * 64, config_hash=content_hash)
    assert found.differences == ()
    selected[1:].to_parquet(run / "selection.parquet")
    found = verify_record(run, rows_hash=lambda rows: "1" * 64, config_hash=content_hash)
    assert {"manifest.splits.test.rows", "manifest.splits.test.content_sha256"} <= {d.name for d in found.differences}


def test_predictions_of_other_faces_than_were_selected_are_found(run: Path) -> None:
    frame = pd.read_parquet(run / "predictions.parquet")
    selected = frame[["sample_id", "group", "source_key"]].assign(part="test", crop_sha256="0" * 64)
    selected.to_parquet(run / "selection.parquet")

    def wrong() -> dict[str, int]:
        found = verify_record(run, rows_hash=lambda rows: "0" * 64, config_hash=content_hash).differences
        return {d.name: d.found for d in found if d.name.startswith("predictions: faces")}

    assert wrong() == {}
    selected.loc[0, "sample_id"] = "another face"
    selected.loc[1, "source_key"] = "another source"
    selected.to_parquet(run / "selection.parquet")
    assert wrong() == {
        "predictions: faces not selected for test": 2,
        "predictions: faces selected for test and not predicted so": 2,
    }


def test_labels_that_are_not_the_protocols_are_refused(run: Path) -> None:
    frame = pd.read_parquet(run / "predictions.parquet")
    flipped = frame.assign(detection_label=1 - frame["detection_label"])
    forge(run, predictions__sha256=write_predictions(run / "predictions.parquet", flipped))
    with pytest.raises(IntegrityError, match="another detection_label than protocol"):
        checked(run)


def test_records_without_any_spread_are_computed_again_alike(tmp_path: Path) -> None:
    """One source a group: nothing to resample, and yet the record says how often that was tried."""
    frame = toy_predictions(toy_protocol(), 6).assign(source_key="one")
    write_run(tmp_path / "run", toy_protocol(), frame, resamples=20)
    assert names(tmp_path / "run") == []
    assert rescore(tmp_path / "run").source.trust == "recomputed"


def test_what_cannot_be_checked_is_said(run: Path) -> None:
    assert any("which faces were selected was not checked" in note for note in checked(run).notes)
    (run / "run.json").unlink()
    assert any("facts of the run" in note for note in checked(run).notes)
    (run / "predictions.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(IntegrityError, match="damaged"):
        checked(run)
    (run / "predictions.parquet").unlink()
    with pytest.raises(IntegrityError, match="checked beside its predictions"):
        checked(run)
    with pytest.raises(ConfigError, match="no such record"):
        checked(run / "nowhere")


def test_a_record_of_schema_1_0_still_loads_is_checked_and_upgraded(run: Path) -> None:
    raw = plain(read_record(run / "record.json"))
    newer = {"tpr", "tnr", "ece", "prototype_retrieval"}
    raw["metrics"] = [m for m in raw["metrics"] if m["metric"] not in newer and "near" not in m["subset"]]
    raw["groups"] = {key: {k: v for k, v in counts.items() if k != "named"} for key, counts in raw["groups"].items()}
    del raw["sweep"]
    write_record(run / "record.json", seal({**raw, "schema_version": "1.0"}))
    assert read_record(run / "record.json").schema_version == "1.0"
    found = checked(run)
    assert found.differences == ()
    assert any("schema 1.0" in note for note in found.notes)
    record = rescore(run)
    assert record.schema_version == "1.2"
    assert record.sweep is not None
    assert names(run) == []
    forge(run, **{"metrics__0__value": 0.123})
    assert names(run)


def test_untrained_heads_verify(tmp_path: Path) -> None:
    protocol = toy_protocol()
    write_run(tmp_path / "a", protocol, toy_predictions(protocol, 12))
    model = {**plain(read_record(tmp_path / "a" / "record.json").model), "heads": "detection"}
    record = write_run(tmp_path / "b", protocol, toy_predictions(protocol, 12), model=model)
    assert record.sweep is None
    assert names(tmp_path / "b") == []
    assert np.isfinite([m.value for m in record.metrics if m.metric == "accuracy"]).all()
