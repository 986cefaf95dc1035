"""Looking for faces in several pictures at once, as on an accelerator, gives the rows of one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.crop.cropper import FaceCropper, load_crop_profile
from dfad_bench.ingest.media.base import Frame, Sampling
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.shard import ShardTask, crop_sample, run_shard
from dfad_bench.synthetic.faces import draw_face

EXACT = ["sample_id", "status", "reason", "faces", "width", "height", "source_sha256", "flags"]


@pytest.fixture(scope="module")
def drawn() -> list[Image.Image]:
    return [Image.fromarray(draw_face(4, f"train/real-studio/id{n:04d}_00.png")[0]) for n in range(5)]


@pytest.fixture
def samples(tmp_path: Path, drawn: list[Image.Image]) -> tuple[RawSample, ...]:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, image in enumerate(drawn):
        image.save(folder / f"{number}.png", compress_level=1)
    drawn[0].resize((300, 260)).save(folder / "5.png")
    (folder / "6.png").write_bytes(b"no image")
    Image.new("RGB", (31, 40)).save(folder / "7.png")
    Image.new("RGB", (200, 200)).save(folder / "8.png")
    paths = [folder / f"{number}.png" for number in range(9)]
    refused = RawSample("extra", "flux", None, "9.png", folder / "9.png", refusal="outside_root")
    return (*(RawSample("extra", "flux", None, p.name, p) for p in paths), refused)


def rows_of(samples: tuple[RawSample, ...], part: Path, seen: list[int]) -> list[dict]:
    part.parent.mkdir()
    task = ShardTask(part, samples, load_crop_profile("face-256-1.3"), "c" * 64, 60, verdicts={2: ("timeout", "slow")})
    run_shard(task, seen.append)
    import pyarrow.parquet as pq

    return pq.read_table(part).to_pylist()


def close(one: dict, other: dict) -> None:
    assert {key: one[key] for key in EXACT} == {key: other[key] for key in EXACT}
    for key, atol in (("box", 1e-3), ("landmarks", 1e-2), ("crop_affine", 1e-3)):
        if one[key] is not None:
            np.testing.assert_allclose(one[key], other[key], atol=atol)


@pytest.mark.heavy
@pytest.mark.parametrize("batch", [2, 4, 64])
def test_still_images(samples: tuple[RawSample, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int):
    seen: list[int] = []
    single = rows_of(samples, tmp_path / "one/part-00000.parquet", seen)
    assert seen == [*range(10), -1]
    found: list[int] = []
    find = FaceCropper.find
    monkeypatch.setattr(FaceCropper, "batch", batch)
    monkeypatch.setattr(FaceCropper, "find", lambda self, images: found.append(len(images)) or find(self, images))
    seen.clear()
    together = rows_of(samples, tmp_path / "many/part-00000.parquet", seen)
    assert set(seen) == {-1, *range(10)}
    assert max(found) == min(batch, 7)
    assert sum(found) == 7  # all that can be read and have no verdict, each once
    assert sorted(row["status"] for row in single) == sorted(
        ["ok"] * 5 + ["timeout", "unsupported_format", "too_small", "no_face", "outside_root"]
    )
    for one, other in zip(single, together, strict=True):
        close(one, other)


def test_frames_of_a_video(drawn: list[Image.Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def frames(sample: RawSample, sampling: Sampling) -> Iterator[Frame]:
        for index, image in enumerate(drawn):
            yield Frame(image, "0" * 64, index)
        raise ImageRefused("unreadable", "cut off")

    monkeypatch.setattr("dfad_bench.ingest.shard.read", frames)
    sample = RawSample("extra", "flux", None, "a.mp4", tmp_path / "a.mp4", medium="video")
    cropper = FaceCropper(load_crop_profile("face-256-1.3"))
    single = crop_sample(sample, cropper, 60)
    monkeypatch.setattr(FaceCropper, "batch", 2)
    together = crop_sample(sample, cropper, 60)
    assert [row["frame"] for row in together] == [0, 1, 2, 3, 4, None]
    assert (together[-1]["status"], together[-1]["reason"]) == ("unreadable", "cut off")
    for one, other in zip(single, together, strict=True):
        for row in (one, other):
            for key in EXACT:
                row.setdefault(key, None)
            for key in ("box", "landmarks", "crop_affine"):
                row.setdefault(key, None)
        close(one, other)


def test_the_memory_held_ahead_is_bounded(
    samples: tuple[RawSample, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    held: list[int] = []
    find = FaceCropper.find
    monkeypatch.setattr(FaceCropper, "batch", 64)
    monkeypatch.setattr("dfad_bench.ingest.shard._PIXELS", 250_000)
    monkeypatch.setattr(FaceCropper, "find", lambda self, images: held.append(len(images)) or find(self, images))
    rows_of(samples, tmp_path / "some/part-00000.parquet", [])
    assert held[0] == 3  # 320 by 320 pixels each
    assert sum(held) == 7
