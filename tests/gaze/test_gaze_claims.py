"""The test of claims about families: two-sided, corrected over its scopes, and over generators whose gaze is eyes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfad_bench.gaze.analysis import GazeReport
from dfad_bench.gaze.claims import ALL, CLAIMS, check_claims, gaze_is_eyes
from dfad_bench.gaze.fid import FidStudy
from dfad_bench.gaze.pairs import PairStudy
from dfad_bench.gaze.rows import GeneratorGaze
from dfad_bench.metrics.paired import holm


def row(name: str, family: str, distance: float, *, forgery: str = "FS", heads: float | None = 0.0) -> GeneratorGaze:
    fid = FidStudy(60, max(distance, 0), max(distance, 0), debiased_rad2=distance, sources_effective=60)
    return GeneratorGaze("toy", name, forgery, family, "toy", 60, 0, 0.0, heads, fid, PairStudy(0))


def rows_of(gan: list[float], diffusion: list[float], forgery: str = "FS") -> list[GeneratorGaze]:
    sides = {"gan": gan, "diffusion": diffusion}
    return [row(f"{forgery}-{f}-{i}", f, d, forgery=forgery) for f, ds in sides.items() for i, d in enumerate(ds)]


@pytest.mark.heavy
def test_where_nothing_differs_a_verdict_is_rare_in_either_direction() -> None:
    """Of a one-sided test whose every other sign was called "not as claimed", half of all verdicts are false."""
    said: list[str] = []
    in_any_scope = 0
    for turn in range(300):
        rng = np.random.default_rng([7, turn])
        rows = [
            *rows_of(*rng.exponential(1, (2, 4)).tolist(), "FS"),
            *rows_of(*rng.exponential(1, (2, 4)).tolist(), "EFS"),
        ]
        verdicts = [test.verdict for test in check_claims(rows)]
        said.append(verdicts[0])
        in_any_scope += any(verdict.endswith("as claimed") for verdict in verdicts)
    assert said.count("as claimed") + said.count("not as claimed") <= 300 * 0.05 + 2 * np.sqrt(300 * 0.05 * 0.95)
    assert in_any_scope <= 300 * 0.05 + 2 * np.sqrt(300 * 0.05 * 0.95)
    assert said.count("undecided") > 250


def test_p_is_two_sided_and_corrected_over_the_scopes_that_can_decide() -> None:
    rng = np.random.default_rng(0)
    rows = rows_of(*rng.exponential(1, (2, 5)).tolist(), "FS") + rows_of([3.0, 1.0], [2.0], "EFS")
    tests = check_claims(rows)
    deciding = [test for test in tests if test.smallest_p_two_sided <= 0.05]
    assert [test.scope for test in tests if test not in deciding] == ["within EFS"]
    assert [test.p_holm for test in deciding] == holm([test.p_two_sided for test in deciding])
    short = next(test for test in tests if test.scope == "within EFS")
    assert (short.verdict, short.p_holm) == ("too few generators to tell", None)
    assert all(test.p_two_sided >= min(test.p, 1 - test.p) for test in tests)


def test_mirrored_families_have_one_p_and_opposite_verdicts() -> None:
    high, low = [9.0, 8.0, 7.0, 6.0], [1.0, 2.0, 3.0]
    (there,), (back,) = check_claims(rows_of(high, low)), check_claims(rows_of(low, high))
    assert there.p_holm == back.p_holm == pytest.approx(1 / 35)
    assert (there.verdict, back.verdict) == ("as claimed", "not as claimed")
    assert there.difference == pytest.approx(-back.difference)


def test_generators_whose_gaze_is_the_head_are_marked_and_left_out() -> None:
    eyes = rows_of([5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.0])
    heads = [row("ddpm", "diffusion", 90.0, heads=1.0), row("stargan", "gan", 80.0, heads=1.0)]
    (with_heads,), (alone,) = check_claims([*eyes, *heads]), check_claims(eyes)
    assert with_heads.left_out == ("ddpm", "stargan")
    assert replace(with_heads, left_out=()) == alone
    assert [gaze_is_eyes(row) for row in heads] == [False, False]
    flat = GazeReport((eyes[0], heads[0]), PairStudy(0), (), {}).flat()
    assert [entry["gaze_is_eyes"] for entry in flat[:2]] == [True, False]
    assert gaze_is_eyes(row("vae", "other", 1.0, heads=None))  # nobody knows


def test_another_claim_is_a_row_of_the_table_and_shares_the_correction() -> None:
    """A claim that GAN is nearer, by another distance: the same generators, the opposite sign."""
    reverse = replace(
        CLAIMS[0], name="toy", nearer="gan", farther="diffusion", distance=lambda row: 2 * row.fid.fid_rad2
    )
    rows = rows_of([9.0, 8.0, 7.0, 6.0], [1.0, 2.0, 3.0, 4.0])
    first, second = check_claims(rows, claims=(*CLAIMS, reverse))
    assert [(test.claim, test.scope) for test in (first, second)] == [("gaze-fid", ALL), ("toy", ALL)]
    assert second.difference == pytest.approx(-2 * first.difference)
    assert (second.gan, second.diffusion) == (4, 4)
    assert first.p_holm == second.p_holm == pytest.approx(2 * 2 / 70)
    assert {first.verdict, second.verdict} == {"undecided"}
    assert check_claims(rows)[0].verdict == "as claimed"


def test_distances_below_zero_count_as_they_are() -> None:
    """Cut at zero one by one, the noisier family would have the larger mean."""
    (test,) = check_claims(rows_of([2.0, -2.0, 1.0, -1.0], [0.1, -0.1, 0.05, -0.05]))
    assert test.difference == pytest.approx(0)
    assert test.verdict == "undecided"


def test_the_sentence_states_the_p_its_verdict_is_by() -> None:
    """The least p of four generators against four is 2 of 70, and one of 70 on one side."""
    from dfad_bench.api.gaze import claim_facts
    from dfad_bench.report.gaze.estimators import claim_line

    (told,) = (claim_facts("toy", test) for test in check_claims(rows_of([9.0, 8.0, 7.0, 6.0], [1.0, 2.0, 3.0, 4.0])))
    assert claim_line(told).count("p (Holm) 0.0286, 4 diffusion") == 1
    assert "p (Holm) 0.0429" in claim_line(told | {"p_holm": 0.0429})  # corrected over several scopes
    assert "p (Holm) <0.0001" in claim_line(told | {"p_holm": 1e-9})
    (short,) = (claim_facts("toy", test) for test in check_claims(rows_of([3.0, 1.0], [2.0])))
    assert f"p {short['p_two_sided']:.4f}, 1 diffusion" in claim_line(short)
