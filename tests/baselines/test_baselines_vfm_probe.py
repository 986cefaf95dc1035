"""The probe of a frozen backbone: features of a view, experts that learn, and all that goes between them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.synthetic import synthetic_tree
from helpers.toy import RECIPE, toy_manifests, toy_protocol
from helpers.train_faults import Forked
from helpers.training import run_evaluation, run_robustness, run_training
from PIL import Image
from safetensors.torch import save_file

from baselines.vfm_probe import VFMProbe
from dfad_bench.api.training import train
from dfad_bench.api.views import views_of_run
from dfad_bench.core.contract import Batch, Inputs, weighted_losses
from dfad_bench.core.errors import ConfigError, WeightsError
from dfad_bench.core.files import read_json, sha256_file
from dfad_bench.core.notices import collect_notices
from dfad_bench.core.recipe import Augmentation
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_parquet import read_predictions
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.view_source import ViewValues
from dfad_bench.engine.config import read_config
from dfad_bench.engine.contract_checks.subject import ExampleFaces
from dfad_bench.engine.needs import needs_of, random_start
from dfad_bench.engine.profile import profile_model
from dfad_bench.engine.settings import TrainSettings
from dfad_bench.report.row_facts import _init
from dfad_bench.report.run_record import build_record
from dfad_bench.views import provider, store
from dfad_bench.views.base import Faces
from dfad_bench.views.features import Features
from dfad_bench.views.provider import ViewProvider

pytestmark = pytest.mark.heavy  # timm alone takes seconds to import
SMALL = {"side": 32}  # of test_vit: 4 patches and a class token


@pytest.fixture(scope="module", autouse=True)
def one_thread_each() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Manifest]:
    monkeypatch.delenv("DFAD_CACHE", raising=False)
    return toy_manifests(tmp_path / "manifests", identities=4, shots=1)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of the backbone in timm's layout, with a classifier."""
    import timm

    torch.manual_seed(11)
    path = tmp_path / "model.safetensors"
    save_file({name: v.clone() for name, v in timm.create_model("test_vit", num_classes=7).state_dict().items()}, path)
    return path


def probe(manifests: list[Manifest], out: Path, views: dict[str, Any] | None = None, **settings: Any) -> Path:
    """A trained tiny probe."""
    options = {**SMALL, **settings.pop("options", {})}
    run_training(
        "vfm_probe", toy_protocol(), manifests, out, size="tiny", device="cpu", epochs=1, leak_check=False,
        recipe=settings.pop("recipe", RECIPE), views=ViewProvider(manifests, views), options=options, **settings,
    )  # fmt: skip
    return out


def stored(manifests: list[Manifest]) -> list[Path]:
    return sorted(path for each in manifests for path in (each.folder / "tables").glob("features-*.npy"))


def test_linear_experts_name_separable_features() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat(40)
    centres = 3 * torch.nn.functional.one_hot(torch.arange(3), 64).float()
    # one number is thousands of times as large as the others, as in features of foundation models
    features = (centres[labels] + 0.3 * torch.randn(120, 64, generator=generator)) * torch.tensor([1e-3] * 63 + [4e3])
    batch = Batch(Inputs(torch.empty(120, 3, 0, 0), {"features": features}), labels, (labels > 0).long())
    model = VFMProbe.build(3, size="tiny")
    model.before_stage("main", _Faces(batch))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        torch.stack(list(weighted_losses(model.losses(batch)).values())).sum().backward()
        optimiser.step()
    output = model.eval()(batch.inputs)
    assert (output.attribution_logits.argmax(1) == labels).float().mean() == 1.0
    assert (output.detection_logits.argmax(1) == batch.detection).float().mean() == 1.0
    torch.testing.assert_close(output.embedding.mean(0), torch.zeros(64), atol=1e-4, rtol=0)
    torch.testing.assert_close(output.embedding.std(0, correction=0), torch.ones(64), atol=1e-3, rtol=0)


class _Faces(ExampleFaces):
    """All faces of a batch, whatever their number."""

    def train(self, batch_size: int = 64):
        yield self._batch


def test_a_probe_is_its_experts_and_its_view_follows_from_its_options() -> None:
    model = VFMProbe.build(3, size="tiny", options={**SMALL, "feature": "cls+avg", "dtype": "float16"})
    assert {name.split(".")[0] for name in model.state_dict()} == {
        "experts", "feature_mean", "feature_deviation", "measured",
    }  # fmt: skip
    needs = needs_of("vfm_probe", 3, "tiny", {**SMALL, "experts": "attentive"})
    assert needs.view_settings["features"] == {
        "backbone": "test_vit", "feature": "tokens", "side": 32, "dtype": "float32", "init_seed": 0,
    }  # fmt: skip
    assert (needs.views, needs.view_weights, needs.images) == (("features",), ("features",), False)
    assert needs_of("vfm_probe", 3, "tiny", {"train": "all"}).all_views == ()
    for wrong in ({"experts": "attentive", "feature": "cls"}, {"blocks": 0}, {"train": "some"}):
        with pytest.raises(ConfigError):
            VFMProbe.build(3, size="tiny", options=wrong)
    with pytest.raises(ConfigError, match="reads the view 'features'"):
        model(Inputs(torch.zeros(1, 3, 32, 32)))


def test_without_weights_a_line_says_what_to_fetch() -> None:
    needs = needs_of("vfm_probe", 3, "paper")
    (line,) = random_start("vfm_probe", "paper", needs, {"kind": "random"})
    assert line.endswith(
        "add --weights FILE: model.safetensors of https://huggingface.co/timm/vit_base_patch16_dinov3.lvd1689m"
        " (dinov3-license)"
    )


def test_stored_features_are_those_of_the_backbone_by_hand(manifests: list[Manifest], weights: Path) -> None:
    import timm

    frame = manifests[0].frame(["sample_id"])
    ids = frame["sample_id"].tolist()[:5]
    settings = {"backbone": "test_vit", "side": 32, "weights": str(weights)}
    source = ViewProvider(manifests, {"features": settings}).source("features", ids, 32)
    network = timm.create_model("test_vit", num_classes=7, img_size=32).eval()
    view = Features(settings)
    view.backbone  # noqa: B018  loads the file, with its table of positions resized
    network.load_state_dict({**network.state_dict(), **view.backbone.network.state_dict()})
    crops = {crop.sample_id: crop.pixels() for crop in manifests[0].crops(set(ids))}
    expected = []
    for name in ids:
        pixels = torch.from_numpy(crops[name].astype(np.float32) / 255).permute(2, 0, 1)[None]
        with torch.no_grad():
            expected.append(network.forward_head(network.forward_features((pixels - 0.5) / 0.5), pre_logits=True)[0])
    found = source.gather(np.arange(5), lambda: pytest.fail("no crops are needed"))
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-5)
    half = ViewProvider(manifests, {"features": {**settings, "dtype": "float16"}}).source("features", ids, 32)
    assert half.gather(np.arange(5), list).dtype == torch.float32
    torch.testing.assert_close(half.gather(np.arange(5), list), found, rtol=2e-3, atol=2e-3)
    assert len(stored(manifests)) == 2


def test_features_of_images_of_another_size_are_others(manifests: list[Manifest]) -> None:
    ids = manifests[0].frame(["sample_id"])["sample_id"].tolist()[:4]
    views = ViewProvider(manifests, {"features": {"backbone": "test_vit", "side": 32}})
    large, small = (views.source("features", ids, side).gather(np.arange(4), list) for side in (32, 16))
    assert not torch.allclose(large, small, atol=1e-3)
    assert [path.name.split("-")[2] for path in stored(manifests)] == ["16px", "32px"]


@pytest.mark.skipif(os.name == "nt", reason="needs fork")
def test_features_killed_in_the_middle_go_on(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "BATCH", 4)
    monkeypatch.setattr(store, "PART_ROWS", 4)
    manifest, settings = manifests[0], {"features": {"backbone": "test_vit", "side": 32, "feature": "tokens"}}
    ids = manifest.frame(["sample_id"])["sample_id"].tolist()
    plain, made, delay = Features.make, list[str](), [0.1]

    def make(view: Features, faces: Faces) -> ViewValues:
        time.sleep(delay[0])
        made.extend(faces.sample_ids)
        return plain(view, faces)

    monkeypatch.setattr(Features, "make", make)
    process = Forked(lambda: ViewProvider([manifest], settings).source("features", ids, 32))
    deadline = time.monotonic() + 60
    while len(list((manifest.folder / "tables").glob("features-*.parts/0*.json"))) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None, "ended before it was killed"
        time.sleep(0.005)
    process.kill()
    assert process.wait(timeout=60) == -9
    assert not stored(manifests)
    delay[0] = 0.0
    ViewProvider([manifest], settings).source("features", ids, 32)
    assert 0 < len(made) <= len(ids) - 8, "what was committed is not made again"
    resumed = [sha256_file(path) for path in stored(manifests)]
    for path in stored(manifests):
        path.unlink()
    ViewProvider([manifest], settings).source("features", ids, 32)
    assert [sha256_file(path) for path in stored(manifests)] == resumed, "the same bytes as without a kill"


def test_fingerprints_cover_all_that_decides_features(weights: Path, tmp_path: Path) -> None:
    base = {"backbone": "test_vit", "side": 32}
    others: list[dict[str, Any]] = [
        {}, {"side": 48}, {"dtype": "float16"}, {"feature": "cls"}, {"init_seed": 1}, {"backbone": "test_vit2"},
        {"weights": str(weights)},
    ]  # fmt: skip
    assert len({Features({**base, **change}).fingerprint for change in others}) == len(others)
    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(weights.read_bytes())
    known = Features({**base, "weights": str(weights)})
    assert Features({**base, "weights": str(copy)}).identity() == known.identity(), "places and names do not count"
    assert Features({**base, "weights_sha256": known.weights.sha256}).fingerprint == known.fingerprint
    with pytest.raises(WeightsError, match=r"sha256 .*say where it is: --view features\.weights=FILE"):
        Features({**base, "weights_sha256": known.weights.sha256}).backbone  # noqa: B018
    with pytest.raises(WeightsError, match="is not the file it was made with before"):
        Features({**base, "weights": str(copy), "weights_sha256": "0" * 64}).fingerprint  # noqa: B018


def test_a_run_is_evaluated_without_the_file_where_features_are_stored(
    manifests: list[Manifest], weights: Path, tmp_path: Path
) -> None:
    out = probe(manifests, tmp_path / "run", weights=str(weights))
    kept = read_config(out)
    assert kept.init["sha256"] == kept.views["features"]["weights_sha256"]
    assert kept.views["features"]["interpolation"] == "bicubic"
    weights.rename(tmp_path / "moved.safetensors")
    files = stored(manifests)
    again = ViewProvider(manifests, views_of_run(kept.views, {}))
    assert run_evaluation(out, manifests, device="cpu", views=again).status == "complete"
    assert stored(manifests) == files
    with pytest.raises(WeightsError, match="say where it is"):
        run_robustness(
            out, manifests, names=["contrast"], severities=(5,), device="cpu",
            views=ViewProvider(manifests, views_of_run(kept.views, {})),
        )  # fmt: skip
    place = {"features": {"weights": str(tmp_path / "moved.safetensors")}}
    views = ViewProvider(manifests, views_of_run(kept.views, place))
    run_robustness(out, manifests, names=["contrast"], severities=(5,), device="cpu", views=views)
    assert not read_json(RunFolder(out).facts)["warnings"]


def test_features_of_corrupted_faces_are_made_from_the_corrupted_crops(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored features of clean faces would show no corruption at all; here each is compared with the model by hand."""
    cached = probe(manifests, tmp_path / "cached")
    plain = read_predictions(cached / "predictions.parquet")
    seen: list[np.ndarray] = []
    make = Features.make
    monkeypatch.setattr(Features, "make", lambda self, faces: (seen.append(faces.crops), make(self, faces))[1])
    views = ViewProvider(manifests, views_of_run(read_config(cached).views, {}))
    kept = tmp_path / "kept"
    found = run_robustness(
        cached, manifests, names=["contrast"], severities=(5,), device="cpu", views=views, keep_images=kept
    )
    cell = read_predictions(next((found.out / "cells").glob("contrast-5.parquet")))
    assert len(seen) >= 1
    assert (cell["p_fake"].to_numpy() != plain["p_fake"].to_numpy()).all()
    view = Features({"backbone": "test_vit", "side": 32})
    model = VFMProbe.build(3, size="tiny", options=SMALL)
    from dfad_bench.engine.load import load_trained

    load_trained(model, RunFolder(cached))
    for row in range(3):
        pixels = Image.open(kept / "contrast-5" / f"{cell['sample_id'][row]}.png")
        images = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            features = view.backbone.features(view.backbone.prepare(images), "pooled")
            output = model.eval()(Inputs(torch.empty(1, 3, 0, 0), {"features": features}))
        assert float(output.detection_logits.softmax(1)[0, 1]) == pytest.approx(cell["p_fake"][row], abs=1e-5)


def test_what_contradicts_the_model_is_one_line(manifests: list[Manifest], weights: Path, tmp_path: Path) -> None:
    for asked, words in (
        ({"side": 48}, "side 48 was asked for, but the model's settings say 32"),
        ({"backbone": "test_vit2"}, "leave it out, or change the model's"),
        ({"weights": str(weights)}, "give the file by --weights"),
        ({"weights_sha256": "0" * 64}, "give the file by --weights"),
    ):
        with pytest.raises(ConfigError) as error:
            probe(manifests, tmp_path / "run", {"features": asked})
        assert words in str(error.value)
        assert "\n" not in str(error.value)
    flipped = RECIPE.__class__(**{**vars(RECIPE), "augment": (Augmentation("horizontal_flip"),)})
    with pytest.raises(ConfigError, match=r"horizontal_flip changes pixels.*vfm_probe: --set cached=false"):
        probe(manifests, tmp_path / "run", recipe=flipped)
    assert not stored(manifests), "refused before anything is made"
    probe(manifests, tmp_path / "run", recipe=flipped, options={"cached": False})


def test_a_probe_goes_on_from_another_with_the_same_features(
    manifests: list[Manifest], weights: Path, tmp_path: Path
) -> None:
    first = probe(manifests, tmp_path / "first", weights=str(weights))
    before = stored(manifests)
    second = probe(manifests, tmp_path / "second", finetune_from=first)
    assert stored(manifests) == before
    one, two = (read_config(path).views["features"]["fingerprint"] for path in (first, second))
    assert one == two


@pytest.mark.parametrize("options", [{"train": "last_blocks"}, {"train": "all"}, {"cached": False}])
def test_what_learns_is_what_was_said(options: dict[str, Any], weights: Path) -> None:
    with collect_notices():
        model = VFMProbe.build(3, size="tiny", options={**options, "side": 160}, weights=weights)
    assert model.needs == ()
    learning = {name for name, p in model.named_parameters() if p.requires_grad and name.startswith("backbone")}
    blocks = {name.split(".")[3] for name in learning if ".blocks." in name}
    assert blocks == {"last_blocks": {"5"}, "all": set("012345")}.get(options.get("train", "head"), set())
    assert ("backbone.network.cls_token" in learning) == (options.get("train") == "all")


def test_statistics_of_frozen_parts_stay() -> None:
    model = VFMProbe.build(3, size="tiny", options={"backbone": "test_resnet", "train": "last_blocks"}).train()
    before = {name: value.clone() for name, value in model.named_buffers() if "running" in name}
    model(Inputs(torch.rand(4, 3, 160, 160)))
    moved = {
        name for name, value in model.named_buffers() if "running" in name and not torch.equal(before[name], value)
    }
    assert moved
    assert {name.split(".")[2] for name in moved} == {"layer4"}


def test_a_profile_counts_the_backbone_too() -> None:
    whole = profile_model("vfm_probe", size="tiny")
    head = profile_model("vfm_probe", size="tiny", options={"cached": True})
    assert whole.params_total - head.params_total > 300_000
    assert whole.params_trainable == head.params_trainable
    assert whole.macs > 100 * head.macs


def test_random_weights_are_said_in_record_and_boards(manifests: list[Manifest], tmp_path: Path) -> None:
    record = build_record(probe(manifests, tmp_path / "run"))
    assert record.model.init == {"kind": "random"}
    assert _init(record) == "random init"
    assert record.run.config["views"]["features"]["init_seed"] == 0
    assert "view features: features of test_vit with random weights" in record.warnings


def test_several_seeds_share_one_pass(manifests: list[Manifest], tmp_path: Path) -> None:
    made = []
    plain = Features.make
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Features, "make", lambda self, faces: (made.extend(faces.sample_ids), plain(self, faces))[1])
        settings = TrainSettings(
            model="vfm_probe", protocol=toy_protocol(), recipe=RECIPE, size="tiny", seeds=(0, 1), epochs=1,
            device="cpu", logs=(), options={**SMALL, "experts": "attentive"},
        )  # fmt: skip
        train(settings, manifests, tmp_path / "runs")
    assert made
    assert len(made) == len(set(made))


def drawn_faces(folder: Path) -> Batch:
    """64 synthetic faces, 16 of each of four generators, at 64 pixels."""
    tree = synthetic_tree(folder, per_group=16)
    names = ("real-studio", "synthetic-gan-a", "synthetic-diffusion-a", "synthetic-flow-a")
    images = []
    for name in names:
        paths = sorted(tree.rglob(f"{name}/*.png"))[:16]
        images += [np.array(Image.open(path).convert("RGB").resize((64, 64))) for path in paths]
    assert len(images) == 64
    labels = torch.arange(4).repeat_interleave(16)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return Batch(Inputs(pixels), labels, (labels > 0).long())


@pytest.mark.parametrize("experts", [pytest.param("linear", marks=pytest.mark.slow), "attentive"])
def test_a_tiny_backbone_learns_64_faces_by_heart(experts: str, tmp_path: Path) -> None:
    """train=all: both experts at 0.95 or more of 64 synthetic faces within 150 steps (Adam, 1e-3, all faces a step)."""
    batch = drawn_faces(tmp_path / "faces")
    torch.manual_seed(0)
    model = VFMProbe.build(4, size="tiny", options={"train": "all", "experts": experts, "side": 64}).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(150):
        optimiser.zero_grad()
        torch.stack(list(weighted_losses(model.losses(batch)).values())).sum().backward()
        optimiser.step()
        if step % 10 == 9 and min(shares := right_shares(model, batch)) >= 0.95:
            print(experts, step + 1, shares)
            break
    assert min(right_shares(model, batch)) >= 0.95


def right_shares(model: VFMProbe, batch: Batch) -> tuple[float, float]:
    """Shares of faces that attribution and detection expert get right, in evaluation."""
    with torch.no_grad():
        output = model.eval()(batch.inputs)
    model.train()
    pairs = ((output.attribution_logits, batch.attribution), (output.detection_logits, batch.detection))
    right = [float((logits.argmax(1) == labels).float().mean()) for logits, labels in pairs]
    return right[0], right[1]
