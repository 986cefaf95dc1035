"""Parsing panels, histogram and FID by generator (BMRL Figs. 2 and 7) from a parser's file, by the command alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from helpers.bisenet import write_small_bisenet
from helpers.toy import toy_row
from PIL import Image

from dfad_bench.cli.main import dfad
from dfad_bench.core.label_colours import label_colours
from dfad_bench.core.weights import weight_files
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.parsing.features import parts_of
from dfad_bench.views.bisenet import MEAN, SIDE, STD, BiSeNet, load_bisenet

VIEW_SIDE = 64
FAMILIES = {
    "synthetic-gan-a": "gan", "synthetic-gan-b": "gan",
    "synthetic-diffusion-a": "diffusion", "synthetic-diffusion-b": "diffusion",
}  # fmt: skip
NAME = "bisenet_face_parsing"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Four sources of real faces, and as many of each of two GANs and two diffusion models."""
    rows = [toy_row("synthetic", "real", "test", person, 0) for person in range(4)]
    for number, (generator, family) in enumerate(FAMILIES.items()):
        people = range(10 * (number + 1), 10 * (number + 1) + 4)
        rows += [toy_row("synthetic", generator, "test", person, 0, family=family) for person in people]
    return write_manifest(tmp_path_factory.mktemp("bisenet") / "faces", "synthetic", rows)


def plain_labels(network: BiSeNet, crop: np.ndarray) -> np.ndarray:
    """(64, 64) of a crop: enlarged, normalised, through the network, the middle of each cell."""
    face = np.asarray(Image.fromarray(crop).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    x = torch.from_numpy(face.copy()).permute(2, 0, 1)[None].float() / 255
    x = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    step = SIDE // VIEW_SIDE
    with torch.no_grad():
        return network(x)[0].argmax(0).numpy()[step // 2 :: step, step // 2 :: step]


def root_shares_of_parts(labels: np.ndarray) -> list[float]:
    parts = parts_of(19)[labels]
    return [float(np.sqrt((parts == part).mean())) for part in range(10)]


def summed_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Of (n, 10) and (m, 10), part by part: squares of differences of means and of deviations."""
    means, deviations = one.mean(0) - other.mean(0), one.std(0, ddof=1) - other.std(0, ddof=1)
    return float((means**2 + deviations**2).sum())


@pytest.mark.heavy
def test_the_command_makes_maps_panels_and_distances_from_a_file_found_by_name(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_small_bisenet(tmp_path / str(weight_files()[NAME].file))
    monkeypatch.setenv("DFAD_WEIGHTS", str(tmp_path))
    words = ["parsing-fid", "--manifest", str(manifest.folder), "--view", f"parsing.weights={NAME}"]
    words += ["--side", str(VIEW_SIDE), "--min-faces", "4", "--out", str(tmp_path / "out"), "--json", "--quiet"]
    result = CliRunner().invoke(dfad, words)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert (facts["parser"], facts["features"]) == ("BiSeNet", "shares")
    assert {row["generator"]: row["family"] for row in facts["rows"]} == FAMILIES

    network = load_bisenet(file)
    frame = manifest.frame(["sample_id", "generator"]).set_index("sample_id")["generator"]
    maps = {crop.sample_id: plain_labels(network, crop.pixels()) for crop in manifest.crops(set(frame.index))}
    vectors = pd.DataFrame({name: root_shares_of_parts(labels) for name, labels in maps.items()}).T
    real = vectors[frame.loc[vectors.index] == "real"].to_numpy()
    for row in facts["rows"]:
        forged = vectors[frame.loc[vectors.index] == row["generator"]].to_numpy()
        assert row["fid"] == pytest.approx(summed_distance(real, forged), rel=0.02, abs=1e-4), row["generator"]

    colours = np.array(label_colours(), np.uint8)
    common = [label for label in range(1, 19) if np.mean([(labels == label).mean() for labels in maps.values()]) > 0.1]
    assert common  # of labels that a white page cannot be taken for
    for stem, texts in (
        ("parsing-fid", ["parser BiSeNet", "FID of the parsing maps"]),
        ("parsing-families", ["parser BiSeNet", "GAN", "diffusion", "real", "Histogram"]),
    ):
        svg = (tmp_path / "out" / f"{stem}.svg").read_text(encoding="utf-8")
        assert all(text in svg for text in texts), stem
        assert "stand-in" not in svg
        page = np.asarray(Image.open(tmp_path / "out" / f"{stem}.png").convert("RGB"))
        for label in common:
            assert (page == colours[label]).all(axis=2).sum() > 100, (stem, label)
