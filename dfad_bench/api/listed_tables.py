"""The tables and figures of the two papers: what each needs, and the command that makes it."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache

from dfad_bench.api.kind import Kind, Row


def _items() -> list[str]:
    from dfad_bench.report.paper_items import item_names

    return item_names()


def _item(name: str) -> Row:
    from dfad_bench.report.paper_items import measurable_table, other_items

    table = measurable_table(name)
    if table is None:
        item = other_items()[name]
        shown = {"item": f"{item.paper}, {item.item}", "title": item.title, "needs": item.needs}
        return {**shown, "command": item.command, "lacks": item.lacks}
    absent = [f"{row.printed}: {row.lacks}" for row in table.rows if row.lacks]
    absent += [f"not a model here: {', '.join(unknown)}"] if (unknown := _unknown_models(name)) else []
    return {
        "item": f"{table.paper.split(' (')[0]}, {table.table}",
        "title": table.title,
        "needs": _needs(name),
        "command": f"dfad reproduce {name}",
        "lacks": "; ".join(absent) or None,
    }


def _unknown_models(name: str) -> list[str]:
    """Models of a table that are not registered."""
    from dfad_bench.core.registry import model_names
    from dfad_bench.report.reported import load_table

    return [model for model in dict.fromkeys(row.model for row in load_table(name).rows) if model not in model_names()]


def _needs(name: str) -> str:
    """Faces, weights and views of a table's runs; behind those that some rows alone need stands how many do."""
    from dfad_bench.core.protocol import load_protocol
    from dfad_bench.core.registry import model_names
    from dfad_bench.report.reported import load_table

    table = load_table(name)
    datasets = dict.fromkeys(group.dataset for group in load_protocol(table.protocol).all_groups)
    rows = [row for row in (*table.rows, *table.added) if row.model in model_names() and not row.lacks]
    needs = [_row_needs(row.model, json.dumps(row.options, sort_keys=True)) for row in rows]
    found = [f"faces of {', '.join(datasets)}"]
    for what, each in (("weights", [weights for weights, _ in needs]), ("views", [views for _, views in needs])):
        counts = Counter(name for names in each for name in names)
        of_rows = {name: "" if count == len(rows) else f" ({count} of {len(rows)})" for name, count in counts.items()}
        found += [f"{what} {', '.join(name + some for name, some in of_rows.items())}"] if counts else []
    chosen = dict.fromkeys(str(value) for row in table.rows for view in row.views.values() for value in view.values())
    found += [f"by row {', '.join(chosen)}"] if chosen else []
    return "; ".join(found)


@cache
def _row_needs(model: str, options: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """First weight file of each kind, and views, of a model of these options (as JSON), which decide and not its class.

    Asked of a tiny model of some classes, which is built faster; both follow from options alone.
    """
    from dfad_bench.core.protocol import load_protocol
    from dfad_bench.data.prompts import class_prompts, load_prompts
    from dfad_bench.engine.needs import needs_of

    protocol = load_protocol("synthetic")
    prompts = class_prompts(protocol, load_prompts())
    needs = needs_of(model, protocol.num_generators, "tiny", json.loads(options), prompts)
    rows = needs.named_weights.values() if needs.named_weights else (needs.weights,)
    return tuple(names[0] for names in rows if names), needs.all_views


KINDS = {
    "tables": Kind(
        _items,
        _item,
        {"item": "Where", "title": "Title", "needs": "Needs", "command": "Command", "lacks": "Not to be had"},
    )
}
