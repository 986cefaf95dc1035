"""Two releases of the same originals, as they lie on disk: the leak between them is found, dropped and told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.video_trees import numbered, write_video

from dfad_bench.cli.main import dfad
from dfad_bench.core.protocol import load_protocol
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.pools import sources_of
from dfad_bench.data.select import select
from dfad_bench.ingest.build import build_manifest

PROTOCOL = """
name: across
version: 1
title: "Celeb-DF learnt, DFDM met in the test only"
changes: ["1: first version"]
image_size: 64
seen:
  - {label: 0, generator: real, dataset: celeb_df}
  - {label: 1, generator: celeb_df, dataset: celeb_df}
unseen: [{generator: dfaker, dataset: dfdm}]
on_short: warn
"""
CELEB = ["Celeb-real/id1_0003.mp4", "Celeb-synthesis/id1_id2_0003.mp4"] + [
    name.format(number)
    for number in range(3, 8)
    for name in ("Celeb-real/id{0}_0001.mp4", "Celeb-synthesis/id{0}_id2_0001.mp4")
]
TESTED = ["Celeb-real/id7_0001.mp4", "Celeb-synthesis/id7_id2_0001.mp4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifests of Celeb-DF, whose id1 is a training video, and of DFDM, whose one video is a swap on id1."""
    root = tmp_path_factory.mktemp("across")
    for seed, name in enumerate([f"celeb/{name}" for name in CELEB] + ["dfdm/DFDM_crf23/DFaker/id1_id9_0003_d.mp4"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(write_video((numbered(i, seed, 96, 96) for i in range(3)), preset="ultrafast"))
    lines = "".join(f"{int('real' in name)} {name}\n" for name in TESTED)
    (root / "celeb/List_of_testing_videos.txt").write_text(lines)
    build_manifest("celeb_df", root / "celeb", root / "m-celeb", crop="raw-256", workers=0)
    build_manifest("dfdm", root / "dfdm", root / "m-dfdm", crop="raw-256", workers=0)
    (root / "across.yaml").write_text(PROTOCOL)
    return root


def test_the_leak_is_dropped(folder: Path) -> None:
    both = [Manifest.open(folder / "m-celeb"), Manifest.open(folder / "m-dfdm")]
    protocol = load_protocol(str(folder / "across.yaml"))
    chosen = select(protocol, both)
    assert chosen.leaks_between == {"celeb_df with dfdm": 6}  # three frames of id1, real and forged
    assert chosen.dropped_leaks == 6
    assert "celebdf:id1" in set(sources_of(chosen.tested))
    assert "celebdf:id1" not in set(sources_of(chosen.trained_on))
    assert (
        "6 of the training faces left out share a source with another dataset: celeb_df with dfdm" in chosen.leak_notes
    )


def test_the_audit_tells_it(folder: Path) -> None:
    words = ["check-manifest", "--manifest", str(folder / "m-celeb"), "--manifest", str(folder / "m-dfdm")]
    result = CliRunner().invoke(dfad, [*words, "--protocol", str(folder / "across.yaml"), "--audit"])
    assert result.exit_code == 0, result.output
    assert "1 sources (6 training faces" in " ".join(result.stdout.split())


@pytest.mark.heavy
def test_a_training_tells_it(folder: Path) -> None:
    words = ["train", "--model", "xception", "--size", "tiny", "--recipe", "quick", "--epochs", "1", "--device", "cpu"]
    words += ["--protocol", str(folder / "across.yaml"), "--out", str(folder / "run"), "--quiet"]
    for name in ("m-celeb", "m-dfdm"):
        words += ["--manifest", str(folder / name)]
    result = CliRunner().invoke(dfad, words)
    assert result.exit_code == 0, result.output
    assert "share a source with another dataset: celeb_df with dfdm" in " ".join(result.output.split())
    leakage = json.loads((folder / "run" / "record.json").read_text())["manifest"]["leakage"]
    assert (leakage["dropped_training_rows"], leakage["identity_overlap"]) == (6, 0)
