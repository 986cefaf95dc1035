"""A Parquet image set from outside, made here: surveyed, built, audited and trained on."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.parquet_sets import class_label, write_set
from helpers.synthetic import synthetic_tree
from PIL import Image

from dfad_bench.cli.main import dfad

PROTOCOL = """
name: hub_set
version: 1
title: "A set of the hub"
changes: ["1: first version"]
image_size: 64
seen:
  - {label: 0, generator: real, dataset: hf_parquet}
  - {label: 1, generator: stylegan2, dataset: hf_parquet}
unseen: [{generator: flux, dataset: hf_parquet}]
on_short: warn
"""
FOLDERS = {
    "real-studio": ("Real", None),
    "synthetic-gan-a": ("Fake", "StyleGAN2"),
    "synthetic-flow-a": ("Fake", "FLUX"),
}


def hub_set(root: Path, faces: Path) -> Path:
    """Drawn faces as the hub keeps a set: a class label whose 1 is real, who made them, and JPEG among PNG."""
    for split in ("train", "test"):
        pictures, labels, makers = [], [], []
        for folder, (label, maker) in FOLDERS.items():
            for number, path in enumerate(sorted((faces / split / folder).glob("*.png"))):
                data = io.BytesIO()
                Image.open(path).convert("RGB").save(data, "JPEG" if number % 2 else "PNG", quality=95)
                pictures.append({"bytes": data.getvalue(), "path": path.name})
                labels.append(["Fake", "Real"].index(label))
                makers.append(maker)
        columns = {"label": labels, "generator": makers}
        features = {"label": class_label("Fake", "Real")}
        write_set(root / "data" / f"{split}-00000-of-00001.parquet", pictures, columns, features, group=7)
    return root


@pytest.mark.heavy
def test_a_set_of_the_hub_is_built_audited_and_trained_on(tmp_path: Path) -> None:
    root = hub_set(tmp_path / "set", synthetic_tree(tmp_path / "faces", per_group=12))
    (tmp_path / "hub_set.yaml").write_text(PROTOCOL)
    manifest, protocol = str(tmp_path / "m"), str(tmp_path / "hub_set.yaml")
    for words in (
        ["doctor", "--dataset", "hf_parquet", "--root", str(root)],
        ["build-manifest", "--dataset", "hf_parquet", "--root", str(root), "--crop", "raw-256", "--out", manifest],
        ["check-manifest", "--manifest", manifest, "--deep", "--audit"],
        ["check-manifest", "--manifest", manifest, "--protocol", protocol],
        ["train", "--model", "xception", "--size", "tiny", "--recipe", "quick", "--epochs", "1", "--device", "cpu",
         "--protocol", protocol, "--manifest", manifest, "--out", str(tmp_path / "run"), "--quiet"],
        ["verify-record", "--run", str(tmp_path / "run")],
    ):  # fmt: skip
        words += ["--workers", "0", "--quiet"] if "build-manifest" in words else []
        result = CliRunner().invoke(dfad, words)
        assert result.exit_code == 0, (words, result.output)
    assert (tmp_path / "run" / "record.json").is_file()
