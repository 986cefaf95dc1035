"""Do the corruptions do to a face what their reference does, not only with the same parameters?

Video compression: the frames of real clips are coded by x264 at each severity's factor, and a face is cropped from the
coded frame. Beside it: the clip of the cropped faces, coded; the crop coded as one frame (`video_compression`); the
crop repeated as a clip of several lengths (`video_compression_clip`). How much of the face is left is its PSNR in dB;
the length is chosen on every other clip, and differences are given for the rest, too.

The other six, with --reference FILE (`perturbation/distortions.py` of DeeperForensics-1.0, which is not shipped here):
the same crops through its functions. Exits 1 where a deterministic one differs by more than a level.

Prints the tables of docs/corruptions.md; without --videos from the committed measurement.

Example: python benchmarks/corruption_parity.py --videos clips --reference distortions.py --out parity.json
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import random
import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import av
import numpy as np

from dfad_bench.core.files import read_json, sha256_file, write_json
from dfad_bench.data.corruptions import codec
from dfad_bench.data.corruptions.spec import corrupt, corruptions
from dfad_bench.data.images import ImageRefused
from dfad_bench.report.table import Column, Table, render

if TYPE_CHECKING:
    from dfad_bench.ingest.crop.cropper import FaceCropper

RESULT = Path(__file__).parent / "results" / "corruption_parity.json"
LENGTHS = (1, 5, 9, 13, 17, 21, 25, 33)
SHARES = (0.2, 0.4, 0.6, 0.8)  # of a clip, where faces are taken
OPERATORS = {  # ours -> the reference's function
    "saturation": "color_saturation",
    "contrast": "color_contrast",
    "block_wise": "block_wise",
    "gaussian_noise": "gaussian_noise_color",
    "blur": "gaussian_blur",
    "pixelation": "jpeg_compression",
}
RANDOM = ("block_wise", "gaussian_noise")  # compared by what is left of the face, not pixel by pixel


class Face(NamedTuple):
    """A face of a clip: the frame's number, its square in the frame, its pixels."""

    frame: int
    square: tuple[float, ...]
    pixels: np.ndarray


def psnr(image: np.ndarray, clean: np.ndarray) -> float:
    """How much of an image is left, in dB."""
    return float(10 * np.log10(255**2 / np.mean((image.astype(float) - clean.astype(float)) ** 2)))


def clip_of(path: Path, most: int) -> tuple[list[av.VideoFrame], Fraction]:
    """The first frames of a video as 4:2:0, and their rate."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.codec_context.thread_count = 1
        frames = []
        for frame in file.decode(video=0):
            frames.append(frame.reformat(format="yuv420p"))
            if len(frames) == most:
                break
        return frames, stream.average_rate or Fraction(25)


def coded(frames: Sequence[av.VideoFrame], crf: float, rate: Fraction) -> list[av.VideoFrame]:
    """Frames through x264 with the settings of `ffmpeg -i IN -crf CRF OUT.mp4`, and back."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
    encoder.framerate, encoder.time_base, encoder.thread_count = rate, 1 / rate, 1
    encoder.options = {"crf": f"{crf:g}", "preset": "medium"}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    found: list[av.VideoFrame] = []
    for number, frame in enumerate([*frames, None]):
        if frame is not None:
            frame = av.VideoFrame.from_ndarray(frame.to_ndarray(format="yuv420p"), format="yuv420p")
            frame.pts = number
        for packet in encoder.encode(frame):
            found += decoder.decode(av.Packet(bytes(packet)))
    return [*found, *decoder.decode(None)]


def cut(frame: av.VideoFrame, square: tuple[float, ...], side: int) -> np.ndarray:
    """A square of a frame as a crop, resized as crops of manifests are."""
    from PIL import Image

    return np.asarray(frame.to_image().resize((side, side), Image.Resampling.LANCZOS, box=square))


def faces_of(frames: Sequence[av.VideoFrame], cropper: FaceCropper) -> list[Face]:
    """A face at each of `SHARES` of a clip, where there is one."""
    found = []
    for number in sorted({int(len(frames) * share) for share in SHARES}):
        try:
            crop = cropper.crop(frames[number].to_image())
        except ImageRefused:
            continue
        assert crop.crop_box is not None
        found.append(Face(number, crop.crop_box, crop.pixels))
    return found


def left_of_faces(path: Path, most: int, cropper: FaceCropper) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """For each face and factor, what is left of the face each way, in dB; and the clean faces."""
    frames, rate = clip_of(path, most)
    faces, rows = faces_of(frames, cropper), []
    if not faces:
        return [], []
    side = faces[0].pixels.shape[0]
    crops = [
        av.VideoFrame.from_ndarray(cut(frame, faces[0].square, side), format="rgb24").reformat(format="yuv420p")
        for frame in frames
    ]
    for severity, crf in enumerate(corruptions()["video_compression"].values, 1):
        whole, face_clip = coded(frames, crf, rate), coded(crops, crf, rate)
        for face in faces:
            row = {"clip": path.name, "severity": severity, "crf": crf}
            row["in_clip"] = psnr(cut(whole[face.frame], face.square, side), face.pixels)
            row["clip_of_faces"] = psnr(
                face_clip[face.frame].to_ndarray(format="rgb24"), crops[face.frame].to_ndarray(format="rgb24")
            )
            row |= {str(n): psnr(codec._coded(face.pixels, crf, n), face.pixels) for n in LENGTHS}
            rows.append(row)
    return rows, [face.pixels for face in faces]


def video_facts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means by severity, and by length the difference to the reference on every other clip and on the rest."""
    ways = ("in_clip", "clip_of_faces", *map(str, LENGTHS))
    by_severity = []
    for severity in sorted({row["severity"] for row in rows}):
        some = [row for row in rows if row["severity"] == severity]
        means = {way: round(float(np.mean([row[way] for row in some])), 2) for way in ways}
        by_severity.append({"severity": severity, "crf": some[0]["crf"], **means})
    clips = sorted({row["clip"] for row in rows})
    halves = {"chosen_on": clips[::2], "confirmed_on": clips[1::2]}
    lengths = {
        str(length): {half: difference(rows, names, str(length)) for half, names in halves.items()}
        for length in LENGTHS
    }
    spread = {
        str(length): round(float(np.std([difference(rows, [name], str(length)) for name in clips], ddof=1)), 2)
        for length in (1, codec.CLIP)
    }
    best = min(LENGTHS, key=lambda n: abs(lengths[str(n)]["chosen_on"]))
    return {"clips": len(clips), "by_severity": by_severity, "lengths": lengths, "best": best, "spread": spread}


def difference(rows: Sequence[Mapping[str, Any]], clips: Sequence[str], way: str) -> float:
    """Mean dB by which a way leaves more of the face than the reference."""
    return round(float(np.mean([row[way] - row["in_clip"] for row in rows if row["clip"] in clips])), 2)


def operator_facts(file: Path, crops: Sequence[np.ndarray]) -> dict[str, Any]:
    """The six others beside the reference's functions, which take BGR and may write into their input."""
    spec = importlib.util.spec_from_file_location("reference_distortions", file)
    assert spec is not None
    assert spec.loader is not None
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  the reference draws from the global generators
    found = {}
    for name, function in OPERATORS.items():
        row, largest, differing, left = corruptions()[name], 0, [], {"ours": [], "reference": []}
        for number, crop in enumerate(crops):
            for severity, value in enumerate(row.values, 1):
                value = int(value) if float(value).is_integer() and name != "saturation" else value
                mine = corrupt(crop, row, severity, sample_id=str(number))
                other = getattr(theirs, function)(np.ascontiguousarray(crop[..., ::-1]), value)[..., ::-1]
                differences = np.abs(mine.astype(int) - other)
                largest = max(largest, int(differences.max()))
                differing.append(float((differences > 0).mean()))
                left["ours"].append(psnr(mine, crop))
                left["reference"].append(psnr(other, crop))
        means = {key: round(float(np.mean(values)), 2) for key, values in left.items()}
        found[name] = {"largest": largest, "differing": round(float(np.mean(differing)), 4), **means}
    return {"sha256": sha256_file(file), "operators": found}


def video_table(facts: Mapping[str, Any]) -> Table:
    """What is left of a face by severity and way."""
    clip = str(codec.CLIP)
    columns = (
        Column("severity", "Severity", "text"),
        Column("crf", "CRF", "text"),
        Column("in_clip", "Frames coded, then cropped: the reference", "number"),
        Column("clip_of_faces", "Clip of the crops", "number"),
        Column("1", "One frame", "number"),
        Column("one_less", "less the reference", "number"),
        Column(clip, "Crop repeated as a clip", "number"),
        Column("clip_less", "less the reference", "number"),
    )
    rows = [
        {
            **row,
            "severity": str(row["severity"]),
            "crf": f"{row['crf']:g}",
            "one_less": row["1"] - row["in_clip"],
            "clip_less": row[clip] - row["in_clip"],
        }
        for row in facts["by_severity"]
    ]
    title = f"dB left of a face, means of {facts['faces']} faces of {facts['clips']} clips"
    return Table(title, columns, rows)


def length_table(facts: Mapping[str, Any]) -> Table:
    """The difference to the reference by the length of the repeated clip."""
    columns = (
        Column("length", "Frames", "text"),
        Column("chosen_on", "dB less the reference, every other clip", "number"),
        Column("confirmed_on", "the other clips", "number"),
    )
    rows = [{"length": length, **facts["lengths"][length]} for length in map(str, LENGTHS)]
    return Table("A face repeated so often", columns, rows)


def operator_table(facts: Mapping[str, Any]) -> Table:
    """The six others beside the reference's code."""
    columns = (
        Column("name", "Corruption", "text"),
        Column("largest", "Largest difference, grey levels", "text"),
        Column("differing", "Values that differ", "percent"),
        Column("ours", "dB left, ours", "number"),
        Column("reference", "dB left, reference", "number"),
    )
    rows = []
    for name in OPERATORS:
        row = facts["operators"][name]
        drawn = name in RANDOM
        cells = {"largest": "drawn at random" if drawn else str(row["largest"])}
        rows.append({"name": name, **row, **cells, "differing": None if drawn else row["differing"]})
    return Table("The six others, beside the reference's own code", columns, rows)


def report(facts: Mapping[str, Any]) -> str:
    """The tables of docs/corruptions.md."""
    tables = [video_table(facts["video"]), length_table(facts["video"]), operator_table(facts["reference"])]
    return "\n".join(render(table, "markdown") for table in tables)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, from the clips below a folder."""
    import torch

    from dfad_bench.ingest.crop.cropper import FaceCropper, load_crop_profile

    torch.set_num_threads(1)
    cropper = FaceCropper(load_crop_profile("face-256-1.3"))
    rows: list[dict[str, Any]] = []
    crops: list[np.ndarray] = []
    for path in sorted(options.videos.rglob("*.mp4")):
        more, faces = left_of_faces(path, options.frames, cropper)
        rows, crops = [*rows, *more], [*crops, *faces]
        print(f"{path.name}: {len(faces)} faces", file=sys.stderr)
    if not rows:
        raise SystemExit(f"{options.videos}: no faces in its .mp4 files")
    versions = {"av": av.__version__, "machine": platform.machine()}
    video = {**video_facts(rows), "faces": len(crops), "frames": options.frames}
    return {"versions": versions, "video": video, "reference": operator_facts(options.reference, crops)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--videos", type=Path, help="folder with .mp4 files that show faces; default: the stored result"
    )
    parser.add_argument("--reference", type=Path, help="distortions.py of DeeperForensics-1.0; needed with --videos")
    parser.add_argument("--frames", type=int, default=100, help="coded of each clip")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.videos and not options.reference:
        parser.error("--videos needs --reference")
    facts = measure(options) if options.videos else read_json(RESULT)
    print(report(facts))
    if options.out:
        write_json(options.out, facts)
    exact = [name for name in OPERATORS if name not in RANDOM]
    sys.exit(any(facts["reference"]["operators"][name]["largest"] > 1 for name in exact))


if __name__ == "__main__":
    main()
