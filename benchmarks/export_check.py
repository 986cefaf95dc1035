"""What exported models are at tiny and paper size: equal to torch or not, bytes, seconds, memory, faces a second.

    PYTHONPATH=. python benchmarks/export_check.py --out benchmarks/results/export_check.json

Random weights, random crops, one thread, each model and size in a process of its own. Speeds are ratios of the same
moment: torch and ONNX take turns, the best of each counts.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MODELS = ("xception", "clip", "gazeclip")
SIDE = 256  # of crops, as of the papers' protocols
FACES, ROUNDS = 8, 5
CLASSES = 11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--sizes", nargs="+", default=["tiny", "paper"])
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "SIZE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(*asked.one)))
        return
    rows = []
    for size in asked.sizes:
        for model in asked.models:
            words = [sys.executable, __file__, "--one", model, size]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], file=sys.stderr)
    result = {"machine": machine(), "side": SIDE, "faces": FACES, "threads": 1, "rows": rows}
    if asked.out:
        from dfad_bench.core.files import write_json

        write_json(asked.out, result)
    else:
        print(json.dumps(result, indent=1))


def machine() -> dict[str, Any]:
    import onnxruntime
    import torch

    versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__, "python": platform.python_version()}
    return {"processor": platform.machine(), **versions}


def measured(name: str, size: str) -> dict[str, Any]:
    """One model of one size: exported, compared on random crops, timed."""
    import torch

    from dfad_bench.core.onnx_file import LARGEST_FILE, onnx_session
    from dfad_bench.core.registry import model_class
    from dfad_bench.engine.contract_checks.subject import PROMPTS
    from dfad_bench.export.compare import CHECKS
    from dfad_bench.export.graph import ExportGraph, view_inputs
    from dfad_bench.export.writers import write_onnx

    torch.set_num_threads(1)
    torch.manual_seed(0)
    prompts = tuple(PROMPTS[min(k, len(PROMPTS) - 1)] for k in range(CLASSES))
    model = model_class(name).build(CLASSES, size=size, class_prompts=prompts).eval()
    graph = ExportGraph(model, view_inputs(model, SIDE), SIDE, embedding=True)
    crops = np.random.default_rng(0).integers(0, 256, (FACES, SIDE, SIDE, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path, began = Path(folder) / "model.onnx", time.perf_counter()
        write_onnx(graph, path, {})
        seconds = time.perf_counter() - began
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        differences = CHECKS["onnx"](graph, path, crops)
        session = onnx_session(path, threads=1, largest_bytes=LARGEST_FILE)
        size_of_file = path.stat().st_size
    arrays = graph.example(FACES)
    named = dict(zip(graph.input_names, (value.numpy() for value in arrays), strict=True))

    def by_torch() -> None:
        with torch.inference_mode():
            graph(*arrays)

    best = {"torch": float("inf"), "onnx": float("inf")}
    ways: dict[str, Callable[[], Any]] = {"torch": by_torch, "onnx": lambda: session.run(None, named)}
    for _ in range(ROUNDS):
        for way, call in ways.items():
            began = time.perf_counter()
            call()
            best[way] = min(best[way], time.perf_counter() - began)
    return {
        "model": name, "size": size, "parameters": sum(p.numel() for p in model.parameters()),
        "bytes": size_of_file, "export_seconds": round(seconds, 1), "export_memory_bytes": memory,
        "differences": differences, "torch_faces_a_second": round(FACES / best["torch"], 2),
        "onnx_faces_a_second": round(FACES / best["onnx"], 2),
        "onnx_over_torch": round(best["torch"] / best["onnx"], 2),
    }  # fmt: skip


if __name__ == "__main__":
    main()
