"""Shipped data: every file loads, every name refers to something, every printed average recomputes or is flagged."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from dfad_bench import __version__
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.labels import FAKE, REAL, UNSEEN, Family, ForgeryType
from dfad_bench.core.protocol import load_protocol, protocol_names
from dfad_bench.core.recipe import load_recipe, recipe_names
from dfad_bench.core.registry import model_class, model_names
from dfad_bench.core.resources import shipped, shipped_names
from dfad_bench.core.strict import read_yaml
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.core.weights import weight_files
from dfad_bench.gaze.estimators.build import estimator_class, estimator_table
from dfad_bench.ingest.crop.cropper import load_crop_profile
from dfad_bench.report.reported import (
    ReportedColumn,
    ReportedRow,
    ReportedScore,
    ReportedTable,
    read_table,
    reported_scores,
    reported_tables,
)

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = Path(os.environ.get("DFAD_PUBLISHED", ROOT / "../shared/published"))
needs_published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="the transcribed CSV files are not there; set DFAD_PUBLISHED to their folder"
)


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
# systems of the papers that are still to be written, under the names they will be registered by
PLANNED = set(words("resnet vit cael de_fake forensics_adapter repdfd omnidfa cdal cpl carzero bmrl"))


TWO_PAPERS = ("gazeclip-", "bmrl-")  # whose tables are all here, compared with a second transcription


# --- every file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [*shipped("manifests").rglob("*.yaml"), *shipped("leaderboards").rglob("*.yaml")],
    ids=lambda path: "/".join(path.parts[-2:]),
)
def test_every_file_is_plain_and_told_apart_by_its_name(path: Path) -> None:
    raw = read_yaml(path)
    assert isinstance(raw, dict)
    assert raw.get("name", path.stem) == path.stem
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
            assert generator.family.value == row["sub_type"].lower()
            assert generator.attribution_label == int(row["dfa_label"])


@pytest.mark.parametrize(("names", "count"), [(DF40, 40), (CELEB_DF_PP, 22)], ids=["df40", "celeb_df_pp"])
def test_methods_of_a_release_are_each_one_row(names: list[str], count: int) -> None:
    assert len({taxonomy()[name].key for name in names}) == count


def test_keys_are_lower_snake_case_and_stand_ins_say_so() -> None:
    for generator in taxonomy():
        pattern = r"synthetic(-[a-z]+)+" if generator.key.startswith("synthetic") else r"[a-z0-9]+(_[a-z0-9]+)*"
        assert re.fullmatch(pattern, generator.key)
        assert ("synthetic" in generator.display.lower()) == generator.key.startswith("synthetic")


def test_forged_faces_have_a_forgery_type_and_others_none() -> None:
    for generator in taxonomy():
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
    assert (len(load_protocol("synthetic").seen), len(load_protocol("synthetic").unseen)) == (6, 5)


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_loads_under_its_name(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.optimiser.lr > 0
    assert recipe.epochs >= 1


# --- prompts and weights ----------------------------------------------------------------------------------------


def test_prompts_cover_every_forgery_and_family() -> None:
    raw = read_yaml(shipped("manifests") / "prompts" / "ftg-4.yaml")
    assert set(raw["L2"]) == {member.value for member in ForgeryType}
    assert set(raw["L3"]) == {member.value for member in Family}
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


def test_every_row_of_weights_has_its_model() -> None:
    models = [model_class(name).card.weights for name in model_names()]
    estimators = [estimator_class(name).card.weights for name in estimator_table()]
    assert set(weight_files()) == {name for card in (*models, *estimators) for name in card}


# --- reported tables --------------------------------------------------------------------------------------------


def averages_in(table: ReportedTable) -> list[tuple[str, str | None, str, float | None, float, float]]:
    """Printed averages with cells behind them, and the means of those, read off the file itself."""
    raw = read_yaml(shipped("leaderboards") / "reported" / f"{table.name}.yaml")
    found = []
    for row in raw["rows"]:
        for place, column in enumerate(raw["columns"]):
            what = [column.get(key) for key in ("task", "metric", "threshold")]
            cells = [
                value
                for other, value in zip(raw["columns"], row["cells"], strict=True)
                if other.get("group") and [other.get(key) for key in ("task", "metric", "threshold")] == what
                if value is not None
            ]
            if column["split"] == "average" and row["cells"][place] is not None and cells:
                mean = sum(cells) / len(cells)
                key = (row["printed"], row.get("variant"), column["metric"], column.get("threshold"))
                found.append((*key, row["cells"][place], mean))
    return found


@pytest.mark.parametrize("table", reported_tables(), ids=lambda table: table.name)
def test_every_printed_average_is_recomputed(table: ReportedTable) -> None:
    averages = list(table.averages())
    ours = [
        (a.row.printed, a.row.variant, a.column.metric, a.column.threshold, a.printed, a.recomputed) for a in averages
    ]
    theirs = averages_in(table)
    assert [row[:5] for row in ours] == [row[:5] for row in theirs]
    assert [row[5] for row in ours] == pytest.approx([row[5] for row in theirs])


def test_of_the_two_papers_only_the_known_averages_do_not_recompute() -> None:
    off = {
        (table.name, a.row.model, a.column.threshold, a.printed, round(a.recomputed, 2))
        for table in reported_tables()
        for a in table.averages()
        if table.name.startswith(TWO_PAPERS) and not a.agrees
    }
    assert off == {
        ("gazeclip-table-02", "xception", 0.9, 64.02, 63.46),
        ("gazeclip-table-02", "repdfd", 0.9, 54.28, 54.34),
        ("bmrl-table-01", "dna_det", 0.9, 32.63, 37.63),
        ("bmrl-table-01", "cpl", 0.7, 26.68, 24.44),
        ("bmrl-table-03", "carzero", 0.7, 6.20, 5.58),
        ("bmrl-table-03", "carzero", 0.9, 11.72, 10.59),
    }


@pytest.mark.parametrize("table", reported_tables(), ids=lambda table: table.name)
def test_averages_recompute_or_are_flagged(table: ReportedTable) -> None:
    off = {a.row.printed: f"{a.recomputed:.2f}" for a in table.averages() if not a.agrees}
    flagged = {row.printed: row.mismatch for row in table.rows if row.mismatch}
    assert flagged.keys() == off.keys()
    assert all(off[name] in text for name, text in flagged.items())


@pytest.mark.parametrize("table", reported_tables(), ids=lambda table: table.name)
def test_reported_table_refers_to_things_that_exist(table: ReportedTable) -> None:
    protocol = load_protocol(table.protocol)
    counted = [group.key for group in protocol.unseen if group.in_average]
    columns = list(dict.fromkeys(column.group for column in table.columns if column.group))
    assert not columns or columns == counted, "columns in the order of the protocol's unseen groups"
    if table.name.startswith(TWO_PAPERS):
        assert {row.model for row in table.rows} <= set(model_names()) | PLANNED
    for row in table.rows:
        for column, value in zip(table.columns, row.cells, strict=True):
            assert value is None or 0 <= value <= (100 if column.metric in ("acc", "auc") else 1000)
            if column.group:
                assert taxonomy()[column.split].key == column.group.split("/")[1]


def test_a_system_has_one_name_in_all_tables_and_no_name_is_a_slip() -> None:
    """A printed system is the same model everywhere; a model that is not registered is not nearly one that is."""
    names: dict[str, set[str]] = {}
    for table in reported_tables():
        for row in table.rows:
            system = re.sub(r"\[.*?\]|[^a-z0-9]", "", row.printed.lower())
            names.setdefault(system, set()).add(row.model)
            assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", row.model)
            if row.model not in model_names() and row.model not in PLANNED:
                near = get_close_matches(row.model, [*model_names(), *PLANNED], cutoff=0.85)
                assert not near, f"{table.name}: {row.model!r} is not registered; {near} is or will be"
    anonymous = ("", "ours")  # what papers call their own system
    assert {name: models for name, models in names.items() if len(models) > 1 and name not in anonymous} == {}


def scores_of(name: str) -> list[ReportedScore]:
    (table,) = [table for table in reported_tables() if table.name == name]
    return list(table.scores())


@pytest.mark.parametrize("name", protocol_names())
def test_scores_of_a_protocol_are_those_of_its_main_tables(name: str) -> None:
    """A row of each main table of the protocol, once a threshold; ablations are left out."""
    main = [table for table in reported_tables() if table.protocol == name and table.is_main]
    assert reported_scores(name) == [score for table in main for score in scores_of(table.name)]
    for table in main:
        thresholds = {column.threshold for column in table.columns} - {None}
        assert len(scores_of(table.name)) == len(table.rows) * len(thresholds)


def test_headline_of_gazeclip() -> None:
    (row,) = [score for score in scores_of("gazeclip-table-02") if score.model == "gazeclip"]
    assert (row.unseen_acc, row.unseen_acc_printed) == (pytest.approx(0.80664), pytest.approx(0.8066))
    assert (row.detection_acc, row.detection_auc, row.seen_acc) == (pytest.approx(0.898), pytest.approx(0.7735), None)
    assert row.groups["ffhq/real"] == pytest.approx(0.0512)
    assert len(scores_of("gazeclip-table-02")) == 14  # rows of Table II
    assert {score.table for score in scores_of("gazeclip-table-02")} <= {
        s.table for s in reported_scores("gazeclip-df40")
    }


def test_mismatch_travels_with_the_score() -> None:
    (row,) = [score for score in scores_of("gazeclip-table-02") if score.model == "xception"]
    assert (row.unseen_acc, row.unseen_acc_printed) == (pytest.approx(0.63464), pytest.approx(0.6402))
    assert "printed 64.02, mean of its 10 cells 63.46" in str(row.note)


def test_a_score_a_threshold_and_summaries_without_cells() -> None:
    assert {score.threshold for score in scores_of("bmrl-table-01")} == {0.7, 0.9}
    (table,) = [t for t in reported_tables() if t.name == "bmrl-table-07"]
    (row,) = [score for score in table.scores() if score.model == "bmrl"]
    assert not table.is_main
    assert row.groups == {}
    assert row.unseen_acc == row.unseen_acc_printed


def test_table_whose_rows_do_not_fit_is_refused(tmp_path: Path) -> None:
    column, row = ReportedColumn("FFHQ", "attribution", "acc", 0.9), ReportedRow("clip", "CLIP", (1.0,))
    table = ReportedTable("t", "p", "Table", "t", "gazeclip-df40", (column,), (row,))
    with pytest.raises(ValueError, match="row 'CLIP' has 2 cells for 1 columns"):
        replace(table, rows=(replace(row, cells=(1.0, 2.0)),))
    with pytest.raises(ValueError, match="rows listed twice"):
        replace(table, rows=(row, row))
    path = tmp_path / "other.yaml"
    path.write_text("name: t\npaper: p\ntable: T\ntitle: t\nprotocol: x\ncolumns: []\nrows: []\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="name 't' must equal the file's name"):
        read_table(path)


OURS = {"dna-det": "dna_det", "de-fake": "de_fake", "forensics-adapter": "forensics_adapter", "lin-et-al": "repdfd"}
Cell = tuple[str, str, str, str, str, str | None]


def printed_cells(path: Path) -> dict[tuple[Cell, str], float | None]:
    """(model, printed name, task, split, metric, threshold) and variant to value, from a transcription."""
    found: dict[tuple[Cell, str], float | None] = {}
    for row in csv.DictReader(path.open(encoding="utf-8")):
        variant = "; ".join(part for part in row["note"].split("; ") if part and part != "printed '-'")
        model = OURS.get(row["model"], row["model"])
        at = row["threshold"] or None
        cell = (model, row["model_as_printed"], row["subtask"], row["split"], row["metric"], at)
        assert (cell, variant) not in found
        found[cell, variant] = float(row["value"]) if row["value"] else None
    return found


@cache
def transcriptions() -> list[Path]:
    return [path for path in sorted(PUBLISHED.glob("*_table*.csv")) if not path.name.startswith("dataset_")]


@needs_published
@pytest.mark.parametrize("table", reported_tables(), ids=lambda table: table.name)
def test_cells_equal_the_transcription(table: ReportedTable) -> None:
    path = PUBLISHED / f"{table.name.replace('-table-', '_table')}.csv"
    if not table.name.startswith(TWO_PAPERS) and not path.is_file():
        pytest.skip(f"no second transcription of {table.name}")
    ours = {}
    for row in table.rows:
        for column, value in zip(table.columns, row.cells, strict=True):
            at = None if column.threshold is None else str(column.threshold)
            cell = (row.model, row.printed, column.task, column.split, column.metric, at)
            ours[cell, row.variant or ""] = value
    assert ours == printed_cells(path)


@needs_published
def test_no_published_table_is_missing() -> None:
    with_cells = {path.stem.replace("_table", "-table-") for path in transcriptions() if printed_cells(path)}
    assert with_cells <= {table.name for table in reported_tables()}
    assert with_cells >= {table.name for table in reported_tables() if table.name.startswith(TWO_PAPERS)}


def test_costs_for_the_profiler_are_those_of_table_seven() -> None:
    path = shipped("leaderboards") / "reported" / "efficiency.yaml"
    rows = read_yaml(path)["rows"]
    (table,) = [t for t in reported_tables() if t.name == "gazeclip-table-07"]
    metrics = {"params_m": "params_m", "flops_g": "flops_g", "inference_s": "seconds"}
    compared = 0
    for row in table.rows:
        for column, value in zip(table.columns, row.cells, strict=True):
            if column.metric in metrics and row.model in rows:
                assert rows[row.model].get(metrics[column.metric]) == value
                compared += 1
    assert compared >= 36


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
