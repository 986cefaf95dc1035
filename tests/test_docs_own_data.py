"""The example of `docs/own_data.md`, followed literally, and its table of fields."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.trees import save

from dfad_bench.cli.main import dfad
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.resources import include
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.sources.template import _ENDINGS, _KINDS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "own_data.md"
BLOCK = re.compile(r"^```(yaml|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def follow(page: str) -> Iterator[tuple[str, Result]]:
    """Write the files of a page and run its commands, one after the other, here."""
    for kind, block in BLOCK.findall(page):
        if kind == "yaml":
            first, _, text = block.partition("\n")
            Path(first.removeprefix("# ")).write_text(text, encoding="utf-8")
            continue
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ "))[1:]
            words += ["--workers", "0"] if "build-manifest" in words else []
            yield line, CliRunner().invoke(dfad, words)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if not PAGE.is_file():
        pytest.skip("not a checkout: docs are not shipped in the wheel")
    monkeypatch.chdir(tmp_path)
    for index in range(12):
        places = (f"real/lfw/ann{index}_01", f"real/rmfd/bob{index}_01", f"flux/f_{index}", f"Acme-XL/a_{index}")
        for number, place in enumerate(places):
            save(tmp_path / f"pictures/{place}.png", 10 * index + number)
    return PAGE.read_text(encoding="utf-8")


def test_the_example_is_built_and_checked(page: str, tmp_path: Path):
    said = dict(islice(follow(page), 3))  # all but training
    assert [result.exit_code for result in said.values()] == [0] * 3, [result.output for result in said.values()]
    rows = Manifest.open(tmp_path / "manifests/faces").frame()
    counts = rows.fillna({"source": ""}).groupby(["generator", "source"], observed=True).size().to_dict()
    assert counts == {("real", "lfw"): 12, ("real", "rmfd"): 12, ("flux", ""): 12, ("acme", ""): 12}
    assert "nothing is missing" in " ".join(result.stdout for result in said.values())
    with include("faces.yaml"):
        keys = [group.key for group in load_protocol("pairs.yaml").groups]
    assert keys == ["faces/real:lfw", "faces/acme", "faces/real:rmfd", "faces/flux"]


@pytest.mark.heavy
def test_the_example_is_trained(page: str, tmp_path: Path):
    *_, (line, result) = follow(page)
    assert "train" in line
    assert result.exit_code == 0, result.output
    assert (tmp_path / "runs/xception/record.json").is_file()


def test_every_field_of_the_grammar_is_in_the_table(page: str):
    shown = set(re.findall(r"^\| `\{(\w+)(?::(\w+))?\}`", page, flags=re.MULTILINE))
    assert shown == {("name", kind) for kind in _KINDS} | {("ext", kind) for kind in _ENDINGS}
