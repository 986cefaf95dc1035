"""The tables and figures of the two papers: what each needs, and the command that makes it."""

from __future__ import annotations

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
    """Faces, weights and views of a table's runs."""
    from dfad_bench.core.protocol import load_protocol
    from dfad_bench.core.registry import model_class, model_names
    from dfad_bench.report.reported import load_table

    table = load_table(name)
    datasets = dict.fromkeys(group.dataset for group in load_protocol(table.protocol).all_groups)
    models = [model for model in dict.fromkeys(row.model for row in table.rows) if model in model_names()]
    weights = dict.fromkeys(card.weights[0] for model in models if (card := model_class(model).card).weights)
    found = [f"faces of {', '.join(datasets)}"]
    found += [f"weights {', '.join(weights)}"] if weights else []
    kinds = [model_class(model) for model in models]
    views = dict.fromkeys(view for kind in kinds for view in (*kind.needs, *kind.needs_training))
    found += [f"views {', '.join(views)}"] if views else []
    chosen = dict.fromkeys(str(value) for row in table.rows for view in row.views.values() for value in view.values())
    found += [f"by row {', '.join(chosen)}"] if chosen else []
    return "; ".join(found)


KINDS = {
    "tables": Kind(
        _items,
        _item,
        {"item": "Where", "title": "Title", "needs": "Needs", "command": "Command", "lacks": "Not to be had"},
    )
}
