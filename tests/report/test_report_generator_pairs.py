from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.runs import write_run
from helpers.toy import toy_predictions, toy_protocol
from scipy import stats

from dfad_bench.core.protocol import Group, load_protocol
from dfad_bench.core.record import read_record
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.report.compare import Comparison, compare_runs, comparison_tables
from dfad_bench.report.generator_pairs import ComparedOverGenerators
from dfad_bench.report.over_generators import mean_over_generators, over_generators

PROTOCOL = replace(load_protocol("synthetic"), validation_share=0.0)
AUC = ("detection", "auc", "unseen")


def shifted(frame: pd.DataFrame, amount: dict[str, float], seed: int) -> pd.DataFrame:
    """The same faces, those of some generators detected better by so many logits."""
    noise = np.random.default_rng(seed).normal(size=len(frame)) * 0.3
    logits = np.log(frame["p_fake"] / (1 - frame["p_fake"])) + frame["group"].map(amount).fillna(0.0) + noise
    return frame.assign(p_fake=1 / (1 + np.exp(-logits)))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generators")
    frame = toy_predictions(PROTOCOL, 20)
    forged = [group.key for group in PROTOCOL.unseen if group.generator != "real"]
    write_run(folder / "a", PROTOCOL, frame, resamples=100)
    write_run(folder / "one", PROTOCOL, shifted(frame, {forged[0]: 6.0}, 1), resamples=100)
    write_run(folder / "all", PROTOCOL, shifted(frame, dict.fromkeys(forged, 3.0), 2), resamples=100)
    return folder


def of(found: Comparison, place: tuple[str, str, str] = AUC) -> ComparedOverGenerators:
    return next(row for row in found.over_generators if (row.task, row.metric, row.subset) == place)


def test_an_advantage_on_one_generator_shows_no_winner_on_others(runs: Path) -> None:
    found = of(compare_runs(runs / "one", runs / "a", resamples=100))
    assert found.generators == 16
    assert found.difference > 0
    assert found.better is None
    assert found.ci95 is not None
    assert found.ci95[0] < 0 < found.ci95[1]


def test_an_advantage_on_every_generator_does(runs: Path) -> None:
    found = of(compare_runs(runs / "all", runs / "a", resamples=100))
    assert found.better == "a"
    assert (found.wins, found.ties, found.losses) == (16, 0, 0)
    assert found.next_better is not None
    assert found.next_better > 0.95
    turned = of(compare_runs(runs / "a", runs / "all", resamples=100))
    assert turned.better == "b"
    assert turned.p == pytest.approx(found.p)
    assert turned.next_better == pytest.approx(1 - found.next_better)


def test_the_test_is_no_surer_than_students_of_the_differences(runs: Path) -> None:
    found = of(compare_runs(runs / "one", runs / "a", resamples=100))
    record = {name: read_record(RunFolder(runs / name).record) for name in ("one", "a")}
    areas = {
        name: {v.subset: v.value for v in r.metrics if (v.metric, v.averaging) == ("auc", "none")}
        for name, r in record.items()
    }
    assert found.differences == {key: areas["one"][key] - areas["a"][key] for key in found.differences}
    assert found.p is not None
    assert found.p >= 0.9 * stats.ttest_1samp(list(found.differences.values()), 0).pvalue
    assert found.difference == pytest.approx(np.mean(list(found.differences.values())))


def test_one_run_against_itself_names_no_winner(runs: Path) -> None:
    found = compare_runs(runs / "a", runs / "a", resamples=100)
    assert found.over_generators
    for row in found.over_generators:
        assert (row.wins, row.losses, row.better, row.p) == (0, 0, None, None)


def test_three_generators_are_not_estimable_and_say_so(tmp_path: Path) -> None:
    seen = toy_protocol().seen
    unseen = tuple(Group(f"synthetic-{name}", "synthetic") for name in ("flow-a", "gan-b", "diffusion-b"))
    few = toy_protocol(seen=seen, unseen=unseen)
    for name, seed in (("a", 0), ("b", 1)):
        write_run(tmp_path / name, few, shifted(toy_predictions(few, 20), {}, seed), resamples=0)
    found = of(compare_runs(tmp_path / "a", tmp_path / "b", resamples=100))
    assert found.reason == "not estimable over generators: 3, 8 are needed"
    assert (found.ci95, found.p, found.better, found.next_better) == (None, None, None, None)
    assert len(found.differences) == 3


def test_the_tables_name_both_populations(runs: Path) -> None:
    tables = comparison_tables(compare_runs(runs / "one", runs / "a", resamples=100))
    first, second, third = (table.render(width=250) for table in tables)
    assert "Better on other faces" in first
    assert "Better on other generators" in second
    assert "1, held fixed (fewer than 6)" in second
    assert "1 real groups in a mean over unseen groups count no win" in second
    assert len(tables[2].rows) == 16
    assert "A wins" in third


def test_a_record_has_its_means_over_generators_from_its_own_numbers(runs: Path) -> None:
    record = read_record(RunFolder(runs / "a").record)
    found = over_generators(record.metrics, PROTOCOL)
    unseen = found["attribution", "unseen_accuracy", "unseen", "macro", 0.9]
    assert (unseen.generators, unseen.fixed, unseen.families) == (16, 1, 3)
    assert unseen.ci95 is not None
    assert unseen.ci95_families is None
    value = next(v for v in record.metrics if (v.metric, v.subset, v.averaging) == ("auc", "unseen", "macro"))
    area = found["detection", "auc", "unseen", "macro", None]
    assert area.ci95 is not None
    assert value.value is not None
    assert area.ci95[0] < value.value < area.ci95[1]
    assert value.value == pytest.approx(np.mean(list(area.values.values())))
    assert ("attribution", "seen_accuracy", "seen", "macro", None) not in found  # seen classes are held fixed


def test_seeds_widen_the_mean_over_generators(runs: Path) -> None:
    records = [read_record(RunFolder(runs / name).record) for name in ("a", "all")]
    key = ("detection", "auc", "unseen", "macro", None)
    both = mean_over_generators([record.metrics for record in records], PROTOCOL)[key]
    apart = [over_generators(record.metrics, PROTOCOL)[key] for record in records]
    assert both.values == {
        name: pytest.approx((apart[0].values[name] + apart[1].values[name]) / 2) for name in both.values
    }
    assert both.spread is not None
    assert both.spread.df < 15


def test_old_records_without_numbers_by_generator_say_so(runs: Path) -> None:
    record = read_record(RunFolder(runs / "a").record)
    old = [v for v in record.metrics if not (v.metric == "oscr" and v.averaging == "none")]
    found = over_generators(old, PROTOCOL)["attribution", "oscr", "seen-vs-unseen", "macro", None]
    assert found.ci95 is None
    assert found.reason is not None
    assert "no numbers by generator" in found.reason
