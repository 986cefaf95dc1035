"""`dfad list generators` by family, kind, months and manifests; what is left out for want of a fact is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.trees import extra_tree

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.months import MonthRange
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.ingest.build import build_manifest


def run(*arguments: object) -> Result:
    return CliRunner().invoke(dfad, ["list", "generators", *map(str, arguments)])


def names(*arguments: object) -> list[str]:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


@pytest.mark.parametrize(
    ("months", "first", "last"),
    [
        ("2025-01..", "2025-01", "9999"),
        ("..2019-06", "", "2019-06"),
        ("2025-01..2025-06", "2025-01", "2025-06"),
        ("2024-12", "2024-12", "2024-12"),
    ],
)
def test_months_are_from_and_to_both_included(months: str, first: str, last: str) -> None:
    wanted = [g.key for g in taxonomy() if g.released is not None and first <= g.released <= last]
    assert names("--released", months) == wanted
    assert len(wanted) >= 5


def test_generators_without_a_month_are_said_to_be_left_out() -> None:
    assert "left out, since no month is known: real, unlabelled, fake" in run("--released", "2025-01..").stderr
    rows = json.loads(run("--released", "2025-01..", "--type", "FS", "--json").stdout)
    assert "faceswap_iae" in rows["notes"][0]
    assert "faceswap_iae" not in [row["name"] for row in rows["rows"]]


def test_filters_are_all_to_hold_and_values_of_one_are_any() -> None:
    swaps, talking = names("--type", "fs"), names("--type", "TF")
    assert sorted(names("--type", "FS", "--type", "TF")) == sorted([*swaps, *talking])
    both = names("--type", "TF", "--family", "flow_matching", "--released", "2025-01..")
    recent = set(names("--released", "2025-01.."))
    assert both == [name for name in names("--family", "flow_matching") if name in talking and name in recent]
    assert "gfpgan" in names("--type", "processed")
    assert "instantid" in names("--type", "personalised")
    assert names("--type", "GR", "--family", "vae") == []


def test_long_says_month_and_source() -> None:
    (row,) = [
        r for r in json.loads(run("--type", "FR", "--long", "--json").stdout)["rows"] if r["name"] == "liveportrait"
    ]
    assert (row["released"], row["released_of"], row["released_source"]) == ("2024-07", "paper", "V arXiv 2407.03168")


def test_those_of_manifests(tmp_path: Path) -> None:
    build_manifest("extra", extra_tree(tmp_path / "root"), tmp_path / "m", crop="raw-256", workers=0)
    assert names("--in-manifest", tmp_path / "m") == ["flux", "vae"]
    assert names("--in-manifest", tmp_path / "m" / "manifest.json", "--released", "2024-01..") == ["flux"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--released", "2025"), "--released: '2025' is no month of a year; a range of months is FROM..TO"),
        (("--released", "2025-13.."), "--released: '2025-13' is no month"),
        (("--released", ".."), "--released: '..' names no month"),
        (("--released", "2025-06..2025-01"), "--released: '2025-06..2025-01' ends before it begins"),
        (("--released", "2025-01..2025-02..2025-03"), "--released: '2025-02..2025-03' is no month"),
        (("--family", "difusion"), "no family named 'difusion'. Did you mean diffusion?"),
        (("--type", "XX"), "no type of forgery named 'XX'"),
        (("--in-manifest", "nowhere"), "nowhere: no such manifest"),
    ],
)
def test_a_bad_filter_is_one_line(options: tuple[str, ...], message: str) -> None:
    result = run(*options)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_filters_are_of_generators_only() -> None:
    result = CliRunner().invoke(dfad, ["list", "models", "--released", "2025-01.."])
    assert result.exit_code == 1
    assert "are of generators, not of models" in result.stderr


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("..2023-12", "2024-01..", False),
        ("..2024-01", "2024-01..", True),
        ("2022-01..2022-12", "2022-06", True),
        ("2022-01..", "2023-01..", True),
        ("..2022-01", "..2020-01", True),
    ],
)
def test_ranges_that_share_a_month_overlap(one: str, other: str, overlap: bool) -> None:
    first, second = MonthRange.parse(one), MonthRange.parse(other)
    assert first.overlaps(second) == second.overlaps(first) == overlap
    assert MonthRange.parse(str(first)) == first


def test_a_range_is_checked_where_it_is_read() -> None:
    with pytest.raises(ConfigError, match=r"^protocol: released: 'x' is no month of a year"):
        MonthRange.parse("x..", "protocol: released")
