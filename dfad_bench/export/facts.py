"""What an exported file says of itself: one JSON text, written once, read strictly. Nothing here needs torch.

An ONNX file keeps it in `metadata_props`, a TorchScript archive as an extra file, safetensors in the header; the key is
`KEY` in each. A file from outside is untrusted: the text is bounded, and every value checked.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dfad_bench.core.bounds import SIDE, check_bounds
from dfad_bench.core.errors import ConfigError, DFADError, quoted
from dfad_bench.core.plain import parse_json
from dfad_bench.core.strict import from_mapping

KEY = "dfad_bench"
FORMAT = 1
IMAGES, P_FAKE, P_GENERATOR, EMBEDDING, PRESENT = "images", "p_fake", "p_generator", "embedding", "_present"
TOLERANCE = 1e-4  # between a file and torch: of probabilities, and of embeddings by their largest number
_LONGEST = 1 << 20  # characters
_MOST_CLASSES, _MOST_VIEWS, _MOST_NUMBERS = 10_000, 16, 1 << 26
_LONGEST_NAME = 200


@dataclass(frozen=True)
class ViewInput:
    """An input beside the pixels, (N, *shape) of `dtype`.

    `missing`: what the model does for a face without it, in words; empty where every face must have it. How such a face
    is told: by "nan" in all of its row, or by a second input of that name and "_present", (N,) bool ("mask").
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "uint8", "int64"]
    meaning: str
    missing: str = ""
    told_by: Literal["nan", "mask", "never"] = "never"
    made_by: dict[str, Any] = field(default_factory=dict)  # as the run's views were: settings and hash

    def __post_init__(self) -> None:
        numbers = 1
        for size in self.shape:
            numbers *= size
        if not self.name.isidentifier() or not 0 < numbers <= _MOST_NUMBERS or min(self.shape, default=1) < 1:
            raise ValueError(f"name or shape of an input is impossible: {quoted(self.name)}, {self.shape}")


@dataclass(frozen=True)
class Band:
    """Above `high` a face is called forged, at or below `low` real, unsure between; `rule` says why there."""

    low: float
    high: float
    rule: str

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise ValueError(f"low and high must lie in [0, 1] in this order, got {self.low} and {self.high}")


@dataclass(frozen=True)
class UnseenRule:
    """Where the largest probability of a class is below `threshold`, no class is named."""

    threshold: float
    rule: str

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must lie in [0, 1], got {self.threshold}")


@dataclass(frozen=True)
class ExportFacts:
    """What is in the file.

    Attributes:
        format: of these facts; readers refuse a later one.
        model: registered name, display name, size, options, heads that were trained, hash of the checkpoint.
        classes: generators in the order of the probabilities.
        side: of the crops (N, side, side, 3) uint8, RGB; None for a model that reads views alone.
        views: its other inputs.
        width: of the embedding; None where the file does not give it.
        detection: where a face is called forged; None where the detection expert was not trained.
        unseen: where no generator is named; None where the attribution expert was not trained.
        protocol: its name, version and hash.
        run: hashes of the run, its settings, its record; seed.
        crops: per dataset, version and hash of the manifest and of its crop profile.
        licence: of the weights the run started from, and per dataset; "not stated" where nobody says it.
        points: every threshold of validation faces that could be estimated, and why others could not.
        notes: what a reader must know.
        check: how the file was compared with torch: faces, where they are from, largest differences.
        made: versions of toolkit, torch and exporter; opset.
    """

    model: dict[str, Any]
    classes: tuple[str, ...]
    side: int | None
    views: tuple[ViewInput, ...]
    width: int | None
    detection: Band | None
    unseen: UnseenRule | None
    protocol: dict[str, Any]
    run: dict[str, Any]
    crops: dict[str, Any]
    licence: dict[str, Any]
    points: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    check: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def __post_init__(self) -> None:
        check_bounds("side", self.side, 1, SIDE, null=True)
        if not 1 <= len(self.classes) <= _MOST_CLASSES or len(self.views) > _MOST_VIEWS:
            raise ValueError(f"{len(self.classes)} classes and {len(self.views)} views")
        if any(not name or len(name) > _LONGEST_NAME for name in self.classes):
            raise ValueError(f"a class has no name, or one of more than {_LONGEST_NAME} characters")
        if self.side is None and not self.views:
            raise ValueError("without images there must be a view")

    @property
    def display(self) -> str:
        """What the model is called in tables."""
        return str(self.model.get("display") or self.model.get("name") or "model")[:_LONGEST_NAME]


def facts_text(facts: ExportFacts) -> str:
    """The JSON text a file keeps.

    Raises:
        ConfigError: it would be longer than a reader takes in.
    """
    text = json.dumps(asdict(facts), allow_nan=False, sort_keys=True)
    if len(text) > _LONGEST:
        raise ConfigError(f"{facts.display}: its facts are {len(text):,} characters long, at most {_LONGEST:,}")
    return text


def read_facts(text: str | None, where: str) -> ExportFacts:
    """The facts of a file.

    Args:
        text: what stands under `KEY`; None where nothing does.
        where: the file, for messages.

    Raises:
        ConfigError: none, not JSON, too long, of a later version, or a value that cannot be.
    """
    if text is None:
        raise ConfigError(f"{where}: not a file that `dfad export` wrote (it has no {KEY} in its metadata)")
    if len(text) > _LONGEST:
        raise ConfigError(f"{where}: its metadata are {len(text):,} characters long, at most {_LONGEST:,}")
    try:
        raw = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: its metadata are not JSON ({str(error)[:120]})") from error
    if isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > FORMAT:
        raise ConfigError(f"{where}: its metadata are of format {raw['format']}, this dfad_bench reads {FORMAT}")
    try:
        return from_mapping(ExportFacts, raw, f"{where}: metadata")
    except DFADError as error:
        raise ConfigError(str(error)) from error
