"""A page a data set: what it is, where it is obtained, and the expected layout drawn as a tree, from its YAML."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dfad_bench.ingest.sources.spec import DatasetSpec
from docs.builder.commands import cell


def tree(paths: Iterable[str]) -> list[str]:
    """Paths drawn as a tree, folders once.

    >>> print(*tree(["real/{a}.png", "fake/x/{a}.png", "fake/y.zip"]), sep=chr(10))
    ├── real/
    │   └── {a}.png
    └── fake/
        ├── x/
        │   └── {a}.png
        └── y.zip
    """
    root: dict[str, Any] = {}
    for path in paths:
        here = root
        for part in path.split("/"):
            here = here.setdefault(part, {})
    return _drawn(root, "")


def _drawn(folder: dict[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for number, (name, inner) in enumerate(folder.items(), 1):
        last = number == len(folder)
        lines.append(f"{indent}{'└── ' if last else '├── '}{name}{'/' if inner else ''}")
        lines += _drawn(inner, indent + ("    " if last else "│   "))
    return lines


def layout_paths(spec: DatasetSpec) -> list[str]:
    """Paths of what is read: templates of entries, tables, lists of labels."""
    paths = [entry.path for entry in spec.entries]
    if spec.table:
        paths += [spec.table.file, spec.table.path]
    paths += [one.file for one in spec.listed]
    return list(dict.fromkeys(paths))


def dataset_index(specs: list[DatasetSpec]) -> str:
    """All data sets in one table."""
    rows = [f"| [`{s.name}`]({s.name}.md) | {cell(s.title)} | {s.layout} | {cell(s.licence)} |" for s in specs]
    return "\n".join(
        (
            "# Data sets\n",
            "One page for each file of `manifests/datasets`. Who is real, counts and shared originals:"
            " [data sets that are read as released](../datasets.md).\n",
            "| name | what | layout | licence |\n|---|---|---|---|",
            *rows,
            "",
        )
    )


def dataset_page(spec: DatasetSpec) -> str:
    """One data set."""
    parts = [f"# {spec.name}\n", f"{cell(spec.title)}.\n", "| fact | value |\n|---|---|"]
    facts = {
        "licence": spec.licence,
        "homepage": spec.homepage,
        "citation": spec.citation,
        "how to get it": spec.obtain,
        "crop profile": spec.crop,
        "real faces are in": ", ".join(spec.reals_in),
    }
    parts += [f"| {name} | {cell(value)} |" for name, value in facts.items() if value]
    if paths := layout_paths(spec):
        parts += ["\n## Expected layout\n", "What is read below `--root`; words in braces are read off the names.\n"]
        parts += ["```text", "ROOT/", *tree(paths), "```"]
    parts += [
        "\n## Commands\n",
        f"```text\ndfad doctor         --dataset {spec.name} --root ROOT\n"
        f"dfad build-manifest --dataset {spec.name} --root ROOT --out manifests/{spec.name}\n```",
    ]
    if spec.generators:
        parts += ["\n## Names of generators\n", "| in the release | generator |\n|---|---|"]
        parts += [f"| {cell(name)} | `{key}` |" for name, key in spec.generators.items()]
    for title, lines in (("Notes", spec.notes), ("What could not be learnt", spec.unknown)):
        if lines:
            parts += [f"\n## {title}\n", *(f"- {cell(line)}" for line in lines)]
    return "\n".join(parts) + "\n"
