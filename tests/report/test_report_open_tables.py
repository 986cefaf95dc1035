"""Risk, calibration, kin and retrieval of runs: each number again from its definition, and what chance is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.open_runs import write_open_run
from helpers.toy import toy_protocol
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier

import dfad_bench as dfad
from dfad_bench.core.protocol import Group
from dfad_bench.metrics.calibration import fitted_temperature, log_loss, scaled_probabilities
from dfad_bench.metrics.neighbours import average_precision, neighbour_retrieval
from dfad_bench.metrics.selective import aurc
from dfad_bench.report.open_world.run_arrays import RunArrays

UNSEEN = ("synthetic-flow-a", "synthetic-gan-b", "synthetic-diffusion-b")
PROTOCOL = toy_protocol(unseen=tuple(Group(name, "synthetic") for name in UNSEEN))


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> RunArrays:
    folder = tmp_path_factory.mktemp("open") / "run"
    write_open_run(folder, PROTOCOL, spread=2.5, sources={"validation": 12, "test": 12})
    return RunArrays(folder, 60)


def rows_of(arrays: RunArrays, table: str) -> list[dict]:
    return list(dfad.open_world(arrays.folder, table, resamples=arrays.resamples).rows)


def test_risks_are_of_the_answers_of_the_faces(arrays: RunArrays) -> None:
    rows = {(row["answer"], row["faces"]): row for row in rows_of(arrays, "risk")}
    faces = arrays.test
    seen = faces.label >= 0
    wrong = faces.predicted[seen] != faces.label[seen]
    row = rows["attribution", "seen"]
    assert row["aurc"] == pytest.approx(aurc(faces.confidence[seen], wrong))
    assert row["error"] == pytest.approx(wrong.mean())
    assert row["aurc_low"] < row["aurc"] < row["aurc_high"]
    both = rows["both", "seen"]
    assert row["error"] <= both["error"]
    called = (faces.p_fake[seen] > 0.5) == (faces.truth[seen] == 1)
    assert both["error"] == pytest.approx((wrong | ~called).mean())
    assert rows["attribution", "50% unseen"]["error"] == pytest.approx(0.5 + wrong.mean() / 2)


def test_a_temperature_of_validation_changes_confidence_and_no_answer(arrays: RunArrays) -> None:
    plain, scaled = rows_of(arrays, "calibration")
    assert (plain["temperature"], scaled["remark"]) == (1.0, "from validation")
    assert plain["accuracy"] == scaled["accuracy"]
    validation = arrays.validation
    fitted = fitted_temperature(validation.probs, validation.label, validation.source)
    assert scaled["temperature"] == fitted
    assert (scaled["confidence"] < plain["confidence"]) == (fitted > 1)
    p, labels = arrays.test.probs[arrays.test.label >= 0], arrays.test.label[arrays.test.label >= 0]
    assert scaled["log_loss"] == log_loss(scaled_probabilities(p, fitted), labels)
    bins = [row for row in rows_of(arrays, "reliability") if row["group"] == "all seen"]
    assert sum(row["n"] for row in bins) == plain["n"]
    mean = sum(row["n"] * row["confidence"] for row in bins) / plain["n"]
    assert mean == pytest.approx(plain["confidence"])
    unseen = [row for row in rows_of(arrays, "reliability") if "flow" in row["group"]]
    assert all("accuracy" not in row for row in unseen)


def test_kin_are_classes_of_the_same_family_and_type(arrays: RunArrays) -> None:
    rows = {row["group"]: row for row in rows_of(arrays, "kin")}
    faces, classes = arrays.test, [group.taxon for group in PROTOCOL.seen]
    for name, column in (("synthetic-gan-b", 1), ("synthetic-diffusion-b", 2)):
        key = f"synthetic/{name}"
        group = next(g for g in PROTOCOL.unseen if g.key == key)
        kin = [c.grouping is group.taxon.grouping for c in classes]
        assert kin.index(True) == column
        mine = faces.of([key])
        assert rows[key]["family"] == pytest.approx(np.mean(np.array(kin)[faces.predicted[mine]]))
        assert rows[key]["family_chance"] == pytest.approx(1 / 3)
    named = np.mean(
        [np.bincount(faces.predicted[faces.of([f"synthetic/{k}"])], minlength=3) / 48 for k in UNSEEN], axis=0
    )
    assert rows["synthetic/synthetic-gan-b"]["family_by_names"] == pytest.approx(named[1])
    assert rows["mean of 3"]["real"] == pytest.approx(np.mean([rows[f"synthetic/{k}"]["real"] for k in UNSEEN]))


def test_retrieval_is_scikit_learns_by_query() -> None:
    rng = np.random.default_rng(0)
    names = rng.integers(0, 3, 60)
    points = rng.normal(size=(3, 5))[names] + rng.normal(size=(60, 5))
    known, asked = np.arange(60) < 30, np.arange(60) >= 30
    found = neighbour_retrieval(points[asked], names[asked], points[known], names[known])
    theirs = KNeighborsClassifier(1, metric="cosine").fit(points[known], names[known]).predict(points[asked])
    assert np.array_equal(found.rank1, theirs == names[asked])
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    similar = np.round(unit[asked] @ unit[known].T, 6)
    slow = [average_precision_score(names[known] == n, row) for row, n in zip(similar, names[asked], strict=True)]
    assert np.allclose(found.precision, slow)
    flat = neighbour_retrieval(np.ones((2, 3)), np.array([0, 1]), np.ones((4, 3)), np.array([0, 0, 0, 1]))
    assert flat.rank1.tolist() == flat.precision.tolist() == flat.chance.tolist() == [0.75, 0.25]
    assert np.isnan(average_precision(np.ones(2), np.zeros(2, bool)))


def test_embeddings_find_generators_again_that_probabilities_do_not_tell(arrays: RunArrays, tmp_path: Path) -> None:
    rows = {row["space"]: row for row in rows_of(arrays, "retrieval")}
    assert rows["embedding"]["rank1"] > rows["probabilities"]["rank1"] > 0
    assert rows["embedding"]["map"] > rows["embedding"]["chance"]
    assert rows["embedding"]["generators"] == 3
    write_open_run(tmp_path / "old", PROTOCOL, kept=False)
    old = {row["space"]: row for row in dfad.open_world(tmp_path / "old", "retrieval", resamples=0).rows}
    assert old["embedding"]["remark"] == "not defined: the run kept no embeddings"
    assert old["probabilities"]["rank1"] is not None
    assert dfad.open_world(tmp_path / "old", "calibration", resamples=0).rows[1]["remark"].startswith("no temperature")
