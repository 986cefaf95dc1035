"""What there is as code: models, views, gaze estimators, metrics; ours and those of other distributions."""

from __future__ import annotations

from dfad_bench.api.kind import FROM, Kind, Row


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
    joined = {key: "; ".join(card[key]) for key in ("deviations", "notes")}
    return {**card, **joined, "needs": ", ".join(needs), "origin": model_table()[name]}


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
        "note": metric.note,
    }


def _schemas() -> list[str]:
    from dfad_bench.core.json_schema import SCHEMAS

    return list(SCHEMAS)


def _schema(name: str) -> Row:
    from dfad_bench.core.json_schema import SCHEMAS

    return {"what": SCHEMAS[name][0], "command": f"dfad schema {name}"}


def _figures() -> list[str]:
    from dfad_bench.report.run_figures.registry import FIGURES

    return list(FIGURES)


def _figure(name: str) -> Row:
    from dfad_bench.report.run_figures.registry import FIGURES

    entry = FIGURES[name]
    return {"about": entry.about, "figure_needs": entry.needs, "origin": entry.maker}


KINDS = {
    "schemas": Kind(_schemas, _schema, {"what": "Of", "command": "Printed by"}),
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
            "notes": "In training",
            **FROM,
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
            **FROM,
        },
    ),
    "figures": Kind(_figures, _figure, {"about": "Shows", "figure_needs": "Needs beyond a run", **FROM}),
    "estimators": Kind(
        _estimators,
        _estimator,
        {"display": "Estimator", "idea": "Idea", "limits": "Limits", "weights": "Weights", "licence": "Licence"},
    ),
    "metrics": Kind(
        _metrics,
        _metric,
        {"what": "What", "on": "Faces", "averaging": "Mean", "unit": "Unit", "better": "Better", "note": "Convention"},
    ),
}
