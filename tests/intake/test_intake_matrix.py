"""A table without a protocol: its columns make groups, labels and what is unseen, and contradictions are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from dfad_bench.api.evaluation import rescore
from dfad_bench.api.imports import ImportedRun, import_predictions
from dfad_bench.api.mistakes import mistakes
from dfad_bench.api.open_world import open_world
from dfad_bench.api.runs import compare, leaderboards, scores, verify_record
from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.intake.settings import ImportSettings

GENERATORS = ("stylegan2", "flux", "sdxl", "org/mine", "midjourney", "dalle3", "nobody's", "imagen")


def matrix(rows: int = 270, seed: int = 0) -> pd.DataFrame:
    """Forged faces of eight generators and real ones of two sources, with rounded scores, so that some are equal."""
    rng = np.random.default_rng(seed)
    generator = np.array(["", *GENERATORS])[np.arange(rows) % 9]
    real = generator == ""
    return pd.DataFrame(
        {
            "file": [f"f/{k}.png" for k in range(rows)],
            "label": np.where(real, "real", "fake"),
            "generator": generator,
            "source": np.where(real, np.array(["ffhq", "celeba"])[np.arange(rows) // 9 % 2], ""),
            "source_key": [f"id{k % 60}" for k in range(rows)],
            "p_fake": np.clip(np.where(real, 0.4, 0.6) + 0.3 * rng.standard_normal(rows), 0, 1).round(2),
        }
    )


def imported(tmp_path: Path, frame: pd.DataFrame, name: str = "run", **settings: Any) -> ImportedRun:
    path = tmp_path / f"{name}.csv"
    frame.to_csv(path, index=False)
    return import_predictions(path, tmp_path / "runs" / name, ImportSettings(**settings))


def value(run: ImportedRun, metric: str, subset: str, averaging: str = "micro") -> float | None:
    found = [v for v in run.record.metrics if (v.metric, v.subset, v.averaging) == (metric, subset, averaging)]
    assert len(found) == 1
    return found[0].value


def test_detection_numbers_are_those_of_scikit_learn(tmp_path: Path) -> None:
    frame = matrix()
    run = imported(tmp_path, frame)
    truth = (frame["label"] == "fake").to_numpy()
    assert value(run, "auc", "unseen") == pytest.approx(roc_auc_score(truth, frame["p_fake"]), abs=1e-12)
    of_each = []
    for name in GENERATORS:
        rows = ~truth | (frame["generator"] == name)
        of_each.append(roc_auc_score(truth[rows], frame["p_fake"][rows]))
    assert value(run, "auc", "unseen", "macro") == pytest.approx(np.mean(of_each), abs=1e-12)
    assert value(run, "accuracy", "unseen") == pytest.approx(((frame["p_fake"] > 0.5) == truth).mean(), abs=1e-12)
    assert value(run, "oscr", "seen-vs-unseen") is None  # no classes, no attribution
    assert {"imported/real:ffhq", "imported/fake:org_mine", "imported/sdxl"} <= set(run.record.groups)


def test_what_nobody_says_is_null_and_named(tmp_path: Path) -> None:
    record = imported(tmp_path, matrix()).record
    assert (record.source.kind, record.status) == ("imported", "complete")
    assert record.run.seed is record.run.steps is record.model.params_total is record.environment.torch is None
    assert record.imported is not None
    assert {"seed", "training data"} <= set(record.imported.unknown)
    assert any("all forged ones stand among the unseen" in line for line in record.protocol.deviations)
    card = tmp_path / "card.yaml"
    card.write_text("name: Ours\nseed: 3\nparameters: 7\ntraining_data: FF++\ntrained_on: [SDXL]\nauthor: Us\n")
    again = imported(tmp_path, matrix(), "with-card", model_card=card).record
    assert (again.run.seed, again.model.params_total, again.model.name, again.source.submitter) == (3, 7, "Ours", "Us")
    assert again.imported is not None
    assert not {"seed", "training data"} & set(again.imported.unknown)
    assert "its card says it was trained on imported/sdxl, which is unseen here" in again.protocol.deviations


def test_every_command_reads_it(tmp_path: Path) -> None:
    run, other = imported(tmp_path, matrix()), imported(tmp_path, matrix(seed=1), "other")
    found = verify_record(run.folder)
    assert not found.differences
    assert not found.unchecked
    assert "only its author" in found.not_shown
    assert len(scores(run.folder, "groups").rows) == 10
    assert rescore(run.folder)[0].record.source.trust == "recomputed"
    assert mistakes(run.folder).attribution.notes == ("the attribution expert was not trained",)
    remarks = {row["remark"] for row in open_world([run.folder], resamples=0).rows}
    assert remarks == {"not defined: the attribution expert was not trained"}
    areas = {row["answer"]: row.get("aurc") for row in open_world([run.folder], "risk", resamples=0).rows}
    assert areas["detection"] is not None
    assert areas["attribution"] is None
    assert compare(run.folder, other.folder, resamples=200).over_generators[0].generators == 8
    board = leaderboards([tmp_path / "runs"])["imported"]
    rows = [row for row in board.rows if row["kind"] == "imported"]
    assert [row["status"] for row in rows] == ["complete"] * 2
    assert {heading.split(",")[0] for heading in board.sections.values()} == {"Imported predictions"}


def test_detectors_alone_are_ranked_by_auc_over_faces_and_over_generators(tmp_path: Path) -> None:
    good, middle = matrix(480), matrix(480)
    truth = (good["label"] == "fake").to_numpy()
    good["p_fake"] = np.clip(0.4 * truth + 0.6 * good["p_fake"], 0, 1)
    middle["p_fake"] = np.clip(0.18 * truth + 0.82 * middle["p_fake"], 0, 1)
    for name, frame in (("poor", matrix(480)), ("good", good), ("middle", middle)):
        imported(tmp_path, frame, name)
    rows = [row for row in leaderboards([tmp_path / "runs"])["imported"].rows if row["kind"] == "imported"]
    assert [row["model"].split()[0] for row in rows] == ["good", "middle", "poor"]
    assert [row["ranks_generators"] for row in rows] == ["1", "2", "3"]
    assert [row["ranks"] for row in rows] == ["1†", "2†", "3†"]
    assert all(row["detection_auc_low"] < row["detection_auc"] < row["detection_auc_high"] for row in rows)
    assert all(row["detection_auc_generators_low"] is not None for row in rows)


@pytest.mark.parametrize("change", ["faces", "score"])
def test_a_changed_import_is_found(change: str, tmp_path: Path) -> None:
    from dfad_bench.core.run_parquet import read_predictions, write_predictions

    run = imported(tmp_path, matrix())
    path = run.folder / "predictions.parquet"
    frame = read_predictions(path)
    frame.loc[0, "source_key" if change == "faces" else "p_fake"] = "other" if change == "faces" else 0.123
    write_predictions(path, frame)
    names = {difference.name for difference in verify_record(run.folder).differences}
    assert "predictions.sha256" in names
    assert ("manifest.content_sha256" in names) == (change == "faces")


def test_classes_say_what_is_seen(tmp_path: Path) -> None:
    frame = matrix()
    rng = np.random.default_rng(1)
    frame[["p_real", "p_stylegan2", "p_flux"]] = rng.dirichlet([1, 1, 1], len(frame))
    frame["seen"] = np.where(frame["source"] == "celeba", "no", "")
    run = imported(tmp_path, frame)
    groups = {key: (group.seen, group.label) for key, group in run.record.groups.items()}
    assert groups["imported/real:seen"] == (True, 0)
    assert groups["imported/stylegan2"] == (True, 1)
    assert groups["imported/real:celeba"] == (False, -1)
    assert groups["imported/sdxl"] == (False, -1)
    seen = [("imported/real:seen", 0, "ffhq", ""), ("imported/stylegan2", 1, "", "stylegan2")]
    for key, label, source, generator in seen:
        mine = frame[(frame["source"] == source) & (frame["generator"] == generator)]
        right = mine[["p_real", "p_stylegan2", "p_flux"]].to_numpy().argmax(axis=1) == label
        assert value(run, "seen_accuracy", key, "none") == pytest.approx(right.mean())
    assert value(imported(tmp_path, frame, "detection", heads="detection"), "seen_accuracy", "seen", "macro") is None
    only = imported(tmp_path, frame.drop(columns="p_fake"), "attribution")
    assert value(only, "auc", "unseen") is None
    assert value(only, "oscr", "seen-vs-unseen") == value(run, "oscr", "seen-vs-unseen")
    assert not verify_record(only.folder).differences


def test_training_rows_are_left_out_and_said(tmp_path: Path) -> None:
    frame = matrix()
    frame["split"] = ["train", *["test"] * (len(frame) - 1)]
    run = imported(tmp_path, frame)
    assert run.record.samples.evaluated == len(frame) - 1
    assert "1 rows of training or validation are left out" in run.warnings


BAD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"label": 1}, {}, "row 1, column 'label': the label '1' has no name.*--labels 0=real,1=fake"),
    ({"label": "deepfaked"}, {}, "neither real nor fake"),
    ({"label": "real"}, {}, "labelled real, and 'stylegan2' is a generator of forged faces"),
    ({"label": "fake", "generator": "real"}, {}, "labelled fake, and its generator is 'real'"),
    ({"split": "public"}, {}, "'public' is none of seen, unseen, test"),
    ({"split": "train"}, {}, "every row is of training"),
    ({"file": "a.png"}, {}, "faces stand in several rows: a.png"),
    ({"p_a": 0.5, "p_b": 0.4}, {}, "sum to 0.9, not 1"),
    ({"p_sdxl": 1.0, "seen": "no"}, {}, "is a class of the model, and the table calls it unseen"),
    ({"p_sdxl": 1.0, "seen": "yes"}, {}, "is said to be seen, and has no column"),
    ({"p_sdxl": 0.5, "p_SDXL": 0.5}, {}, "a second time"),
    ({}, {"set_name": "../x"}, "--set"),
    ({}, {"columns": {"p_fake": "nothing"}}, "no column 'nothing'"),
    ({}, {"columns": {"lable": "label"}}, "did you mean label"),
    ({}, {"heads": "attribution"}, "needs columns p_<class>"),
    ({}, {"only": {"generator": "nobody"}}, "no row with 'nobody'"),
]


@pytest.mark.parametrize(("cells", "settings", "message"), BAD)
def test_contradictions_are_one_line(cells: dict, settings: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        imported(tmp_path, matrix().assign(**cells), **settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_numbers_have_the_meaning_that_is_said(tmp_path: Path) -> None:
    frame = matrix()
    run = imported(tmp_path, frame)
    real = (frame["label"] == "real").astype(int)
    said = imported(tmp_path, frame.assign(label=real), "said", labels={"1": "real", "0": "fake"})
    by_name = imported(tmp_path, frame.drop(columns="label").assign(is_real=real), "n", columns={"label": "is_real"})
    assert said.record.metrics == by_name.record.metrics == run.record.metrics


def test_one_column_of_a_wide_table_and_some_rows(tmp_path: Path) -> None:
    frame = matrix()
    wide = pd.concat([frame.assign(part="a"), matrix(80, 3).assign(part="b")])
    wide = wide.rename(columns={"p_fake": "Model One"})
    run = imported(tmp_path, wide, columns={"p_fake": "Model One"}, only={"part": "a"}, name="One")
    assert run.record.metrics == imported(tmp_path, frame, "frame").record.metrics
    assert run.record.imported is not None
    assert run.record.imported.left_out == {"rows not asked for": 80}


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    run = imported(tmp_path, matrix())
    with pytest.raises(ConfigError, match="holds a run already"):
        imported(tmp_path, matrix())
    (run.folder / "record.json").unlink()  # as if it had been killed before it was scored
    assert imported(tmp_path, matrix()).record.metrics == run.record.metrics
    facts = json.loads((run.folder / "run.json").read_text())
    (run.folder / "record.json").unlink()
    (run.folder / "run.json").write_text(json.dumps({k: v for k, v in facts.items() if k != "imported"}))
    with pytest.raises(ConfigError, match="holds a run already"):  # one that was trained
        imported(tmp_path, matrix())


def test_names_of_strangers_do_no_harm(tmp_path: Path) -> None:
    frame = matrix()
    frame.loc[frame["generator"] == "org/mine", "generator"] = "../../x:y=1|`z`"
    run = imported(tmp_path, frame)
    assert "imported/fake:.._.._x:y=1|`z`" in run.record.groups
    assert not verify_record(run.folder).differences
    with pytest.raises(DFADError, match="cannot name a group"):
        imported(tmp_path, frame.assign(generator="a\x1b[2J", label="fake"), "bad")


def test_processed_real_faces_are_false_alarms_and_no_class(tmp_path: Path) -> None:
    """Real by their label or by the taxonomy; in no number but their own, and never seen."""
    frame = matrix()
    restored = frame.assign(generator="GFPGAN", label="real", source="", file=[f"g/{k}.png" for k in range(len(frame))])
    run = imported(tmp_path, pd.concat([frame, restored], ignore_index=True))
    assert value(run, "false_alarms", "processed") == pytest.approx((restored["p_fake"] > 0.5).mean())
    without = imported(tmp_path, frame, "without")
    for metric in ("auc", "accuracy"):
        assert value(run, metric, "unseen") == value(without, metric, "unseen")
    assert value(without, "false_alarms", "processed") is None
    with pytest.raises(ConfigError, match="'gfpgan': processed real faces are no class of attribution and never seen"):
        imported(tmp_path, pd.concat([frame, restored.assign(seen="yes")]).fillna({"seen": "no"}), "seen")
