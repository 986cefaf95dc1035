"""Facts of the device, and faces a second of what builds and evaluations do: detection, gaze, corruption, ONNX."""

from __future__ import annotations

import importlib.util
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import zoo_throughput as zoo
from gaze_networks import faces_of, random_weights
from torch import nn

from dfad_bench.core.doctor import devices
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.registry import model_class
from dfad_bench.data.corruptions.spec import corruptions
from dfad_bench.data.corruptions.stream import CorruptedFaces, Workers
from dfad_bench.engine.devices import wait_for
from dfad_bench.engine.precision import measured_slowness
from dfad_bench.engine.predict import predict
from dfad_bench.gaze.estimators.eth_xgaze import EthXGazeEstimator
from dfad_bench.gaze.estimators.l2cs import L2CSEstimator
from dfad_bench.gaze.estimators.network import NetworkEstimator
from dfad_bench.ingest.crop.detector import FaceDetector
from dfad_bench.report.table import Column
from gpu_items.faces import PROTOCOL, SIDE, bench_faces, face_rows, mapped_store
from gpu_items.item import Bench, Item, Kind, NotMeasuredError, Rows

FACTS = Kind("facts", "The device", (Column("fact", "fact", "text"), Column("value", "value", "text")))
_SPEED = (
    Column("what", "what", "text"),
    Column("batch", "batch", "count"),
    Column("faces_s", "faces/s", digits=1),
    Column("single_faces_s", "one by one, faces/s", digits=1),
    Column("times", "times", digits=1),
    Column("difference", "largest difference from a CPU", "text"),
)
DETECTION = Kind("detection", "Face detection", _SPEED, "MTCNN on faces of 256 pixels, all three networks; in pixels.")
GAZE = Kind("gaze", "Gaze networks", _SPEED, "Random weights in the published layouts, from crops to angles; radians.")
CORRUPTION = Kind(
    "corruption",
    "The corruption grid",
    (
        Column("corruption", "corruption", "text"),
        Column("cells", "severities", "count"),
        Column("faces", "faces each", "count"),
        Column("faces_s", "faces/s", digits=1),
        Column("share_of_clean", "of the pace on clean faces, %", "percent", 0),
    ),
    "Xception predicts while processes corrupt, as `dfad evaluate --corruptions` does.",
)
ONNX = Kind("onnx", "ONNX on CUDA", _SPEED, "ResNet-50 at 224 pixels, beside torch on the same device.")


def facts_item() -> Item:
    """What the device is."""
    return Item("facts", (5.0, 5.0), measure_facts)


def detection_item() -> Item:
    """MTCNN."""
    return Item("detection", (15.0, 15.0), measure_detection)


def gaze_item(name: str) -> Item:
    """A gaze network."""
    return Item(f"gaze/{name}", (12.0, 25.0), lambda bench: measure_gaze(name, bench))


def corruption_item() -> Item:
    """Every corruption."""
    return Item("corruption", (40.0, 25.0), measure_corruptions)


def onnx_item() -> Item:
    """ONNX by onnxruntime's CUDA."""
    return Item("onnx", (25.0, 1.0), measure_onnx)


def measure_facts(bench: Bench) -> Rows:
    """A row a fact, those of `dfad doctor` among them."""
    facts: dict[str, Any] = {"torch": torch.__version__, "CUDA of torch": torch.version.cuda or "none"}
    facts |= {"Python": platform.python_version(), "machine": platform.machine(), "threads": torch.get_num_threads()}
    facts |= {found.name: found.value for found in devices()}
    if bench.on_gpu:
        about = torch.cuda.get_device_properties(bench.device)
        facts |= {
            "compute capability": f"{about.major}.{about.minor}",
            "multiprocessors": about.multi_processor_count,
            "cuDNN": torch.backends.cudnn.version(),
            "NCCL": ".".join(map(str, torch.cuda.nccl.version())),
            "fp16 against fp32": str(measured_slowness(bench.device, "fp16")),
        }
    facts["bf16 against fp32"] = str(measured_slowness(bench.device, "bf16"))
    return [{"fact": name, "value": str(value)} for name, value in facts.items()]


def _seconds(call: Callable[[], object], bench: Bench) -> float:
    """By the clock, after a call that warms up."""
    call()
    wait_for(bench.device)
    began = time.perf_counter()
    call()
    wait_for(bench.device)
    return time.perf_counter() - began


def _speed_row(what: str, count: int, many: float, single: float, difference: str) -> dict[str, Any]:
    """`many` and `single`: seconds a face."""
    row = {"what": what, "batch": count, "faces_s": round(1 / many, 2), "single_faces_s": round(1 / single, 2)}
    return row | {"times": round(single / many, 2), "difference": difference}


def measure_detection(bench: Bench) -> Rows:
    """Batched against one by one, and boxes against those of a CPU."""
    count, few = bench.choose(64, 8), bench.choose(16, 4)
    pixels = bench_faces(bench).pixels
    pictures = pixels[np.arange(count) % len(pixels)]
    detector = FaceDetector(str(bench.device))
    many = _seconds(lambda: detector.detect(pictures, 60), bench) / count
    single = _seconds(lambda: [detector.detect(pictures[k : k + 1], 60) for k in range(few)], bench) / few
    difference = "this is a CPU"
    if bench.on_gpu:
        here, there = detector.detect(pictures[:few], 60), FaceDetector("cpu").detect(pictures[:few], 60)
        same = [(a.boxes, b.boxes) for a, b in zip(here, there, strict=True) if len(a.boxes) == len(b.boxes)]
        largest = max((float(np.abs(a - b).max()) for a, b in same if len(a)), default=0.0)
        difference = f"{largest:.2g}; {few - len(same)} of {few} pictures with another number of faces"
    return [_speed_row("MTCNN", count, many, single, difference)]


def measure_gaze(name: str, bench: Bench) -> Rows:
    """Batched against one by one, and angles against those of a CPU."""
    count, few = bench.choose(128, 4), bench.choose(16, 2)
    estimator = GAZE_NETWORKS[name](bench)
    estimator.batch_size = count  # type: ignore[misc]  # a number of the class
    crops, points = faces_of(count)
    device = str(bench.device)
    many = _seconds(lambda: estimator.estimate(crops, points, device), bench) / count
    rows = [slice(k, k + 1) for k in range(few)]
    single = _seconds(lambda: [estimator.estimate(crops[r], points[r], device) for r in rows], bench) / few
    difference = "this is a CPU"
    if bench.on_gpu:
        found = [estimator.estimate(crops[:few], points[:few], where) for where in (device, "cpu")]
        angles = [np.stack([each.pitch_rad, each.yaw_rad]) for each in found]
        difference = f"{np.abs(angles[0] - angles[1]).max():.1e}"
    return [_speed_row(estimator.card.display, count, many, single, difference)]


def _eth_xgaze(bench: Bench) -> NetworkEstimator:
    return EthXGazeEstimator(random_weights(bench.scratch), order="pitch_yaw")


def _l2cs(bench: Bench) -> NetworkEstimator:
    from torchvision import models

    torch.manual_seed(0)
    state = models.get_model("resnet50", weights=None).state_dict()
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    for head in ("fc_yaw_gaze", "fc_pitch_gaze"):
        state |= {f"{head}.weight": torch.randn(90, 2048) / 2048, f"{head}.bias": torch.zeros(90)}
    state |= {"fc_finetune.weight": torch.zeros(3, 2051), "fc_finetune.bias": torch.zeros(3)}
    path = bench.scratch / "l2cs.pkl"
    torch.save(state, path)
    return L2CSEstimator(path, order="yaw_pitch")


GAZE_NETWORKS: dict[str, Callable[[Bench], NetworkEstimator]] = {"eth_xgaze": _eth_xgaze, "l2cs": _l2cs}


def measure_corruptions(bench: Bench) -> Rows:
    """A row a corruption; its severities one after the other."""
    count, severities = bench.choose(256, 16), bench.choose((1, 2, 3, 4, 5), (3,))
    protocol, rows = replace(load_protocol(PROTOCOL), image_size=SIDE), face_rows(bench, count)
    store, keys = mapped_store(bench, count), rows["sample_id"]
    where = bench.place(bench.fast_format)
    model = model_class("xception").build(zoo.GENERATORS, size=bench.size)
    where.move(model.eval())
    found: Rows = []
    with Workers(bench.choose(12, 0)) as workers:

        def predicted(row: Any, severity: int) -> None:
            faces = CorruptedFaces(rows, store, protocol, row, severity, workers=workers)
            predict(model, faces, keys, place=where, batch_size=64)

        known = corruptions()
        predicted(known["gaussian_noise"], 1)  # warms up, and starts the processes
        clean = _clean_seconds(model, bench, count)
        for name, row in known.items():
            began = time.perf_counter()
            for severity in severities:
                predicted(row, severity)
            taken = (time.perf_counter() - began) / len(severities)
            cell = {"corruption": name, "cells": len(severities), "faces": count, "faces_s": round(count / taken, 2)}
            found.append(cell | {"share_of_clean": round(clean / taken, 3)})
    return found


def _clean_seconds(model: Any, bench: Bench, count: int) -> float:
    from dfad_bench.data.dataset import FaceDataset

    protocol, rows = replace(load_protocol(PROTOCOL), image_size=SIDE), face_rows(bench, count)
    faces = FaceDataset(rows, mapped_store(bench, count), protocol)
    where = bench.place(bench.fast_format)
    return _seconds(lambda: predict(model, faces, rows["sample_id"], place=where, batch_size=64), bench)


def measure_onnx(bench: Bench) -> Rows:
    """CUDA of onnxruntime against torch, where it is."""
    if not bench.on_gpu:
        raise NotMeasuredError("no GPU")
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise NotMeasuredError(f"{package} is not installed (onnxruntime-gpu and onnx are needed)")
    import onnxruntime
    from torchvision import models

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise NotMeasuredError("onnxruntime is that of a CPU (onnxruntime-gpu is needed)")
    torch.manual_seed(0)
    network: nn.Module = models.get_model("resnet50", weights=None).eval()
    path, images = bench.scratch / "resnet50.onnx", torch.rand(64, 3, 224, 224)
    free = {"images": {0: "n"}}
    torch.onnx.export(network, (images,), str(path), dynamo=False, input_names=["images"], dynamic_axes=free)
    session = onnxruntime.InferenceSession(str(path), providers=["CUDAExecutionProvider"])
    network.to(bench.device)

    def by_torch(rows: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return network(rows.to(bench.device)).cpu().numpy()

    def by_onnx(rows: torch.Tensor) -> np.ndarray:
        return np.asarray(session.run(None, {"images": rows.numpy()})[0])

    apart = f"{np.abs(by_onnx(images) - by_torch(images)).max():.1e} from torch here"
    found = []
    for what, call in (("onnxruntime, CUDA", by_onnx), ("torch", by_torch)):
        many = _seconds(lambda call=call: call(images), bench) / len(images)  # type: ignore[misc]  # bound at once
        single = _seconds(lambda call=call: call(images[:1]), bench)  # type: ignore[misc]  # as above
        found.append(_speed_row(what, len(images), many, single, apart))
    return found
