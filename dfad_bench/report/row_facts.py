"""What a reader must know of a row of a board beside its numbers: how it came about, and what was checked here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dfad_bench.core.errors import cut
from dfad_bench.core.record import ResultRecord
from dfad_bench.core.shipped_files import Provenance, provenance, recipe_provenance
from dfad_bench.core.version import __version__
from dfad_bench.report.board_checks import LEVELS, Check

# kind ("datasets" or "crops") and name -> version and hash of what is shipped under the name
ShippedHash = Callable[[str, str], "tuple[Any, str] | None"]
PRETRAINED = "Pre-trained weights may have seen the test generators; this is not checked."
_GEOMETRY = "landmark geometry stands in for a gaze network"
_SHORT_INIT = {"random": "random init", "run": "another run", "unknown": "not known"}
_SHORT_CHECK = {"repredicted": "repredicted", "follows": "numbers", "claimed": "claimed", "contradicted": "wrong"}
CHECK_NOTE = (
    "Checked here: repredicted (the checkpoint makes these predictions), numbers (they follow from the stored"
    " predictions), claimed (no predictions beside the record), wrong (does not follow; never ranked)."
)

IMPORTED_NOTE = (
    "Imported rows are predictions that were made elsewhere: nobody here knows how their model was trained, or on which"
    " faces. They are ranked among each other only."
)


def row_facts(
    records: Sequence[ResultRecord],
    protocol_is: str,
    checks: Mapping[str, Check],
    shipped_hash: ShippedHash | None = None,
) -> dict[str, Any]:
    """The facts of a row by key, raw: of its runs of several seeds.

    `protocol_is`: what their protocol is beside the shipped one of its name.
    """
    first = records[0]
    worst = min((checks.get(record.record_id, Check()) for record in records), key=lambda check: check.rank)
    short_groups = sum(line.startswith("short group ") for line in first.protocol.deviations)
    recipe = first.run.config.get("recipe")
    recipe = recipe if isinstance(recipe, Mapping) else {}
    made = _manifest_provenance(first, shipped_hash)
    return {
        "record_ids": [record.record_id for record in records],
        "init": _init(first),
        "init_short": _SHORT_INIT.get(str(first.model.init.get("kind")), "pre-trained"),
        "seed_list": seeds_of_row(records),
        "toolkit": first.toolkit.version,
        "commits": sorted({record.toolkit.git_commit[:8] for record in records if record.toolkit.git_commit}),
        "protocol_is": protocol_is,
        "recipe": recipe.get("name"),
        "recipe_is": str(
            recipe_provenance(recipe, first.run.config.get("epochs")) if recipe else Provenance("unknown")
        ),
        "crops": sorted({str(about["crop"]) for about in made.values() if about["crop"]}),
        "crops_is": _common_text(about["crop_is"] for about in made.values()),
        "datasets_is": _common_text(about["dataset_is"] for about in made.values()),
        "edited_datasets": sorted(name for name, about in made.items() if about["dataset_is"].startswith("edited")),
        "sources": first.samples.sources,
        "without_view": _without_view(records),
        "substitutes": _substitutes(records),
        "data_changes": list(dict.fromkeys(cut(text) for record in records for text in record.model.data_changes)),
        "visited": _visited(records),
        "imported": imported_lines(first),
        "short_groups": short_groups,
        "checked": worst.level,
        "checked_short": _SHORT_CHECK[worst.level],
        "why_not": worst.why,
    }


def edited(rows: Sequence[Mapping[str, Any]]) -> str:
    """What a heading says of rows some of whose files keep a shipped name and are other ones."""
    words = []
    for key, name in (("protocol_is", "protocol"), ("datasets_is", "dataset"), ("crops_is", "crops")):
        kinds = dict.fromkeys(str(row[key]) for row in rows if str(row.get(key)).startswith(("edited", "version")))
        words += [f"{name} {kind}" for kind in kinds]
    odd = [row for row in rows if str(row.get("recipe_is")).startswith(("edited", "version"))]
    words += [f"recipe edited ({len(odd)} of {len(rows)} rows)"] if odd else []
    return "".join(f", {word}" for word in words)


def row_note(row: Mapping[str, Any]) -> str:
    """A line about a row, for tables that people read."""
    seeds, sources = row["seed_list"], row["sources"]
    seed_text = ", ".join(map(str, seeds[:8])) + (f" and {len(seeds) - 8} more" if len(seeds) > 8 else "")
    other = "" if row["toolkit"] == __version__ else f" (this is {__version__})"
    commits = f", {len(row['commits'])} commits" if len(row["commits"]) > 1 else ""
    recipe = f"recipe {row['recipe']} {row['recipe_is']}" if row["recipe"] else "recipe not stated"
    crops = f"crops {', '.join(row['crops'])} {row['crops_is']}" if row["crops"] else "crops not stated"
    parts = [
        row["init"],
        f"seed{'s' * (len(seeds) > 1)} {seed_text or 'not known'}",
        f"dfad_bench {row['toolkit']}{other}{commits}",
        f"protocol {row['protocol_is']}",
        recipe,
        crops,
        *([f"dataset {row['datasets_is']}"] if row["edited_datasets"] else []),
        *row.get("substitutes", ()),
        *row.get("without_view", ()),
        *row.get("data_changes", ()),
        *row.get("visited", ()),
        *row.get("imported", ()),
        "sources not stated" if sources is None else f"{sources:,} test sources",
        *([f"{row['short_groups']} short groups"] if row["short_groups"] else []),
        LEVELS[row["checked"]] + (f" ({row['why_not']})" if row["why_not"] else ""),
    ]
    return f"{row['model']}: {'; '.join(parts)}."


def departures(record: ResultRecord) -> tuple[str, ...]:
    """How a run departs from its protocol, and what its model lacks, replaces, hides or changes, a line each."""
    one = [record]
    lines = [*record.protocol.deviations, *_substitutes(one), *_without_view(one), *map(cut, record.model.data_changes)]
    return tuple(dict.fromkeys(map(cut, [*lines, *_visited(one)])))


def _without_view(records: Sequence[ResultRecord]) -> list[str]:
    """A line for each view that test faces lack: how many, and what the model says it does then."""
    found = []
    for record in records:
        for name, parts in record.samples.without_view.items():
            if count := parts.get("test", 0):
                does = record.samples.missing_views.get(name, "what is done is not stated")
                found.append(f"{count:,} of {record.samples.evaluated:,} test faces without {cut(name)} ({cut(does)})")
    return list(dict.fromkeys(found))


def _substitutes(records: Sequence[ResultRecord]) -> list[str]:
    """A line for each view whose values only stood in the place of real ones, as the run kept it.

    A run keeps the estimator of gaze alone, without the name of the view where it is the only one.
    """
    found = []
    for record in records:
        views = record.run.config.get("views")
        views = views if isinstance(views, Mapping) else {}
        for name, kept in ({"": views} if "estimator" in views else views).items():
            kept = kept if isinstance(kept, Mapping) else {}
            words = _GEOMETRY if kept.get("estimator") == "geometric" else kept.get("substitute")
            of_view = f"view {cut(str(name))}: " if name else ""
            found += [f"{of_view}{cut(words)}"] if isinstance(words, str) else []
    return list(dict.fromkeys(found))


def _visited(records: Sequence[ResultRecord]) -> list[str]:
    """A line for each stage whose epochs meet some of the training faces only, as balanced batches make them do.

    And one for each that hides labels: of how many of the places in an epoch's batches it does.
    """
    found = []
    for record in records:
        for stage in record.run.stages:
            faces, of_faces = stage.get("faces"), stage.get("of_faces")
            if isinstance(faces, int) and isinstance(of_faces, int) and faces < of_faces:
                name = f"stage {cut(str(stage.get('name')))}"
                found.append(f"{name} meets {faces:,} of {of_faces:,} training faces an epoch ({stage.get('sampler')})")
            hidden, places = stage.get("hidden"), stage.get("of_places")
            if isinstance(hidden, int) and isinstance(places, int):
                name = f"stage {cut(str(stage.get('name')))}"
                found.append(f"{name} hides {hidden:,} of the {places:,} labels of an epoch's batches")
    return list(dict.fromkeys(found))


def seeds_of_row(records: Sequence[ResultRecord]) -> list[int]:
    """The seeds that are known."""
    return sorted({record.run.seed for record in records if record.run.seed is not None})


def imported_lines(record: ResultRecord) -> list[str]:
    """What is said of predictions that were made elsewhere: by whom, on what, and what nobody says."""
    about = record.imported
    if about is None:
        return []
    said = {key: about.card.get(key) for key in ("trained_on", "training_data", "author", "licence", "reference")}
    lines = [f"imported from {cut(about.file)}"]
    for key, value in said.items():
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
        lines += [f"{key.replace('_', ' ')} (by its card): {cut(str(text))}"] if text else []
    lines += [f"{about.missing:,} test faces without a prediction"] if about.missing else []
    return lines + ([f"not known: {', '.join(map(cut, about.unknown))}"] if about.unknown else [])


def _init(record: ResultRecord) -> str:
    """What the weights were before training."""
    init = record.model.init
    kind = str(init.get("kind"))
    if kind == "random":
        return "random init"
    if kind == "unknown":
        return "training not seen here"
    if kind == "run":
        return f"weights of a run under {init.get('protocol')}"
    files = init.get("files")
    names = [about.get("id") for about in files.values()] if isinstance(files, Mapping) else [init.get("id", kind)]
    names += [f"{cut(str(name))} random" for name in init.get("random", ())]
    return f"pre-trained ({', '.join(map(str, names))})"


def _manifest_provenance(record: ResultRecord, shipped_hash: ShippedHash | None) -> dict[str, dict[str, Any]]:
    """How each manifest was made, as the record states it."""
    found = {}
    for name, about in record.manifest.made.items():
        about = about if isinstance(about, Mapping) else {}
        crop, known = about.get("crop"), shipped_hash or (lambda kind, name: None)
        found[str(name)] = {
            "crop": crop,
            "crop_is": str(provenance(about.get("crop_version"), about.get("crop_sha256"), known("crops", str(crop)))),
            "dataset_is": str(
                provenance(about.get("dataset_version"), about.get("dataset_sha256"), known("datasets", str(name)))
            ),
        }
    return found


def _common_text(words: Any) -> str:
    """What is true of all, or the words that need saying."""
    kinds = list(dict.fromkeys(words))
    odd = [word for word in kinds if word.startswith(("edited", "version"))]
    return ", ".join(odd or kinds) or "not stated"
