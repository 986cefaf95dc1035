"""What a run keeps of its weight files: options they were trained with, lines about them, and a random start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers.toy import RECIPE, Toy, ToyConfig, toy_protocol
from helpers.training import run_evaluation, run_training

from baselines.mfclip import MFCLIP
from dfad_bench.api.training import train
from dfad_bench.core.contract import WeightFiles
from dfad_bench.core.errors import IntegrityError, WeightsError
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.notices import add_notice
from dfad_bench.core.weights import load_into, load_state_dict, one_file
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.config import config_from, read_config
from dfad_bench.engine.load import load_run
from dfad_bench.engine.needs import Needs, needs_of, random_start
from dfad_bench.engine.run import Plan
from dfad_bench.engine.settings import TrainSettings
from dfad_bench.report.run_record import build_record

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class TaughtConfig(ToyConfig):
    """`steep` follows from the weight file, `slope` has another default than it had (1)."""

    steep: bool = False
    slope: float = 2.0


class Taught(Toy):
    """A toy that starts from weights, some of which were trained steep."""

    Config = TaughtConfig
    card = replace(Toy.card, weights=("openai_clip_vit_b32",))
    earlier_defaults = {"slope": 1.0}

    @classmethod
    def options_of(cls, weights: WeightFiles) -> Mapping[str, Any]:
        add_notice("said while looking only")
        return {"steep": True} if "steep" in load_state_dict(one_file(weights, "Toy")) else {}

    def load_weights(self, weights: WeightFiles) -> None:
        path = one_file(weights, "Toy")
        state = load_state_dict(path, lambda state: "0.weight" in state)
        load_into(self.body, {name: v for name, v in state.items() if name != "steep"}, path, "a toy")


@pytest.fixture(autouse=True)
def taught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helpers.toy.Toy", Taught)


def weight_file(path: Path, *, steep: bool) -> Path:
    body = Taught.build(3, size="tiny").body.state_dict()
    torch.save({f"backbone.{k}": v for k, v in ({**body, "steep": torch.ones(1)} if steep else body).items()}, path)
    return path


def run(manifests: list[Manifest], out: Path, **settings: Any) -> Path:
    recipe = replace(RECIPE, epochs=1)
    run_training("toy", toy_protocol(), manifests, out, recipe=recipe, device="cpu", **{"size": "tiny", **settings})
    return out


def test_options_of_a_weight_file_are_kept_and_the_run_opens_with_them(
    manifests: list[Manifest], tmp_path: Path
) -> None:
    file = tmp_path / "w.pt"
    torch.save({**Taught.build(3, size="tiny").body.state_dict(), "steep": torch.ones(1)}, file)
    out = run(manifests, tmp_path / "run", weights=str(file))
    config = read_config(out)
    assert (config.options, config.implied) == ({}, {"slope": 2.0, "steep": True})
    model = load_run(out).model
    assert (model.config.steep, model.config.slope) == (True, 2.0)
    record = build_record(out)
    assert record.warnings == ("steep=True, as the weights were trained with; --set steep=... overrules",)
    assert record.run.config["implied"] == {"slope": 2.0, "steep": True}
    assert record.model.options == {}
    run_evaluation(out, manifests, device="cpu")
    assert not run_training(
        "toy", toy_protocol(), manifests, out, recipe=replace(RECIPE, epochs=1), device="cpu", size="tiny",
        weights=str(file),
    ).fresh  # fmt: skip


def test_an_option_that_is_set_is_not_implied(manifests: list[Manifest], tmp_path: Path) -> None:
    options = {"steep": False, "slope": 3.0}
    out = run(manifests, tmp_path / "run", options=options)
    assert (read_config(out).options, read_config(out).implied) == (options, {})
    assert "implied" not in yaml.safe_load((out / "config.yaml").read_text())


def test_a_run_made_before_keeps_the_default_it_was_made_with(manifests: list[Manifest], tmp_path: Path) -> None:
    out = run(manifests, tmp_path / "run")
    assert load_run(out).model.config.slope == 2.0
    raw = yaml.safe_load((out / "config.yaml").read_text())
    del raw["implied"]  # as before the default changed
    (out / "config.yaml").write_text(yaml.safe_dump(raw))
    facts = read_json(out / "run.json")
    facts["run"]["config_sha256"] = config_from(raw, "config.yaml").sha256
    write_json(out / "run.json", facts)
    assert load_run(out).model.config.slope == 1.0
    with pytest.raises(IntegrityError, match=r"something else \(slope: 1.0 then, 2.0 now\).*`dfad evaluate` open it"):
        run(manifests, out)


def test_an_mfclip_run_made_before_opens_as_it_was_made(tmp_path: Path) -> None:
    raw = yaml.safe_load((Path(__file__).parents[1] / "fixtures" / "earlier_run" / "config.yaml").read_text())
    before = config_from({**raw, "model": "mfclip"}, "config.yaml")
    assert before.model_options == {"text_activation": "gelu", "grey_levels": "rounded"}
    assert replace(before, implied={"text_activation": "quick_gelu"}).sha256 != before.sha256
    now = MFCLIP.configure("tiny", None)
    assert (now.text_activation, now.grey_levels) == ("quick_gelu", "truncated")


def test_what_was_done_to_a_file_is_in_the_record(manifests: list[Manifest], tmp_path: Path) -> None:
    file = weight_file(tmp_path / "w.pt", steep=False)
    out = run(manifests, tmp_path / "run", weights=str(file))
    assert read_json(out / "run.json")["warnings"] == ["w.pt: 'backbone.', which all names begin with, is left out"]


def test_broken_weights_are_refused_before_anything_is_written(manifests: list[Manifest], tmp_path: Path) -> None:
    torch.save({"0.weight": torch.full((1,), torch.nan)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"NaN or inf in 0\.weight"):
        run(manifests, tmp_path / "run", weights=str(tmp_path / "w.pt"))
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize(
    ("size", "weights", "told"),
    [
        ("paper", False, 1),
        *(pytest.param(*given, 0, marks=pytest.mark.heavy) for given in (("tiny", False), ("paper", True))),
    ],
)
def test_a_random_start_is_told_at_once_and_kept(
    manifests: list[Manifest], tmp_path: Path, size: str, weights: bool, told: int
) -> None:
    given = {"weights": str(weight_file(tmp_path / "w.pt", steep=False))} if weights else {}
    settings = TrainSettings(
        model="toy",
        protocol=toy_protocol(),
        recipe=replace(RECIPE, epochs=1),
        size=size,
        device="cpu",
        logs=(),
        **given,
    )
    lines: list[str] = []
    (record,) = train(settings, manifests, tmp_path / "run", report=lines.append).records
    random = [line for line in lines if "starts from random weights, in its paper from pre-trained ones" in line]
    assert len(random) == told
    assert all("add --weights openai_clip_vit_b32" in line for line in random)
    assert [f"Warning: {warning}" for warning in record.warnings if "random weights" in warning] == random
    assert lines[: len(random)] == random


def test_no_tiny_model_is_told_to_fetch_weights_and_a_page_says_why() -> None:
    lacking = Needs(weights=("openai_clip_vit_b32",))
    for size, told in (("paper", 1), ("tiny", 0)):
        assert len(random_start("clip", size, lacking, {"kind": "random"})) == told
    page = " ".join((Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8").split())
    assert "The line is left out for `--size tiny`: there toy widths fit no published file" in page


def test_a_file_that_is_lacking_beside_others_is_named_random() -> None:
    needs = needs_of("gazeclip", 3, "paper", {"gaze_encoder": "finetuned"})
    start: dict[str, Any] = {"kind": "local_files", "files": {"clip": {}}, "random": ["gaze"]}
    (line,) = random_start("gazeclip", "paper", needs, start)
    assert line.startswith("GazeCLIP starts from random weights named gaze, in its paper from pre-trained ones")
    assert "add --weights clip=openai_clip_vit_b32,gaze=eth_xgaze (" in line
    assert not random_start("gazeclip", "paper", needs, {**start, "random": []})


def test_which_files_a_run_started_from_says_those_it_lacked(tmp_path: Path) -> None:
    file = weight_file(tmp_path / "w.pt", steep=False)
    asked = TrainSettings(model="gazeclip", protocol="synthetic", size="tiny", options={"gaze_encoder": "finetuned"})
    start = Plan.of(replace(asked, weights=str(file))).init
    assert (list(start["files"]), start["random"]) == (["clip"], ["gaze"])
    assert Plan.of(asked).init == {"kind": "random"}


@pytest.mark.parametrize(
    ("model", "options", "names"),
    [
        ("gazeclip", {}, ("openai_clip_vit_b32", "openai_clip_vit_b32_archive")),
        ("gazeclip", {"use_gie": False, "use_lre": False}, ()),
        ("clip", {"architecture": "ViT-L-14-quickgelu"}, ("openai_clip_vit_l14",)),
        ("xception", {}, ("imagenet_xception",)),
        ("cvit", {}, ()),
        ("mfclip", {}, ()),
    ],
)
def test_weights_a_model_of_the_paper_starts_from(model: str, options: dict[str, Any], names: tuple[str, ...]) -> None:
    assert needs_of(model, 3, "tiny", options).weights == names
