"""The table of scores for unseen faces: the papers' row is the record's, the others those of the metrics."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.open_runs import write_open_run
from helpers.toy import toy_protocol
from sklearn.metrics import roc_auc_score, roc_curve

import dfad_bench as dfad
from dfad_bench.cli.main import dfad as command
from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.protocol import Group
from dfad_bench.core.record import read_record
from dfad_bench.core.run_outputs import read_outputs, write_outputs
from dfad_bench.metrics.unseen import UNSEEN_SCORES
from dfad_bench.report.open_world.run_arrays import NO_LAYER, RunArrays
from dfad_bench.report.open_world.score_table import NUMBERS, ranked_scores, ranking_values, unseen_placements

PROTOCOL = toy_protocol()
MANY = ("flow-a", "flow-b", "gan-b", "gan-c", "gan-d", "diffusion-b", "diffusion-c", "diffusion-d")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("open") / "run"
    write_open_run(folder, PROTOCOL, resamples=200)
    return folder


def test_the_papers_score_gives_the_numbers_of_the_record(run: Path) -> None:
    found, record = ranked_scores(RunArrays(run, 200), "msp"), read_record(run / "record.json")
    for key, (_, metric) in NUMBERS.items():
        stated = [v for v in record.metrics if (v.metric, v.subset, v.averaging) == (metric, "seen-vs-unseen", "micro")]
        assert len(stated) == 1
        assert found.numbers[key].value == pytest.approx(stated[0].value, abs=1e-12)
        assert found.numbers[key].ci95 == pytest.approx(stated[0].ci95)
        assert found.numbers[key].sources == stated[0].sources


def test_numbers_of_any_score_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        seen = rng.random(80) < 0.6
        scores, right = np.round(rng.normal(size=80) + seen, 1), seen & (rng.random(80) < 0.7)
        found = ranking_values(scores, seen, right)
        assert found["auroc"] == pytest.approx(roc_auc_score(seen, scores))
        false, true, _ = roc_curve(seen, scores, drop_intermediate=False)
        assert found["fpr_at_95_seen"] == pytest.approx(false[np.argmax(true >= 0.95)])
        pairs = [
            (a > b) + (a == b) / 2 for a, ok in zip(scores[seen], right[seen], strict=True) for b in scores[~seen] if ok
        ]
        assert found["oscr"] == pytest.approx(sum(pairs) / seen.sum() / (~seen).sum())
        placed = unseen_placements(scores, seen, right)
        assert {key: values.mean() for key, values in placed.items()} == pytest.approx(found)


def test_numbers_have_intervals_over_enough_unseen_generators(tmp_path: Path) -> None:
    unseen = tuple(Group(f"synthetic-{name}", "synthetic") for name in MANY)
    write_open_run(tmp_path / "many", toy_protocol(unseen=unseen), resamples=100)
    table = dfad.open_world(tmp_path / "many", resamples=100)
    row = next(row for row in table.rows if row["score"] == "msp")
    assert row["generators"] == len(MANY)
    for key in NUMBERS:
        assert row[f"{key}_generators_low"] < row[key] < row[f"{key}_generators_high"]
    assert any("other generators of this kind" in note for note in table.notes)
    assert [c.key for c in table.columns][2:7] == ["auroc", "auroc_low", "auroc_high", "auroc_generators_low",
                                                   "auroc_generators_high"]  # fmt: skip


def test_few_unseen_generators_have_none_and_it_is_said(run: Path) -> None:
    table = dfad.open_world(run, resamples=100)
    assert not any(column.key.endswith("_generators_low") for column in table.columns)
    assert any("not estimable over generators: 1, 8 are needed" in note for note in table.notes)


def test_every_score_of_several_runs_is_a_row(run: Path, tmp_path: Path) -> None:
    write_open_run(tmp_path / "b", PROTOCOL, seed=1, linear=False)
    table = dfad.open_world([run, tmp_path / "b"], resamples=100)
    assert [row["score"] for row in table.rows] == [*UNSEEN_SCORES] * 2
    assert len({row["model"] for row in table.rows}) == 2
    rows = {(k >= len(UNSEEN_SCORES), row["score"]): row for k, row in enumerate(table.rows)}
    assert all(row["auroc"] is not None for (second, name), row in rows.items() if not (second and name == "vim"))
    assert rows[True, "vim"].get("auroc") is None
    assert rows[True, "vim"]["remark"] == f"not defined: {NO_LAYER}"
    assert rows[False, "knn"]["remark"].startswith("k = 40 of 240 training faces")
    assert rows[False, "knn"]["auroc"] > rows[False, "msp"]["auroc"]  # unseen groups lie off the classes' plane
    assert rows[False, "knn"]["auroc_low"] < rows[False, "knn"]["auroc"] < rows[False, "knn"]["auroc_high"]


def test_runs_without_outputs_have_the_scores_of_probabilities(tmp_path: Path) -> None:
    write_open_run(tmp_path / "a", PROTOCOL, kept=False)
    rows = {row["score"]: row for row in dfad.open_world(tmp_path / "a", resamples=0).rows}
    assert {name for name, row in rows.items() if row.get("auroc") is not None} == {"msp", "entropy", "margin"}
    assert rows["energy"]["remark"] == "not defined: the run kept no logits"


def test_exchanged_or_changed_outputs_are_refused(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    kept = read_outputs(copy / "outputs-test.parquet")
    write_outputs(copy / "outputs-test.parquet", replace(kept, sample_id=kept.sample_id[::-1]))
    with pytest.raises(IntegrityError, match="outputs-test.parquet"):
        dfad.open_world(copy, resamples=0)
    (copy / "outputs-test.parquet").unlink()
    with pytest.raises(ConfigError, match="not there, and a score of embeddings needs it"):
        dfad.open_world(copy, resamples=0)


def test_the_command_prints_one_table_of_all_runs(run: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):  # of too few sources for intervals, which take their time
        write_open_run(tmp_path / name, PROTOCOL, seed=1, sources={"training": 5, "test": 1})
    given = [
        "scores",
        "--run",
        str(tmp_path / "a"),
        "--run",
        str(tmp_path / "b"),
        "--table",
        "open-set",
        "--format",
        "csv",
    ]
    result = CliRunner().invoke(command, given)
    assert result.exit_code == 0, result.output
    assert "no interval: 1 " in result.stdout
    assert result.stdout.splitlines()[0].startswith("model,score,auroc,auroc_low,auroc_high,fpr_at_95_seen")
    assert len(result.stdout.splitlines()) == 1 + 2 * len(UNSEEN_SCORES)
    with pytest.raises(ConfigError, match="no table 'open'"):
        dfad.open_world(run, "open")  # type: ignore[arg-type]  # what a user may write
