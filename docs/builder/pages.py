"""The written pages: Markdown of the repository under names of the site, links of files turned into links of pages."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

_ROOMS = ("baselines", "benchmarks", "docs/builder", "gazeclip", "leaderboards", "manifests", "tests")
_PICTURES = (".png", ".jpg", ".svg", ".webp")
_FENCE = re.compile(r"^ *(```|~~~)")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def page_names(root: Path) -> dict[str, str]:
    """File of the repository -> page of the site, both as POSIX paths.

    Rooms are `rooms/`, so that no page is called README; a dataset file has the page that is generated from it.
    """
    names = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
    names["docs/README.md"] = "all_pages.md"
    for path in sorted((root / "docs").glob("*.md")):
        names.setdefault(f"docs/{path.name}", path.name)
    rooms = [*_ROOMS, "leaderboards/boards", "benchmarks/results/tables"]
    rooms += [f"dfad_bench/{path.parent.name}" for path in sorted((root / "dfad_bench").glob("*/README.md"))]
    for room in rooms:
        if (root / room / "README.md").is_file():
            names[f"{room}/README.md"] = f"rooms/{room.replace('/', '_')}.md"
    for path in sorted((root / "leaderboards" / "boards").glob("*.md")):
        names.setdefault(f"leaderboards/boards/{path.name}", f"rooms/board_{path.stem}.md")
    for path in sorted((root / "manifests" / "datasets").glob("*.yaml")):
        names[f"manifests/datasets/{path.name}"] = f"datasets/{path.stem}.md"
    return names


def written_pages(root: Path) -> dict[str, str]:
    """Page of the site -> its Markdown, of all pages that somebody wrote."""
    names = page_names(root)
    return {
        page: rewritten((root / file).read_text(encoding="utf-8"), file, names, root)
        for file, page in names.items()
        if file.endswith(".md")
    }


def copied_files(root: Path) -> dict[str, Path]:
    """Pictures, style sheet and script, under their place in the site."""
    folder = root / "docs" / "images"
    found = [path for path in sorted(folder.rglob("*")) if path.suffix in _PICTURES]
    images = {f"images/{path.relative_to(folder).as_posix()}": path for path in found}
    return {name: Path(__file__).parent / name for name in ("colours.css", "wide_tables.js")} | images


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """A Markdown text with `change` done to all but blocks and spans of code."""
    parts: list[str] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        marks = _FENCE.match(line)
        if marks and not fence:
            fence = marks[1]
        elif marks and marks[1] == fence:
            fence = ""
        parts.append(line if fence or marks else change(line))
    return "".join(parts)


def rewritten(text: str, file: str, names: dict[str, str], root: Path) -> str:
    """A page's text with its links as the site has them; links to files without a page become the text alone."""
    page = PurePosixPath(names[file])

    def link(match: re.Match[str]) -> str:
        picture, shown, target = match.groups()
        if re.match(r"[a-z]+:", target) or target.startswith("#"):
            return match[0]
        path, _, anchor = target.partition("#")
        aim = os.path.normpath(PurePosixPath(file).parent / path).replace(os.sep, "/")
        found = next((names[name] for name in (aim, f"{aim}/README.md") if name in names), None)
        if aim == "manifests/datasets":
            found = "datasets/index.md"
        if aim.startswith("docs/images/"):
            found = aim.removeprefix("docs/")
        if found is None:
            return shown if f"`{aim}`" == shown.strip() else f"{shown} (`{aim}`)"
        there = os.path.relpath(found, page.parent).replace(os.sep, "/")
        return f"{picture}[{shown}]({there}{'#' + anchor if anchor else ''})"

    return outside_code(text, lambda line: _LINK.sub(link, line))
