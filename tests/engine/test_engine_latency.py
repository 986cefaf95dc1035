"""Forward passes timed within limits, in a process of their own, and kept as they are made."""

from __future__ import annotations

import json
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
import torch

from dfad_bench.api.models import profile_models
from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.core.registry import model_class
from dfad_bench.engine import kept_profiles, latency, profile
from dfad_bench.engine.devices import place
from dfad_bench.engine.kept_profiles import KeptProfiles
from dfad_bench.engine.latency import BatchCost, Timing, TimingRequest, batch_costs
from dfad_bench.engine.profile import profile_model

PROMPTS = (("a photo of a real face",) * 4,) * 3
ASKED = TimingRequest("majority", 3, PROMPTS, "tiny", {}, "cpu")
ONE, MANY = BatchCost(1, 0.5, 10, 0.4, 10), BatchCost(32, 4.0, 300, 3.0, 3)
BEGAN = ("began", ("cpu", "fp32", "asked for"))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def received(*messages: Any, minutes: float | None = None, ends: bool = True) -> Timing:
    """What is made of the messages of a process that then ends, or hangs."""
    receiver, sender = Pipe(duplex=False)
    for message in messages:
        sender.send(message)
    if ends:
        sender.close()
    return latency._received(receiver, ASKED, minutes)


def test_passes_end_after_a_time_and_the_first_counts_where_it_is_the_only_one() -> None:
    model = model_class("majority").build(3, size="tiny", class_prompts=PROMPTS).eval()
    costs = list(batch_costs(model, place("cpu", "fp32")))
    assert [(cost.batch, cost.passes) for cost in costs] == [(1, 10), (32, 3)]
    assert all(cost.seconds > 0 and cost.processor_seconds is not None for cost in costs)
    assert [cost.passes for cost in batch_costs(model, place("cpu", "fp32"), enough_s=0.0)] == [1, 1]


def test_what_a_process_measured_until_it_ended_counts() -> None:
    whole = received(BEGAN, ("cost", ONE), ("cost", MANY))
    assert whole == Timing((ONE, MANY), "cpu", "fp32", "asked for")
    dead = received(BEGAN, ("cost", ONE))
    assert dead.costs == (ONE,)
    assert dead.missing == ("batch 32: its process ended, as where memory ends",)
    assert received().missing == ("batch 1, 32: its process ended, as where memory ends",)
    full = received(BEGAN, ("cost", ONE), ("memory", "can't allocate memory"))
    assert full.missing == ("batch 32: does not fit into memory (can't allocate memory)",)
    late = received(BEGAN, ("cost", ONE), minutes=1e-3, ends=False)
    assert (late.costs, late.missing) == ((ONE,), ("batch 32: not done within 0.001 minutes",))
    with pytest.raises(DFADError, match="majority: no such device"):
        received(("refused", "no such device"))


def test_the_process_sends_what_it_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "follow_parent", lambda: None)
    receiver, sender = Pipe(duplex=False)
    latency._measure(sender, ASKED, 1)
    sender.close()
    found = latency._received(receiver, ASKED, None)
    assert [cost.batch for cost in found.costs] == [1, 32]
    assert (found.device, found.precision, found.missing) == ("cpu", "fp32", ())

    def full(*_: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes\nmore")

    monkeypatch.setattr(latency, "batch_costs", full)
    receiver, sender = Pipe(duplex=False)
    latency._measure(sender, ASKED, 1)
    assert "does not fit into memory (DefaultCPU" in latency._received(receiver, ASKED, None).missing[0]


def test_a_table_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, timed = tmp_path / "costs.json", []

    def measured(asked: TimingRequest, *, minutes: float | None = None) -> Timing:
        timed.append(asked.model)
        missing = () if asked.model == "majority" else ("batch 32: not done within 3 minutes",)
        return Timing((ONE,) if missing else (ONE, MANY), "cpu", "fp32", "asked for", missing)

    monkeypatch.setattr(profile, "timing_apart", measured)
    asked: dict[str, Any] = {"size": "tiny", "latency": True, "device": "cpu", "minutes": 3.0, "out": out}
    first = profile_models(["majority"], **asked)
    both = profile_models(["majority", "never_sure"], **asked)
    assert timed == ["majority", "never_sure"]
    assert both[0] == first[0]
    assert both[1].notes[-1] == "batch 32: not done within 3 minutes"
    assert both[0].batches == (ONE, MANY)
    profile_models(["majority"], **{**asked, "minutes": 4.0})
    assert timed[2:] == ["majority"]  # made under other settings
    monkeypatch.setattr(kept_profiles, "_code_hash", lambda name: "another")
    profile_models(["majority"], **{**asked, "minutes": 4.0})
    assert timed[3:] == ["majority"]


@pytest.mark.parametrize(
    "text",
    ["", "[1]", '{"rows": []}', "{", '{"settings": {}, "models": [1]}'],
)
def test_another_file_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "mine.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="mine.json: not a file of profiles .*give a new one to --out"):
        KeptProfiles(path, {})
    assert path.read_text(encoding="utf-8") == text


def test_a_profile_changed_by_hand_is_one_line(tmp_path: Path) -> None:
    kept = KeptProfiles(tmp_path / "costs.json", {"size": "tiny"})
    kept.add(profile_model("majority", size="tiny"))
    path = tmp_path / "costs.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    found["models"]["majority"]["profile"]["macs"] = "many"
    path.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(ConfigError, match="costs.json: majority"):
        KeptProfiles(path, {"size": "tiny"}).get("majority")


@pytest.mark.heavy
def test_a_model_is_timed_in_a_process_of_its_own() -> None:
    found = latency.timing_apart(ASKED, minutes=5)
    assert [cost.batch for cost in found.costs] == [1, 32]
    assert latency.timing_apart(ASKED, minutes=1e-4).missing == ("batch 1, 32: not done within 0.0001 minutes",)
