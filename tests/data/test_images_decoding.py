from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.trees import picture, save
from PIL import Image

from dfad_bench.data.images import (
    ImageRefused,
    decode_crop,
    decode_image,
    encode_png,
    perceptual_hash,
    read_source,
)

TURNED = {  # what a viewer shows for each EXIF orientation of stored pixels
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def outcome(source: bytes | Path) -> str:
    """The mode of the decoded image, or the status and reason of its refusal; anything else is raised."""
    try:
        mode = decode_image(source).mode
    except ImageRefused as refused:
        verdict = refused
    else:
        assert mode == "RGB"
        return mode
    assert verdict.status in ("unreadable", "unsupported_format", "too_large")
    assert verdict.reason
    assert "\n" not in verdict.reason
    return verdict.status


@pytest.mark.parametrize("orientation", sorted(TURNED))
def test_exif_orientation_is_applied(orientation: int):
    stored = picture(1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = np.array(decode_image(encoded(Image.fromarray(stored), "PNG", exif=exif)))
    np.testing.assert_array_equal(shown, TURNED[orientation](stored))


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_come_back_exactly(format: str):
    stored = picture(2)
    np.testing.assert_array_equal(np.array(decode_image(encoded(Image.fromarray(stored), format))), stored)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "GIF", "MPO"])
def test_lossy_formats_come_back_nearly(format: str):
    stored = picture(3, 96, 96)
    shown = np.array(decode_image(encoded(Image.fromarray(stored), format)))
    assert shown.shape == stored.shape
    assert np.abs(shown.astype(int) - stored).mean() < 12


@pytest.mark.parametrize("format", ["ICO", "PPM", "TGA", "PCX", "EPS"])
def test_other_formats_are_refused_whatever_they_are_called(format: str, tmp_path: Path):
    file = tmp_path / "face.png"
    file.write_bytes(encoded(Image.fromarray(picture(0)), format))
    with pytest.raises(ImageRefused, match="unsupported_format: no image of the formats JPEG") as refused:
        decode_image(file)
    assert refused.value.status == "unsupported_format"


def test_transparency_is_laid_over_white():
    pixels = np.dstack([picture(4), np.zeros((40, 48), np.uint8)])
    pixels[:, 24:, 3] = 255
    shown = np.array(decode_image(encoded(Image.fromarray(pixels), "PNG")))
    assert (shown[:, :24] == 255).all()
    np.testing.assert_array_equal(shown[:, 24:], pixels[:, 24:, :3])


def test_transparent_palette_colour_becomes_white():
    image = Image.fromarray(np.repeat(np.array([[0, 1]], np.uint8), 4, 0))
    image = image.convert("P")
    image.putpalette([10, 20, 30, 200, 100, 0])
    shown = np.array(decode_image(encoded(image, "PNG", transparency=0)))
    assert shown[0, 0].tolist() == [255, 255, 255]
    assert shown[0, 1].tolist() == [200, 100, 0]


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    shown = np.array(decode_image(encoded(Image.fromarray(values), "PNG")))
    np.testing.assert_array_equal(shown[..., 0], np.round(values / 257))


@pytest.mark.parametrize("mode", ["L", "1", "CMYK", "LA", "RGBA", "P"])
def test_every_mode_becomes_rgb(mode: str):
    format = "TIFF" if mode == "CMYK" else "PNG"
    image = decode_image(encoded(Image.fromarray(picture(5)).convert(mode), format))
    assert (image.mode, image.size) == ("RGB", (48, 40))


def test_first_frame_of_an_animation():
    frames = [Image.fromarray(picture(seed)) for seed in (6, 7)]
    data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(np.array(decode_image(data)), picture(6))


def test_truncated_files_are_refused():
    data = encoded(Image.fromarray(picture(8, 200, 200)), "JPEG")
    with pytest.raises(ImageRefused, match="unreadable.*truncated"):
        decode_image(data[: len(data) // 2])


def test_pixels_are_counted_before_they_are_decoded():
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(ImageRefused, match="too_large"):
        decode_image(data + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")))
    with pytest.raises(ImageRefused, match="too_large: 48x40 pixels, at most 100"):
        decode_image(encoded(Image.fromarray(picture(0)), "PNG"), max_pixels=100)


def test_only_regular_files_of_sensible_size(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
    (tmp_path / "empty.png").touch()
    for name, why in [("pipe.png", "not a regular file"), ("empty.png", "empty file"), ("gone.png", "No such file")]:
        with pytest.raises(ImageRefused, match=f"unreadable: {why}"):
            read_source(tmp_path / name)
    with pytest.raises(ImageRefused, match="unreadable: not a regular file"):
        read_source(tmp_path)
    with pytest.raises(ImageRefused, match="too_large: [0-9]+ bytes, at most 10"):
        read_source(save(tmp_path / "face.png"), max_bytes=10)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_damaged_bytes_give_an_image_or_a_verdict(format: str):
    whole = encoded(Image.fromarray(picture(9, 64, 64)), format)
    rng = np.random.default_rng(9)
    refused = 0
    for trial in range(120):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(0, min(len(data), 400) if trial % 2 else len(data))] = rng.integers(0, 256)
        if trial % 5 == 0:
            del data[rng.integers(1, len(data)) :]
        refused += outcome(bytes(data)) != "RGB"
    assert refused > 0


def test_crops_come_back_exactly_and_always_as_the_same_bytes():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert encode_png(pixels) == encode_png(pixels.copy())
    np.testing.assert_array_equal(decode_crop(encode_png(pixels)), pixels)
    with pytest.raises(ValueError, match="expected uint8"):
        encode_png(pixels.astype(np.float32))
    with pytest.raises(ImageRefused, match="unsupported_format"):
        decode_crop(encoded(Image.fromarray(pixels), "JPEG"))


def bits(a: int, b: int) -> int:
    return ((a ^ b) & (2**64 - 1)).bit_count()


def test_perceptual_hash_tells_copies_from_others():
    pictures = [picture(seed, 256, 256) for seed in range(12)]
    hashes = [perceptual_hash(p) for p in pictures]
    for pixels, value in zip(pictures, hashes, strict=True):
        recoded = np.array(decode_image(encoded(Image.fromarray(pixels), "JPEG", quality=60)))
        assert bits(perceptual_hash(recoded), value) <= 6
    assert min(bits(a, b) for i, a in enumerate(hashes) for b in hashes[:i]) > 10
    assert all(-(2**63) <= value < 2**63 for value in hashes)


@pytest.mark.corpus
def test_awkward_files_give_an_image_or_a_verdict(corpus: Path):
    files = sorted(p for p in (corpus / "broken" / "images").rglob("*") if p.is_file())
    assert len(files) > 100
    for file in files:
        outcome(file)
