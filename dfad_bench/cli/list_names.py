"""`dfad list`: what there is, by kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from dfad_bench.cli import options

Row = dict[str, Any]
Titles = dict[str, str]


@click.command("list", epilog="Example: dfad list models --long")
@click.argument(
    "kind", type=click.Choice(["models", "protocols", "datasets", "estimators", "metrics", "recipes", "corruptions"])
)
@click.option("--long", "detailed", is_flag=True, help="What each one is, not its name alone.")
@options.as_json
def command(kind: str, detailed: bool, as_json: bool) -> None:
    """List the models, protocols, datasets, gaze estimators, metrics, recipes or corruptions.

    Plain names, one a line; --long shows cards.
    """
    from dfad_bench.report.table import Column, Table, render

    names, describe, titles = _KINDS[kind]
    if not detailed and not as_json:
        click.echo("\n".join(names()))
        return
    rows: list[Mapping[str, Any]] = [{"name": name, **(describe(name) if detailed else {})} for name in names()]
    columns = [Column("name", "Name", "text")]
    columns += [Column(key, title, "text") for key, title in (titles if detailed else {}).items()]
    click.echo(render(Table(kind.capitalize(), tuple(columns), rows), "json" if as_json else "rich"), nl=False)


def _models() -> list[str]:
    from dfad_bench.core.registry import model_names

    return model_names()


def _model(name: str) -> Row:
    from dataclasses import asdict

    from dfad_bench.core.registry import model_class

    cls = model_class(name)
    needs = [*cls.needs, *cls.needs_training, *(["prompts"] if cls.needs_prompts else [])]
    card = asdict(cls.card)
    return {**card, "needs": ", ".join(needs), "deviations": "; ".join(card["deviations"])}


def _protocols() -> list[str]:
    from dfad_bench.core.protocol import protocol_names

    return protocol_names()


def _protocol(name: str) -> Row:
    from dfad_bench.core.protocol import load_protocol

    protocol = load_protocol(name)
    return {
        "title": protocol.title,
        "version": protocol.version,
        "seen": len(protocol.seen),
        "unseen": len(protocol.unseen),
        "image_size": protocol.image_size,
        "thresholds": ", ".join(map(str, protocol.attribution.thresholds)),
        "datasets": ", ".join(dict.fromkeys(group.dataset for group in protocol.groups)),
    }


def _datasets() -> list[str]:
    from dfad_bench.core.resources import shipped_names

    return shipped_names("manifests", "datasets")


def _dataset(name: str) -> Row:
    from dfad_bench.core.resources import find_yaml
    from dfad_bench.core.strict import read_yaml

    raw = read_yaml(find_yaml("manifests", "datasets", name))
    return {key: raw.get(key) for key in ("title", "licence", "homepage", "obtain")}


def _estimators() -> list[str]:
    from dfad_bench.gaze.estimators.build import estimator_names

    return estimator_names()


def _estimator(name: str) -> Row:
    from dataclasses import asdict

    from dfad_bench.gaze.estimators import ALIASES
    from dfad_bench.gaze.estimators.build import estimator_class

    card = asdict(estimator_class(name).card)
    alias = f" (the same as {ALIASES[name]})" if name in ALIASES else ""
    return {**card, "display": card["display"] + alias, "weights": ", ".join(card["weights"]) or "none needed"}


def _metrics() -> list[str]:
    from dfad_bench.metrics import METRICS

    return sorted(METRICS)


def _metric(name: str) -> Row:
    from dfad_bench.core.registry import resolve
    from dfad_bench.metrics import METRICS

    metric = METRICS[name]
    function = resolve("metric", name, {name: metric.function})
    return {
        "what": (function.__doc__ or "").strip().split("\n")[0],
        "on": metric.on,
        "averaging": ", ".join(metric.averaging),
        "unit": metric.unit,
        "better": "higher" if metric.higher_is_better else "lower",
    }


def _recipes() -> list[str]:
    from dfad_bench.core.recipe import recipe_names

    return recipe_names()


def _recipe(name: str) -> Row:
    from dfad_bench.core.recipe import load_recipe

    recipe = load_recipe(name)
    return {
        "optimiser": f"{recipe.optimiser.name} {recipe.optimiser.lr:g}",
        "schedule": recipe.schedule.name,
        "batch_size": recipe.batch_size,
        "epochs": recipe.epochs,
        "patience": recipe.patience,
        "paper": recipe.paper,
    }


def _corruptions() -> list[str]:
    from dfad_bench.data.corruptions.spec import corruptions

    return list(corruptions())


def _corruption(name: str) -> Row:
    from dfad_bench.data.corruptions.spec import corruptions

    row = corruptions()[name]
    return {
        "title": row.title,
        "values": ", ".join(f"{value:g}" for value in row.values),
        "meaning": row.meaning,
        "paper_exact": "yes" if row.paper_exact else "no",
        "source": row.source,
    }


_KINDS: dict[str, tuple[Callable[[], list[str]], Callable[[str], Row], Titles]] = {
    "models": (
        _models,
        _model,
        {
            "display": "Model",
            "year": "Year",
            "task": "Its paper's task",
            "idea": "Idea",
            "added": "Added by the benchmark",
            "needs": "Needs",
            "deviations": "Deviates",
        },
    ),
    "protocols": (
        _protocols,
        _protocol,
        {
            "title": "Title",
            "version": "Version",
            "seen": "Seen",
            "unseen": "Unseen",
            "image_size": "Side",
            "thresholds": "Thresholds",
            "datasets": "Datasets",
        },
    ),
    "datasets": (
        _datasets,
        _dataset,
        {"title": "Title", "licence": "Licence", "homepage": "Home", "obtain": "How to get it"},
    ),
    "estimators": (
        _estimators,
        _estimator,
        {"display": "Estimator", "idea": "Idea", "limits": "Limits", "weights": "Weights", "licence": "Licence"},
    ),
    "metrics": (
        _metrics,
        _metric,
        {"what": "What", "on": "Faces", "averaging": "Mean", "unit": "Unit", "better": "Better"},
    ),
    "recipes": (
        _recipes,
        _recipe,
        {
            "optimiser": "Optimiser",
            "schedule": "Schedule",
            "batch_size": "Batch",
            "epochs": "Epochs",
            "patience": "Patience",
            "paper": "After",
        },
    ),
    "corruptions": (
        _corruptions,
        _corruption,
        {
            "title": "Title",
            "values": "Severities",
            "meaning": "Values are",
            "paper_exact": "As in the papers",
            "source": "Source",
        },
    ),
}
