"""Pages that are made from the code and the data files when the site is built, so that they cannot differ from them."""

from __future__ import annotations

from pathlib import Path

from docs.builder.commands import commands_page
from docs.builder.dataset_pages import dataset_index, dataset_page
from docs.builder.tables import metrics_page, schemas_page


def generated_pages(root: Path) -> dict[str, str]:
    """Page of the site -> its Markdown."""
    from dfad_bench.ingest.sources.spec import load_dataset_spec

    specs = [load_dataset_spec(path.stem) for path in sorted((root / "manifests" / "datasets").glob("*.yaml"))]
    return {
        "reference/commands.md": commands_page(),
        "reference/python.md": python_page(root),
        "reference/metrics.md": metrics_page(),
        "reference/schemas.md": schemas_page(),
        "datasets/index.md": dataset_index(specs),
        **{f"datasets/{spec.name}.md": dataset_page(spec) for spec in specs},
    }


def public_places(root: Path) -> dict[str, list[str]]:
    """What docs/api.md calls public: the module it is imported from -> "module.name", where each is written."""
    import re
    from importlib import import_module

    import dfad_bench

    found = {"dfad_bench": [place.replace(":", ".") for place in sorted(dfad_bench._PUBLIC.values())]}
    found["dfad_bench"].remove("dfad_bench.core.version.__version__")
    text = (root / "docs" / "api.md").read_text(encoding="utf-8")
    for module, cell in re.findall(r"^\| `(dfad_bench\.[\w.]+)` \| (`.*`) \|$", text, flags=re.MULTILINE):
        names = re.findall(r"`([A-Za-z_]\w*)`", cell)
        if not names or not all(hasattr(import_module(module), name) for name in names):
            continue  # a group of entry points
        for name in names:
            thing = getattr(import_module(module), name)
            at_home = callable(thing) and str(getattr(thing, "__module__", "")).startswith("dfad_bench.")
            found.setdefault(module, []).append(f"{thing.__module__ if at_home else module}.{name}")
    return found


def python_page(root: Path) -> str:
    """The Python reference: docstrings of every public name, which the tool reads without running anything."""
    parts = [
        "# Python reference\n",
        "Every public name, from its docstring. Headings say where a name is written; those of the first section are"
        " imported from `dfad_bench`, as in `dfad_bench.train`. [Examples, and what stability means](../api.md).\n",
    ]
    shown: set[str] = set()
    for module, places in public_places(root).items():
        new = [place for place in places if place not in shown]
        shown |= set(new)
        if new:
            parts.append(f"## `{module}`\n")
            parts += [f"::: {place}\n" for place in new]
    return "\n".join(parts)
