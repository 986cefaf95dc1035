from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.models import some_fast

from dfad_bench.core.contract import Batch, Inputs, weighted_losses
from dfad_bench.core.errors import ConfigError, UnknownNameError, WeightsError
from dfad_bench.core.recipe import load_recipe
from dfad_bench.core.registry import model_class
from dfad_bench.engine.config import RunConfig
from gazeclip import DFAD_MODELS
from gazeclip.ablations import VARIANTS
from gazeclip.config import GazeCLIPConfig
from gazeclip.model import GazeCLIP

REAL = ("a photo of a real face",) * 4
FAKE = ("a photo of a fake face", "a photo of an entire synthesized face", "a photo by a GAN", "the model is StyleGAN2")


def batch(size: int = 4, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(size, 3, 96, 96, generator=generator)
    gaze, patches = torch.randn(size, 2, generator=generator), torch.rand(size, 3, 64, 64, generator=generator)
    inputs = Inputs(images, {"gaze": gaze, "gaze_patches": patches})
    label = torch.arange(size) % 2
    return Batch(inputs, label, label, [(REAL, FAKE)[int(i)] for i in label])


def tiny(**options: object) -> GazeCLIP:
    torch.manual_seed(0)
    return GazeCLIP.build(3, size="tiny", options=options)


@pytest.fixture(scope="module")
def paper() -> GazeCLIP:
    with torch.device("meta"):
        return GazeCLIP.build(11)


def numel(module: torch.nn.Module | None) -> int:
    return 0 if module is None else sum(p.numel() for p in module.parameters())


def test_settings_are_the_papers_letters() -> None:
    config = GazeCLIPConfig()
    letters = {name: getattr(config, name) for name in "ELNadsmtr"}
    assert letters == {"E": 6, "L": 12, "N": 12, "a": 1024, "d": 768, "s": 512, "m": 64, "t": 308, "r": 8}
    assert (config.lora_rank, config.lora_alpha) == (8, 32)


def test_inference_parameters_are_the_published_count(paper: GazeCLIP) -> None:
    inference = numel(paper) - numel(paper.lre) - 1  # without the text side: LRE and the temperature
    assert abs(inference / 1e6 - 204.40) < 0.02


def test_trainable_parameters_follow_from_the_equations(paper: GazeCLIP) -> None:
    E, L, N, a, d, s, t, rank = 6, 12, 12, 1024, 768, 512, 308, 8
    agte = E * (2 * 2 * a + 3 * a * a + a * a + a + 2 * a * 2 * a + 3 * a)
    parts = {
        "proj": (paper.vpe.agpm.ae.proj, 512 * 7 * 7 * a + a),
        "agte": (paper.vpe.agpm.agte, agte),
        "gaze_proj": (paper.vpe.agpm.gaze_proj, d * a),
        "adapter": (paper.vpe.ge, 2 * d),
        "W_ig": (paper.W_ig, d * s),
        "W_ag": (paper.W_ag, a * s),
        "experts": (paper.experts, (s + 1) * (11 + 2)),
    }
    for name, (module, expected) in parts.items():
        assert numel(module) == expected, name
    assert sum(numel(block.injector) for block in paper.gie.blocks) == N * 4 * d * d
    assert sum(numel(block.lora) for block in paper.gie.blocks) == 2 * 2 * d * rank
    assert sum(numel(block.lora) for block in paper.lre.blocks) == 2 * s * rank
    assert sum(numel(block.aws) for block in paper.lre.blocks) == L * t
    assert paper.gie.P_i.shape == (65, d)
    assert paper.vpe.agpm.P_e.shape == (1, 3, a)
    trainable = sum(p.numel() for p in paper.parameters() if p.requires_grad)
    assert trainable / 1e6 == pytest.approx(116.95, abs=0.01)


def test_losses_and_their_gradients() -> None:
    model = tiny()
    losses = model.losses(batch())
    assert sorted(losses) == ["cmc", "dfa", "dfd"]
    sum(weighted_losses(losses).values()).backward()
    still = {n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or p.grad.abs().max() == 0)}
    fresh = {name for name in still if name.endswith("lora.A.weight")}  # behind a B of zeros: learns from step two on
    known = {n for n, _ in model.named_parameters() if n.endswith(model.known_zero_gradient)}
    assert still - fresh == known
    assert len(known) == 2 * model.config.N


def test_lora_learns_from_the_second_step_on() -> None:
    model = tiny()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for _ in range(2):
        optimiser.zero_grad()
        sum(weighted_losses(model.losses(batch())).values()).backward()
        optimiser.step()
    assert all(p.grad.abs().max() > 0 for n, p in model.named_parameters() if n.endswith("lora.A.weight"))


@pytest.mark.heavy
def test_frozen_towers_stay_bit_equal_through_training_steps() -> None:
    model = tiny()
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    assert {name.split(".")[0] for name in frozen} == {"gie", "lre"}
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model.train()
    assert not any(block.block.training for tower in (model.gie, model.lre) for block in tower.blocks)
    first = last = 0.0
    for step in range(12):
        optimiser.zero_grad()
        total = sum(weighted_losses(model.losses(batch(8))).values())
        total.backward()
        optimiser.step()
        last = float(total.detach())
        first = last if step == 0 else first
    assert last < first
    after = dict(model.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in frozen.items())


@torch.no_grad()
def test_forward_never_runs_the_text_tower() -> None:
    model = tiny().eval()
    inputs = batch().inputs
    with_text = model(inputs).attribution_logits
    model.lre = None
    assert torch.equal(model(inputs).attribution_logits, with_text)


@torch.no_grad()
def test_embedding_is_the_sum_of_both_mapped_traces() -> None:
    model = tiny().eval()
    inputs = batch().inputs
    appearance, gaze = model.vpe(inputs.images, inputs.views["gaze"])
    image = model.gie(model.prepare(inputs.images), gaze)
    expected = image @ model.W_ig.weight.T + appearance @ model.W_ag.weight.T
    assert torch.allclose(model.embed(inputs), expected, atol=1e-5)


@torch.no_grad()
def test_gaze_matters_unless_switched_off() -> None:
    inputs = batch().inputs
    turned = Inputs(inputs.images, {"gaze": -inputs.views["gaze"]})
    assert not torch.allclose(tiny().eval().embed(inputs), tiny().eval().embed(turned), atol=1e-4)
    blind = tiny(use_gaze=False).eval()
    assert torch.equal(blind.embed(inputs), blind.embed(Inputs(inputs.images)))


@torch.no_grad()
def test_gi_fast_is_the_same_model() -> None:
    full, fast = tiny(gi_fast=False).eval(), tiny(gi_fast=True).eval()
    fast.load_state_dict(full.state_dict())
    assert torch.allclose(full.embed(batch().inputs), fast.embed(batch().inputs), atol=1e-5)


def test_contrast_compares_what_cmc_pair_says() -> None:
    values = {pair: float(tiny(cmc_pair=pair).losses(batch(8))["cmc"].value.detach()) for pair in ("I_v", "I_ag")}
    model = tiny()
    embedding, appearance = model.traces(batch(8).inputs)
    text, _ = model.language(batch(8).prompts)
    for pair, image in (("I_v", embedding), ("I_ag", appearance)):
        cosines = torch.stack([torch.cosine_similarity(row, text, dim=1) for row in image]) / 0.07
        terms = [
            -(logits[i, i] - logits[i].logsumexp(0)) for logits in (cosines, cosines.T) for i in range(len(cosines))
        ]
        assert values[pair] == pytest.approx(float(sum(terms).detach()) / len(terms), abs=1e-4)


def test_targets_spread_over_equal_captions_are_the_diagonal_in_value_and_gradient() -> None:
    """Equal captions have equal embeddings, so both targets give one number: the floor of the diagonal stays."""
    rows = batch(7)
    results = []
    for targets in ("diag", "multi"):
        model = tiny(cmc_targets=targets)
        loss = model.losses(rows)["cmc"].value
        loss.backward()
        results.append((loss.detach(), model.W_ig.weight.grad, model.lre.blocks[0].aws.D.grad))
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    "name", some_fast(VARIANTS, ("full", "aws_before", "agpm", "query_patch", "levels_1", "lora_1_1", "no_gaze"))
)
def test_every_ablation_row_builds_and_learns(name: str) -> None:
    model = tiny(variant=name)
    losses = model.losses(batch())
    assert ("cmc" in losses) == model.config.use_lre
    sum(weighted_losses(losses).values()).backward()
    assert all(torch.isfinite(value) for value in weighted_losses(losses).values())


def test_lora_ablation_has_the_rows_number_of_adapters() -> None:
    with torch.device("meta"):
        model = GazeCLIP.build(11, options={"variant": "lora_3_2"})
    assert [sum(b.lora is not None for b in tower.blocks) for tower in (model.gie, model.lre)] == [3, 2]


def test_a_tiny_run_made_before_has_two_image_blocks_and_room_for_two_loras() -> None:
    before = RunConfig(
        model="gazeclip", size="tiny", protocol="synthetic", protocol_sha256="0" * 64, manifests={}, device="cpu",
        recipe=load_recipe("quick"), init={"kind": "random"}, options={"variant": "lora_4_1"},
    )  # fmt: skip
    assert [tiny(**before.model_options).config.N, tiny(variant="lora_4_1").config.N] == [2, 4]
    assert tiny(**before.model_options).config.lora_gie == 2
    paper = replace(before, size="paper").model_options
    assert GazeCLIP.configure("paper", paper).N == 12


def test_modules_switched_off_are_not_there() -> None:
    assert tiny(variant="ge_gie_lre").vpe.agpm is None
    assert tiny(variant="agpm_ge").gie is None
    assert tiny(variant="no_gi").gie.blocks[0].injector is None
    assert tiny(variant="no_gi").vpe.agpm.gaze_proj is not None
    assert tiny(variant="no_gaze").vpe.ge is None


@pytest.mark.parametrize("name", DFAD_MODELS)
def test_named_variants(name: str) -> None:
    model = model_class(name).build(3, size="tiny")
    assert ("gaze" in model.needs) == model.config.use_gaze
    assert model.needs_prompts == model.config.use_lre
    assert (model.config == GazeCLIPConfig().tiny()) == (name == "gazeclip")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gi_qery": "all"}, "did you mean 'gi_query'"),
        ({"gi_query": "none"}, "gi_query must be one of cls, patch, all"),
        ({"use_agpm": False, "use_gie": False}, "nothing would see the image"),
        ({"clip_size": 250}, "clip_size 250 is no multiple of the patch side 16"),
        ({"levels": 5}, "levels must be 1 to 4"),
        ({"lora_gie": 5}, "lora_gie must be 0 to 4"),
    ],
)
def test_bad_settings_are_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny(**options)


def test_unknown_variant_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean query_patch"):
        tiny(variant="query_ptch")


def lacking(inputs: Inputs, filler: float) -> Inputs:
    """Faces 1 and 3 of four have no gaze."""
    present = torch.tensor([True, False, True, False])
    gaze = torch.where(present[:, None], inputs.views["gaze"], torch.full_like(inputs.views["gaze"], filler))
    return Inputs(inputs.images, {"gaze": gaze}, {"gaze": present})


@pytest.mark.parametrize("options", [{}, {"gi_query": "all"}, {"use_gie": False}, {"use_agpm": False}], ids=str)
@torch.no_grad()
def test_a_face_without_a_gaze_is_one_that_no_gaze_token_and_no_injector_saw(options: dict) -> None:
    model, inputs = tiny(**options).eval(), batch().inputs
    found = model.embed(lacking(inputs, 9.0))
    assert torch.equal(found, model.embed(lacking(inputs, float("nan"))))  # what stands in its place is not read
    assert torch.equal(found[::2], model.embed(inputs)[::2])  # to the bit
    parts = []
    if model.vpe.agpm is not None:  # two tokens: equation 1 without the gaze
        agpm = model.vpe.agpm
        tokens = torch.cat([agpm.I_c.expand(4, -1, -1), agpm.ae(inputs.images)], dim=1)
        parts.append(model.W_ag(agpm.agte(tokens + agpm.P_e[:, :2])[:, 0]))
    if model.gie is not None:  # CLIP's blocks and the LoRA, nothing injected
        parts.append(model.W_ig(model.gie(model.prepare(inputs.images), None)))
    assert torch.allclose(found[1::2], sum(parts)[1::2], atol=1e-5)


@torch.no_grad()
def test_runs_before_the_setting_take_a_missing_gaze_for_looking_straight_ahead() -> None:
    assert GazeCLIP.earlier_defaults["missing_gaze"] == "zero"
    model, inputs = tiny(missing_gaze="zero").eval(), batch().inputs
    found = model.embed(lacking(inputs, 9.0))
    before = Inputs(inputs.images, {"gaze": lacking(inputs, 0.0).views["gaze"]})  # as they got them
    assert torch.equal(found, model.embed(before))
    assert "look straight ahead" in model.missing_views["gaze"]
    assert "no gaze token" in tiny().missing_views["gaze"]
    assert not tiny(use_gaze=False).missing_views


def test_losses_of_faces_without_a_gaze_are_finite_and_train_all_but_them() -> None:
    model, faces = tiny().train(), batch()
    faces = Batch(lacking(faces.inputs, 9.0), faces.attribution, faces.detection, faces.prompts)
    sum(weighted_losses(model.losses(faces)).values()).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert model.vpe.ge.W_g.weight.grad.abs().max() > 0


def test_missing_gaze_is_one_line() -> None:
    with pytest.raises(ConfigError, match="needs the view 'gaze'"):
        tiny()(Inputs(torch.rand(1, 3, 64, 64)))


def test_weights_go_into_both_towers_before_wrapping(tmp_path) -> None:
    from safetensors.torch import save_file

    from dfad_bench.layers.clip_towers import clip_model

    torch.manual_seed(5)
    clip = clip_model(image_size=64, tiny=True, tiny_blocks=(4, 2))
    save_file(clip.state_dict(), tmp_path / "clip.safetensors")
    model = GazeCLIP.build(3, size="tiny", weights=tmp_path / "clip.safetensors")
    assert torch.equal(model.gie.conv1.weight, clip.visual.conv1.weight)
    last = clip.transformer.resblocks[1].mlp.c_fc.weight
    assert torch.equal(model.lre.blocks[1].block.mlp.c_fc.weight, last)
    assert torch.equal(model.lre.P_l[77:154], clip.positional_embedding)
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="not a CLIP tiny state dict"):
        GazeCLIP.build(3, size="tiny", weights=tmp_path / "other.safetensors")


def test_256_pixels_resize_the_position_table_and_keep_the_class_row(tmp_path) -> None:
    from safetensors.torch import save_file

    from dfad_bench.layers.clip_towers import clip_model

    clip = clip_model(image_size=64, tiny=True, tiny_blocks=(4, 2))
    save_file(clip.state_dict(), tmp_path / "clip.safetensors")
    model = GazeCLIP.build(3, size="tiny", weights=tmp_path / "clip.safetensors", options={"clip_size": 96})
    assert model.gie.P_i.shape == (37, 32)
    assert torch.equal(model.gie.P_i[0], clip.visual.positional_embedding[0])
