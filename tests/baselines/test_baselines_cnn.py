"""Xception, CViT and DNA-Det: published counts, ported weights, and each one's own mark."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from baselines.cvit import CViT
from baselines.dna_det import DNADet
from baselines.dna_det_transforms import TRANSFORMATIONS, transform
from baselines.xception import Xception, XceptionConfig, XceptionTrunk
from dfad_bench.core.contract import Batch, Inputs, weighted_losses
from dfad_bench.core.errors import ConfigError, WeightsError
from dfad_bench.core.notices import collect_notices
from dfad_bench.core.recipe import load_recipe
from dfad_bench.core.stage_plan import plan_stages
from dfad_bench.engine.optimisers import parameter_groups
from dfad_bench.engine.schedule import learning_rate
from dfad_bench.engine.stage_batches import StageBatches
from dfad_bench.losses.supcon import supervised_contrastive


def millions(module: torch.nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


def batch(rows: int = 4, side: int = 128) -> Batch:
    images = torch.rand(rows, 3, side, side, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(rows) % 2
    return Batch(Inputs(images), labels, labels)


@pytest.mark.heavy
def test_published_parameter_counts() -> None:
    """GazeCLIP Table VII; what the published count does not see (tokens, training heads) is left out."""
    assert millions(Xception.build(11)) == pytest.approx(20.83, abs=0.01)
    cvit = CViT.build(11)
    assert millions(cvit) - 3 * 1024 / 1e6 == pytest.approx(91.11, abs=0.01)
    dna = DNADet.build(11)
    assert millions(dna.backbone) + millions(dna.experts) == pytest.approx(5.90, abs=0.01)


@pytest.mark.heavy
def test_xception_loads_and_equals_the_ported_network(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(0)
    theirs = timm.create_model("legacy_xception", pretrained=False).eval()
    torch.save(theirs.state_dict(), tmp_path / "xception.pt")
    ours = Xception.build(11, weights=tmp_path / "xception.pt", options={"stem_padding": 0}).eval()
    images = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        expected = F.adaptive_avg_pool2d(theirs.forward_features(images), 1).flatten(1)
        assert torch.allclose(ours.trunk(images), F.relu(expected), atol=1e-5)


def test_xception_refuses_other_weights(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="not timm's legacy_xception") as caught:
        Xception.build(3, size="tiny", weights=tmp_path / "other.pt")
    assert "\n" not in str(caught.value)


def test_older_ports_with_flat_kernels_load(tmp_path: Path) -> None:
    model = Xception.build(3, size="tiny")
    state = {k: v[:, :, 0, 0] if k.endswith("pointwise.weight") else v for k, v in model.trunk.state_dict().items()}
    torch.save(state, tmp_path / "flat.pt")
    again = Xception.build(3, size="tiny", weights=tmp_path / "flat.pt")
    assert torch.equal(again.trunk.conv4.pointwise.weight, model.trunk.conv4.pointwise.weight)


@pytest.mark.parametrize(
    ("layout", "prefix", "classifier"),
    [
        ("DeepfakeBench", "backbone.", {"last_linear.weight": (2, 2048), "adjust_channel.0.weight": (512, 2048, 1, 1)}),
        ("FaceForensics++", "model.", {"last_linear.1.weight": (2, 2048), "last_linear.1.bias": (2,)}),
        ("Cadene", "", {"fc.weight": (1000, 2048), "fc.bias": (1000,)}),
        ("DataParallel", "module.backbone.", {"last_linear.bias": (2,)}),
    ],
)
def test_xception_loads_detectors_people_have(
    tmp_path: Path, layout: str, prefix: str, classifier: dict[str, tuple[int, ...]]
) -> None:
    """Names as published; counters of batch norms are missing, as in files of before 2018."""
    model = Xception.build(3, size="tiny")
    state = {k: v for k, v in model.trunk.state_dict().items() if not k.endswith("num_batches_tracked")}
    state |= {name: torch.zeros(shape) for name, shape in classifier.items()}
    torch.save({prefix + name: value for name, value in state.items()}, tmp_path / "xception_best.pth")
    with collect_notices() as lines:
        again = Xception.build(3, size="tiny", weights=tmp_path / "xception_best.pth")
    assert all(torch.equal(a, b) for a, b in zip(again.trunk.parameters(), model.trunk.parameters(), strict=True))
    assert bool(lines) == bool(prefix), layout


def test_stem_padding_keeps_the_border() -> None:
    sides = []
    for padding in (0, 1):
        trunk = XceptionTrunk(XceptionConfig(stem_padding=padding))
        sides.append(trunk.conv2(trunk.conv1(torch.zeros(1, 3, 224, 224))).shape[-1])
    assert sides == [109, 112]


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="unknown key 'deph'; did you mean 'depth'"):
        CViT.build(3, size="tiny", options={"deph": 2})
    assert len(CViT.build(3, size="tiny", options={"depth": 1}).transformer.layers) == 1


def test_cvit_loads_a_released_layout(tmp_path: Path) -> None:
    model = CViT.build(3, size="tiny", options={"legacy_scale": True})  # as the released networks compute
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("experts.")}
    state["pos_embedding"] = torch.cat([state["pos_embedding"], torch.zeros(1, 9, 48)], dim=1)
    torch.save({**state, "mlp_head.0.weight": torch.zeros(2, 2)}, tmp_path / "cvit.pt")
    again = CViT.build(5, size="tiny", weights=tmp_path / "cvit.pt").eval()
    inputs = batch().inputs
    with torch.no_grad():
        assert torch.equal(again.embed(inputs), model.eval().embed(inputs))
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="not a CViT state dict"):
        CViT.build(5, size="tiny", weights=tmp_path / "other.pt")


def cvit_file(path: Path, model: CViT, table: torch.Tensor) -> Path:
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("experts.")}
    torch.save({"epoch": 50, "state_dict": {**state, "pos_embedding": table}}, path)
    return path


def test_cvits_first_release_has_positions_by_place_in_the_batch(tmp_path: Path) -> None:
    """A face alone gets the first place's row on each token, as that network computes."""
    model = CViT.build(3, size="tiny", options={"legacy_scale": True}).eval()
    table = torch.randn(32, 1, 48, generator=torch.Generator().manual_seed(0))
    path = cvit_file(tmp_path / "cvit_deepfake_detection_ep_50.pth", model, table)
    with collect_notices() as lines:
        again = CViT.build(3, size="tiny", weights=path).eval()
    model.pos_embedding.data = table[0].expand(1, 2, 48).clone()
    with torch.no_grad():
        assert torch.equal(again.embed(batch().inputs), model.embed(batch().inputs))
    assert "positions are by place in the batch of 32" in " ".join(lines)


def test_cvits_attention_scale_follows_the_file(tmp_path: Path) -> None:
    model = CViT.build(3, size="tiny")
    released = cvit_file(tmp_path / "cvit2.pth", model, torch.zeros(1, 1025, 48))
    own = cvit_file(tmp_path / "own.pth", model, torch.zeros(1, 2, 48))
    first = cvit_file(tmp_path / "cvit.pth", model, torch.zeros(32, 1, 48))
    narrow, full = (48 // 4) ** -0.5, 48**-0.5
    with collect_notices():
        for path, options, scale in (
            (released, {}, full),
            (first, {}, full),
            (own, {}, narrow),
            (None, {}, narrow),
            (released, {"legacy_scale": False}, narrow),  # asked for by name
            (own, {"legacy_scale": True}, full),
        ):
            built = CViT.build(3, size="tiny", weights=path, options=options)
            assert built.transformer.layers[0][0].fn.fn.scale == scale


def test_there_are_170_transformations() -> None:
    kinds = [t.kind for t in TRANSFORMATIONS]
    assert len(set(TRANSFORMATIONS)) == len(TRANSFORMATIONS) == 170
    counts = {kind: kinds.count(kind) for kind in kinds}
    assert counts == {
        "jpeg": 24,
        "double_jpeg": 24,
        "gaussian_blur": 14,
        "median_blur": 14,
        "resize": 80,
        "noise": 14,
    }
    assert all(t.level != t.second for t in TRANSFORMATIONS)


@pytest.mark.parametrize("index", [0, 23, 30, 50, 61, 64, 80, 100, 117, 133, 150, 156, 169])
def test_each_kind_changes_the_image_and_keeps_its_frame(index: int) -> None:
    image = torch.rand(3, 40, 48, generator=torch.Generator().manual_seed(0))
    changed = transform(image, index)
    assert changed.shape == image.shape
    assert changed.dtype == image.dtype
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
    assert not torch.equal(changed, image)


def test_noise_has_its_variance_and_blur_grows() -> None:
    flat = torch.full((3, 200, 200), 0.5)
    torch.manual_seed(0)
    for index in (156, 169):
        assert float((transform(flat, index) * 255).var()) == pytest.approx(TRANSFORMATIONS[index].level, rel=0.05)
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    spread = [float(transform(image, index).std()) for index in range(48, 62)]
    assert spread == sorted(spread, reverse=True)


def test_dna_det_stages_train_their_own_heads() -> None:
    model = DNADet.build(3, size="tiny")
    first, second = (
        {p for group in parameter_groups(model, stage.name) for p in group.parameters} for stage in model.stages
    )
    assert first & second == {*model.backbone.parameters(), *model.projection.parameters()}
    assert first | second == set(model.parameters())
    assert set(model.losses(batch(), "pretrain")) == {"transformation", "supcon", "auto_weight"}
    assert set(model.losses(batch(), "contrast")) == {"dfa", "dfd", "supcon", "auto_weight"}


def test_dna_det_pre_trains_on_transformations_alone_in_runs_of_before() -> None:
    model = DNADet.build(3, size="tiny", options=DNADet.earlier_defaults)
    assert "pretrain_auto_weight.p" not in model.state_dict()
    assert set(model.losses(batch(), "pretrain")) == {"transformation"}
    (group,) = parameter_groups(model, "pretrain")
    assert set(group.parameters) == {*model.backbone.parameters(), *model.transformation.parameters()}


def test_dna_det_pre_training_losses_by_hand() -> None:
    """With dropout off: transformations of the image drawn in the same order, each crop of the class of its image."""
    model = DNADet.build(3, size="tiny", options={"dropout": 0.0, "crops": 3, "source_crop": 96}).train()
    model.pretrain_auto_weight.p.data = torch.tensor([2.0, 0.5])
    images = batch().inputs.images
    torch.manual_seed(5)
    losses = weighted_losses(model.losses(batch(), "pretrain"))
    torch.manual_seed(5)
    tops, lefts = torch.randint(33, (4, 1)), torch.randint(33, (4, 1))
    classes = torch.randint(170, (4,))
    parts = [images[i, :, tops[i, 0] : tops[i, 0] + 96, lefts[i, 0] : lefts[i, 0] + 96] for i in range(4)]
    changed = model.prepare(torch.stack([transform(parts[i], int(classes[i])) for i in range(4)]))
    tops, lefts = torch.randint(65, (4, 3)), torch.randint(65, (4, 3))
    crops = [
        changed[i, :, tops[i, k] : tops[i, k] + 64, lefts[i, k] : lefts[i, k] + 64] for i in range(4) for k in range(3)
    ]
    features, labels = model.backbone(torch.stack(crops)), classes.repeat_interleave(3)
    named = F.cross_entropy(model.transformation[1](features), labels)
    assert torch.allclose(losses["transformation"], 0.5 / 4 * named, rtol=1e-4)
    supcon = supervised_contrastive(model.projection(features), labels)
    assert torch.allclose(losses["supcon"], 0.5 / 0.25 * supcon, rtol=1e-4)
    assert torch.allclose(losses["auto_weight"], torch.tensor([5.0, 1.25]).log().sum())


@pytest.mark.parametrize(
    ("recipe", "steps", "after_5", "after_30"), [("dna_det", 313, 7e-5, 1.5e-5), ("dna_det_11", 625, 9e-4, 4.8e-4)]
)
def test_dna_det_rates_fall_as_in_its_authors_trainer(recipe: str, steps: int, after_5: float, after_30: float) -> None:
    """Ten thousand faces of each of eleven classes; a step has so many of each class."""
    faces = MagicMock(attribution=np.repeat(np.arange(11), 10_000), detection=np.zeros(110_000, dtype=int))
    faces.__len__.return_value = 110_000
    plan = plan_stages(DNADet.build(11, size="tiny").stages, load_recipe(recipe))[-1]
    batches = StageBatches(plan, faces, seed=0)
    assert batches.per_epoch == steps
    assert all(
        np.unique(faces.attribution[rows], return_counts=True)[1].tolist() == [plan.batch_size] * 11
        for rows in batches.of(0)
    )
    for epochs, wanted in ((5, after_5), (30, after_30)):
        step = epochs * batches.per_epoch
        rate = learning_rate(plan.schedule, plan.optimiser.lr, epochs, step, batches.steps)
        assert rate == pytest.approx(wanted, rel=0.05)


def test_dna_det_losses_are_those_of_its_crops() -> None:
    """With dropout off, each term recomputed from crops cut by hand at the same random places."""
    model = DNADet.build(3, size="tiny", options={"dropout": 0.0, "crops": 3}).train()
    model.auto_weight.p.data = torch.tensor([2.0, 0.5])
    data = batch()
    torch.manual_seed(5)
    losses = model.losses(data, "contrast")
    torch.manual_seed(5)
    tops, lefts = torch.randint(65, (4, 3)), torch.randint(65, (4, 3))
    images = data.inputs.images * 2 - 1
    crops = [
        images[i, :, y : y + 64, x : x + 64]
        for i in range(4)
        for y, x in zip(tops[i].tolist(), lefts[i].tolist(), strict=True)
    ]
    features = model.backbone(torch.stack(crops))
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1])
    dfa = F.cross_entropy(model.experts.attribution[1](features), labels)
    supcon = supervised_contrastive(model.projection(features), labels)
    losses = weighted_losses(losses)
    assert torch.allclose(losses["dfa"], 0.5 / 4 * dfa, rtol=1e-4)
    assert torch.allclose(losses["supcon"], 0.5 / 0.25 * supcon, rtol=1e-4)
    assert torch.allclose(losses["dfd"], F.cross_entropy(model.experts.detection[1](features), labels), rtol=1e-4)
    assert torch.allclose(losses["auto_weight"], torch.tensor([5.0, 1.25]).log().sum())


def test_dna_det_validates_on_whole_images() -> None:
    model, data = DNADet.build(3, size="tiny").eval(), batch()
    with torch.no_grad():
        losses, output = model.losses(data, "contrast"), model(data.inputs)
    assert set(losses) == {"dfa", "dfd"}
    assert torch.equal(losses["dfa"], F.cross_entropy(output.attribution_logits, data.attribution))


def test_dna_det_loads_its_convolutions_only(tmp_path: Path) -> None:
    model = DNADet.build(3, size="tiny")
    state = {**model.backbone.state_dict(), "classification_head.1.weight": torch.zeros(2, 2)}
    torch.save(state, tmp_path / "dna.pt")
    again = DNADet.build(7, size="tiny", weights=tmp_path / "dna.pt")
    assert all(torch.equal(a, b) for a, b in zip(again.backbone.parameters(), model.backbone.parameters(), strict=True))
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="not a DNA-Det state dict"):
        DNADet.build(7, size="tiny", weights=tmp_path / "other.pt")
