"""Numbers out of their range and names of no table are refused by the reader and by the JSON schema alike."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from helpers.runs import resealed, write_run
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import content_hash, read_json
from dfad_bench.core.protocol import Group
from dfad_bench.core.record import ResultRecord, plain, read_record, write_record
from dfad_bench.core.record_ranges import BOUNDS, SCHEMA_METRICS, _groups_of, range_faults
from dfad_bench.metrics import METRICS, SCORED, Metric
from dfad_bench.report.reported import ReportedColumn, ReportedRow, ReportedTable
from dfad_bench.report.run_record import rescore
from dfad_bench.report.verify import verify_record

PROTOCOL = toy_protocol()
EARLIER = Path(__file__).resolve().parents[1] / "fixtures" / "earlier_run" / "record.json"
SCHEMA = json.loads((resources.files("dfad_bench.core") / "result_record.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> ResultRecord:
    return write_run(tmp_path_factory.mktemp("ranges") / "run", PROTOCOL, toy_predictions(PROTOCOL, 12), resamples=20)


def place(record: ResultRecord, metric: str, *, defined: bool = True) -> int:
    return next(i for i, m in enumerate(record.metrics) if m.metric == metric and (m.ci95 is not None) == defined)


def fits(raw: dict[str, Any]) -> bool:
    errors = jsonschema.Draft202012Validator(SCHEMA).iter_errors(raw)
    return all(list(error.absolute_path) == ["manifest", "leakage"] for error in errors)  # made records leave it empty


def test_what_is_made_here_and_what_was_made_before_is_in_range(record: ResultRecord) -> None:
    assert list(range_faults(record)) == []
    assert list(range_faults(read_record(EARLIER))) == []
    assert fits(plain(record))
    assert fits(read_json(EARLIER))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"value": 2.0}, "is 2.0, expected 0 to 1 (a share)"),
        ({"value": -0.1}, "is -0.1, expected 0 to 1"),
        ({"ci95": [0.1, 1.5]}, "ci95 high is 1.5, expected 0 to 1"),
        ({"metric": "acuracy"}, "is 'acuracy', expected a metric of `dfad list metrics` (did you mean accuracy?)"),
        ({"unit": "percent"}, "unit is 'percent', expected share"),
        ({"n": -1}, "n is -1, expected 0 or more"),
        ({"params": {"threshold": 9}}, "params.threshold is 9, expected 0 to 1"),
    ],
)
def test_an_impossible_number_is_refused_with_one_line(
    record: ResultRecord, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    number = place(record, "accuracy")
    forged = resealed(record, {("metrics", str(number), key): value for key, value in changes.items()})
    write_record(tmp_path / "record.json", forged)
    with pytest.raises(ConfigError) as error:
        read_record(tmp_path / "record.json")
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert f"{tmp_path / 'record.json'}: metrics[{number}] " in str(error.value)
    assert not fits(plain(forged))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("sweep", "seen_kept", "0"), 1.5),
        (("sweep", "thresholds", "0"), -0.1),
        (("groups", "synthetic/real", "detection_label"), 2),
        (("manifest", "splits", "test", "rows"), -1),
        (("samples", "failed"), -1),
        (("run", "steps"), -1),
        (("run", "world_size"), 0),
        (("model", "params_total"), -1),
        (("predictions", "rows"), -5),
    ],
)
def test_every_other_number_has_a_range_too(
    record: ResultRecord, tmp_path: Path, path: tuple[str, ...], value: float
) -> None:
    forged = resealed(record, {path: value})
    write_record(tmp_path / "record.json", forged)
    with pytest.raises(ConfigError, match="expected"):
        read_record(tmp_path / "record.json")
    assert not fits(plain(forged))


def test_counts_are_no_larger_than_what_they_count(record: ResultRecord) -> None:
    for key in ("correct", "tp", "fp", "fn", "tn"):
        forged = resealed(record, {("groups", "synthetic/real", key): 13})
        assert [f"groups['synthetic/real'].{key} is 13, expected 0 to 12"] == list(map(str, range_faults(forged)))
    forged = resealed(record, {("groups", "synthetic/real", "below", "0.9"): 13})
    assert "expected 0 to 12" in str(*range_faults(forged))


def test_groups_and_parts_are_those_of_the_protocol(record: ResultRecord) -> None:
    raw = plain(record)
    groups = {**raw["groups"], "ffhq/stylegan9": raw["groups"]["synthetic/real"]}
    assert "'ffhq/stylegan9', expected a group of protocol toy" in str(
        *range_faults(resealed(record, {"groups": groups}))
    )
    splits = {"tset": raw["manifest"]["splits"]["test"]}
    forged = resealed(record, {"manifest.splits": splits})
    assert "'tset', expected one of train" in str(*range_faults(forged))
    assert not fits(plain(forged))


def test_a_group_may_be_one_source_of_a_dataset(tmp_path: Path) -> None:
    seen = (Group("real", "synthetic", 0, source="studio"), *PROTOCOL.seen[1:])
    protocol = replace(PROTOCOL, seen=seen)
    made = write_run(tmp_path / "run", protocol, toy_predictions(protocol, 12), resamples=20)
    assert "synthetic/real:studio" in made.groups
    assert list(range_faults(read_record(tmp_path / "run" / "record.json"))) == []
    groups = {"synthetic/real": made.groups["synthetic/real:studio"]}
    assert "expected a group of protocol toy" in str(*range_faults(replace(made, groups=groups)))


def test_a_record_that_cannot_be_is_left_out_of_the_board_with_its_reason(record: ResultRecord, tmp_path: Path) -> None:
    write_record(tmp_path / "run" / "record.json", resealed(record, {("metrics", "0", "value"): 2.0}))
    arguments = ["leaderboard", "--protocol", "synthetic", "--runs", str(tmp_path), "--format", "json"]
    shown = json.loads(CliRunner().invoke(dfad, arguments).stdout)
    assert any("left out" in note and "2.0, expected 0 to 1" in note for note in shown["notes"])


def test_names_and_bounds_are_the_same_in_code_table_and_schema() -> None:
    assert SCHEMA["$defs"]["metric_names"]["enum"] == list(SCHEMA_METRICS)
    for name, unit in SCHEMA_METRICS.items():
        assert METRICS[name].unit == unit
    assert set(BOUNDS) == set(SCHEMA_METRICS.values())
    for rule in SCHEMA["properties"]["metrics"]["items"]["allOf"]:
        names = rule["if"].get("properties", {}).get("metric", {}).get("enum", [])
        limits = SCHEMA["$defs"][rule["then"].get("$ref", "/share").rpartition("/")[2]]["properties"]["value"]
        for name in names:
            low, high = BOUNDS[SCHEMA_METRICS[name]]
            assert (limits["minimum"], limits.get("maximum", float("inf"))) == (low, high)


def square_error(labels: Any, p_fake: Any) -> float:
    return float(((p_fake - labels) ** 2).mean())


OWN = Metric(f"{__name__}:square_error", False, "share", on="detection", averaging=("pooled",))


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(dfad, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_a_metric_of_ones_own_states_its_unit_and_is_shown_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, "own_error", OWN)
    runs = [tmp_path / "a", tmp_path / "b"]
    for seed, run in enumerate(runs):
        made = write_run(run, PROTOCOL, toy_predictions(PROTOCOL, 12, seed), resamples=0)
    (stated,) = {value.unit for value in made.metrics if value.metric == "own_error"}
    assert stated == "share"
    assert fits(plain(made))
    monkeypatch.delitem(METRICS, "own_error")
    line = "own_error: no metric of this installation"
    assert line in invoke("scores", "--run", runs[0], "--table", "metrics")
    assert "own_error" in invoke("scores", "--run", runs[0], "--table", "metrics", "--format", "csv")
    assert line in invoke("leaderboard", "--runs", tmp_path)
    assert line in invoke("compare", "--run", runs[0], "--run", runs[1], "--resamples", 100)
    number = place(made, "own_error", defined=False)
    forged = resealed(made, {("metrics", str(number), "value"): 2.0})
    assert "expected 0 to 1" in str(*range_faults(forged))
    assert not fits(plain(forged))


def test_a_metric_without_unit_opens_where_it_is_installed_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records made before units were stated."""
    monkeypatch.setitem(METRICS, "own_error", OWN)
    raw = plain(write_run(tmp_path / "a", PROTOCOL, toy_predictions(PROTOCOL, 12), resamples=0))
    metrics = [{key: value for key, value in number.items() if key != "unit"} for number in raw["metrics"]]
    kept = [number for number in metrics if number["metric"] != "fpr95_openood"]  # made before it was there
    write_record(
        tmp_path / "a" / "record.json", resealed(read_record(tmp_path / "a" / "record.json"), {"metrics": kept})
    )
    assert read_record(tmp_path / "a" / "record.json")
    assert verify_record(tmp_path / "a", config_hash=content_hash).differences == ()
    rescore(tmp_path / "a")
    assert {m.unit for m in read_record(tmp_path / "a" / "record.json").metrics if m.metric == "own_error"} == {"share"}
    write_record(
        tmp_path / "a" / "record.json", resealed(read_record(tmp_path / "a" / "record.json"), {"metrics": kept})
    )
    monkeypatch.delitem(METRICS, "own_error")
    with pytest.raises(ConfigError, match="'own_error', expected a metric of `dfad list metrics`"):
        read_record(tmp_path / "a" / "record.json")


def beyond_one(labels: Any) -> float:
    return 2.0


def test_a_share_that_is_none_is_refused_when_it_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Metric(f"{__name__}:beyond_one", True, "share", on="detection", averaging=("pooled",))
    monkeypatch.setitem(METRICS, "odd", odd)
    with pytest.raises(ConfigError, match=r"\(odd of unseen\)\.value is 2\.0, expected 0 to 1"):
        write_run(tmp_path / "a", PROTOCOL, toy_predictions(PROTOCOL, 12), resamples=0)
    assert not (tmp_path / "a" / "record.json").exists()


def test_verify_names_impossible_numbers_that_predictions_do_not_decide(tmp_path: Path) -> None:
    record = write_run(tmp_path / "a", PROTOCOL, toy_predictions(PROTOCOL, 12), resamples=0)
    gaze = {
        "task": "gaze", "metric": "paired_cosine", "subset": "all", "value": 1.5, "n": 3, "higher_is_better": True,
    }  # fmt: skip
    write_record(tmp_path / "a" / "record.json", resealed(record, {"metrics": [*plain(record)["metrics"], gaze]}))
    found = verify_record(tmp_path / "a", config_hash=content_hash).differences
    assert [str(one) for one in found if "paired_cosine" in one.name]


@pytest.mark.parametrize(("metric", "cell"), [("acc", 100.5), ("auc", -1.0), ("params_m", -1.0)])
def test_printed_cells_have_a_range(metric: Any, cell: float) -> None:
    column = ReportedColumn("average", "efficiency" if metric == "params_m" else "detection", metric)
    with pytest.raises(ValueError, match="expected 0"):
        ReportedTable("t", "P", "Table 1", "T", "synthetic", (column,), (ReportedRow("m", "M", (cell,)),))


def test_the_schema_names_every_metric_of_predictions_or_lets_it_state_its_unit() -> None:
    assert {name for name, metric in METRICS.items() if metric.on in SCORED} - set(SCHEMA_METRICS) == {
        "fpr95_openood",
        "false_alarms",
    }


@pytest.mark.parametrize(
    "config",
    [
        {"seen": 3},
        {"seen": None},
        {"unseen": "abc"},
        {"seen": {"dataset": "d", "generator": "g"}},
        {"seen": [None]},
        {"seen": [{"dataset": [], "generator": 3}]},
        {"seen": [{"dataset": "d", "generator": "g", "source": 1}]},
    ],
)
def test_a_protocol_in_no_known_form_has_no_groups(config: dict[str, object]) -> None:
    assert _groups_of(config) == set()
    assert _groups_of({"seen": [{"dataset": "d", "generator": "g"}], "unseen": []}) == {"d/g"}
