"""Every place where the code does something else on a GPU, with the test that takes that way without one, or a reason.

A stub stands in for the driver: what is asked of it is answered or counted. Kernels are not run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import distributed as dist
from torch import nn

import dfad_bench
from dfad_bench.core.device import find_device
from dfad_bench.core.doctor import devices
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.recipe import Optimiser
from dfad_bench.engine import distributed
from dfad_bench.engine.devices import UNREAD, Place, gpus, place, wait_for
from dfad_bench.engine.facts import environment_facts
from dfad_bench.engine.fake_gpu import FakeGPU
from dfad_bench.engine.load import _generators_kept
from dfad_bench.engine.memory import free_bytes, peak_bytes
from dfad_bench.engine.schedule import make_optimiser
from dfad_bench.engine.step_cost import _Steps
from dfad_bench.ingest.build import _check_device

PACKAGE, TESTS = Path(dfad_bench.__file__).parent, Path(__file__).resolve().parents[1]
CUDA = torch.device("cuda:1")
HERE = "engine/test_engine_cuda_branches.py::"
# by file and function: a test, or why there is none
BRANCHES = {
    "api/table_plan.py:_about": "reason: a word in a plan",
    "api/training.py:_with_processes": "engine/test_engine_distributed.py::"
    "test_launched_processes_share_an_exit_code",  # what it does with the number of GPUs
    "core/device.py:find_device": f"{HERE}test_names_of_devices",
    "core/doctor.py:_gpu_words": f"{HERE}test_the_doctor_lists_gpus",
    "core/doctor.py:devices": f"{HERE}test_the_doctor_lists_gpus",
    "data/crop_store.py:_resident_store": "data/test_dataset_batches.py::"
    "test_crops_that_do_not_fit_on_the_gpu_stay_on_disk",
    "data/corruptions/stream.py:CorruptedFaces.inputs": "reason: the two lines of FaceDataset.inputs",
    "data/dataset.py:FaceDataset._gathered": "data/test_dataset_batches.py::test_batches_go_to_a_gpu_whole",
    "data/dataset.py:FaceDataset.inputs": "data/test_dataset_batches.py::test_batches_go_to_a_gpu_whole",
    "engine/contract_checks/gpu.py:_stage_faults": "test_model_contract_gpu.py::test_a_fault_is_named_with_its_place",
    "engine/devices.py:Place.channels_last": f"{HERE}test_a_place_on_a_gpu",
    "engine/devices.py:Place.exact": "reason: of mps, which was not tried",
    "engine/devices.py:Place.name": f"{HERE}test_a_place_on_a_gpu",
    "engine/devices.py:Place.steps_unread": f"{HERE}test_a_place_on_a_gpu",
    "engine/devices.py:gpus": f"{HERE}test_a_place_on_a_gpu",
    "engine/devices.py:place": "engine/test_engine_fit.py::test_devices_that_are_not_there_are_one_line",
    "engine/devices.py:wait_for": f"{HERE}test_a_place_on_a_gpu",
    "engine/distributed.py:joined": f"{HERE}test_processes_on_gpus_meet_by_nccl",
    "engine/facts.py:environment_facts": f"{HERE}test_a_record_names_the_gpu",
    "engine/fake_gpu.py:": "test_model_contract_gpu.py::test_nothing_of_it_is_left_behind",
    "engine/fake_gpu.py:FakeGPU.__enter__": "test_model_contract_gpu.py::test_nothing_of_it_is_left_behind",
    "engine/fake_gpu.py:FakeGPU.__exit__": "test_model_contract_gpu.py::test_nothing_of_it_is_left_behind",
    "engine/fake_gpu.py:FakeGPU.__torch_dispatch__": "test_model_contract_gpu.py::test_a_fault_is_named_with_its_place",
    "engine/fake_gpu.py:FakeGPU._refuse": "test_model_contract_gpu.py::test_a_fault_is_named_with_its_place",
    "engine/face_predictor.py:FacePredictor.open": "reason: fp16 is changed on a CPU only",
    "engine/latency.py:batch_costs": "reason: seconds of the processor count on a CPU only",
    "engine/load.py:_generators_kept": f"{HERE}test_opening_a_run_leaves_the_generators_of_gpus",
    "engine/memory.py:free_bytes": f"{HERE}test_memory_is_that_of_the_gpu",
    "engine/memory.py:peak_bytes": f"{HERE}test_memory_is_that_of_the_gpu",
    "engine/precision.py:hardware_format": "engine/test_engine_precision.py::"
    "test_a_gpu_is_asked_for_bf16_without_emulation",
    "engine/precision.py:measured_slowness": "reason: sizes of what is timed, on a CPU small",
    "engine/repredict.py:_other_conditions": "reason: threads are those of a CPU",
    "engine/repredict.py:": "reason: the name of a key of records",
    "engine/schedule.py:": f"{HERE}test_optimisers_of_parameters_on_a_gpu_are_fused",
    "engine/sessions.py:session_changes": "engine/test_engine_sessions.py::test_what_moves_the_last_bits_is_said",
    "engine/step_cost.py:_measured": "reason: chooses `_Steps.on_gpu`",
    "engine/step_cost.py:_Steps.on_gpu": f"{HERE}test_the_cost_of_a_step_is_measured_at_its_size",
    "explain/watched_pass.py:undisturbed": "reason: whose random numbers are kept; without GPUs, none",
    "ingest/build.py:_check_device": f"{HERE}test_builds_on_a_gpu_need_one",
    "ingest/crop/cropper.py:FaceCropper.batch": "reason: how many images are given at once",
    "ingest/crop/detector.py:_integral_images": "ingest/test_crop_detector.py::"
    "test_sums_of_both_devices_are_cumulative_sums",
    "ingest/workers/ray.py:_Cluster.drain": "faults/test_faults_ray.py::test_a_cluster_without_gpus_is_said",
    "ingest/workers/ray.py:_GpuSlot.attempt": "faults/test_faults_ray.py::"
    "test_shards_go_to_actors_where_faces_are_found_on_gpus",
    "report/site/run_page.py:run_facts": "reason: a word on a page",
}


def found_branches(tree: ast.AST, owner: str = "") -> Iterator[str]:
    """The functions of a file that name CUDA or NCCL, compare with another device, or ask torch; "" outside of any."""
    for child in ast.iter_child_nodes(tree):
        inner = owner
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            inner = f"{owner}.{child.name}".lstrip(".")
        named = isinstance(child, ast.Constant) and child.value in ("cuda", "nccl")
        if isinstance(child, ast.Compare):
            named = any(isinstance(each, ast.Constant) and each.value in ("cpu", "mps") for each in child.comparators)
        asked = isinstance(child, ast.Attribute) and child.attr in ("cuda", "is_cuda")
        if named or asked:
            yield inner
        yield from found_branches(child, inner)


def test_every_branch_has_a_test_or_a_reason() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        where, text = path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8")
        if any(word in text for word in ("cuda", "nccl", '"cpu"', '"mps"')):  # parsing all files takes a second
            found |= {f"{where}:{name}" for name in found_branches(ast.parse(text))}
    assert found == set(BRANCHES)
    for named in BRANCHES.values():
        if not named.startswith("reason: "):
            file, _, test = named.partition("::")
            assert f"def {test}(" in (TESTS / file).read_text(encoding="utf-8"), named


@pytest.mark.parametrize(
    "line", ["x.is_cuda", "torch.cuda.synchronize()", "device.type == 'cuda'", "f('nccl')", "device != 'cpu'"]
)
def test_a_branch_is_found_however_it_is_written(line: str) -> None:
    assert list(found_branches(ast.parse(f"class A:\n    def f(self):\n        {line}"))) == ["A.f"]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stub with two GPUs; what was asked of it in order."""
    asked: list[str] = []

    def answer(name: str, value: Any) -> None:
        def call(*arguments: Any, **_: Any) -> Any:
            asked.append(f"{name} {' '.join(map(str, arguments))}".strip())
            return value

        monkeypatch.setattr(torch.cuda, name, call)

    answers = {
        "is_available": True, "device_count": 2, "get_device_name": "Stub 9000", "synchronize": None,
        "set_device": None, "mem_get_info": (3 * 2**30, 8 * 2**30), "memory_allocated": 100,
        "max_memory_allocated": 700,
        "reset_peak_memory_stats": None, "get_device_properties": SimpleNamespace(name="Stub", major=8),
        "get_rng_state": torch.zeros(2, dtype=torch.uint8), "set_rng_state": None,
    }  # fmt: skip
    for name, value in answers.items():
        answer(name, value)
    return asked


@pytest.mark.usefixtures("driver")
def test_names_of_devices() -> None:
    assert [str(find_device(name)) for name in ("auto", "cuda", "cuda:1", "cpu")] == ["cuda", "cuda", "cuda:1", "cpu"]
    assert str(find_device("auto", local_rank=1)) == "cuda:1"
    assert place("auto", "fp16").precision == "fp16"
    with pytest.raises(ConfigError, match=r"'cuda:5' is not here \(2 GPUs found\)"):
        find_device("cuda:5")
    with pytest.raises(ConfigError, match="2 GPUs found"):
        find_device("cuda", local_rank=2)


def test_a_place_on_a_gpu(driver: list[str]) -> None:
    where = Place(CUDA)
    assert (where.name, where.steps_unread, where.channels_last, gpus()) == ("Stub 9000", UNREAD, True, 2)
    assert Place(torch.device("cpu")).steps_unread == 1
    wait_for(torch.device("cpu"))
    assert not [line for line in driver if line.startswith("synchronize")]
    wait_for(CUDA)
    assert driver[-1] == "synchronize cuda:1"


def test_memory_is_that_of_the_gpu(driver: list[str]) -> None:
    called = []
    assert free_bytes(CUDA) == 3 * 2**30
    assert peak_bytes(lambda: called.append(len(driver)), CUDA) == 600
    assert driver[-3:] == [
        "reset_peak_memory_stats cuda:1", "memory_allocated cuda:1", "max_memory_allocated cuda:1",
    ]  # fmt: skip
    assert called == [len(driver) - 1]


@pytest.mark.usefixtures("driver")
def test_a_record_names_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "99.1")
    on_gpu, on_cpu = (environment_facts(Place(d), deterministic=True) for d in (CUDA, torch.device("cpu")))
    assert (on_gpu.device, on_gpu.cuda) == ("Stub 9000", "99.1")
    assert (on_cpu.device, on_cpu.cuda) == ("cpu", None)


@pytest.mark.usefixtures("driver")
def test_the_doctor_lists_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {each.name: each.value for each in devices() if each.name.startswith("cuda")}
    assert found == dict.fromkeys(("cuda:0", "cuda:1"), "Stub, 3 of 8 GiB free, bf16 and TF32")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(name="Old", major=7))
    assert [each.value for each in devices()][-1] == "Old, 3 of 8 GiB free, no bf16 or TF32 in hardware"


def test_processes_on_gpus_meet_by_nccl(driver: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[str] = []
    monkeypatch.setattr(distributed, "processes", lambda: (1, 2, 1))
    monkeypatch.setattr(distributed, "_meeting_point", dist.HashStore)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **_: met.append(backend))
    with distributed.joined(CUDA) as team:
        assert (team.rank, team.size) == (1, 2)
    with distributed.joined(torch.device("cpu")):
        pass
    assert met == ["cpu:gloo,cuda:nccl", "gloo"]
    assert driver == ["set_device cuda:1"]


def test_opening_a_run_leaves_the_generators_of_gpus(driver: list[str]) -> None:
    with _generators_kept():
        assert [line for line in driver if line.startswith("get_rng_state")] == ["get_rng_state 0", "get_rng_state 1"]
    assert [line.split()[0] for line in driver[-2:]] == ["set_rng_state"] * 2


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimisers_of_parameters_on_a_gpu_are_fused(name: str) -> None:
    with FakeGPU() as gpu:
        parameters = list(gpu.take(nn.Linear(2, 2)).parameters())
    (group,) = make_optimiser(parameters, Optimiser(name, 1e-3, 0.0)).param_groups
    assert group["fused"] is True


def test_the_cost_of_a_step_is_measured_at_its_size(driver: list[str]) -> None:
    seconds = iter([9.0, 9.0, 3.0, 1.0, 2.0])
    steps: Any = SimpleNamespace(
        where=Place(CUDA), request=SimpleNamespace(rows=64), seconds_of=lambda rows: (next(seconds), rows)
    )
    cost = _Steps.on_gpu(steps)
    assert (cost.seconds, cost.bytes, cost.device, cost.extrapolated) == (2.0, 700, "Stub 9000", False)
    assert driver[0] == "reset_peak_memory_stats cuda:1"


def test_builds_on_a_gpu_need_one(driver: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _check_device("cuda:1", "local")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    _check_device("cuda", "ray")  # its workers may have one
    with pytest.raises(ConfigError, match="no CUDA device here"):
        _check_device("cuda", "local")
