"""Manifests checked and paired, skeletons, lists and costs in Python: what the commands print, as objects."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import dfad_bench as dfad
from dfad_bench.cli.main import dfad as command
from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.labels import Family
from dfad_bench.core.registry import model_names
from dfad_bench.core.taxonomy import Taxonomy, taxonomy
from dfad_bench.data.pair_table import read_pairs


def printed(*words: object) -> dict:
    result = CliRunner().invoke(command, [*map(str, words), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.heavy
def test_a_check_has_facts_needs_and_sheets(tiny_manifests: tuple[Path, Path], tmp_path: Path) -> None:
    opened = [dfad.open_manifest(folder) for folder in tiny_manifests]
    found = dfad.check_manifests(opened, "synthetic@1", contact_sheet=tmp_path / "faces.png")
    assert found.sheets == (tmp_path / "faces.png",)
    assert (found.not_drawn, found.findings, found.errors) == (None, (), ())
    shown = printed(
        "check-manifest", *(w for f in tiny_manifests for w in ("--manifest", f)), "--protocol", "synthetic@1"
    )
    assert [item["rows"] for item in shown["manifests"]] == [facts.rows for facts in found.facts]
    assert [row["group"] for row in shown["groups"] if row["missing"]] == list(found.lacking)
    alone = dfad.check_manifests((), "synthetic")
    assert len(alone.lacking) == len(alone.needs) > 0
    assert dfad.check_manifests(tiny_manifests[0]).facts[0] == dfad.check_manifest(tiny_manifests[0])


@pytest.mark.heavy
def test_a_sheet_that_cannot_be_drawn_hides_nothing(tiny_manifest: Path, tmp_path: Path) -> None:
    found = dfad.check_manifests(tiny_manifest, contact_sheet=tmp_path / "faces.jpg")
    assert found.facts[0].rows > 0
    assert "must be a .png file" in (found.not_drawn or "")
    line = ["check-manifest", "--manifest", str(tiny_manifest), "--contact-sheet", str(tmp_path / "faces.jpg")]
    result = CliRunner().invoke(command, line)
    assert result.exit_code == 1
    assert "total" in result.stdout
    assert "must be a .png file" in result.stderr


@pytest.mark.parametrize("asked", [{"audit": True}, {"deep": True}, {"contact_sheet": "a.png"}])
def test_what_needs_a_manifest_says_so(asked: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="needs --manifest"):
        dfad.check_manifests((), "synthetic", **asked)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--refused needs --contact-sheet"):
        dfad.check_manifests((), "synthetic", refused=["faces"])


@pytest.mark.heavy
def test_pairs_are_stored_and_counted(tiny_manifest: Path) -> None:
    found = dfad.infer_pairs(str(tiny_manifest))
    stored = read_pairs(dfad.open_manifest(tiny_manifest))
    assert stored is not None
    assert sorted(stored["sample_id"]) == sorted(found.pairs["sample_id"])
    assert sum(row["pairs"] for row in found.rows) == len(found.pairs) > 0
    lacking = {row["generator"]: row["faces"] - row["pairs"] for row in found.rows if row["faces"] > row["pairs"]}
    assert found.unpaired.groupby("generator")["faces"].sum().to_dict() == lacking
    shown = printed("infer-pairs", "--manifest", tiny_manifest, "--quiet")
    assert shown["rows"] == list(found.rows)
    assert repr(found) == f"PairedFaces(synthetic: {len(found.pairs)} pairs)"


def test_skeletons_are_written_once(tmp_path: Path) -> None:
    files = dfad.new_skeleton("protocol", "my_table", str(tmp_path / "mine"))
    assert files == [tmp_path / "mine" / "protocols" / "my_table.yaml"]
    with pytest.raises(ConfigError, match="there already"):
        dfad.new_skeleton("protocol", "my_table", tmp_path / "mine")
    with pytest.raises(UnknownNameError, match="Did you mean protocol"):
        dfad.new_skeleton("protocal", "other")


def test_lists_are_tables_of_every_kind() -> None:
    assert [row["name"] for row in dfad.list_names("models").rows] == dfad.list_models() == model_names()
    frame = dfad.list_names("recipes", described=True).to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert {"name", "epochs", "origin"} <= set(frame.columns)
    with pytest.raises(UnknownNameError, match="Did you mean recipes"):
        dfad.list_names("recipe")


def test_several_models_are_profiled_in_their_order() -> None:
    found = dfad.profile_models(["majority", "xception"], size="tiny")
    assert [profile.model for profile in found] == ["majority", "xception"]
    assert found[1] == dfad.profile_model("xception", size="tiny")


def test_a_generator_whose_row_was_edited_since_the_build_is_named(
    tiny_manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dfad.check_manifest(tiny_manifest).relabelled == ()
    edited = [
        replace(row, family=Family.FLOW, attribution_label=77) if row.key == "synthetic-gan-a" else row
        for row in taxonomy()
        if row.key != "synthetic-diffusion-a"
    ]
    monkeypatch.setattr("dfad_bench.ingest.check.taxonomy", lambda: Taxonomy(tuple(edited)))
    told = dfad.check_manifest(tiny_manifest).relabelled
    label = taxonomy()["synthetic-gan-a"].attribution_label
    assert sorted(told) == [
        "synthetic-diffusion-a: not in the taxonomy; it was when the manifest was built (--include)",
        "synthetic-gan-a: its row of the taxonomy was changed since the build (family gan, now flow;"
        f" attribution_label {label}, now 77); build it again",
    ]
    result = CliRunner().invoke(command, ["check-manifest", "--manifest", str(tiny_manifest)])
    assert result.exit_code == 0
    assert "family gan, now flow" in " ".join(result.stdout.split())
