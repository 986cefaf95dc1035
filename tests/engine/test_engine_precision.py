"""Which number format suits a device; measurements are planted but for one."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
import torch
from helpers.toy import RECIPE, toy_protocol
from helpers.training import run_evaluation, run_training

from dfad_bench.core.device import find_device
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import read_json
from dfad_bench.core.strict import read_yaml
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine import evaluate, precision
from dfad_bench.engine.config import config_from, read_config
from dfad_bench.engine.devices import Place, place
from dfad_bench.engine.fit import Limits
from dfad_bench.engine.precision import Slowness, choose_precision, hardware_format, measured_slowness
from dfad_bench.engine.profile import profile_model
from dfad_bench.engine.settings import EvaluateSettings

CPU = torch.device("cpu")
FAST, EVEN, SLOW, EMULATED = Slowness(0.5, 0.4), Slowness(0.9, 1.0), Slowness(0.7, 4.0), Slowness(172.0, 26.0)


def plant(monkeypatch: pytest.MonkeyPatch, slowness: Slowness, has: str = "bf16") -> list[tuple[torch.device, str]]:
    """Measurements and hardware as given; the list gets what is measured."""
    asked: list[tuple[torch.device, str]] = []

    def measured(device: torch.device, kind: str) -> Slowness:
        asked.append((device, kind))
        return slowness

    monkeypatch.setattr(precision, "measured_slowness", measured)
    monkeypatch.setattr(precision, "hardware_format", lambda device: (has, "planted hardware"))
    return asked


@pytest.mark.parametrize(
    ("flags", "kind", "words"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16 avx512_vnni", "bf16", "AVX-512 BF16"),
        ("flags : fpu amx_bf16 avx512_bf16", "bf16", "AMX and AVX-512 BF16"),
        ("flags : fpu avx2 avx512f avx512bw", "fp32", "no bf16 in hardware"),
        ("Features : fp asimd bf16", "bf16", "has BF16"),
        ("model name : amx_bf16\nflags : fpu", "fp32", "no bf16 in hardware"),
    ],
)
def test_a_processor_says_what_it_has(flags: str, kind: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n\nprocessor : 1\nflags : amx_bf16\n")
    found, why = hardware_format(CPU, tmp_path / "cpuinfo")
    assert found == kind
    assert words in why


def test_a_system_that_lists_no_flags_is_fp32_and_so_is_mps(tmp_path: Path) -> None:
    assert hardware_format(CPU, tmp_path / "none")[0] == "fp32"
    assert hardware_format(torch.device("mps")) == ("fp32", "bf16 on mps is untested")
    with pytest.raises(ConfigError, match="'mps' is not here"):
        find_device("mps")
    assert Place(torch.device("mps")).name == "mps"


@pytest.mark.parametrize(("native", "kind"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_is_asked_for_bf16_without_emulation(native: bool, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert hardware_format(torch.device("cuda"))[0] == kind


@pytest.mark.parametrize(
    ("has", "slowness", "kind"),
    [("bf16", FAST, "bf16"), ("bf16", EVEN, "bf16"), ("bf16", SLOW, "fp32"), ("bf16", EMULATED, "fp32")],
)
def test_auto_takes_what_is_in_hardware_unless_it_is_slower(
    has: str, slowness: Slowness, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, slowness, has)
    chosen = choose_precision("auto", CPU)
    assert chosen.precision == kind
    assert chosen.why.startswith("auto: planted hardware")
    assert f"a convolution {slowness.convolution:.2g}" in chosen.why
    assert chosen.warnings == ()


def test_fp32_is_never_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = plant(monkeypatch, EMULATED, "fp32")
    assert choose_precision("fp32", CPU).why == "asked for"
    assert choose_precision("auto", CPU).precision == "fp32"
    assert asked == []


def test_a_slower_format_is_said_and_one_that_is_far_slower_refused_unless_forced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch, FAST)
    assert choose_precision("bf16", CPU).warnings == ()
    plant(monkeypatch, SLOW)
    (line,) = choose_precision("bf16", CPU).warnings
    assert "bf16 is slower than fp32" in line
    assert "a convolution 4" in line
    plant(monkeypatch, EMULATED)
    with pytest.raises(ConfigError, match=r"matrix product takes 1.7e\+02 times.*--force-precision"):
        choose_precision("bf16", CPU)
    forced = choose_precision("bf16", CPU, forced=True)
    assert forced.precision == "bf16"
    assert len(forced.warnings) == 1


def test_slowness_is_the_worse_of_both_and_their_mean() -> None:
    assert (EMULATED.worst, SLOW.worst) == (172.0, 4.0)
    assert math.isclose(Slowness(0.5, 8.0).mean, 2.0)


def test_a_measurement_is_short_repeated_and_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    measured_slowness.cache_clear()
    state = torch.random.get_rng_state()
    began = time.process_time()
    found = measured_slowness(CPU, "bf16")
    assert time.process_time() - began < 5 * precision.LIMIT_S
    assert 0.01 < found.product < 10_000
    assert 0.01 < found.convolution < 10_000
    assert measured_slowness(CPU, "bf16") is found
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_measurement_ends_after_a_size_that_is_far_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that makes bf16 fifty times as slow, the larger size is never begun."""
    begun: list[str] = []

    def size(name: str):
        return lambda kind: lambda: begun.append(f"{name} {kind}")

    monkeypatch.setattr(precision, "_seconds", lambda call, device: (call(), 50.0 if "bf16" in begun[-1] else 1.0)[1])
    assert precision._ratio([size("small"), size("large")], CPU, "bf16") == 50.0
    assert {name.split()[0] for name in begun} == {"small"}
    assert precision._ratio([size("small"), size("large")], CPU, "fp16") == 1.0
    assert "large fp16" in begun


def train(manifests: list[Manifest], out: Path, **more):
    return run_training("toy", toy_protocol(), manifests, out, recipe=RECIPE, device="cpu", **more)


@pytest.mark.heavy
def test_a_run_keeps_what_auto_chose_and_its_facts_say_why(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    plant(monkeypatch, FAST)
    assert train(manifests, out, precision="auto", limits=Limits(max_steps=2)).status == "partial"
    facts = read_json(out / "run.json")
    assert (facts["run"]["precision"], facts["environment"]["precision"]) == ("bf16", "bf16")
    assert facts["environment"]["precision_why"].startswith(
        "auto: planted hardware; in bf16 a matrix product takes 0.5"
    )
    assert read_yaml(out / "config.yaml")["precision"] == "bf16"
    plant(monkeypatch, FAST, "fp32")  # another machine, where auto would be fp32
    assert train(manifests, out, precision="auto").status == "complete"
    assert read_config(out).precision == "bf16"
    assert read_json(out / "run.json")["environment"]["precision_why"] == "auto: chosen where the run was begun"
    train(manifests, tmp_path / "plain", precision="bf16")
    assert read_config(out).sha256 == read_config(tmp_path / "plain").sha256


def test_a_run_in_a_far_slower_format_is_refused_before_anything_is_written(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, EMULATED)
    with pytest.raises(ConfigError, match="--force-precision"):
        train(manifests, tmp_path / "run", precision="bf16")
    assert not (tmp_path / "run" / "config.yaml").exists()
    plant(monkeypatch, SLOW)
    made = train(manifests, tmp_path / "run", precision="bf16", limits=Limits(max_steps=1))
    assert any("slower than fp32" in line for line in made.warnings)


@pytest.mark.heavy
def test_an_evaluation_may_be_in_another_format_and_says_so(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    train(manifests, out, limits=Limits(max_steps=1))
    plant(monkeypatch, EMULATED)
    same = run_evaluation(out, manifests)
    about = read_json(same.out / "run.json")["environment"]
    assert (about["precision"], about["precision_why"]) == ("fp32", "that of the run")
    with pytest.raises(ConfigError, match="--force-precision"):
        run_evaluation(out, manifests, precision="bf16")
    other = run_evaluation(out, manifests, precision="bf16", force_precision=True)
    assert other.fresh
    facts = read_json(other.out / "run.json")
    assert (facts["environment"]["precision"], facts["run"]["precision"]) == ("bf16", "fp32")
    again = EvaluateSettings(precision="bf16", force_precision=True)
    assert not evaluate.run_evaluation(out, manifests, again, predict_again=False).fresh
    assert evaluate.run_evaluation(out, manifests, predict_again=False).fresh  # those stored are of the other format


def test_a_profile_says_in_which_format_it_was_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, FAST)
    timed = profile_model("majority", size="tiny", latency=True, device="cpu", precision="auto")
    assert timed.precision == "bf16"
    assert str(timed.precision_why).startswith("auto: planted hardware")


def test_settings_of_a_run_hold_what_auto_came_to(manifests: list[Manifest], tmp_path: Path) -> None:
    train(manifests, tmp_path, limits=Limits(max_steps=1))
    with pytest.raises(ConfigError, match="what auto came to"):
        config_from({**read_yaml(tmp_path / "config.yaml"), "precision": "auto"}, "config.yaml")
    assert place("cpu", "bf16").exact(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float64
