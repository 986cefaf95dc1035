"""Every room has a README of one screen, and what the pages of the folders name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_architecture import RULES, graph_of_sources

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "dfad_bench"
ROOMS = sorted(
    path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name.isidentifier() and path.name[0] != "_"
)
MOST_LINES = 40
PAGES = [*sorted(PACKAGE.glob("*/README.md")), *sorted(ROOT.glob("*/README.md")), *sorted((ROOT / "docs").glob("*.md"))]
WORD = re.compile(r"\w+")
NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def in_backticks(text: str) -> list[str]:
    """Spans in single backticks, without code blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def missing_paths(page: Path, text: str) -> list[str]:
    """Spans that are paths of this repository (they begin with one of its folders, or end in .py) and do not exist."""
    bases = (page.parent, PACKAGE, ROOT)
    missing = []
    for span in in_backticks(text):
        if re.search(r"[\s<>*{}$=…:,]", span) or span.startswith(("/", "-", ".")):
            continue
        inside = "/" in span and any((base / span.split("/")[0]).is_dir() for base in bases)
        if (inside or span.endswith(".py")) and not any((base / span).exists() for base in bases):
            missing.append(span)
    return missing


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_says_on_one_screen_what_it_is_for(room: str) -> None:
    page = PACKAGE / room / "README.md"
    assert page.is_file(), f"dfad_bench/{room} has no README.md"
    text = page.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert text.startswith(f"# {room}: ")
    for part in ("**Imports**", "**Imported by**") if room != "core" else ("**Imported by**",):
        assert part in text


@pytest.mark.parametrize("room", ROOMS)
def test_identifiers_that_a_room_page_names_occur_in_the_code(room: str, code_words: frozenset[str]) -> None:
    spans = in_backticks((PACKAGE / room / "README.md").read_text(encoding="utf-8"))
    names = [span for span in spans if NAME.fullmatch(span) and not span.endswith((".py", ".md", ".yaml", ".json"))]
    assert [name for name in names if not set(name.split(".")) <= code_words] == []


def unnamed_files(room: Path, text: str) -> list[str]:
    """Modules and folders of a room that its page does not name in backticks."""
    here = [path for path in room.iterdir() if path.name.isidentifier() or path.suffix == ".py"]
    names = {path.name for path in here if path.name[0] != "_"}
    first = {part for span in in_backticks(text) for part in (span, span.split("/")[0], span.split("/")[-1])}
    return sorted(names - first)


@pytest.mark.parametrize("room", sorted({*ROOMS} - {"cli", "layers", "losses"}))  # those say "one idea a file"
def test_a_room_page_names_every_file(room: str) -> None:
    assert unnamed_files(PACKAGE / room, (PACKAGE / room / "README.md").read_text(encoding="utf-8")) == []


def test_a_file_that_a_page_leaves_out_is_found(tmp_path: Path) -> None:
    for name in ("__init__.py", "told.py", "absent.py", "README.md"):
        (tmp_path / name).touch()
    (tmp_path / "inner").mkdir()
    assert unnamed_files(tmp_path, "absent.py and `told.py`") == ["absent.py", "inner"]
    assert unnamed_files(tmp_path, "`absent.py`, `told.py`, `inner/`") == []


@pytest.fixture(scope="module")
def code_words() -> frozenset[str]:
    return frozenset(word for path in PACKAGE.rglob("*.py") for word in WORD.findall(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("room", sorted({*ROOMS} - {"core", "cli"}))
def test_a_room_page_names_the_rooms_it_may_import(room: str) -> None:
    """The same as the table of the architecture test."""
    allowed = set()
    for package, (ours, _) in RULES.items():
        if package == f"dfad_bench.{room}" or package.startswith(f"dfad_bench.{room}."):
            allowed |= {name.removeprefix("dfad_bench.") for name in ours}
    text = (PACKAGE / room / "README.md").read_text(encoding="utf-8")
    sentence = text.split("**Imports**")[1].split("**Imported by**")[0]
    assert {word for word in WORD.findall(re.sub("`.*?`", "", sentence)) if word in ROOMS} == allowed - {room}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_paths_that_a_page_names_exist(page: Path) -> None:
    assert missing_paths(page, page.read_text(encoding="utf-8")) == []


def test_a_path_that_does_not_exist_is_found() -> None:
    text = "see `manifests/taxonomy.yaml`, `manifests/none.yaml`, `absent.py`, `runs/x`, `media/image.py`"
    assert missing_paths(PACKAGE / "ingest" / "README.md", text) == ["manifests/none.yaml", "absent.py"]


@pytest.fixture(scope="module")
def room_imports() -> set[tuple[str, str]]:
    """(room, room it imports), over all files; the packages beside `dfad_bench` count as rooms."""
    pairs = {(room_of(a), room_of(b)) for a, targets in graph_of_sources().items() for b in targets}
    return {(a, b) for a, b in pairs if a != b}


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[min(1, len(parts) - 1)] if parts[0] == "dfad_bench" else parts[0]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_page_says_which_rooms_it_imports_and_which_import_it(
    room: str, room_imports: set[tuple[str, str]]
) -> None:
    text = (PACKAGE / room / "README.md").read_text(encoding="utf-8").replace("the commands", "cli")
    imports, _, importers = text[text.index("**Import") :].partition("**Imported by**")
    known = {*ROOMS, "baselines", "gazeclip"}
    found = {b for a, b in room_imports if a == room}, {a for a, b in room_imports if b == room} & known
    for said, expected in zip((imports, importers), found, strict=True):
        named = set(WORD.findall(re.sub(r"`[^`]*`", "", said))) & known - {room}
        if "every room but" in said:
            named = set(ROOMS) - named - {room}
        elif "every room" in said:
            continue
        assert named == expected
