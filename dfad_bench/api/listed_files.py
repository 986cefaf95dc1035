"""What there is as files, shipped and included: protocols, datasets, generators, recipes, corruptions, tables."""

from __future__ import annotations

from dfad_bench.api import listed_generators
from dfad_bench.api.kind import FROM, Kind, Row, origin_of, yaml_files_of


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
        "origin": origin_of("protocols", name),
    }


def _dataset(name: str) -> Row:
    from dfad_bench.ingest.sources.spec import load_dataset_spec

    spec = load_dataset_spec(name)
    shown = {key: getattr(spec, key) for key in ("title", "licence", "homepage", "obtain")}
    return {**shown, "origin": origin_of("datasets", name)}


def _recipe(name: str) -> Row:
    from dfad_bench.core.recipe import ALIASES, load_recipe

    recipe = load_recipe(name)
    return {
        "optimiser": f"{recipe.optimiser.name} {recipe.optimiser.lr:g}",
        "schedule": recipe.schedule.name,
        "batch_size": recipe.batch_size,
        "epochs": recipe.epochs,
        "patience": recipe.patience,
        "paper": recipe.paper,
        "aliases": ", ".join(alias for alias, meant in ALIASES.items() if meant == name) or None,
        "origin": origin_of("recipes", name),
    }


def _prompt(name: str) -> Row:
    from dfad_bench.data.prompts import load_prompts

    templates = load_prompts(name)
    return {"paper": templates.paper, "L1": templates.L1, "L4": templates.L4, "origin": origin_of("prompts", name)}


def _crop(name: str) -> Row:
    from dfad_bench.ingest.crop.cropper import load_crop_profile

    profile = load_crop_profile(name)
    shown = {"title": profile.title, "size": profile.size, "margin": profile.margin}
    return {**shown, "notes": " ".join(profile.notes), "origin": origin_of("crops", name)}


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
        "compared": row.compared,
        "source": row.source,
    }


def _reported() -> list[str]:
    from dfad_bench.report.reported import reported_tables

    return [table.name for table in reported_tables()]


def _table(name: str) -> Row:
    from dfad_bench.report.reported import reported_tables

    table = next(table for table in reported_tables() if table.name == name)
    shown = {key: getattr(table, key) for key in ("paper", "table", "title", "protocol")}
    return {**shown, "rows": len(table.rows), "origin": origin_of("reported", name, "leaderboards")}


def _protocols() -> list[str]:
    from dfad_bench.core.protocol import earlier_protocol_names, protocol_names

    return sorted([*protocol_names(), *earlier_protocol_names()])


KINDS = {
    "protocols": Kind(
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
            **FROM,
        },
    ),
    "datasets": Kind(
        yaml_files_of("datasets"),
        _dataset,
        {"title": "Title", "licence": "Licence", "homepage": "Home", "obtain": "How to get it", **FROM},
    ),
    "generators": listed_generators.KIND,
    "recipes": Kind(
        yaml_files_of("recipes"),
        _recipe,
        {
            "optimiser": "Optimiser",
            "schedule": "Schedule",
            "batch_size": "Batch",
            "epochs": "Epochs",
            "patience": "Patience",
            "paper": "After",
            "aliases": "Also called",
            **FROM,
        },
    ),
    "prompts": Kind(yaml_files_of("prompts"), _prompt, {"paper": "After", "L1": "L1", "L4": "L4", **FROM}),
    "crops": Kind(
        yaml_files_of("crops"), _crop, {"title": "Title", "size": "Side", "margin": "Margin", "notes": "Notes", **FROM}
    ),
    "corruptions": Kind(
        _corruptions,
        _corruption,
        {
            "title": "Title",
            "values": "Severities",
            "meaning": "Values are",
            "paper_exact": "As in the papers",
            "compared": "Compared",
            "source": "Source",
            **FROM,
        },
    ),
    "reported": Kind(
        _reported,
        _table,
        {"paper": "Paper", "table": "Table", "title": "Title", "protocol": "Protocol", "rows": "Rows", **FROM},
    ),
}
