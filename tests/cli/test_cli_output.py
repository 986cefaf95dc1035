"""What commands print: on streams of any code page, without control characters, with the nearest names."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dfad_bench.cli import main as main_module
from dfad_bench.cli import output
from dfad_bench.cli.main import COMMANDS, dfad
from dfad_bench.cli.progress import LogProgress, TerminalProgress
from dfad_bench.report.table import Column, Table

ENCODINGS = ("cp1252", "latin-1", "ascii", "utf-8")
TEXT = "– … ² ± ─ │ é 名 \ud800"
CLI = Path(output.__file__).parent


class Streams:
    """stdout and stderr of an encoding."""

    def __init__(self, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.out, self.err = io.BytesIO(), io.BytesIO()
        for name, raw in (("stdout", self.out), ("stderr", self.err)):
            monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding=encoding, write_through=True))
        output.set_up_streams()
        self.encoding = encoding

    def text(self) -> tuple[str, str]:
        """What was written, decoded strictly."""
        return self.out.getvalue().decode(self.encoding), self.err.getvalue().decode(self.encoding)


@pytest.fixture(params=ENCODINGS)
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_any_text_can_be_printed(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Streams(encoding, monkeypatch)
    output.echo(TEXT)
    output.echo(TEXT, err=True)
    print(TEXT, file=sys.stderr)
    output.echo_table(Table(TEXT, (Column("a", "a²", "text"),), [{"a": TEXT}, {"a": "–" * 30}], (TEXT,)))
    output.echo_json({TEXT: "– é \x9b"})
    shown, errors = made.text()
    assert "\\ud800" in shown
    assert "\\ud800" in errors
    assert "-" * 10 in shown or "─" * 10 in shown
    assert json.loads(shown[shown.rindex("{") :]) == {TEXT: "– é \x9b"}


def test_progress_takes_any_label(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Streams(encoding, monkeypatch)
    LogProgress().start(f"[red]{TEXT}\x1b[2J\n", 3)
    bar = TerminalProgress()
    bar.start(f"[red]{TEXT}\x1b[2J", 3)
    bar.advance(1, loss=0.5, name="[/red] \x1b[2J")
    bar.finish()
    _, errors = made.text()
    assert "\x1b" not in errors
    assert errors.count("[red]") >= 2
    assert "[/red] \\x1b[2J" in errors


def test_a_table_keeps_its_columns_in_another_code_page(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Streams("ascii", monkeypatch)
    output.echo_table(Table("t", (Column("a", "a"), Column("b", "b")), [{"a": None, "b": 1.0}, {"a": 1.0, "b": None}]))
    lines = made.text()[0].splitlines()
    assert len(lines[3]) == len(lines[4]) + 1 == len(lines[5]) + 1
    assert lines[4].split() == ["-", "1.00"]


def test_errors_and_help_are_printed_in_any_code_page(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (
        ["--help"],
        ["list", "models"],
        ["doctor", "--root", "名\x1b[2J"],
        ["list", "名–"],
        ["scores", "--run", "名"],
    ):
        made = Streams(encoding, monkeypatch)
        monkeypatch.setattr(sys, "argv", ["dfad", *words])
        with pytest.raises(SystemExit):
            main_module.main()
        text = "".join(made.text())
        assert text
        assert "\x1b" not in text
        assert "Traceback" not in text


def test_a_process_whose_output_is_cp1252_ends_well() -> None:
    """The whole way, with the streams that Python makes."""
    surroundings = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(CLI.parents[1])}
    command = [sys.executable, "-m", "dfad_bench", "list", "corruptions", "--long"]
    done = subprocess.run(command, env=surroundings, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert b"-----" in done.stdout
    done.stdout.decode("cp1252")


def test_errors_repeat_little_of_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "x" * 60_000
    for words in (["list", long], ["train", f"--{long}"], [long], ["train", "--model", long, "--seeds", long]):
        made = Streams("utf-8", monkeypatch)
        monkeypatch.setattr(sys, "argv", ["dfad", *words])
        with pytest.raises(SystemExit):
            main_module.main()
        assert 0 < len(made.err.getvalue()) < 4_000


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("trian", "train"), ("leaderbord", "leaderboard"), ("check-manifst", "check-manifest"), ("gaze", "gaze-fid")],
)
def test_a_mistyped_command_is_answered_with_the_nearest(typed: str, meant: str) -> None:
    result = CliRunner().invoke(dfad, [typed])
    assert result.exit_code == 2
    assert f"No command named '{typed}'. Did you mean " in result.stderr
    assert meant in result.stderr


def test_a_strange_command_has_no_suggestion() -> None:
    result = CliRunner().invoke(dfad, ["xyzzyx"])
    assert result.exit_code == 2
    assert result.stderr.rstrip().endswith("No command named 'xyzzyx'.")


def test_a_mistyped_option_is_answered_with_the_nearest() -> None:
    result = CliRunner().invoke(dfad, ["train", "--modle", "xception"])
    assert result.exit_code == 2
    assert "--model" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.shell_completion import BashComplete

    monkeypatch.setattr(BashComplete, "_check_version", staticmethod(lambda: None))  # bash may be old, or not there
    result = CliRunner().invoke(dfad, [], env={"_DFAD_COMPLETE": f"{shell}_source"}, prog_name="dfad")
    assert result.exit_code == 0
    assert f"_DFAD_COMPLETE={shell}_complete" in result.stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("dfad tr", "train"),
        ("dfad train --mod", "--model"),
        ("dfad train --model xce", "xception"),
        ("dfad list rec", "recipes"),
    ],
)
def test_completion_offers_commands_options_and_names(line: str, offered: str) -> None:
    surroundings = {
        "_DFAD_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")),
    }  # fmt: skip
    result = CliRunner().invoke(dfad, [], env=surroundings, prog_name="dfad")
    assert f"plain,{offered}" in result.stdout.splitlines()


def test_commands_print_through_one_module() -> None:
    """`click.echo` and `print` would let control characters through."""
    for file in CLI.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert name not in ("click.echo", "click.secho", "print") or file.name == "output.py", file
            assert name != "json.dumps", f"{file}: `echo_json` prints JSON that every stream takes"
    assert len(COMMANDS) >= 19
