"""How much faster is `dfad predict` than the plain pipeline, picture by picture, and what takes its time?

The plain pipeline: PIL opens the picture, MTCNN of facenet-pytorch with its default settings looks at all of it, 1.3
times the biggest box is cut out and resized, and the run's model is asked about this one face. `dfad.predict` is whole:
listing, hashes, decoding, every face, landmarks, stated origins, the model in batches, verdicts, sets, rows; once as it
is by default, and once without gaze. All have one thread and the networks loaded before; they take turns, and the ratio
is taken in each turn, of processor time. The model alone is timed on crops, by torch and, where the extra `onnx` is
installed, by onnxruntime on the exported run.

The pictures are photographs of $DFAD_CORPUS of at least a longer side; without it, drawn faces in larger pictures.

Example: OMP_NUM_THREADS=1 python benchmarks/predict_speed.py --run runs/xception --out predict_speed.json
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import dfad_bench as dfad
from dfad_bench.core.contract import Inputs
from dfad_bench.core.files import write_json
from dfad_bench.data.crop_storage import resized_pixels
from dfad_bench.inference.run_faces import RunFaces
from dfad_bench.ingest.crop.cropper import Crop
from dfad_bench.synthetic.faces import draw_face

MARGIN = 1.3
CROPS = 128  # of the model alone


def choose_pictures(folder: Path, number: int, longest: int) -> list[Path]:
    """Photographs of the corpus of at least `longest` pixels, by the hash of their names; else drawn ones."""
    corpus = os.environ.get("DFAD_CORPUS")
    if not corpus:
        return [_drawn_picture(folder / f"{index:04d}.jpg", index, longest) for index in range(number)]
    with (Path(corpus) / "SOURCES.csv").open(encoding="utf-8-sig", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["media"] == "image" and row["kind"] in ("real", "fake")]
    names = [row["path"] for row in rows if max(int(row["width"] or 0), int(row["height"] or 0)) >= longest]
    chosen = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:number]
    return [Path(corpus) / name for name in chosen]


def _drawn_picture(path: Path, index: int, side: int) -> Path:
    whole = Image.new("RGB", (side, side * 3 // 4), (90, 110, 120))
    whole.paste(Image.fromarray(draw_face(0, f"train/real-studio/id{index:04d}_00.png")[0]), (side // 3, side // 5))
    whole.save(path, quality=92)
    return path


def plain_pipeline(pictures: Sequence[Path], model: Any, side: int) -> int:
    """Faces that the plain pipeline asks the model about, one by one."""
    import facenet_pytorch

    mtcnn, count = facenet_pytorch.MTCNN(), 0
    for path in pictures:
        image = Image.open(path).convert("RGB")
        boxes, _ = mtcnn.detect(image)
        if boxes is None:
            continue
        x0, y0, x1, y1 = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
        half = MARGIN * max(x1 - x0, y1 - y0) / 2
        middle = ((x0 + x1) / 2, (y0 + y1) / 2)
        square = tuple(
            round(value) for value in (middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half)
        )
        crop = np.asarray(image.crop(square).resize((side, side)))
        with torch.inference_mode():
            model(Inputs(torch.from_numpy(crop.copy()).permute(2, 0, 1)[None].float() / 255))
        count += 1
    return count


def processor_seconds(work: Callable[[], int]) -> tuple[float, int]:
    """Processor time of some work, and how many faces it was about."""
    began = time.process_time()
    count = work()
    return time.process_time() - began, count


def whole_turns(pictures: Sequence[Path], run: Path, opened: RunFaces, turns: int) -> dict[str, Any]:
    """Faces a second of each way and the ratios, turn by turn."""
    loaded = opened.predictor.loaded

    def ours(**settings: Any) -> int:
        return sum(row["kind"] == "face" for row in dfad.predict(list(pictures), run, device="cpu", **settings))

    ways: dict[str, Callable[[], int]] = {
        "plain": lambda: plain_pipeline(pictures, loaded.model, loaded.protocol.image_size),
        "predict": ours,
        "predict_without_gaze": lambda: ours(estimator="none"),
    }
    for way in ways.values():
        way()  # networks and files are loaded then
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    counts: dict[str, int] = {}
    for turn in range(turns):
        for name in list(ways)[turn % 3 :] + list(ways)[: turn % 3]:  # each way is first in some turn
            seconds, counts[name] = processor_seconds(ways[name])
            speeds[name].append(len(pictures) / seconds)
    ratios = {
        name: [ours / plain for ours, plain in zip(speeds[name], speeds["plain"], strict=True)]
        for name in ways
        if name != "plain"
    }
    return {"pictures_a_second": speeds, "faces": counts, "ratio_to_plain": ratios}


def model_turns(opened: RunFaces, run: Path, turns: int, folder: Path) -> dict[str, Any]:
    """Crops a second of the model alone, by torch in batches and one by one, and by onnxruntime where it is here."""
    side = opened.predictor.loaded.protocol.image_size
    drawn = [draw_face(0, f"train/real-studio/id{index:04d}_00.png")[0] for index in range(CROPS)]
    pixels = [resized_pixels(face[:256, :256], 256) for face in drawn]
    crops = [Crop(face, (1.0, 0, 0, 0, 1.0, 0)) for face in pixels]

    def batched() -> int:
        return sum(len(opened.outputs_of_crops(crops[at : at + 64])[0]) for at in range(0, CROPS, 64))

    ways: dict[str, Callable[[], int]] = {
        "torch": batched, "torch_one_by_one": lambda: sum(len(opened.outputs_of_crops([crop])[0]) for crop in crops)
    }  # fmt: skip
    if find_spec("onnxruntime") is not None and not opened.predictor.needs.views:
        ways["onnx"] = _by_onnx(run, folder / "run.onnx", np.stack([resized_pixels(face, side) for face in pixels]))
    for way in ways.values():
        way()
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            speeds[name].append(CROPS / processor_seconds(way)[0])
    return {"crops_a_second": speeds, "crops": CROPS}


def _by_onnx(run: Path, path: Path, pixels: np.ndarray) -> Callable[[], int]:
    import onnxruntime

    from dfad_bench.api.export import export_run

    export_run(run, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (name,) = (one.name for one in session.get_inputs())
    return lambda: sum(len(session.run(None, {name: pixels[at : at + 64]})[0]) for at in range(0, len(pixels), 64))


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a finished run whose model reads no views")
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--longest", type=int, default=512, help="least longer side of the pictures")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        pictures = choose_pictures(Path(temporary), asked.pictures, asked.longest)
        sizes = sorted(max(Image.open(path).size) for path in pictures)
        opened = RunFaces.open(asked.run, {}, device="cpu")
        found = {
            "about": {
                "pictures": len(pictures), "longer_sides": [sizes[0], sizes[len(sizes) // 2], sizes[-1]],
                "photographs": bool(os.environ.get("DFAD_CORPUS")), "turns": asked.turns, "threads": 1,
                "model": repr(opened.predictor.loaded).rpartition(",")[0] + ")", "torch": torch.__version__,
                "machine": platform.machine(), "time": "of the processor",
            },
            "whole": whole_turns(pictures, asked.run, opened, asked.turns),
            "model_alone": model_turns(opened, asked.run, asked.turns, Path(temporary)),
        }  # fmt: skip
    for name, ratios in found["whole"]["ratio_to_plain"].items():
        print(
            f"{name}: {statistics.median(ratios):.2f} times the plain pipeline ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    for kind, speeds in (*found["whole"]["pictures_a_second"].items(), *found["model_alone"]["crops_a_second"].items()):
        print(f"{kind}: {statistics.median(speeds):.2f} a second")
    if asked.out is not None:
        write_json(asked.out, found)


if __name__ == "__main__":
    main()
