"""What gazeclip/README.md says of code, equations, tables, sizes and settings is so."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
import torch

from gazeclip.ablations import VARIANTS
from gazeclip.config import GazeCLIPConfig
from gazeclip.model import GazeCLIP

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "gazeclip" / "README.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`([\w/]+\.py):([\w.]+)`")
SETTING = re.compile(r"`(\w+)=([^`]+)`")
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII")


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, flags=re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found[1]


def table(title: str) -> list[list[str]]:
    """Cells of the rows of a section's first table, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@cache
def module(path: str) -> ast.Module:
    base = ROOT if (ROOT / path).is_file() else ROOT / "gazeclip"
    return ast.parse((base / path).read_text(encoding="utf-8"))


def docstring(path: str, name: str) -> str:
    """The docstring of what a path and a dotted name stand for; empty for a value.

    Raises:
        LookupError: nothing of that name is there.
    """
    node: ast.AST = module(path)
    for part in name.split("."):
        node = next((child for child in ast.iter_child_nodes(node) if part in names_of(child)), ast.Pass())
        if isinstance(node, ast.Pass):
            raise LookupError(f"{path} has no {name}")
    defined = isinstance(node, ast.ClassDef | ast.FunctionDef)
    return (ast.get_docstring(node) or "") if defined else ""


def names_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def equations_in(text: str) -> set[int]:
    """Numbers of equations that a text names: "equation 7", "equations 2 and 3", "equations 5 to 7".

    >>> sorted(equations_in("Equation 4; equations 5 to 7"))
    [4, 5, 6, 7]
    """
    found = set()
    for first, word, last in re.findall(r"[Ee]quations? (\d)(?:(,| and| to) (\d))?", text):
        found |= set(range(int(first), int(last) + 1)) if word.strip() == "to" else {int(first), int(last or first)}
    return found


def test_everything_named_is_there() -> None:
    named = NAMED.findall(README)
    assert len(named) > 30
    for path, name in named:
        docstring(path, name)  # raises where it is not
        assert module(path).body, path


def test_a_name_that_is_not_there_is_found_out() -> None:
    with pytest.raises(LookupError, match=r"gie\.py has no GITB\.backward"):
        docstring("gie.py", "GITB.backward")


def test_each_equation_of_the_paper_is_named_where_it_is_computed() -> None:
    seen: list[int] = []
    for paper, _, code in table("Equations to code"):
        numbers = equations_in(paper)
        seen += sorted(numbers)
        said = set().union(*(equations_in(docstring(*where)) for where in NAMED.findall(code)))
        assert numbers <= said, paper
    assert seen == [1, 2, 3, 4, 5, 6, 7]


def test_each_table_of_the_paper_is_there_with_its_variants() -> None:
    rows = {item: (cells, settings) for item, cells, settings, _ in table("Tables and figures to code")}
    numbers = [name for item in rows if item.startswith("Table") for name in re.findall(r"\b[IVX]+\b", item)]
    assert sorted(numbers, key=ROMAN.index) == list(ROMAN)
    for item, (cells, settings) in rows.items():
        variants = {name: v for name, v in VARIANTS.items() if item == f"Table {v.table}"}
        assert set(re.findall(r"`([a-z0-9_]+)`", cells)) & set(VARIANTS) == set(variants), item
        changed = {key for variant in variants.values() for key in variant.changes}
        assert not variants or set(re.findall(r"`(\w+)`", settings)) == changed, item


def defaults() -> Iterator[tuple[str, str, str]]:
    """Settings of the open questions: name, stated default, the cell of other values."""
    for _, default, other in table("Open questions and the setting of each"):
        for name, value in SETTING.findall(default):
            yield name, value, other


def test_open_questions_state_todays_defaults_and_values_that_build() -> None:
    config, asked = GazeCLIPConfig(), list(defaults())
    assert len(asked) > 15
    for name, value, _ in asked:
        own = getattr(config, name)
        assert value == (own if isinstance(own, str) else json.dumps(own)), name
    for name, _, other in asked:
        if name.startswith("gaze_") and name != "gaze_encoder":
            continue  # of an estimator inside
        for value in re.findall(r"`([^`=]+)`", other):
            number = json.loads(value) if re.fullmatch(r"true|false|\d+", value) else value
            assert getattr(config.override({name: number}), name) == number


def test_every_setting_is_named() -> None:
    spans = set(re.findall(r"`(\w+)(?:=[^`]*)?`", README))
    assert {field.name for field in fields(GazeCLIPConfig)} <= spans


@pytest.mark.heavy
def test_sizes_are_those_of_the_model() -> None:
    with torch.device("meta"):
        model = GazeCLIP.build(11)

    def millions(*parts: str, learned: bool = False) -> float:
        named = [(n, p) for n, p in model.named_parameters() if not parts or any(part in n for part in parts)]
        return sum(p.numel() for _, p in named if p.requires_grad or not learned) / 1e6

    seen = millions() - millions("lre.", "logit_scale")
    said = {
        "204.405": seen, "190.25": seen - millions("W_que", "W_key"), "267.96": millions(),
        "116.95": millions(learned=True), "87.68": millions("agpm."), "28.31": millions(".injector."),
        "0.92": millions("W_ig", "W_ag"), "0.033": millions(".lora."), "0.007": millions("experts."),
        "0.004": millions(".aws."), "0.002": millions("vpe.ge."),
    }  # fmt: skip
    sizes = section("Tables and figures to code").partition("Sizes:")[2]
    for text, value in said.items():
        assert text in sizes
        assert f"{value:.{len(text.partition('.')[2])}f}" == text
