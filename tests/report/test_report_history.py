"""What records say of how a model came about, and the numbers of its reference predictors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.runs import write_run
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.core.errors import IntegrityError
from dfad_bench.core.files import content_hash
from dfad_bench.core.record import Extension, Reference, ResultRecord, plain
from dfad_bench.report.board_rows import _short_text
from dfad_bench.report.compare import compare_runs
from dfad_bench.report.paired_numbers import compared, mean_number
from dfad_bench.report.record_diff import reference_differences
from dfad_bench.report.references import shown_references
from dfad_bench.report.run_record import history, protocol_of, settings_but_seed
from dfad_bench.report.run_tables import groups_table
from dfad_bench.report.scored_faces import Number
from dfad_bench.report.trivial import planned_scores

PROTOCOL = toy_protocol()


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> ResultRecord:
    return write_run(tmp_path_factory.mktemp("run") / "a", PROTOCOL, toy_predictions(PROTOCOL, 12), resamples=0)


def run_with(record: ResultRecord, **changes: Any) -> ResultRecord:
    return replace(record, run=replace(record.run, **changes))


def test_history_tells_of_prompts_and_of_each_extension(record: ResultRecord) -> None:
    assert history(record) == []
    assert history(run_with(record, config={"prompts": {}})) == []
    assert history(run_with(record, config={"prompts": "mine"})) == []
    [line] = history(run_with(record, config={"prompts": {"name": "mine"}}))
    assert line == f"prompts mine ({content_hash({'name': 'mine'})[:8]})"
    alike, unlike = (Extension("0" * 64, 2.0, 9, whole, why, {}) for whole, why in ((True, ()), (False, ("cosine",))))
    lines = ["trained on after 2 epochs", "trained on after 2 epochs, not as one run: cosine"]
    assert history(run_with(record, extended=(alike, unlike))) == lines


@pytest.mark.parametrize(
    ("before", "said"), [(["a/one", "b/two"], "; trained on a/one, b/two before, unseen here"), ([], ""), (None, "")]
)
def test_history_tells_which_unseen_generators_an_earlier_run_was_trained_on(
    record: ResultRecord, before: list[str] | None, said: str
) -> None:
    init = {"kind": "run", "run_id": "0123456789", "protocol": "p", "seed": 3, "unseen_trained_on": before}
    [line] = history(replace(record, model=replace(record.model, init=init)))
    assert line == f"fine-tuned from run 01234567 of protocol p, seed 3{said}"


def test_seeds_of_runs_that_start_from_others_share_their_settings(record: ResultRecord) -> None:
    inits = [{"kind": "run", "run_id": n, "seed": n, "protocol": "p", "init": {"kind": "random"}} for n in "ab"]
    first, second = (settings_but_seed(run_with(record, config={"init": init})) for init in inits)
    assert first == second == {"init": {"kind": "run", "protocol": "p", "init": {"kind": "random"}}}
    assert settings_but_seed(run_with(record, config={"init": {"kind": "local_file", "sha256": "1"}})) == {
        "init": {"kind": "local_file", "sha256": "1"}
    }


@pytest.mark.parametrize("stated", ["0" * 64, "f" * 64])
def test_a_protocol_of_another_hash_is_refused(stated: str) -> None:
    with pytest.raises(IntegrityError, match="does not match its hash"):
        protocol_of({"protocol": {"config": plain(PROTOCOL), "sha256": stated}}, "record")


def test_what_a_model_starts_from_in_one_or_two_words() -> None:
    assert _short_text({"kind": "run", "protocol": "p"}) == "run of p"
    assert _short_text({"kind": "random", "protocol": "p"}) == "random"


@pytest.fixture
def with_reference(record: ResultRecord) -> ResultRecord:
    about = Reference("facts-only.parquet", ("source_width",), 30, 0)
    values = tuple(value for value in record.metrics if value.task in ("attribution", "detection"))
    return replace(run_with(record, references={"facts-only": about}), references={"facts-only": values})


def test_groups_show_the_references_beside_the_model(with_reference: ResultRecord) -> None:
    rows = groups_table(with_reference).rows
    assert rows
    assert all(row["facts-only:auc"] == row["auc"] for row in rows)
    assert any(row["auc"] is not None for row in rows)


def test_every_number_of_a_reference_is_compared(with_reference: ResultRecord) -> None:
    values = with_reference.references["facts-only"]
    assert list(reference_differences(with_reference, {"facts-only": values})) == []
    found = [value for value in values if value.value is not None]
    changed = (replace(found[0], value=0.123), *found[1:], *(v for v in values if v.value is None))
    assert len(list(reference_differences(with_reference, {"facts-only": changed}))) == 1
    assert list(reference_differences(with_reference, {})) != []
    assert list(reference_differences(replace(with_reference, references={}), {"facts-only": values})) != []
    twice = replace(with_reference, references={"facts-only": (*values, values[0])})
    [line] = reference_differences(twice, {"facts-only": values})
    assert (line.stated, line.found) == (f"{len(values) + 1} numbers", f"{len(values)} once each")


def numbers(record: ResultRecord) -> tuple[Number, Number]:
    value = next(value for value in record.metrics if value.value is not None)
    draws = [np.array([1.0, 2.0, 4.0]), np.array([3.0, 3.0, 5.0])]
    one, other = (Number(value, draws=lambda drawn=drawn: drawn) for drawn in draws)
    return one, other


def test_a_mean_over_runs_is_that_of_each_resample(record: ResultRecord) -> None:
    one, other = numbers(record)
    mean = mean_number([one, other])
    assert mean.draws is not None
    assert mean.draws().tolist() == [2.0, 2.5, 4.5]
    lacking = Number(replace(one.value, value=None, null_reason=None))
    assert mean_number([one, lacking]).value.null_reason == "not defined for every seed"
    named = Number(replace(one.value, value=None, null_reason="no real faces"))
    assert mean_number([one, named]).value.null_reason == "no real faces"


def test_a_difference_needs_resamples_of_both(record: ResultRecord) -> None:
    one, other = numbers(record)
    found = compared(one, replace(other, draws=None), 10)
    assert (found.ci95, found.p) == (None, None)


def test_seeds_of_any_size_are_compared_one_by_one(tmp_path: Path) -> None:
    config = {"model": "toy", "seed": 0}
    for side, seeds in (("a", (1000, 1001)), ("b", (1000, 1002))):
        for seed in seeds:
            folder = tmp_path / side / f"seed-{seed}"
            record = write_run(folder, PROTOCOL, toy_predictions(PROTOCOL, 6, seed), resamples=0)
            facts = {**plain(record.run), "seed": seed, "config": {**config, "seed": seed}}
            write_run(folder, PROTOCOL, toy_predictions(PROTOCOL, 6, seed), resamples=0, run=facts)
    found = compare_runs(tmp_path / "a", tmp_path / "b", resamples=20)
    assert len(found.of_seeds) == 1
    assert "A has seeds 1000, 1001, B 1000, 1002; only seeds of both are compared one by one." in found.notes


def test_a_group_s_own_number_of_training_faces_decides_the_majority() -> None:
    seen = tuple(replace(group, train=50 if place == 1 else None) for place, group in enumerate(PROTOCOL.seen))
    protocol = replace(PROTOCOL, seen=seen, train_per_group=10, test_per_group=20)
    even = replace(protocol, seen=tuple(replace(group, train=None) for group in seen))
    assert {k: v.metrics for k, v in planned_scores(protocol).items()} != {
        k: v.metrics for k, v in planned_scores(even).items()
    }


def test_a_board_shows_references_that_only_some_of_its_records_have(with_reference: ResultRecord) -> None:
    facts = with_reference.references["facts-only"]
    gaze = Reference("gaze-only.parquet", ("pitch_rad", "yaw_rad"), 30, 0, {"estimator": "geometric"})
    about = {**with_reference.run.references, "gaze-only": gaze}
    later = replace(run_with(with_reference, references=about), references={"facts-only": facts, "gaze-only": facts})
    plain_record = replace(run_with(with_reference, references={}), references={})
    for records in ([with_reference, later], [later, with_reference], [plain_record, with_reference, later]):
        shown, notes = shown_references(records)
        assert shown == {"facts-only": facts, "gaze-only": facts}
        assert [note.partition(":")[0] for note in notes] == ["facts-only", "gaze-only"]
        assert "pitch, yaw of the gaze only, of geometric" in notes[1]
    assert shown_references([plain_record]) == ({}, [])
    other = replace(with_reference, references={"facts-only": facts[1:]})
    assert any("state different numbers" in note for note in shown_references([later, other])[1])
