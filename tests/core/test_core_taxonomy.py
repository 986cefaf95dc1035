"""One row a generator; each name leads to one row."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.labels import FAKE, REAL, UNLABELLED, UNSEEN, Family, ForgeryType
from dfad_bench.core.taxonomy import Taxonomy, read_rows, taxonomy


def read(tmp_path: Path, text: str) -> object:
    path = tmp_path / "taxonomy.yaml"
    path.write_text(text, encoding="utf-8")
    return Taxonomy(read_rows(path))


def test_detection_label_follows_from_the_key() -> None:
    labels = {key: taxonomy()[key].detection_label for key in ("real", "unlabelled", "stylegan2")}
    assert labels == {"real": REAL, "unlabelled": UNLABELLED, "stylegan2": FAKE}


@pytest.mark.parametrize("name", ["sd21", "SD-2.1", "sd 2.1", "Sd_2_1", "StableDiffusion-2.1"])
def test_lookup_ignores_case_and_punctuation(name: str) -> None:
    assert name in taxonomy()
    assert taxonomy()[name].key == "sd21"


def test_unknown_generator_offers_the_nearest() -> None:
    assert "stylegan9" not in taxonomy()
    with pytest.raises(UnknownNameError, match="no generator named 'stylegan9'. Did you mean stylegan"):
        taxonomy()["stylegan9"]


def test_defaults_of_a_row(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "toy: {display: Toy, forgery: EFS, family: gan}\n")  # type: ignore[misc]
    assert (row.forgery, row.family, row.attribution_label) == (ForgeryType.EFS, Family.GAN, UNSEEN)
    assert (row.prompt, row.aliases, row.reference) == (None, (), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: {display: X, forgery: EFS, family: gan}\nb: {display: x, forgery: EFS, family: gan}\n",
            "names both a and b",
        ),
        (
            "a: {display: A, forgery: EFS, family: gan, aliases: [B]}\nb: {display: b, forgery: FS, family: gan}\n",
            "both a",
        ),
        ("a: {display: A, forgery: XYZ, family: gan}\n", r"a: forgery must be one of EFS, FS, AM, FR, TF, GR, none"),
        ("a: {display: A, forgery: FS}\n", "a: key 'family' is missing"),
        ("a: {display: A, forgery: FS, family: gan, famliy: gan}\n", "unknown key 'famliy'; did you mean 'family'"),
        ("a:\n", "a: key 'display' is missing"),
        ("- a\n", "must be a mapping of generators"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)
