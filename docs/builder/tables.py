"""Pages of metrics, scores for "unseen" and JSON Schemas, from the tables that the code itself uses."""

from __future__ import annotations

import json
from importlib import import_module

from docs.builder.commands import cell


def _first_sentence(place: str) -> str:
    """First sentence of the docstring of "module:function"."""
    module, _, name = place.partition(":")
    text = " ".join((getattr(import_module(module), name).__doc__ or "").split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".")


def metrics_page() -> str:
    """Every metric and every score for "unseen"."""
    from dfad_bench.metrics import METRICS
    from dfad_bench.metrics.unseen import UNSEEN_SCORES

    rows = [
        f"| `{name}` | {cell(_first_sentence(metric.function))} | {metric.on} | {' and '.join(metric.averaging)} |"
        f" {'higher' if metric.higher_is_better else 'lower'} | {metric.unit} | {cell(metric.note or '')} |"
        for name, metric in METRICS.items()
    ]
    scores = [f"| `{name}` | {cell(score.display)} | {cell(score.source)} |" for name, score in UNSEEN_SCORES.items()]
    return "\n".join(
        (
            "# Metrics\n",
            "Made from the table that scoring computes. `macro` is the mean over groups (generators), `pooled` takes"
            " all faces together. Shares are fractions here and percent in tables. Intervals and what they are over:"
            " [two populations](../uncertainty.md).\n",
            "| metric | what | faces | averaging | better | unit | note |\n|---|---|---|---|---|---|---|",
            *rows,
            '\n## Scores for "unseen"\n',
            "Larger means more like the seen classes; [more](../open_world.md).\n",
            "| score | what | source |\n|---|---|---|",
            *scores,
            "",
        )
    )


def schemas_page() -> str:
    """Every JSON Schema whole, folded."""
    from dfad_bench.core.json_schema import SCHEMAS, schema

    parts = [
        "# File formats (JSON Schemas)\n",
        "JSON Schema, draft 2020-12, of the files that are read and written; `dfad schema NAME` prints one. YAML files"
        " are checked likewise. What no schema can say, such as that hashes fit, is checked when a file is read.\n",
    ]
    for name, (what, _) in SCHEMAS.items():
        found = schema(name)
        keys, required = found.get("properties", {}), found.get("required", [])
        text = json.dumps(found, indent=2, ensure_ascii=False)
        parts += [f"## {name}\n", f"{cell(what)}.", "", found.get("description", "").replace("<", "&lt;"), ""]
        if keys:
            parts += ["| key | must be there |\n|---|---|"]
            parts += [f"| `{key}` | {'yes' if key in required else 'no'} |" for key in keys] + [""]
        body = "\n".join(f"    {line}" for line in f"```json\n{text}\n```".splitlines())
        parts += [f'??? note "The whole schema"\n\n{body}\n']
    return "\n".join(parts)
