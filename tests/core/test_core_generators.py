"""The shipped generators: months and how they are known, families, and names that must not be mixed up."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from helpers.published import PUBLISHED

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.labels import REAL, UNSEEN, Family, ForgeryType
from dfad_bench.core.quick_yaml import read_shipped_yaml
from dfad_bench.core.resources import include, shipped
from dfad_bench.core.strict import read_yaml
from dfad_bench.core.taxonomy import MARKS, Generator, Taxonomy, read_rows, taxonomy

FILE = shipped("manifests") / "taxonomy.yaml"
FACTS = Path(os.environ.get("DFAD_FACTS", PUBLISHED.parent / "facts")) / "generators.md"
ARXIV = re.compile(r"(?:V|K-high) arXiv (\d\d)(\d\d)\.\d{4,5}")
WRAPPERS = ("roop", "Rope", "ReActor", "sd-webui-roop", "Deep-Live-Cam", "inswapper_128_fp16")


def named(**fields: object) -> Generator:
    about = {"key": "a", "display": "A", "forgery": ForgeryType.EFS, "family": Family.GAN, **fields}
    return Generator(**about)  # type: ignore[arg-type]  # the fields under test


# --- how many, and of what ------------------------------------------------------------------------------------------


def test_there_are_generators_of_every_kind_and_of_the_last_years() -> None:
    dated = [row for row in taxonomy() if row.released is not None]
    kinds = Counter(row.forgery for row in dated if row.detection_label != REAL)
    assert len(dated) >= 150
    assert all(kinds[kind] >= 10 for kind in ForgeryType if kind is not ForgeryType.NONE)
    assert all(sum(row.released.startswith(year) for row in dated if row.released) >= 25 for year in ("2024", "2025"))
    assert sum(row.processed for row in taxonomy()) >= 25
    assert sum(row.personalised for row in taxonomy()) >= 20


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *((name, "inswapper") for name in WRAPPERS),
        *(
            ("SDXL-1.0", "sdxl"),
            ("SD-3.5", "sd35"),
            ("FLUX.1", "flux"),
            ("FLUX.2", "flux2"),
            ("Infinity-8B", "infinity"),
        ),
        *(("Flux Kontext Pro", "flux1_kontext"), ("GPT-4o", "gpt_image_1"), ("gpt-image-2", "gpt_image_2")),
        *(("Gemini 2.5 Flash Image", "nano_banana"), ("Imagen 4", "imagen4"), ("Qwen-Image", "qwen_image")),
        *(("HunyuanImage 3.0", "hunyuan_image3"), ("BAGEL", "bagel"), ("ideogram-3.0", "ideogram3")),
        *(
            ("recraft-v3", "recraft_v3"),
            ("DALL-E 3", "dalle3"),
            ("Midjourney v7", "midjourney_v7"),
            ("Sora 2", "sora2"),
        ),
        *(("Veo 3.1", "veo31"), ("Kling 3.0", "kling3"), ("Hunyuan-Video", "hunyuanvideo"), ("Wan 2.5", "wan25")),
        *(("InstantID", "instantid"), ("Hallo3", "hallo3"), ("GazeNeRF", "gazenerf"), ("CodeFormer", "codeformer")),
        # the same word, another thing
        *(("MidJourney6", "midjourney_v6"), ("BlendFace", "blendface"), ("tra_BlendFace", "blendface_forgerynet")),
        *(("REFace", "reface"), ("Reface app", "reface_app"), ("DiffFace", "diffface"), ("DifFace", "difface")),
        *(("Ditto", "ditto"), ("DiT", "dit"), ("Hallo", "hallo"), ("Emu", "emu_meta"), ("Emu3", "emu3")),
    ],
)
def test_names_in_use_lead_to_their_row(name: str, key: str) -> None:
    assert taxonomy()[name].key == key


@pytest.mark.parametrize("name", ["FaceFusion", "DALL-E", "Kling", "Wan", "Ideogram", "stack", "hall", "inpaint"])
def test_tools_and_names_without_a_version_are_no_class(name: str) -> None:
    assert name not in taxonomy()


# --- months ---------------------------------------------------------------------------------------------------------


def test_every_month_says_how_it_is_known_and_every_mark_is_in_the_legend() -> None:
    head = FILE.read_text(encoding="utf-8").partition("\nreal:")[0]
    legend = re.findall(r"\b(V|W|K-high|K-medium|K-low|K)(?= {2,}|, |: )", head[head.index("how the month is known") :])
    assert sorted(set(legend)) == sorted(MARKS)
    for row in taxonomy():
        assert (row.released is None) == (row.source_mark is None)
        assert row.source_mark in (*MARKS, None)
        if row.source_mark in ("V", "W"):
            assert str(row.released_source).partition(" ")[2], f"{row.key}: read, but where?"


def test_the_month_of_a_paper_is_that_of_its_number() -> None:
    found = {row.key: ARXIV.fullmatch(row.released_source or "") for row in taxonomy() if row.released_of == "paper"}
    numbered = {key: match for key, match in found.items() if match}
    assert len(numbered) >= 300
    assert {key: f"20{match[1]}-{match[2]}" for key, match in numbered.items()} == {
        key: taxonomy()[key].released for key in numbered
    }


def test_sets_and_names_of_several_versions_cannot_be_placed_by_month() -> None:
    for key in ("celeb_df", "dfdc", "wilddeepfake", "photoshop", "midjourney", "heygen", "fs_vid2vid", "recraft_v2"):
        assert taxonomy()[key].undated_reason
    assert taxonomy()["fs_vid2vid"].released is None  # which of two methods it is, is not told
    assert {taxonomy()[key].undated_reason for key in ("stylegan2", "flux", "sora2")} == {None}


@pytest.mark.skipif(not FACTS.is_file(), reason="the notes on generators are not there; set DFAD_FACTS to their folder")
def test_every_month_and_mark_is_that_of_the_notes() -> None:
    noted = {}
    for line in FACTS.read_text(encoding="utf-8").partition("## C")[0].splitlines():
        if cells := re.match(r"\| ([a-z0-9_]+)(?: \(.*?\))? \|", line):
            noted[cells[1]] = line
    checked = 0
    for row in taxonomy():
        if row.released is None or row.key not in noted:
            continue
        line = noted[row.key]
        assert row.released in line, row.key
        assert f"[{str(row.source_mark)[0]}]" in line or row.key == "ltx_video", row.key  # of its paper, a month later
        level = str(row.source_mark).partition("-")[2]
        assert not level or level in line, row.key
        checked += 1
    assert checked >= 480


def test_generators_of_the_corpus_are_dated(corpus: Path) -> None:
    with (corpus / "SOURCES.csv").open(encoding="utf-8") as handle:
        names = {row["generator"] for row in csv.DictReader(handle) if row["kind"] == "fake"}
    assert len(names) >= 20
    assert [name for name in sorted(names) if name in taxonomy() and taxonomy()[name].released is None] == []
    assert sorted(name for name in names if name not in taxonomy()) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"released": "2024"}, "released must be a month as 2024-08, got '2024'"),
        ({"released": "2024-13"}, "released must be a month"),
        ({"released": "2024-08"}, "released_source must begin with one of V, W, K-high"),
        ({"released": "2024-08", "released_source": "sure"}, "released_source must begin with one of"),
        ({"released_source": "V arXiv 2408.00001"}, "`released` has none"),
        ({"released_of": "set"}, "`released` has none"),
        ({"processed": True}, "forgery must be none for real, processed and unlabelled faces"),
        ({"forgery": ForgeryType.NONE}, "only where the family is none, too"),
        ({"processed": True, "forgery": ForgeryType.NONE, "attribution_label": 3}, "no class of attribution"),
        ({"paper_family": Family.AUTOENCODER}, "paper_family must be one of gan, diffusion"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named(**fields)


# --- families -------------------------------------------------------------------------------------------------------


def test_flow_is_told_apart_and_the_papers_tables_stay() -> None:
    warpers, matching = [taxonomy()[k] for k in ("lia", "edtalk")], [taxonomy()[k] for k in ("float", "flux", "sd3")]
    assert {row.family for row in warpers} == {Family.GAN}
    assert {row.family for row in matching} == {Family.FLOW_MATCHING}
    assert {row.grouping for row in (*warpers, *matching)} == {Family.FLOW}
    assert (taxonomy()["sit"].family, taxonomy()["sit"].grouping) == (Family.FLOW_MATCHING, Family.DIFFUSION)
    assert {taxonomy()[key].grouping for key in ("deepfakes_ae", "deepfacelab", "gfpgan")} == {Family.NONE}


def test_processed_faces_are_real_and_no_class() -> None:
    rows = [row for row in taxonomy() if row.processed]
    assert {(row.detection_label, row.forgery, row.attribution_label) for row in rows} == {
        (REAL, ForgeryType.NONE, UNSEEN)
    }
    assert {"gfpgan", "realesrgan", "beauty_filter", "night_sight", "redelivered"} <= {row.key for row in rows}


# --- the file -------------------------------------------------------------------------------------------------------


def test_clashing_aliases_are_refused_at_load(tmp_path: Path) -> None:
    path = tmp_path / "taxonomy.yaml"
    text = "a: {display: A, forgery: FS, family: gan, aliases: [x_1]}\nb: {display: B, forgery: FS, family: gan, "
    path.write_text(text + "aliases: [X1]}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="taxonomy: 'x1' names both a and b"):
        Taxonomy(read_rows(path))
    path.write_text(text + "parent: c}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="taxonomy: b: parent 'c' is no key"):
        Taxonomy(read_rows(path))


def test_the_quick_reader_of_shipped_tables_reads_what_the_strict_one_reads() -> None:
    assert read_shipped_yaml(FILE) == read_yaml(FILE, unicode_only=True)


@pytest.mark.parametrize("text", ["a: {b: 1}\na: {b: 2}\n", "a: &x {b: 1}\nc: *x\n", "a: !!python/name:os.system {}\n"])
def test_the_quick_reader_keeps_the_rules(tmp_path: Path, text: str) -> None:
    path = tmp_path / "taxonomy.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="taxonomy.yaml: "):
        read_shipped_yaml(path)


def test_a_row_of_ones_own_with_a_wrong_parent_or_month_names_its_file(tmp_path: Path) -> None:
    row = "mine: {display: Mine, forgery: EFS, family: gan, "
    for text, message in (
        ("parent: nobody}\n", r"mine/taxonomy.yaml: mine: parent 'nobody' is no key"),
        ("released: 2024}\n", r"mine/taxonomy.yaml: mine: released must be str"),
        ("released: 2024-05}\n", r"mine/taxonomy.yaml: mine: released_source must begin with one of V, W"),
    ):
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / "taxonomy.yaml").write_text(row + text, encoding="utf-8")
        with include(tmp_path / "mine"), pytest.raises(ConfigError, match=message):
            taxonomy()
