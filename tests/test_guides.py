"""The guides of CONTRIBUTING.md, followed literally: every file is written, every command is run, in their order."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from helpers.synthetic import synthetic_tree

from dfad_bench import core
from dfad_bench.cli.main import dfad
from dfad_bench.core import registry
from dfad_bench.core.record import read_record
from dfad_bench.core.resources import include
from dfad_bench.data.corruptions import spec
from dfad_bench.data.manifest import Manifest

pytestmark = pytest.mark.heavy
ROOT = Path(__file__).resolve().parents[1]
FACES = "dfad synthesize --out faces --per-group 6"
KINDS = {
    "A generator", "A dataset", "A protocol", "A recipe", "Prompts", "A published table", "A corruption",
    "A gaze estimator", "A model", "A view",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A file to write (`path`), or a command to run."""

    path: str
    text: str


def guides() -> dict[str, list[Step]]:
    """Steps of the guides by title; those before the first one under ''. None outside a checkout."""
    page = ROOT / "CONTRIBUTING.md"
    if not page.is_file():
        return {}
    text = page.read_text(encoding="utf-8").partition("\n## Guides\n")[2].partition("\n## ")[0]
    head, *sections = re.split(r"^### ", text, flags=re.MULTILINE)
    found = {"": steps(head)}
    for section in sections:
        title, _, body = section.partition("\n")
        found[title] = steps(body)
    return found


def steps(text: str) -> list[Step]:
    found = []
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
        if language == "console":
            lines = block.replace("\\\n", " ").splitlines()
            assert all(line.startswith("$ ") for line in lines), block
            found += [Step("", " ".join(line[2:].split())) for line in lines]
        else:
            first, _, rest = block.partition("\n")
            assert first.startswith("# "), f"the first line of a file names it: {first}"
            found.append(Step(first[2:], rest))
    return found


def pip_install(folder: Path, site: Path) -> None:
    """What `pip install -e FOLDER` does: the folder on the path, and the distribution's entry points on record."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    facts = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    facts.mkdir(parents=True, exist_ok=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {place}" for name, place in entries.items())])
        for group, entries in project["entry-points"].items()
    ]
    (facts / "entry_points.txt").write_text("\n\n".join(groups) + "\n")
    for path in (site, folder):
        if str(path) not in sys.path:
            sys.path.insert(0, str(path))
    forget_entry_points()


def forget_entry_points() -> None:
    importlib.invalidate_caches()
    registry.model_table.cache_clear()
    spec.operators.cache_clear()


class World:
    """The folder in which the guides are followed, and what each command said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: dict[str, list[tuple[str, Result]]] = {}

    def follow(self, title: str, todo: list[Step]) -> None:
        self.said[title] = []
        for step in todo:
            if step.path:
                path = self.folder / step.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(step.text, encoding="utf-8")
            elif step.text == FACES:
                synthetic_tree(self.folder / "faces", per_group=6)
            elif step.text.startswith("pip install -e "):
                pip_install(self.folder / step.text.split()[-1], self.folder / "site")
            else:
                name, *words = shlex.split(step.text)
                assert name == "dfad"
                self.said[title].append((step.text, CliRunner().invoke(dfad, words)))

    def output(self, title: str, start: str) -> str:
        (found,) = [result.output for line, result in self.said[title] if line.startswith(start)]
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if not guides():
        pytest.skip("not a checkout: CONTRIBUTING.md is not shipped in the wheel")
    before = list(sys.path)
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        made = World(tmp_path_factory.mktemp("guides"))
        patch.chdir(made.folder)
        for title, todo in guides().items():
            made.follow(title, todo)
        yield made
    sys.path[:] = before
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(made.folder)):
            del sys.modules[name]
    forget_entry_points()


def test_every_kind_of_addition_has_a_guide(world: World) -> None:
    assert set(world.said) >= KINDS


@pytest.mark.parametrize("title", list(guides())[1:])
def test_every_command_of_a_guide_works(world: World, title: str) -> None:
    assert world.said[title]
    for line, result in world.said[title]:
        assert result.exit_code == 0, f"{line}\n{result.output}"


def test_the_generator_is_listed_with_its_folder(world: World) -> None:
    with include("mine"):
        result = CliRunner().invoke(dfad, ["list", "generators", "--long", "--json"])
    rows = {row["name"]: row for row in json.loads(result.stdout)["rows"]}
    assert rows["my_gan"]["aliases"] == "mygan-v1"
    assert rows["my_gan"]["origin"] == str(world.folder / "mine")
    assert rows["stylegan2"]["origin"] == "dfad_bench"
    assert "my_gan" in world.output("A generator", "dfad --include mine list")


def test_the_manifest_has_what_the_rows_say(world: World) -> None:
    rows = Manifest.open(world.folder / "manifests" / "my_faces").frame()
    found = rows.groupby("generator")[["forgery", "family", "detection_label"]].first()
    assert found.loc["my_flow"].tolist() == ["EFS", "flow", 1]
    assert found.loc["my_gan"].tolist() == ["EFS", "gan", 1]
    assert found.loc["real"].tolist() == ["none", "none", 0]
    assert set(found.index) == {"real", "my_gan", "my_flow", "ddpm"}
    assert "my_flow" in world.output("A dataset", "dfad --include mine doctor")


def test_the_record_covers_the_included_rows(world: World) -> None:
    record = read_record(world.folder / "runs" / "xception" / "record.json")
    assert record.status == "complete"
    assert set(record.protocol.included_generators) == {"my_gan", "my_flow"}
    assert record.protocol.included_generators["my_flow"]["family"] == "flow"
    assert record.run.config["recipe"]["name"] == "short"
    schema = (Path(core.__file__).parent / "result_record.schema.json").read_text(encoding="utf-8")
    jsonschema.validate(json.loads((world.folder / "runs/xception/record.json").read_text()), json.loads(schema))


def test_another_row_is_another_protocol(world: World) -> None:
    path = world.folder / "mine" / "taxonomy.yaml"
    before = path.read_text(encoding="utf-8")
    verify = ["--include", "mine", "verify-record", "--run", "runs/xception"]
    train = next(line for line, _ in world.said["A recipe"] if " train " in line)
    try:
        path.write_text(before.replace("family: flow", "family: gan"), encoding="utf-8")
        changed = CliRunner().invoke(dfad, verify)
        again = CliRunner().invoke(dfad, shlex.split(train)[1:])
    finally:
        path.write_text(before, encoding="utf-8")
    assert changed.exit_code == 4
    assert "protocol.sha256 is" in changed.output
    assert "protocol.included_generators.my_flow.family is gan" in changed.output
    assert again.exit_code == 4
    assert "other settings (protocol_sha256)" in again.output
    assert CliRunner().invoke(dfad, verify).exit_code == 0
    without = CliRunner().invoke(dfad, verify[2:])
    assert without.exit_code == 1
    assert "no generator named 'my_" in without.output
    assert "--include DIR" in without.output


def test_the_published_row_stands_on_the_board(world: World) -> None:
    shown = world.output("A published table", "dfad --include mine leaderboard")
    assert "Xception [7]" in shown
    assert "50.25" in shown


def test_the_run_keeps_its_prompts(world: World) -> None:
    record = read_record(world.folder / "runs" / "clip" / "record.json")
    assert record.run.config["prompts"]["L2"]["FS"] == "a swapped face"
    assert record.run.config["prompts"]["L4"] == "made by {name}"


def test_both_corruptions_were_scored(world: World) -> None:
    (record,) = (world.folder / "runs" / "xception").rglob("robustness*.json")
    names = {value.params.get("corruption") for value in read_record(record).metrics}
    assert {"dusk", "haze"} <= names
    listed = world.output("A corruption", "dfad --include mine list").split()
    assert {"dusk", "haze", "jpeg"} <= set(listed)


def test_the_gaze_of_every_face_is_kept(world: World) -> None:
    (table,) = (world.folder / "manifests" / "my_faces" / "tables").glob("gaze-bright_half-*.parquet")
    assert pd.read_parquet(table)["pitch_rad"].notna().all()
    assert "bright_half" in world.output("A gaze estimator", "dfad list").splitlines()


def test_the_model_is_ranked(world: World) -> None:
    assert "FAILED" not in world.output("A model", "dfad check-model")
    shown = world.output("A model", "dfad --include mine leaderboard")
    assert "MyNet (tiny)" in shown
    assert "Xception (tiny)" in shown


def test_every_included_file_is_sound(world: World) -> None:
    found = CliRunner().invoke(dfad, ["--include", "mine", "doctor", "--json"])
    files = [row for row in json.loads(found.stdout)["findings"] if row["topic"] == "include"]
    assert [row["level"] for row in files] == ["ok"] * 7
