"""Labels that contradict something are refused or told: --labels, README.md, a second column, the name of a forger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.parquet_sets import class_label, rows, write_set

from dfad_bench.core.errors import ConfigError
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.settings import BuildSettings
from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.sources.listing import list_source
from dfad_bench.ingest.sources.spec import load_dataset_spec
from dfad_bench.ingest.survey import survey


def parquet(root: Path, columns: dict[str, list[Any]], *names: str, pictures: int = 2) -> Path:
    features = {"label": class_label(*names)} if names else None
    write_set(root / "data/train-00000-of-00001.parquet", rows(*range(pictures)), columns, features)
    return root


def look(root: Path, dataset: str = "hf_parquet", **labels: str) -> Listing:
    spec = load_dataset_spec(dataset)
    return list_source(spec.with_labels(labels) if labels else spec, root)


def made(listing: Listing) -> list[str]:
    return [sample.generator for sample in listing.samples]


def test_labels_that_contradict_the_names_are_refused(tmp_path: Path):
    parquet(tmp_path, {"label": [0, 1]}, "real", "fake")
    with pytest.raises(ConfigError, match="the class 0 is called 'real', and --labels .* says 0=fake"):
        look(tmp_path, **{"0": "fake", "1": "real"})
    parquet(tmp_path, {"label": [0, 1]}, "flux", "real")
    with pytest.raises(ConfigError, match="the class 0 is called 'flux', and --labels .* says 0=stylegan2"):
        look(tmp_path, **{"0": "stylegan2"})


def test_labels_that_names_make_needless_are_told(tmp_path: Path):
    parquet(tmp_path, {"label": [0, 1]}, "real", "fake")
    listing = look(tmp_path, **{"0": "real", "1": "fake"})
    assert made(listing) == ["real", "fake"]
    assert any(note.startswith("labels 0, 1 of --labels (or `labels`) change nothing") for note in listing.notes)
    parquet(tmp_path, {"label": ["real", "fake"]})
    assert any("change nothing" in note for note in look(tmp_path, **{"0": "fake"}).notes)
    parquet(tmp_path, {"label": [0.0, 1.0]})
    assert not any("change nothing" in note for note in look(tmp_path, **{"0": "fake", "1": "real"}).notes)


def test_labels_by_number_stand_for_names_that_say_nothing_and_tell_who_forged(tmp_path: Path):
    parquet(tmp_path, {"label": [0, 1]}, "ai", "nature")
    listing = look(tmp_path, **{"0": "fake", "1": "real"})
    assert made(listing) == ["fake", "real"]
    assert not listing.notes
    parquet(tmp_path, {"label": [0, 1]}, "real", "fake")
    assert made(look(tmp_path, **{"1": "stylegan2"})) == ["real", "stylegan2"]
    parquet(tmp_path, {"label": [0, 1]}, "1", "0")  # a name counts before a number
    assert made(look(tmp_path, **{"0": "fake", "1": "real"})) == ["real", "fake"]


@pytest.mark.parametrize("names", [("ai", "nature"), ("No", "Yes"), ("genuine", "spoof"), ("no", "yes")])
def test_what_is_advised_about_names_mends_them(tmp_path: Path, names: tuple[str, str]):
    parquet(tmp_path, {"label": [0, 1]}, *names)
    try:
        (told,) = look(tmp_path).notes
    except ConfigError as error:
        told = str(error)
    words = told.partition("--labels ")[2].partition(" ")[0]
    labels = dict(pair.split("=") for pair in words.split(","))
    assert set(labels) == set(names)
    assert sorted(made(look(tmp_path, **labels))) == ["fake", "real"]


def test_reals_with_the_name_of_a_forger_are_told_and_not_built(tmp_path: Path):
    columns = {"label": [0, 0, 1, 1], "generator": [None, None, "StyleGAN2", "FLUX"]}
    parquet(tmp_path / "set", columns, pictures=4)
    labels = {"0": "fake", "1": "real"}  # the wrong way round
    assert survey("hf_parquet", tmp_path / "set", labels=labels).ignored == {
        "labelled real, with the name of a forger": 2
    }
    with pytest.raises(ConfigError, match="2 pictures are labelled real .* wrong way round .*reals_have_models: true"):
        build_manifest("hf_parquet", tmp_path / "set", tmp_path / "m", BuildSettings(labels=labels, workers=0))
    assert not (tmp_path / "m").exists()
    assert made(look(tmp_path / "set", **{"0": "real", "1": "fake"})) == ["real", "real", "stylegan2", "flux"]


def test_a_dataset_file_may_say_that_reals_have_models(tmp_path: Path):
    parquet(tmp_path / "set", {"label": ["real", "fake"], "model": ["midjourney", "flux"]})
    shipped = load_dataset_spec("openfake")
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nversion: 1\ntitle: Mine\nlicence: mine\nlayout: hf_parquet\ncolumns: {reals_have_models: true}\n"
    )
    assert made(look(tmp_path / "set", str(tmp_path / "mine.yaml"))) == ["real", "flux"]
    assert "reals_have_models" not in str(shipped.sha256)
    assert made(look(tmp_path / "set")) == ["flux"]


@pytest.mark.parametrize(
    ("label", "maker", "generator"),
    [
        ("fake", "Unknown", "fake"),
        ("fake", None, "fake"),
        (None, "Unknown", "unlabelled"),
        ("stylegan2", "flux", None),
        ("stylegan2", "real", None),
        ("stylegan2", "fake", "stylegan2"),
        ("real", "unknown", "real"),
        ("real", "laion", "real"),
        ("real", "0", "real"),
    ],
)
def test_label_and_generator_together(tmp_path: Path, label: str | None, maker: str | None, generator: str | None):
    parquet(tmp_path, {"label": [label], "generator": [maker]}, pictures=1)
    listing = look(tmp_path)
    assert made(listing) == ([generator] if generator else [])
    assert sum(listing.ignored.values()) == (generator is None)


def test_two_columns_of_labels_must_agree(tmp_path: Path):
    parquet(tmp_path, {"label": ["real", "fake", "flux"], "is_fake": [1, 1, None]}, pictures=3)
    listing = look(tmp_path)
    assert made(listing) == ["fake", "flux"]
    assert listing.ignored == {"columns of labels contradict each other": 1}
    told = "1 pictures are left out: columns of labels contradict each other ('data/train-00000-of-00001.parquet/"
    assert any(note.startswith(told) for note in survey("hf_parquet", tmp_path).notes)


def test_two_classes_of_one_name_are_refused(tmp_path: Path):
    parquet(tmp_path, {"label": [0, 1]}, "real", "Real ")
    with pytest.raises(ConfigError, match="two classes are called 'real'"):
        look(tmp_path)


def test_a_readme_that_names_the_classes_in_another_way_is_told(tmp_path: Path):
    parquet(tmp_path, {"label": [0, 1]}, "real", "fake")
    front = "dataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n"
    (tmp_path / "README.md").write_text(f"---\n{front}          '0': fake\n          '1': real\n---\n")
    listing = look(tmp_path)
    assert made(listing) == ["real", "fake"]
    assert "column 'label': README.md calls the classes fake, real, the files real, fake: the files count" in (
        listing.notes
    )
