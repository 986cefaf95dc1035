"""Several seeds of one run: mean and spread of every number, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean, stdev

import pytest
from helpers.runs import write_run
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.aggregate import seeds_table
from dfad_bench.report.seed_tables import mean_metrics, seeds_tables

PROTOCOL = toy_protocol()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[ResultRecord]:
    folder = tmp_path_factory.mktemp("seeds")
    made = []
    for seed in range(4):
        record = write_run(folder / str(seed), PROTOCOL, toy_predictions(PROTOCOL, 15, seed), resamples=0)
        made.append(replace(record, run=replace(record.run, seed=seed, config={**record.run.config, "seed": seed})))
    return made


def test_rows_are_means_and_spreads_of_every_number(records: list[ResultRecord]) -> None:
    table = seeds_table(records[::-1], every=True)
    assert len(table.rows) == len(records[0].metrics)
    for row, of_first in zip(table.rows, records[0].metrics, strict=True):
        key = ("task", "metric", "subset", "averaging")
        assert [row[name] for name in key] == [getattr(of_first, name) for name in key]
        values = [
            v.value
            for record in records
            for v in record.metrics
            if [getattr(v, name) for name in key] == [row[name] for name in key] and v.params == of_first.params
        ]
        assert row["values"] == {str(seed): value for seed, value in enumerate(values)}
        if of_first.value is None:
            assert (row["mean"], row["sd"], row["least"], row["most"], row["seeds"]) == (None, None, None, None, 0)
            continue
        assert (row["mean"], row["sd"]) == (pytest.approx(fmean(values)), pytest.approx(stdev(values)))
        assert (row["least"], row["most"], row["seeds"]) == (min(values), max(values), 4)
    at = {row["params"] for row in table.rows if row["metric"] == "unseen_accuracy"}
    assert at == {"threshold 0.7", "threshold 0.9"}
    assert table.notes == ("Seeds: 0, 1, 2, 3. SD: between seeds, n - 1; it is no interval over faces.",)


def test_numbers_are_shown_with_four_digits(records: list[ResultRecord]) -> None:
    table = seeds_table(records)
    numbers = [column for column in table.columns if column.kind == "number"]
    assert [(c.key, c.digits) for c in numbers] == [("mean", 4), ("sd", 4), ("least", 4), ("most", 4)]


def test_the_short_table_has_the_sets_of_all_faces(records: list[ResultRecord]) -> None:
    subsets = {row["subset"] for row in seeds_table(records).rows}
    assert subsets == {"seen", "unseen", "seen-vs-unseen"}


@pytest.mark.parametrize(("seeds", "few"), [(1, True), (2, True), (3, False)])
def test_few_seeds_are_named(records: list[ResultRecord], seeds: int, few: bool) -> None:
    table = seeds_table(records[:seeds])
    assert any("too few" in note for note in table.notes) == few
    row = table.rows[0]
    assert (row["sd"] is None, row["seeds"]) == (seeds == 1, seeds)
    if few:
        assert table.notes[1].startswith(f"{seeds} seed{'' if seeds == 1 else 's'}: too few")


def test_a_number_that_one_seed_lacks_is_the_mean_of_the_others(records: list[ResultRecord]) -> None:
    first = records[0]
    value = first.metrics[0]
    lacking = replace(first, metrics=(replace(value, value=None, null_reason="gone"), *first.metrics[1:]))
    row = seeds_table([lacking, *records[1:3]], every=True).rows[0]
    known = [record.metrics[0].value for record in records[1:3]]
    assert (row["mean"], row["sd"], row["seeds"]) == (pytest.approx(fmean(known)), pytest.approx(stdev(known)), 2)


def test_partial_runs_are_named(records: list[ResultRecord]) -> None:
    notes = seeds_table([records[0], replace(records[1], status="partial"), *records[2:]]).notes
    assert "Partial runs: seeds 1." in notes


def test_settings_in_another_order_are_the_same(records: list[ResultRecord]) -> None:
    turned = [
        replace(record, run=replace(record.run, config=dict(reversed({**record.run.config, "width": 8}.items()))))
        for record in records[:1]
    ]
    straight = [replace(r, run=replace(r.run, config={**r.run.config, "width": 8})) for r in records[1:2]]
    assert seeds_table([*turned, *straight]).rows[0]["seeds"] == 2


def test_a_number_is_the_same_whatever_the_order_of_its_settings(records: list[ResultRecord]) -> None:
    turned = tuple(replace(v, params=dict(reversed(v.params.items()))) for v in records[1].metrics)
    table = seeds_table([records[0], replace(records[1], metrics=turned)], every=True)
    assert len(table.rows) == len(records[0].metrics)
    assert {row["seeds"] for row in table.rows} == {0, 2}


def test_what_has_no_common_mean_is_refused(records: list[ResultRecord]) -> None:
    first, second = records[:2]
    for other, what in (
        (replace(second, model=replace(second.model, name="else")), "model"),
        (replace(second, protocol=replace(second.protocol, sha256="b" * 64)), "protocol"),
        (replace(second, manifest=replace(second.manifest, content_sha256="b" * 64)), "manifests"),
        (replace(second, run=replace(second.run, config={"model": "toy", "seed": 1, "width": 8})), "settings"),
    ):
        with pytest.raises(ConfigError, match=rf"more than the seed \({what}\)"):
            seeds_table([first, other])
    with pytest.raises(ConfigError, match=r"seeds \[0, 0\]: a seed is given twice"):
        seeds_table([first, first])
    with pytest.raises(ConfigError, match="no records"):
        seeds_table([])


def test_a_mean_over_seeds_keeps_nothing_of_the_interval_of_one(records: list[ResultRecord]) -> None:
    assert any(value.ci95 and value.sources for value in records[0].metrics)
    means = mean_metrics(records)
    assert [value.metric for value in means] == [value.metric for value in records[0].metrics]
    of_one = {"ci95", "ci_resamples", "ci_seed", "sources", "standard_error", "df", "ci_reason"}
    assert {(name, getattr(value, name)) for value in means for name in of_one} == {(name, None) for name in of_one}
    assert {value.ci_method for value in means} == {"none"}
    for place, value in enumerate(means):
        each = [record.metrics[place].value for record in records]
        assert value.value == (None if None in each else pytest.approx(fmean(each)))


def test_the_mean_of_all_numbers_has_an_interval_over_sources_and_seeds(records: list[ResultRecord]) -> None:
    table = seeds_tables(records, "metrics")
    means = [row for row in table.rows if row["seed"] == "mean"]
    assert len(means) == len(records[0].metrics)
    shown = 0
    for place, row in enumerate(means):
        each = [record.metrics[place] for record in records]
        if None in [value.value for value in each] or None in [value.ci95 for value in each]:
            assert (row["low"], row["high"]) == (None, None)
            continue
        assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
        variance_of_seeds = stdev(value.value for value in each) ** 2 / len(each)
        if 0.2 < row["value"] < 0.8 and row["low"] > 0.1:
            assert row["high"] - row["low"] > 2 * variance_of_seeds**0.5
            shown += 1
    assert shown > 3
