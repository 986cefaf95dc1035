from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from helpers.toy import RECIPE, Toy, ToyConfig, toy_manifests, toy_protocol, toys_registered
from helpers.training import run_training

from dfad_bench.core.errors import DFADError, IntegrityError
from dfad_bench.core.files import content_hash, read_json, sha256_file, write_json
from dfad_bench.core.strict import from_mapping
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine import checkpoint
from dfad_bench.engine.checkpoint import Position
from dfad_bench.engine.fit import Limits


@pytest.fixture
def model() -> Toy:
    torch.manual_seed(0)
    return Toy(3, ToyConfig())


@pytest.fixture
def optimiser(model: Toy) -> torch.optim.Adam:
    made = torch.optim.Adam(model.parameters(), 1e-3)
    sum(p.square().sum() for p in model.parameters()).backward()
    made.step()
    return made


def test_round_trip_of_weights_optimiser_and_position(tmp_path: Path, model: Toy, optimiser) -> None:
    position = Position(7, stage=1, epoch=2, batch=3, step=40, waited=1, wall_s=1.5, scaler={"scale": 2.0})
    position = replace(position, best=checkpoint.save_best(tmp_path, model, 0.25, 39))
    checkpoint.save(tmp_path, model, optimiser, position, "config")
    found = checkpoint.load_latest(tmp_path, "config")
    assert found.position == replace(position, resumed=1)
    assert all(torch.equal(found.weights[name], value) for name, value in model.state_dict().items())
    state = optimiser.state_dict()["state"]
    assert all(torch.equal(found.optimiser["state"][k]["exp_avg"], state[k]["exp_avg"]) for k in state)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int32])
def test_weights_of_other_numbers_or_another_model_are_one_line(tmp_path: Path, model: Toy, dtype: torch.dtype) -> None:
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    first = next(iter(weights))
    with pytest.raises(IntegrityError, match=f"not weights of Toy.*{first} {str(dtype)[6:]} instead of float32"):
        checkpoint.fill(model, {**weights, first: weights[first].to(dtype)}, tmp_path)
    with pytest.raises(IntegrityError, match="of a version of Toy with other parameters"):
        checkpoint.fill(model, {**weights, first: weights[first][:1]}, tmp_path)
    checkpoint.fill(model, weights, tmp_path)


def test_two_are_kept_with_the_best_weights_they_refer_to(tmp_path: Path, model: Toy, optimiser) -> None:
    for step in range(1, 6):
        best = checkpoint.save_best(tmp_path, model, 1 / step, step)
        checkpoint.save(tmp_path, model, optimiser, Position(0, step=step, best=best), "config")
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "best-00000004.safetensors", "best-00000005.safetensors", "step-00000004", "step-00000005"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["model.safetensors", "optimiser.safetensors", "state.json"])
@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, model: Toy, optimiser, name: str, how: str
) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, model, optimiser, Position(0, step=step), "config")
    path = tmp_path / "step-00000002" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x20
    if how == "remove":
        path.unlink()
    else:
        path.write_bytes(data if how == "flip" else data[: len(data) // 2])
    found = checkpoint.load_latest(tmp_path, "config")
    assert found.position.step == 1
    assert found.skipped == () if (how, name) == ("remove", "state.json") else "step-00000002" in found.skipped[0]


def test_all_damaged_or_other_settings_are_refused(tmp_path: Path, model: Toy, optimiser) -> None:
    assert checkpoint.load_latest(tmp_path, "config") is None
    checkpoint.save(tmp_path, model, optimiser, Position(0, step=1), "config")
    with pytest.raises(IntegrityError, match="made with other settings"):
        checkpoint.load_latest(tmp_path, "another")
    (tmp_path / "step-00000001" / "model.safetensors").write_bytes(b"")
    with pytest.raises(IntegrityError, match="no checkpoint is whole"):
        checkpoint.load_latest(tmp_path, "config")


def test_a_folder_without_its_state_was_never_a_checkpoint(tmp_path: Path, model: Toy, optimiser) -> None:
    checkpoint.save(tmp_path, model, optimiser, Position(0, step=1), "config")
    torn = tmp_path / "step-00000002"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half")
    assert checkpoint.load_latest(tmp_path, "config").position.step == 1
    checkpoint.save(tmp_path, model, optimiser, Position(0, step=2), "config")
    assert checkpoint.load_latest(tmp_path, "config").position.step == 2


def test_code_in_an_optimiser_file_never_runs(tmp_path: Path, model: Toy, optimiser) -> None:
    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    checkpoint.save(tmp_path, model, optimiser, Position(0, step=1), "config")
    place = tmp_path / "step-00000001"
    (place / "optimiser.safetensors").write_bytes(pickle.dumps(Payload(), protocol=2))
    state = from_mapping(checkpoint._State, read_json(place / "state.json"), "state")
    state = replace(state, files={**state.files, "optimiser.safetensors": sha256_file(place / "optimiser.safetensors")})
    write_json(place / "state.json", asdict(replace(state, sha256=state.content)))  # hashes that fit do not help
    with pytest.raises(IntegrityError, match="not a whole safetensors file"):
        checkpoint.load_latest(tmp_path, "config")
    assert not (tmp_path / "ran").exists()


def test_a_finished_model_is_checked(tmp_path: Path, model: Toy) -> None:
    with pytest.raises(IntegrityError, match="holds no finished model"):
        checkpoint.load_finished(tmp_path)
    checkpoint.finish(tmp_path, model, {"status": "complete"})
    data = bytearray((tmp_path / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(IntegrityError, match="damaged or changed"):
        checkpoint.load_finished(tmp_path)


def test_tied_weights_are_saved(tmp_path: Path) -> None:
    tied = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    checkpoint.save_weights(tmp_path / "tied.safetensors", tied)
    state = checkpoint.load_weights(tmp_path / "tied.safetensors")
    assert torch.equal(state["0.weight"], state["1.weight"])


def test_a_full_disk_is_one_line(tmp_path: Path, model: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.torch

    def full(*_: object) -> None:
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(DFADError, match="is the disk full"):
        checkpoint.save(tmp_path, model, torch.optim.SGD(model.parameters(), 0.1), Position(0, step=1), "config")
    assert checkpoint.load_latest(tmp_path, "config") is None


def _run(root: Path, out: Path, delay_s: float) -> None:
    manifests = [Manifest.open(root / name) for name in ("synthetic", "synthetic-outdoor")]
    recipe, limits = replace(RECIPE, epochs=3), Limits(checkpoint_steps=2)
    options = {"delay_s": delay_s}
    with toys_registered():
        run_training("toy", toy_protocol(), manifests, out, recipe=recipe, device="cpu", options=options, limits=limits)


@pytest.mark.heavy
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize("kills", [2])
def test_killed_and_started_again_ends_with_the_same_bits(tmp_path: Path, kills: int) -> None:
    torch.set_num_threads(1)  # a forked child has no other threads
    toy_manifests(tmp_path)
    out, context = tmp_path / "killed", multiprocessing.get_context("fork")
    for kill in range(kills):
        child = context.Process(target=_run, args=(tmp_path, out, 0.05))
        child.start()
        wanted = 2 + 4 * kill  # kill later each time
        deadline = time.monotonic() + 60
        while not any(int(p.parent.name[5:]) >= wanted for p in (out / "checkpoint").glob("step-*/state.json")):
            assert child.is_alive(), "ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(0.08)  # into the steps after the checkpoint
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert not (out / "predictions.parquet").exists()
    _run(tmp_path, out, 0.05)
    assert read_json(out / "run.json")["run"]["resumed"] == kills
    _run(tmp_path, tmp_path / "whole", 0.05)
    for name in (
        "checkpoint/model.safetensors",
        "trace.csv",
        "predictions.parquet",
        "selection.parquet",
        "config.yaml",
    ):
        assert sha256_file(out / name) == sha256_file(tmp_path / "whole" / name), name
    assert not list(out.rglob(".*.tmp*"))


def test_a_state_of_before_there_were_hooks_is_whole(tmp_path: Path, model: Toy, optimiser) -> None:
    checkpoint.save(tmp_path, model, optimiser, Position(0, step=2, stage_step=2), "config")
    path = tmp_path / "step-00000002" / "state.json"
    state = read_json(path)
    del state["position"]["begun"]
    write_json(path, {**state, "sha256": content_hash({**state, "sha256": ""})})
    assert checkpoint.load_latest(tmp_path, "config").position == Position(
        0, step=2, stage_step=2, resumed=1, begun=True
    )


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "\0", "a\\b", "best\0.safetensors"])
def test_best_weights_are_a_file_of_the_folder(name: str) -> None:
    with pytest.raises(ValueError, match="must be the name of a file of this folder"):
        checkpoint.Best(0.5, 3, name, "0" * 64)
