"""The commands the documentation shows exist and take the options it gives them."""

from __future__ import annotations

import ast
import csv
import json
import re
import shlex
import textwrap
import tomllib
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from dfad_bench.cli.main import COMMANDS, dfad

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("baselines", "benchmarks", "dfad_bench", "docs", "gazeclip", "leaderboards", "manifests", "tests")
# not the cards of manifests that a user has made in this folder
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"] + sorted(
    path for room in ROOMS for path in (ROOT / room).rglob("*.md") if not (path.parent / "manifest.json").is_file()
)


_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", flags=re.DOTALL | re.MULTILINE)


def shown_commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for block in re.findall(r"```(?:console|bash|sh)\n(.*?)```", text, flags=re.DOTALL):
            lines = (line.removeprefix("$ ").strip() for line in block.splitlines())
            found += [(page.relative_to(ROOT).as_posix(), line) for line in lines if line.startswith("dfad ")]
    return found


@pytest.mark.parametrize(("page", "line"), shown_commands())
def test_command_of_the_docs_parses(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    if words[:1] == ["--include"]:
        words = words[2:]
    if words[0].startswith("-"):
        return
    words = words[: words.index("&&")] if "&&" in words else words
    context = click.Context(dfad)
    command = dfad.get_command(context, words[0])
    assert command is not None, f"{page}: no command {words[0]!r}"
    command.make_context(words[0], words[1:], parent=context)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_ends_with_an_example_that_parses(name: str) -> None:
    context = click.Context(dfad)
    command = dfad.get_command(context, name)
    assert command is not None
    epilog = command.epilog or ""
    assert "dfad " in epilog, f"dfad {name} --help shows no example"
    example = epilog[epilog.index("dfad ") :].split("\n\n")[0].replace("\\\n", " ")
    words = shlex.split(" ".join(example.split()))
    assert words[1] == name
    shown = CliRunner().invoke(dfad, [name, "--help"], terminal_width=80).output
    assert example.strip() in shown, "the example is broken into lines: nobody can copy it"
    command.make_context(name, words[2:], parent=context)


def test_blocks_of_pages_say_what_they_are_and_parse() -> None:
    """A block of no known language, or Python that is set in, would be passed over by the tests that run examples."""
    wrong = []
    for page in PAGES:
        for inset, language, text in _FENCED.findall(page.read_text(encoding="utf-8")):
            name = page.relative_to(ROOT).as_posix()
            if language not in ("bash", "console", "python", "text", "toml", "yaml"):
                wrong.append(f"{name}: a block of {language or 'no language'}")
            elif language == "python" and not inset:
                ast.parse(text)
            elif language == "python" and name != "CONTRIBUTING.md":  # test_report_added_metrics does what it says
                wrong.append(f"{name}: Python that is set in")
            elif language == "yaml":
                list(yaml.safe_load_all(textwrap.dedent(text)))
            elif language == "toml":
                tomllib.loads(text)
    assert wrong == []


def test_readme_shows_commands() -> None:
    assert len([page for page, _ in shown_commands() if page == "README.md"]) >= 6


def test_reliability_in_the_readme_is_what_was_measured() -> None:
    """The three sentences are those of the committed results, never typed in."""
    results = ROOT / "benchmarks" / "results"
    if not results.is_dir():
        pytest.skip("not a checkout: results are not shipped in the wheel")
    builds = json.loads((results / "faults.json").read_text(encoding="utf-8"))["verdict"]
    training = json.loads((results / "train_faults.json").read_text(encoding="utf-8"))["suites"]
    attacks = json.loads((results / "attacks.json").read_text(encoding="utf-8"))
    damaged, killed = training["damaged"], training["killed"]
    assert killed["wrong"] == 0
    assert attacks["size"] == 1
    assert not [row for row in attacks["suites"].values() if row["crashes"] or row["lost"] or row["wrong"]]
    sentence = (
        f"{damaged['tried']:,} damaged checkpoints tried, {damaged['accepted']} accepted,"
        f" {killed['tried']} kills of a training run survived, same weights"
    )
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"**{builds}**" in readme
    assert f"**{attacks['verdict']}**" in readme
    assert f"**{sentence}**" in readme


def test_results_in_the_readme_are_those_of_the_committed_board() -> None:
    """The table, and the sentence beneath it; whoever changes the board changes both."""
    keys = ("seen_acc", "unseen_acc", "auroc", "oscr", "balanced_acc", "detection_auc")
    with (ROOT / "leaderboards" / "boards" / "corpus.csv").open(encoding="utf-8", newline="") as file:
        board = {row["model"]: row for row in csv.DictReader(file)}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = readme[readme.index("| model | seen |") :].split("\n\n")[0].splitlines()[2:]
    shown = [line.strip("| ").split(" | ") for line in lines]
    assert [cells[0] for cells in shown[:2]] == ["always fake, never sure", "facts-only"]
    for name, *cells in shown:
        row = board[name]
        assert cells == [*(f"{100 * float(row[key]):.2f}" for key in keys), row["ranks_generators"] or "–"], name
    models = [row for row in board.values() if row["rank"]]
    assert [cells[0] for cells in shown[2:]] == [row["model"] for row in models[: len(shown) - 2]], "not the first rows"
    assert float(board["facts-only"]["oscr"]) > max(float(row["oscr"]) for row in models), (
        "the sentence beneath is wrong"
    )
    assert float(board["always fake, never sure"]["unseen_acc"]) == 1


def test_the_first_screen_of_the_readme_has_what_a_newcomer_needs_in_order() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    order = [
        "**dfad_bench**",
        "docs/images/predict.png",
        "make quickstart",
        "```python",
        "| model |",
        "| verb |",
        "## Start",
    ]
    places = [readme.index(text) for text in order]
    assert places == sorted(places)
    verbs = readme[readme.index("| verb |") :].split("\n\n")[0]
    assert re.findall(r"^\| \*\*(\w+)\*\*", verbs, flags=re.MULTILINE) == ["build", "train", "judge", "rank"]
    assert [name for name in re.findall(r"`([a-z-]+)`", verbs) if name not in COMMANDS] == []
