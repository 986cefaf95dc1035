"""Shipped data: every file loads, and every name refers to something."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from helpers.published import PUBLISHED, needs_published

from dfad_bench import __version__
from dfad_bench.core.labels import FAKE, PAPER_FAMILIES, REAL, UNSEEN, Family, ForgeryType
from dfad_bench.core.protocol import load_protocol, protocol_names
from dfad_bench.core.recipe import load_recipe, recipe_names
from dfad_bench.core.registry import model_class, model_names
from dfad_bench.core.resources import shipped, shipped_names
from dfad_bench.core.strict import read_yaml
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.core.weights import weight_files
from dfad_bench.gaze.estimators.build import estimator_class, estimator_table
from dfad_bench.ingest.crop.cropper import load_crop_profile
from dfad_bench.parsing.features import INCEPTION_WEIGHTS
from dfad_bench.views.registry import view_class, view_names

ROOT = Path(__file__).resolve().parents[1]


def words(text: str) -> list[str]:
    return text.split()


# GazeCLIP Table I, DFA label 0 to 10
TABLE_I = words("real diffface diffae latdiff colldiff ddpm fslsd faceswapper lattrans stylegan2 stylegan3")
DF40 = words("""simswap inswap uniface e4s mobileswap blendface faceswap facedancer fsgan deepfacelab
    fomm facevid2vid wav2lip MRAA one_shot_free pirender tpsm lia danet sadtalker mcnet hyperreenact heygen
    VQGAN StyleGAN2 StyleGAN3 StyleGANXL sd2.1 ddim RDDM PixArt DiT SiT MidJourney whichfaceisreal
    stargan starganv2 styleclip e4e CollabDiff""")
CELEB_DF_PP = words("""Celeb-DF BlendFace GHOST HifiFace InSwapper MobileFaceSwap SimSwap UniFace
    DaGAN FSRT HyperReenact LIA LivePortrait MCNET TPSMM
    AniTalker EchoMimic EDTalk FLOAT IP_LAP Real3DPortrait SadTalker""")


# --- every file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [*shipped("manifests").rglob("*.yaml"), *shipped("leaderboards").rglob("*.yaml")],
    ids=lambda path: "/".join(path.parts[-2:]),
)
def test_every_file_is_plain_and_told_apart_by_its_name(path: Path) -> None:
    raw = read_yaml(path)
    assert isinstance(raw, dict)
    name, _, version = path.stem.partition("@")
    assert raw.get("name", path.stem) == name
    assert (path.parent.name == "earlier") == bool(version)
    assert not version or raw["version"] == int(version)
    assert path.read_bytes().endswith(b"\n")
    assert b"\t" not in path.read_bytes()


# --- taxonomy ---------------------------------------------------------------------------------------------------


def test_default_labels_are_those_of_table_one() -> None:
    labelled = {g.attribution_label: g.key for g in taxonomy() if g.attribution_label != UNSEEN}
    assert [labelled[label] for label in sorted(labelled)] == TABLE_I
    assert len([g for g in taxonomy() if g.attribution_label != UNSEEN]) == len(TABLE_I)


@needs_published
def test_table_one_row_by_row() -> None:
    rows = list(csv.DictReader((PUBLISHED / "dataset_gazeclip_table01.csv").open(encoding="utf-8")))
    assert len(rows) == 30
    for row in rows:
        generator = taxonomy()[row["generator"] or "real"]
        assert generator.detection_label == int(row["dfd_label"])
        if row["generator"]:
            assert generator.display == row["generator"]
            assert generator.forgery.value == row["type"]
            assert generator.grouping.value == row["sub_type"].lower()
            assert generator.attribution_label == int(row["dfa_label"])


@pytest.mark.parametrize(("names", "count"), [(DF40, 40), (CELEB_DF_PP, 22)], ids=["df40", "celeb_df_pp"])
def test_methods_of_a_release_are_each_one_row(names: list[str], count: int) -> None:
    assert len({taxonomy()[name].key for name in names}) == count


def test_keys_are_lower_snake_case_and_stand_ins_say_so() -> None:
    for generator in taxonomy():
        pattern = r"synthetic(-[a-z]+)+" if generator.key.startswith("synthetic") else r"[a-z0-9]+(_[a-z0-9]+)*"
        assert re.fullmatch(pattern, generator.key)
        assert ("synthetic" in generator.display.lower().split()) == generator.key.startswith("synthetic")


def test_forged_faces_have_a_forgery_type_and_others_none() -> None:
    for generator in taxonomy():
        if generator.key == "fake":  # by whom and how is not told
            assert generator.forgery is ForgeryType.NONE
            assert generator.family is Family.NONE
        else:
            assert (generator.forgery is ForgeryType.NONE) == (generator.detection_label != FAKE)


# --- protocols and recipes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", protocol_names())
def test_protocol_names_things_that_exist(name: str) -> None:
    protocol = load_protocol(name)
    for group in protocol.groups:
        assert group.taxon.key == group.generator, f"{name}: write {group.taxon.key!r}, not {group.generator!r}"
        assert group.dataset in shipped_names("manifests", "datasets")
    for entry in (entry for rule in protocol.crops for entry in rule.profiles):
        wanted, _, version = entry.partition("@")
        assert load_crop_profile(wanted).version >= int(version or 1)
    seen = {group.generator for group in protocol.seen}
    unseen = {group.generator for group in protocol.unseen}
    assert seen & unseen <= {"real"}, "a seen generator cannot be unseen"
    assert protocol.synthetic == any(g.generator.startswith("synthetic") for g in protocol.groups)
    assert protocol.version == len(protocol.changes)


@pytest.mark.parametrize("name", ["gazeclip-df40", "gazeclip-celebdfpp", "gazeclip-wild", "gazeclip-recent"])
def test_protocols_of_gazeclip_share_their_training(name: str) -> None:
    protocol = load_protocol(name)
    seen = sorted(protocol.seen, key=lambda group: group.label)
    assert [group.generator for group in seen] == TABLE_I
    assert [group.label for group in seen] == [taxonomy()[g.generator].attribution_label for g in seen]
    assert (protocol.train_per_group, protocol.test_per_group, protocol.image_size) == (10_000, 1_250, 256)
    assert protocol.attribution.thresholds == (0.9,)
    assert len(protocol.notes) >= 3, "the paper's ambiguities belong into the notes"


def test_protocols_of_bmrl() -> None:
    one, two = load_protocol("bmrl-1"), load_protocol("bmrl-2")
    assert (one.num_generators, two.num_generators) == (10, 11)
    assert one.attribution.thresholds == two.attribution.thresholds == (0.7, 0.9)
    assert {g.generator for g in one.seen} | {"real"} == {g.generator for g in two.seen}
    assert {g.key for g in two.unseen} - {g.key for g in one.unseen} == {"ffhq/real"}
    assert not any(g.generator == "real" for g in one.groups)


def test_protocols_of_papers_ask_for_three_seeds_and_hash_without_them() -> None:
    of_papers = [protocol for protocol in map(load_protocol, protocol_names()) if protocol.paper]
    assert len(of_papers) >= 8
    assert {protocol.seeds for protocol in of_papers} == {(0, 1, 2)}
    assert all(protocol.sha256 == replace(protocol, seeds=()).sha256 for protocol in of_papers)


@pytest.mark.parametrize(
    ("name", "accuracy"), [("gazeclip-df40", 90.00), ("gazeclip-celebdfpp", 88.89), ("gazeclip-wild", 75.00)]
)
def test_always_fake_scores_what_the_papers_print(name: str, accuracy: float) -> None:
    labels = Counter(group.taxon.detection_label for group in load_protocol(name).unseen)
    assert round(100 * labels[FAKE] / (labels[FAKE] + labels[REAL]), 2) == accuracy


def test_synthetic_and_corpus_take_what_there_is() -> None:
    for name in ("synthetic", "corpus"):
        protocol = load_protocol(name)
        assert (protocol.train_per_group, protocol.test_per_group, protocol.on_short) == (None, None, "warn")
    assert load_protocol("corpus").split == "hash"
    assert (len(load_protocol("synthetic").seen), len(load_protocol("synthetic").unseen)) == (6, 17)
    families = Counter(group.taxon.family for group in load_protocol("synthetic").unseen)
    assert min(families[family] for family in (Family.GAN, Family.DIFFUSION, Family.FLOW)) >= 5


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_loads_under_its_name(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.optimiser.lr > 0
    assert recipe.epochs >= 1


# --- prompts and weights ----------------------------------------------------------------------------------------


def test_prompts_cover_every_forgery_and_family() -> None:
    raw = read_yaml(shipped("manifests") / "prompts" / "ftg-4.yaml")
    assert set(raw["L2"]) == {member.value for member in ForgeryType if member is not ForgeryType.GR}  # of AM's words
    assert set(raw["L3"]) == {member.value for member in PAPER_FAMILIES}
    assert raw["L4"].count("{name}") == 1


def test_prompts_of_latent_diffusion_are_those_of_figure_eleven() -> None:
    raw = read_yaml(shipped("manifests") / "prompts" / "ftg-4.yaml")
    generator = taxonomy()["latdiff"]
    levels = [raw["L1"], raw["L2"][generator.forgery.value], raw["L3"][generator.family.value], raw["L4"]]
    assert [text.replace("{name}", generator.prompt or "") for text in levels] == [
        "a photo of a fake face",
        "a photo of an entire synthesized face",
        "a photo generated by the diffusion-based model",
        "the source generative model of this photo is LatentDiffusion",
    ]


def test_weights_have_names_that_are_no_paths() -> None:
    for name, row in weight_files().items():
        assert re.fullmatch(r"[a-z0-9_]+", name)
        assert "/" not in row.file
        assert row.licence
        assert row.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", row.sha256)
    assert len({row.file for row in weight_files().values()}) == len(weight_files())


@pytest.mark.parametrize("name", model_names())
def test_weights_a_model_names_are_known(name: str) -> None:
    assert set(model_class(name).card.weights) <= set(weight_files())


def test_weights_an_estimator_names_are_known() -> None:
    table = import_module("dfad_bench.gaze.estimators").ESTIMATORS
    for where in table.values():
        module, _, attribute = where.partition(":")
        assert set(getattr(import_module(module), attribute).card.weights) <= set(weight_files())


def test_every_row_of_weights_has_its_model_estimator_or_view() -> None:
    models = [model_class(name).card.weights for name in model_names()]
    estimators = [estimator_class(name).card.weights for name in estimator_table()]
    views = [view_class(name).weight_rows for name in view_names()]
    assert set(weight_files()) == {
        INCEPTION_WEIGHTS,
        *(name for card in (*models, *estimators, *views) for name in card),
    }


# --- the repository's own files ---------------------------------------------------------------------------------


@pytest.fixture
def repository() -> Path:
    if not (ROOT / "CITATION.cff").is_file():
        pytest.skip("not a checkout: CITATION.cff is not shipped in the wheel")
    return ROOT


def test_citation_has_the_version(repository: Path) -> None:
    citation = yaml.safe_load((repository / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == __version__
    assert citation["license"] == "Apache-2.0"


def test_changelog_is_open(repository: Path) -> None:
    heads = re.findall(r"^## \[(.+?)\]", (repository / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert heads[0] == "Unreleased"
