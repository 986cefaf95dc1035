"""What `dfad list` knows: names of each kind, what a name stands for, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Row = dict[str, Any]


class Kind(NamedTuple):
    """One kind of thing that has names."""

    names: Callable[[], list[str]]
    describe: Callable[[str], Row]  # a name to the cells of its row
    titles: dict[str, str]  # of the row's columns


def _models() -> list[str]:
    from dfad_bench.core.registry import model_names

    return model_names()


def _model(name: str) -> Row:
    from dataclasses import asdict

    from dfad_bench.core.registry import model_table
    from dfad_bench.engine.model_contract import Subject

    model = Subject(name).build()  # what a model needs may follow from its settings
    needs = [*model.needs, *model.needs_training, *(["prompts"] if model.needs_prompts else [])]
    card = asdict(model.card)
    deviations = "; ".join(card["deviations"])
    return {**card, "needs": ", ".join(needs), "deviations": deviations, "origin": model_table()[name]}


def _views() -> list[str]:
    from dfad_bench.views.registry import view_names

    return view_names()


def _view(name: str) -> Row:
    from dataclasses import fields

    from dfad_bench.views.registry import view_class, view_table

    view = view_class(name)
    return {
        "kind": view.kind,
        "meaning": view.meaning,
        "when": "test and training" if view.when == "test" else "training only",
        "settings": ", ".join(field.name for field in fields(view.Settings)),
        "origin": view_table()[name],
    }


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
        "datasets": ", ".join(dict.fromkeys(group.dataset for group in protocol.all_groups)),
        "origin": _origin("protocols", name),
    }


def _dataset(name: str) -> Row:
    from dfad_bench.ingest.sources.spec import load_dataset_spec

    spec = load_dataset_spec(name)
    shown = {key: getattr(spec, key) for key in ("title", "licence", "homepage", "obtain")}
    return {**shown, "origin": _origin("datasets", name)}


def _generators() -> list[str]:
    from dfad_bench.core.taxonomy import taxonomy

    return [generator.key for generator in taxonomy()]


def _generator(name: str) -> Row:
    from dfad_bench.core.resources import origin
    from dfad_bench.core.taxonomy import taxonomy

    row = taxonomy()[name]
    return {
        "display": row.display,
        "forgery": row.forgery.value,
        "family": row.family.value,
        "aliases": ", ".join(row.aliases),
        "reference": row.reference,
        "origin": origin(taxonomy().file_of(name)),
    }


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
        "origin": _origin("recipes", name),
    }


def _prompt(name: str) -> Row:
    from dfad_bench.data.prompts import load_prompts

    templates = load_prompts(name)
    return {"paper": templates.paper, "L1": templates.L1, "L4": templates.L4, "origin": _origin("prompts", name)}


def _crop(name: str) -> Row:
    from dfad_bench.ingest.crop.cropper import load_crop_profile

    profile = load_crop_profile(name)
    shown = {"title": profile.title, "size": profile.size, "margin": profile.margin}
    return {**shown, "origin": _origin("crops", name)}


def _corruptions() -> list[str]:
    from dfad_bench.data.corruptions.spec import corruptions

    return list(corruptions())


def _corruption(name: str) -> Row:
    from dfad_bench.core.resources import origin, table_files
    from dfad_bench.core.strict import read_yaml
    from dfad_bench.data.corruptions.spec import corruptions

    row, files = corruptions()[name], table_files("corruptions.yaml")
    return {
        "origin": origin(next(path for path in files if name in read_yaml(path)["corruptions"])),
        "title": row.title,
        "values": ", ".join(f"{value:g}" for value in row.values),
        "meaning": row.meaning,
        "paper_exact": "yes" if row.paper_exact else "no",
        "source": row.source,
    }


def _reported() -> list[str]:
    from dfad_bench.report.reported import reported_tables

    return [table.name for table in reported_tables()]


def _table(name: str) -> Row:
    from dfad_bench.report.reported import reported_tables

    table = next(table for table in reported_tables() if table.name == name)
    shown = {key: getattr(table, key) for key in ("paper", "table", "title", "protocol")}
    return {**shown, "rows": len(table.rows), "origin": _origin("reported", name, "leaderboards")}


def _origin(folder: str, name: str, kind: str = "manifests") -> str:
    from dfad_bench.core.resources import find_yaml, origin

    return origin(find_yaml(kind, folder, name))


def _files(folder: str, kind: str = "manifests") -> Callable[[], list[str]]:
    """The names of shipped and included YAML files."""

    def names() -> list[str]:
        from dfad_bench.core.resources import yaml_names

        return yaml_names(kind, folder)

    return names


_FROM = {"origin": "From"}
KINDS = {
    "models": Kind(
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
            **_FROM,
        },
    ),
    "views": Kind(
        _views,
        _view,
        {
            "kind": "Kind",
            "meaning": "Values",
            "when": "Seen at",
            "settings": "Settings (--view NAME.KEY=VALUE)",
            **_FROM,
        },
    ),
    "protocols": Kind(
        _files("protocols"),
        _protocol,
        {
            "title": "Title",
            "version": "Version",
            "seen": "Seen",
            "unseen": "Unseen",
            "image_size": "Side",
            "thresholds": "Thresholds",
            "datasets": "Datasets",
            **_FROM,
        },
    ),
    "datasets": Kind(
        _files("datasets"),
        _dataset,
        {"title": "Title", "licence": "Licence", "homepage": "Home", "obtain": "How to get it", **_FROM},
    ),
    "generators": Kind(
        _generators,
        _generator,
        {
            "display": "Generator",
            "forgery": "Forgery",
            "family": "Family",
            "aliases": "Also called",
            "reference": "Reference",
            **_FROM,
        },
    ),
    "estimators": Kind(
        _estimators,
        _estimator,
        {"display": "Estimator", "idea": "Idea", "limits": "Limits", "weights": "Weights", "licence": "Licence"},
    ),
    "metrics": Kind(
        _metrics, _metric, {"what": "What", "on": "Faces", "averaging": "Mean", "unit": "Unit", "better": "Better"}
    ),
    "recipes": Kind(
        _files("recipes"),
        _recipe,
        {
            "optimiser": "Optimiser",
            "schedule": "Schedule",
            "batch_size": "Batch",
            "epochs": "Epochs",
            "patience": "Patience",
            "paper": "After",
            **_FROM,
        },
    ),
    "prompts": Kind(_files("prompts"), _prompt, {"paper": "After", "L1": "L1", "L4": "L4", **_FROM}),
    "crops": Kind(_files("crops"), _crop, {"title": "Title", "size": "Side", "margin": "Margin", **_FROM}),
    "corruptions": Kind(
        _corruptions,
        _corruption,
        {
            "title": "Title",
            "values": "Severities",
            "meaning": "Values are",
            "paper_exact": "As in the papers",
            "source": "Source",
            **_FROM,
        },
    ),
    "reported": Kind(
        _reported,
        _table,
        {"paper": "Paper", "table": "Table", "title": "Title", "protocol": "Protocol", "rows": "Rows", **_FROM},
    ),
}
