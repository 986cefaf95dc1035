"""A prepared import to the folder of a run: predictions, selected faces and facts, from which its record is scored."""

from __future__ import annotations

import datetime
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dfad_bench.core.code_facts import protocol_facts, toolkit_facts
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import content_hash, sha256_file, write_json
from dfad_bench.core.imported import Imported, ModelCard
from dfad_bench.core.labels import UNSEEN
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import Environment, ModelFacts, PredictionFacts, RunFacts, Samples, plain
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_parquet import write_predictions, write_selection
from dfad_bench.core.strict import read_dataclass
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.intake.prepared import PreparedImport

_NEVER_KNOWN = ("settings of the training", "which weights were kept", "number format and machine")


def read_card(path: Path | None, name: str) -> ModelCard:
    """What is said of a model: its card, else its name alone.

    Raises:
        ConfigError: not readable, or a key that is unknown or of another type.
    """
    return ModelCard(name) if path is None else read_dataclass(ModelCard, Path(path))


def refuse_taken(out: Path) -> None:
    """Refuse a folder that holds a run; an import that was killed before it was scored may be made again.

    Raises:
        ConfigError: it does.
    """
    files = RunFolder(Path(out))
    own = [files.config, files.record]
    if files.facts.is_file() and read_facts(files.facts).get("imported") is None:
        own.append(files.facts)
    if taken := [path.name for path in own if path.exists()]:
        raise ConfigError(f"--out {out}: holds a run already ({taken[0]}); give another folder")


def write_import(prepared: PreparedImport, imported: Imported, card: ModelCard, out: Path) -> tuple[str, ...]:
    """Write predictions and facts; the record is scored from them. Returns what a reader must know.

    Raises:
        ConfigError: the folder holds a run already.
    """
    refuse_taken(out)
    files = RunFolder(Path(out))
    digest = write_predictions(files.predictions, prepared.frame)
    kept: dict[str, str] = {}
    if prepared.selection is not None:
        write_selection(files.selection, prepared.selection)
        kept[files.selection.name] = sha256_file(files.selection)
    deviations = [*prepared.deviations, *_trained_on_unseen(card, prepared.protocol)]
    if missing := prepared.missing_faces:
        deviations.append(f"{missing:,} of {prepared.expected:,} test faces without a prediction")
    warnings = tuple(dict.fromkeys([*prepared.warnings, *deviations]))
    partial = prepared.partial or missing > 0
    facts: dict[str, Any] = {
        "status": "partial" if partial else "complete",
        "created_utc": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "toolkit": toolkit_facts(),
        "model": _model_facts(prepared, card),
        "protocol": protocol_facts(prepared.protocol, deviations),
        "manifest": prepared.manifest,
        "run": _run_facts(imported, card, kept, partial),
        "environment": Environment(None, None, None, None),
        "samples": Samples(
            prepared.expected, len(prepared.frame), missing, prepared.refused,
            int(prepared.frame["source_key"].nunique()),
        ),
        "predictions": PredictionFacts(
            files.predictions.name, digest, len(prepared.frame), tuple(prepared.frame.columns)
        ),
        "warnings": warnings,
        "imported": replace(imported, card=plain(card), unknown=(*card.unknown_facts, *_NEVER_KNOWN)),
    }  # fmt: skip
    write_json(files.facts, {name: plain(asdict(part) if name == "protocol" else part) for name, part in facts.items()})
    return warnings


def _model_facts(prepared: PreparedImport, card: ModelCard) -> ModelFacts:
    return ModelFacts(
        name=card.name,
        registry_sha256=content_hash(["imported", card.name]),
        params_total=card.parameters,
        params_trainable=None,
        checkpoint_sha256=None,
        init={"kind": "unknown"},
        display=card.name,
        heads=prepared.columns.heads,
        task=prepared.columns.heads,
    )


def _run_facts(imported: Imported, card: ModelCard, kept: dict[str, str], partial: bool) -> RunFacts:
    digest = content_hash(plain([imported, card]))
    return RunFacts(
        run_id=digest[:16], seed=card.seed, config_sha256=digest, precision=None, world_size=None, steps=None,
        resumed=None, files=kept, stopped="imported; not every test face has a prediction" if partial else "imported",
    )  # fmt: skip


def _trained_on_unseen(card: ModelCard, protocol: Protocol) -> list[str]:
    """A line where a model was trained, as its card says, on a generator that stands among the unseen ones."""
    names = [(name, taxonomy()[name].key if name in taxonomy() else None) for name in card.trained_on]
    unseen = {(g.generator, g.source): g.key for g in protocol.groups if g.label == UNSEEN}
    known = [
        group for (key, part), group in unseen.items() for name, meant in names
        if (meant == key and part is None) or name in (part, group)
    ]  # fmt: skip
    return [f"its card says it was trained on {group}, which is unseen here" for group in dict.fromkeys(known)]
