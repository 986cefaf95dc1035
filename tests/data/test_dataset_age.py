"""A manifest of an earlier dataset file is told: its source keys may be others, so leaks are unknown."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import dfad_bench as dfad
from dfad_bench.cli.main import dfad as command
from dfad_bench.core.resources import shipped_names
from dfad_bench.data import dataset_age
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.sources.spec import load_dataset_spec


def test_every_shipped_dataset_says_its_version():
    for name in shipped_names("manifests", "datasets"):
        assert dataset_age._shipped_version(name) == load_dataset_spec(name).version
    assert dataset_age._shipped_version("mine") is None


def test_a_manifest_of_this_version_says_nothing(tiny_manifests: tuple[Path, Path]):
    assert not list(dataset_age.version_notes([Manifest.open(folder) for folder in tiny_manifests]))


def test_a_manifest_of_another_version_is_told(tiny_manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_age, "_shipped_version", lambda name: 2)
    (told,) = dfad.check_manifest(tiny_manifest).outdated
    assert told.startswith(f"{tiny_manifest}: built by version 1 of synthetic, shipped is 2: ")
    shown = CliRunner().invoke(command, ["check-manifest", "--manifest", str(tiny_manifest)])
    assert "built by version 1 of synthetic, shipped is 2" in " ".join(shown.stdout.split())


@pytest.mark.heavy
def test_a_training_with_such_a_manifest_warns(
    tiny_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_age, "_shipped_version", lambda name: 2)
    words = ["train", "--model", "majority", "--protocol", "synthetic", "--allow-partial", "--device", "cpu", "--quiet"]
    run = CliRunner().invoke(command, [*words, "--manifest", str(tiny_manifest), "--out", str(tmp_path / "run")])
    assert "built by version 1 of synthetic, shipped is 2" in " ".join((run.stdout + run.stderr).split()), run.output
