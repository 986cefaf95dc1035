"""Strangers' names through every format of output, and what was written read back.

Each function takes a name, has it written, and fails where the output holds more than the name as text.
"""

from __future__ import annotations

import csv
import html
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import yaml
from click.testing import CliRunner
from helpers.hostile import outcome
from helpers.hostile_names import HOSTILE, latex_text, latex_tokens, markdown_kinds, markdown_text
from helpers.runs import resealed, write_run
from helpers.toy import toy_predictions, toy_protocol
from helpers.trees import picture
from PIL import Image

from dfad_bench.api.runs import compare, leaderboards, scores
from dfad_bench.cli.main import dfad
from dfad_bench.core import escape
from dfad_bench.core.errors import DFADError
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.record import read_record, write_record
from dfad_bench.data.card import dataset_card
from dfad_bench.data.contact_sheet import draw_faces
from dfad_bench.data.images import encode_png
from dfad_bench.report.compare import comparison_table
from dfad_bench.report.figures import style
from dfad_bench.report.table import FORMATS, Column, Table, render

_COMMANDS = {r"\begin", r"\end", r"\toprule", r"\midrule", r"\bottomrule", r"\multicolumn", r"\emph", "\\\\"}
_COMMANDS |= {r"\&", r"\%", r"\$", r"\#", r"\_", r"\{", r"\}", r"\textasciitilde", r"\textasciicircum"}
_COMMANDS |= {r"\textbackslash", r"\textless", r"\textgreater", r"\textbar"}
_STRUCTURE = {"heading", "table", "thead", "tbody", "tr", "th", "td", "bullet_list", "list_item", "paragraph", "em"}
_PLAIN = {"text", "text_special"}


def harmless(text: str) -> None:
    """Nothing in it that a terminal obeys or UTF-8 lacks."""
    assert escape.terminal(text) == text
    text.encode()


def is_text(name: str) -> bool:
    """Whether it can be written as UTF-8: no half of a surrogate pair."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def table_of(name: str) -> Table:
    """A table with a name in every place that takes a text."""
    columns = (Column("name", name, "text"), Column(f"{name}#", "n", "count"), Column("v", "v", "percent"))
    rows = [{"name": name, f"{name}#": 1, "v": -0.5}, {"name": f"a{name}", f"{name}#": 2, "v": None}]
    return Table(name, columns, rows, (name, f"see {name}"), {1: name})


def rich_table(name: str) -> None:
    """A terminal shows markup as text."""
    text = render(table_of(name), "rich")
    harmless(text)
    drawn = render(table_of(name), "rich", width=200)
    assert all(word in drawn for word in escape.one_line(name).split())


def markdown_table(name: str) -> None:
    """One heading, one table, a list of notes; the name reads back."""
    text = render(table_of(name), "markdown")
    harmless(text)
    assert markdown_kinds(text) <= _STRUCTURE | _PLAIN


def latex_table(name: str) -> None:
    """Our commands only, three cells a row."""
    text = render(table_of(name), "latex")
    harmless(text)
    tokens = latex_tokens(text)
    assert {token for token in tokens if token.startswith("\\")} <= _COMMANDS
    assert tokens.count("{") == tokens.count("}")
    ends = [line for line in text.splitlines() if line.endswith(r"\\") and line[0] != "%"]
    assert len(ends) == 4  # the header, two rows, a heading
    for line in ends:
        assert "multicolumn" in line or latex_tokens(line).count("&") == 2
        assert line[:1] not in ("[", "*"), "the end of the row before would take it for its argument"


def csv_table(name: str) -> None:
    """Three cells a row, numbers as they were."""
    text = render(table_of(name), "csv")
    harmless(text)
    rows = list(csv.reader(io.StringIO(text)))
    assert [len(row) for row in rows] == [3, 3, 3]
    assert rows[1][1:] == ["1", "-0.5"]
    assert rows[1][0].replace("'", "") == escape.one_line(name).replace("'", "")
    csv_is_inert(text.split("\n", 1)[0])


def csv_is_inert(text: str) -> None:
    """No cell of text that a spreadsheet would run."""
    for separator in ",;\t|":  # a spreadsheet guesses which one it is
        for row in csv.reader(io.StringIO(text), delimiter=separator):
            for cell in row:
                assert cell.lstrip()[:1] not in tuple("=+-@\uff1d\uff0b\uff0d\uff20") or _is_number(cell), cell


def _is_number(cell: str) -> bool:
    try:
        float(cell.split(",")[0])
    except ValueError:
        return False
    return True


def json_table(name: str) -> None:
    """Equal to what was put in."""
    table = table_of(name)
    text = render(table, "json")
    harmless(text)
    assert json.loads(text) == {"title": name, "rows": table.rows, "notes": list(table.notes)}


def card_of(text: str) -> str:
    """The dataset card of a manifest with a text in every place that takes one."""
    info = {
        "dataset": {"name": text or "x", "title": text, "licence": text, "homepage": text, "citation": text},
        "parts": [{}],
        "rows": 1,
        "tool": {"name": "dfad_bench", "version": "1"},
        "schema_version": "1",
        "content_sha256": "0" * 64,
        "counts": {text: {"ok": 1, text: 2}},
        "crop": {"name": text, "sha256": "0" * 64, "margin": text},
    }
    return dataset_card(info)


def card(name: str) -> None:
    """Front matter of ours, no markup of others."""
    text = card_of(name)
    harmless(text)
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert set(facts) == {"pretty_name", "license", "task_categories", "tags", "configs"}
    assert facts["pretty_name"] == escape.terminal(name or "x")
    kinds = _STRUCTURE - {"em"} | _PLAIN | {"code_inline", "softbreak", "fence"}
    kinds |= {"link"} if name.startswith("http") else set()  # an address of the web, shown as it is
    assert markdown_kinds(body) <= kinds
    assert body.count("```") == 2 or "`" in name


def line_of_markdown(name: str) -> None:
    """Plain text, and code, read back."""
    shown = escape.terminal(" ".join(name.split()))
    safe = escape.markdown(name)
    assert markdown_text(f"text {safe}") == f"text {shown}".strip()
    assert markdown_kinds(f"a {escape.markdown_code(name)} b") == {"paragraph", "text", "code_inline"}


def line_of_latex(name: str) -> None:
    """Plain text, and comments, read back."""
    shown = escape.terminal(" ".join(name.split()))
    assert latex_text(escape.latex(name)) == shown
    assert latex_text(f"x% {escape.latex_comment(name)}\ny") == "xy"


def line_of_html(name: str) -> None:
    """Text and attributes read back."""
    safe = escape.html(name)
    assert not set(safe) & set("<>\"'")
    assert html.unescape(safe) == escape.terminal(name)


def line_of_yaml(name: str) -> None:
    """A scalar of one line reads back."""
    assert yaml.safe_load(f"a: {escape.yaml_scalar(name)}") == {"a": escape.terminal(name)}


def error_line(name: str) -> None:
    """A command that is given the name as a model, a protocol, a path: one line, or usage."""
    name = os.fsdecode(name.encode("utf-8", "surrogatepass"))  # as a shell gives it
    for words in (["profile", "--model", name], ["leaderboard", "--protocol", name], ["verify-record", "--run", name]):
        ended = CliRunner().invoke(dfad, words, color=True)
        assert isinstance(ended.exception, SystemExit), f"{type(ended.exception).__name__}: {ended.exception}"
        assert ended.exit_code in (1, 2)
        harmless(ended.output)


Written = Callable[[str, Path], None]


def json_file(name: str, folder: Path) -> None:
    """A JSON file as we write them."""
    path = folder / "a.json"
    if not is_text(name):  # escaped in what others write; our readers refuse it, so it is never there to be written
        path.write_text(json.dumps({name: [name]}))
        assert outcome(lambda: read_json(path)) is not None
        return
    write_json(path, {name: [name]})
    harmless(path.read_text(encoding="utf-8"))
    assert read_json(path) == {name: [name]}


def figure(name: str, folder: Path) -> None:
    """A figure is well-formed XML with nothing a terminal obeys."""
    with style.drawing():
        made = style.new_figure(2, 1)
        style.text_at(made, 0.1, 0.1, name)
        paths = style.save(made, folder, "figure", name)
    [svg] = [path for path in paths if path.suffix == ".svg"]
    ElementTree.parse(svg)
    harmless(svg.read_text(encoding="utf-8"))


def sheet(name: str, folder: Path) -> None:
    """A contact sheet can be opened."""
    path = draw_faces(name, [(np.zeros((32, 32, 3), np.uint8), [name])], folder / "sheet.png")
    with Image.open(path) as image:
        image.load()


def record(name: str, folder: Path) -> None:
    """Every table of a run whose record holds the name wherever a text may stand, in every format."""
    run = folder / "run"
    if not (run / "record.json").is_file():
        write_run(run, toy_protocol(), toy_predictions(toy_protocol(), 4), resamples=2)
        (run / "whole.json").write_bytes((run / "record.json").read_bytes())
    whole = read_record(run / "whole.json")
    if not is_text(name):
        (run / "record.json").write_text(json.dumps({"schema_version": name, "warnings": [name]}))
        error = outcome(lambda: read_record(run / "record.json"))
        assert error is not None
        harmless(str(error))
        return
    places = {"model.display": name, "protocol.config.title": name, "toolkit.version": name, "manifest.name": name}
    try:
        write_record(run / "record.json", resealed(whole, {**places, "warnings": [name], "environment.device": name}))
        read_record(run / "record.json")
    except DFADError as error:
        harmless(str(error))
        write_record(run / "record.json", resealed(whole, {"model.display": "x" + name.encode().hex()}))
        return
    tables = [scores(run, kind) for kind in ("metrics", "groups", "sweep", "confusion")]
    tables += [*leaderboards([run]).values(), comparison_table(compare(run, run, resamples=2))]
    for table in tables:
        for format in FORMATS:
            text = render(table, format)
            harmless(text)
            if format == "latex":
                assert {token for token in latex_tokens(text) if token.startswith("\\")} <= _COMMANDS
            if format == "markdown":
                assert markdown_kinds(text) <= _STRUCTURE | _PLAIN
            if format == "csv":
                assert len({len(row) for row in csv.reader(io.StringIO(text))}) == 1
            if format == "json":
                json.loads(text)


def files(name: str, folder: Path) -> None:
    """A picture of that name, and a file that is none: built, checked, and shown in one row each."""
    wanted = (name or "_").replace("/", "_").replace("\0", "_").encode("utf-8", "surrogatepass")
    root, out = folder / "root" / "test" / "flux", folder / "m"
    root.mkdir(parents=True, exist_ok=True)
    (root / "sub").mkdir(exist_ok=True)
    good, bad = os.fsencode(root) + b"/" + wanted[:200] + b".png", os.fsencode(root) + b"/sub/" + wanted[:200] + b".jpg"
    try:
        for path, data in ((good, encode_png(picture(1, 64, 64))), (bad, b"no picture")):
            with open(path, "wb") as file:  # noqa: PTH123  names that are no text
                file.write(data)
        options = ["--crop", "raw-256", "--workers", "0", "--quiet", "--max-refused", "1"]
        words = ["build-manifest", "--dataset", "extra", "--root", str(folder / "root"), "--out", str(out), *options]
        for command in (words, ["check-manifest", "--manifest", str(out)]):
            ended = CliRunner().invoke(dfad, command, color=True)
            assert ended.exit_code == 0, ended.output
            harmless(ended.output)
        facts = read_json(out / "manifest.json")
        assert facts["rows"] == 2, facts["counts"]
    finally:
        for path in (good, bad):
            if os.path.exists(path):  # noqa: PTH110
                os.unlink(path)  # noqa: PTH108
        for path in sorted(out.rglob("*"), reverse=True) if out.is_dir() else ():
            path.unlink() if path.is_file() else path.rmdir()


TEXTS: dict[str, Callable[[str], None]] = {
    "rich": rich_table, "markdown": markdown_table, "latex": latex_table, "csv": csv_table, "json": json_table,
    "card": card, "markdown line": line_of_markdown, "latex line": line_of_latex, "html": line_of_html,
    "yaml": line_of_yaml, "errors": error_line,
}  # fmt: skip
FILES: dict[str, Written] = {
    "JSON files": json_file, "figures": figure, "sheets": sheet, "records": record, "names of files": files,
}  # fmt: skip


def through_every_format(folder: Path, names: tuple[str, ...] = HOSTILE) -> tuple[int, list[str]]:
    """How many outputs were written and read back, and which held more than the name as text."""
    tried, faults = 0, []
    ways: dict[str, Callable[[str], None]] = dict(TEXTS)
    for kind, write in FILES.items():
        (folder / kind).mkdir(parents=True)
        ways[kind] = lambda name, write=write, kind=kind: write(name, folder / kind)
    for name in names:
        for kind, write_text in ways.items():
            tried += 1
            try:
                write_text(name)
            except Exception as error:  # whatever it is, the name came through
                faults.append(f"{kind}: {name!r}: {type(error).__name__}: {str(error)[:300]}")
    return tried, faults
