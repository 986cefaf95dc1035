"""The order of the pages: six journeys first, then what is looked up."""

from __future__ import annotations

import json
from pathlib import Path

# a section -> title and page; pages that are not named here stand in the last section
SECTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "Journeys": (
        ("Is this picture fake?", "predict.md"),
        ("Benchmark my detector", "imported.md"),
        ("Build a manifest: own data", "own_data.md"),
        ("Build a manifest: releases", "datasets.md"),
        ("Reproduce a table", "tables.md"),
        ("Add a model or dataset", "contributing.md"),
        ("Read a leaderboard critically", "reading_a_board.md"),
    ),
    "Numbers": (
        ("Two populations", "uncertainty.md"),
        ("Open world", "open_world.md"),
        ("What can be caught", "honesty.md"),
        ("Which hash covers what", "integrity.md"),
        ("Claims of papers", "claims.md"),
        ("Corruptions", "corruptions.md"),
        ("Other crops and sizes", "sensitivity.md"),
        ("Figures of runs", "report.md"),
    ),
    "Faces": (
        ("Gaze", "gaze.md"),
        ("Parsing maps", "parsing.md"),
        ("Videos", "videos.md"),
        ("Generators", "generators.md"),
        ("Large builds", "scaling.md"),
    ),
    "Models": (
        ("Training", "training.md"),
        ("Weights of others", "weights.md"),
        ("Speed and precision", "speed.md"),
        ("Performance", "performance.md"),
        ("Export", "export.md"),
        ("Sharing", "sharing.md"),
    ),
    "Reference": (
        ("Commands", "reference/commands.md"),
        ("Python API", "api.md"),
        ("Python reference", "reference/python.md"),
        ("Metrics", "reference/metrics.md"),
        ("File formats (schemas)", "reference/schemas.md"),
        ("Data sets", "datasets/index.md"),
        ("Tables and code pages", "output.md"),
        ("Leaderboard pages", "site.md"),
        ("Glossary", "glossary.md"),
        ("Questions", "faq.md"),
    ),
    "Project": (
        ("Decisions", "decisions.md"),
        ("Changes", "changelog.md"),
        ("All pages", "all_pages.md"),
    ),
}
_LATER = ("datasets/", "rooms/", "reference/")  # found by their index page, by links and by the search


def navigation(pages: dict[str, str]) -> list[dict[str, object]]:
    """The sections whose pages there are, as the tool reads them; each page once."""
    named = {page for entries in SECTIONS.values() for _, page in entries}
    found: list[dict[str, object]] = [{"Start": "index.md"}]
    for section, entries in SECTIONS.items():
        found.append({section: [{title: page} for title, page in entries if page in pages]})
    others = sorted(set(pages) - named - {"index.md"})
    if more := [page for page in others if not page.startswith(_LATER)]:
        found.append({"More": [{page.removesuffix(".md").replace("_", " "): page} for page in more]})
    rooms = [{page.removeprefix("rooms/").removesuffix(".md"): page} for page in others if page.startswith("rooms/")]
    commands = [page for page in others if page.startswith("reference/")]
    assert not commands, commands
    return [*found, {"Source folders": rooms}]


def _toml(value: object) -> str:
    """A value as TOML has it: text as JSON writes it, inline tables with equal signs."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return json.dumps(value)


def site_settings(root: Path, source: str, made: str, pages: dict[str, str]) -> str:
    """The tool's settings file: offline, no fonts of others, light and dark; `source` and `made` lie beside it."""
    return f"""\
[project]
site_name = "dfad_bench"
site_description = "Fine-grained deepfake attribution and detection: manifests, models, leaderboards"
docs_dir = "{source}"
site_dir = "{made}"
use_directory_urls = false
extra_css = ["colours.css"]
extra_javascript = ["wide_tables.js"]
nav = {_toml(navigation(pages))}

[project.theme]
font = false
features = ["navigation.tabs", "navigation.top", "search.highlight"]

[[project.theme.palette]]
media = "(prefers-color-scheme: light)"
scheme = "default"
toggle = {{icon = "lucide/sun", name = "Switch to dark"}}

[[project.theme.palette]]
media = "(prefers-color-scheme: dark)"
scheme = "slate"
toggle = {{icon = "lucide/moon", name = "Switch to light"}}

[project.plugins.offline]
[project.plugins.search]
[project.plugins.mkdocstrings.handlers.python]
paths = [{_toml(root.as_posix())}]
[project.plugins.mkdocstrings.handlers.python.options]
docstring_style = "google"
show_source = false
show_root_heading = true
heading_level = 3
show_signature_annotations = true
separate_signature = true
"""
