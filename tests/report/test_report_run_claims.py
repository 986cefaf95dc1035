"""Claims of papers tested on runs: pairs by one setting, differences over models, verdicts in both directions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.runs import run_facts, write_run
from helpers.toy import toy_predictions, toy_protocol
from scipy.stats import binomtest

from dfad_bench.core.errors import ConfigError
from dfad_bench.metrics.spread import Spread, difference_p
from dfad_bench.report.claim_tables import claim_tables, printed_lines, printed_table, sign_test
from dfad_bench.report.claims_of_papers import CLAIMS
from dfad_bench.report.compare import numbers_by_place, read_run
from dfad_bench.report.paired_numbers import LEVEL, mean_number
from dfad_bench.report.run_claims import ALL, ClaimResult, ClaimRow, check_run_claim
from dfad_bench.report.run_settings import setting_of

PROTOCOL = toy_protocol()
BASE = toy_predictions(PROTOCOL, 25)
RESAMPLES = 120


def predictions(lift: float, seed: int) -> pd.DataFrame:
    """Predictions of a model: the right class and side by `lift` logits more, and noise of its training."""
    rng = np.random.default_rng(seed)
    columns = [name for name in BASE if name.startswith("p_") and name != "p_fake"]
    logits = np.log(BASE[columns].to_numpy() + 1e-9) + 0.3 * rng.normal(size=(len(BASE), len(columns)))
    seen = BASE["attribution_label"].to_numpy() >= 0
    logits[np.flatnonzero(seen), BASE["attribution_label"].to_numpy()[seen]] += lift
    probs = np.exp(logits - logits.max(1, keepdims=True))
    fake = np.log(BASE["p_fake"] / (1 - BASE["p_fake"])) + lift * (2 * BASE["detection_label"] - 1)
    fake += 0.3 * rng.normal(size=len(BASE))
    made = BASE.copy()
    made[columns] = probs / probs.sum(1, keepdims=True)
    return made.assign(p_fake=1 / (1 + np.exp(-fake)))


def run(folder: Path, model: str, loss: str, lift: float, seed: int, heads: str = "both", **config: Any) -> Path:
    settings = {"model": model, "seed": seed, "heads": heads, "options": {"centre_loss": loss}, **config}
    facts = run_facts(PROTOCOL, BASE, "0" * 64)
    out = folder / f"{model}-{loss}-{heads}-{seed}"
    about = facts["model"] | {"name": model, "display": model.title(), "heads": heads}
    where = facts["run"] | {"seed": seed, "config": settings}
    write_run(out, PROTOCOL, predictions(lift, seed + 100 * (loss == "dfacc")), resamples=0, model=about, run=where)
    return out


def runs(folder: Path, lifts: dict[str, float], seeds: int = 3) -> list[Path]:
    """Runs with and without DFACC; `lifts` by model."""
    return [
        run(folder, model, loss, lift * (loss == "dfacc"), seed)
        for model, lift in lifts.items() for loss in ("none", "dfacc") for seed in range(seeds)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def lifted(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models, both lifted by DFACC, three seeds a side."""
    return runs(tmp_path_factory.mktemp("claims"), {"one": 1.6, "two": 1.4})


def checked(folders: list[Path], claim: str = "dfacc-lifts") -> ClaimResult:
    return check_run_claim(CLAIMS[claim], folders, resamples=RESAMPLES)


def row(found: ClaimResult, metric: str, scope: str = ALL) -> ClaimRow:
    (only,) = (r for r in found.rows if (r.metric, r.scope) == (metric, scope))
    return only


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("better", "worse", "verdict"),
    [("dfacc", "none", "as claimed"), ("none", "dfacc", "opposite of what is claimed")],
)
def test_a_lift_of_all_models_is_decided_in_its_direction(
    lifted: list[Path], better: str, worse: str, verdict: str
) -> None:
    claim = replace(CLAIMS["dfacc-lifts"], better=better, worse=worse)
    found = check_run_claim(claim, lifted, resamples=RESAMPLES)
    of_all = row(found, "seen_accuracy")
    assert (of_all.verdict, of_all.models, of_all.seeds) == (verdict, 2, (3, 3))
    assert of_all.ci95[0] <= of_all.difference <= of_all.ci95[1]
    assert of_all.difference == pytest.approx(
        np.mean([row(found, "seen_accuracy", name).difference for name in ("One", "Two")])
    )
    assert [r.scope for r in found.rows] == [ALL] * 3 + ["One"] * 3 + ["Two"] * 3
    for r in found.rows:
        assert r.p_holm >= r.p
        assert (r.verdict == "undecided") == (r.p_holm >= LEVEL)


@pytest.mark.heavy
def test_the_error_is_of_sources_and_seeds(lifted: list[Path]) -> None:
    """Against a plain computation: variance of the mean paired draws, and of the seeds of each side over models."""
    found = row(checked(lifted), "seen_accuracy")
    place = ("attribution", "seen_accuracy", "seen", "macro", None)
    numbers = [numbers_by_place(read_run(folder), PROTOCOL, RESAMPLES, 0)[place] for folder in lifted]
    sides = [numbers[start : start + 3] for start in range(0, 12, 3)]  # none and dfacc of each model
    draws = sum((-1) ** (k + 1) * np.mean([number.draws() for number in side], axis=0) for k, side in enumerate(sides))
    sources = np.var(draws / 2, ddof=1)
    seeds = sum(np.var([number.value.value for number in side], ddof=1) / 3 for side in sides) / 4
    means = [mean_number(side).value.value for side in sides]
    assert found.difference == pytest.approx((means[1] - means[0] + means[3] - means[2]) / 2)
    plain = [Spread(wide * float(np.sqrt(sources + seeds)), df) for wide, df in ((1.0, 1e6), (1.4, 3.0))]
    # the toolkit enlarges the variance of few sources and knows it roughly, so its p is larger, but not by much
    least, most = (difference_p(found.difference, of, (0.0, 1.0)) for of in plain)
    assert least <= found.p <= most


@pytest.mark.heavy
def test_one_seed_needs_three_models(lifted: list[Path], tmp_path: Path) -> None:
    one_seed = [folder for folder in lifted if folder.name.endswith("-0")]
    assert {r.verdict for r in checked(one_seed).rows} == {
        "not testable: too few: one seed a side, and fewer than 3 models"
    }
    three = checked([*one_seed, *runs(tmp_path, {"three": 1.2}, seeds=1)])
    assert (row(three, "seen_accuracy").counts, row(three, "seen_accuracy").p is None) == ("sources, models", False)
    assert row(three, "seen_accuracy", "One").p is None


@pytest.mark.heavy
def test_too_few_sources_are_not_testable(tmp_path: Path) -> None:
    folders = runs(tmp_path, {"one": 1.0}, seeds=1)
    few = BASE.assign(source_key="all")
    for folder in folders:
        record = read_run(folder).record
        model = {**vars(record.model), "init": {"kind": "random"}}
        write_run(folder, PROTOCOL, few, resamples=0, model=model, run=vars(record.run))
    assert all(r.verdict.startswith("not testable: too few sources (") for r in checked(folders).rows)


def test_runs_pair_where_one_setting_differs_alone(lifted: list[Path], tmp_path: Path) -> None:
    folders = lifted[:6]
    odd = run(tmp_path, "two", "none", 0.0, 0), run(tmp_path, "two", "dfacc", 0.0, 0, recipe={"name": "other"})
    vanilla = [run(tmp_path, "one", "vcc", 0.0, seed) for seed in (0, 1)]
    other = run(tmp_path, "one", "none", 0.0, 7, recipe={"name": "other"})
    found = checked([*folders, *odd, *vanilla, other])
    assert {r.scope for r in found.rows} == {"One"}
    assert found.left_out[0] == "One: centre_loss is 'vcc', neither dfacc nor none (2 times)"
    assert "One, centre_loss none: no run on the other side (dfacc is there, with other recipe)" in found.left_out
    assert "Two, centre_loss none: no run on the other side (dfacc is there, with other recipe)" in found.left_out
    with pytest.raises(ConfigError, match="no two runs differ in centre_loss alone"):
        checked(list(odd))
    with pytest.raises(ConfigError, match="a second run of One, centre_loss none, seed 0"):
        checked([*folders, folders[0]])
    with pytest.raises(ConfigError, match="no record.json; not the folder of a finished run"):
        checked([tmp_path / "nowhere"])


@pytest.mark.heavy
def test_more_classes_are_the_heads(tmp_path: Path) -> None:
    folders = [
        run(tmp_path, "one", "none", 0.8 * (heads == "both"), seed + 10 * (heads == "both"), heads)
        for heads in ("both", "detection") for seed in range(2)
    ]  # fmt: skip
    found = checked(folders, "classes-ease-detection")
    assert {r.task for r in found.rows} == {"detection"}
    assert len(found.rows) == 4
    assert all(r.difference > 0 for r in found.rows)


def test_a_models_own_default_and_variants_count(tmp_path: Path) -> None:
    record = read_run(run(tmp_path, "one", "none", 0.0, 0)).record

    def of(model: str, options: dict[str, Any]) -> str:
        config = {**record.run.config, "model": model, "options": options}
        changed = replace(record, model=replace(record.model, name=model), run=replace(record.run, config=config))
        return setting_of(changed, "centre_loss")

    assert of("bmrl", {}) == "dfacc"
    assert of("bmrl", {"variant": "vcc"}) == "vcc"
    assert of("bmrl", {"variant": "dfa"}) == "none"
    assert of("clip", {}) == "none"
    assert of("clip", {"centre_loss": "vcc"}) == "vcc"


def test_printed_tables_are_counted() -> None:
    assert sign_test(5, 6) == pytest.approx(binomtest(5, 6).pvalue)
    assert sign_test(3, 6) == 1.0
    four, seven = (CLAIMS[name].printed() for name in ("dfacc-over-vcc", "classes-ease-detection"))
    assert [(cells.row, cells.column, round(cells.better - cells.worse, 2)) for cells in four] == [
        ("clip", "seen ACC", 10.03), ("bmrl", "seen ACC", 3.15), ("bmrl", "unseen ACC", 3.84),
    ]  # fmt: skip
    assert printed_lines(seven) == [
        "6 of 6 printed differences are as claimed, without seeds or intervals.",
        "seen ACC: 6 of 6 models as claimed; sign test over models, two-sided, p = 0.03.",
    ]
    assert CLAIMS["dfacc-lifts"].printed() == []


@pytest.mark.heavy
def test_tables_say_the_claim_its_reading_and_the_printed_cells(lifted: list[Path]) -> None:
    (measured,) = claim_tables(CLAIMS["dfacc-lifts"], checked(lifted))
    text = measured.render("markdown")
    for words in ("can be introduced into DFA models", "Taken at its word", "all models (2)", "Two", "as claimed"):
        assert words in text
    claim = CLAIMS["dfacc-over-vcc"]
    assert "89.07" in printed_table(claim, claim.printed()).render("markdown")
