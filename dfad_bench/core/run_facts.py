"""`run.json`: what the engine states about a run, which a record is made of. Read strictly, as a record is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dfad_bench.core.files import read_json
from dfad_bench.core.imported import Imported
from dfad_bench.core.record import (
    Environment,
    ManifestFacts,
    ModelFacts,
    PredictionFacts,
    ProtocolFacts,
    RunFacts,
    Samples,
    Toolkit,
)
from dfad_bench.core.strict import from_mapping


@dataclass(frozen=True)
class _Facts:
    """The parts of a record that are known before it is scored."""

    status: Literal["complete", "partial", "failed"]
    created_utc: str
    toolkit: Toolkit
    model: ModelFacts
    protocol: ProtocolFacts
    manifest: ManifestFacts
    run: RunFacts
    environment: Environment
    samples: Samples
    predictions: PredictionFacts
    warnings: tuple[str, ...] = ()
    imported: Imported | None = None


def read_facts(path: Path) -> dict[str, Any]:
    """The facts as plain values, once each has been found of the type a record needs.

    Raises:
        ConfigError: missing, not JSON, or a key that is unknown, missing or of another type.
    """
    raw = read_json(path)
    from_mapping(_Facts, raw, str(path))
    return dict(raw)
