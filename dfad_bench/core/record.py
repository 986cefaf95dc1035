"""A result record: one model, one seed, one protocol; bound by hashes to all it was made from.

`result_record.schema.json` beside this file is the same in JSON Schema, for readers without Python. Counts are
kept beside ratios, so every average can be computed again. `null` means not measured, never 0.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from dfad_bench.core.errors import ConfigError, IntegrityError, quoted
from dfad_bench.core.files import content_hash, read_json, read_packed_json, write_json
from dfad_bench.core.imported import Imported
from dfad_bench.core.record_ranges import check_ranges
from dfad_bench.core.run_parts import Extension, Reference, check_path
from dfad_bench.core.settings import Precision
from dfad_bench.core.strict import from_mapping

IntervalMethod = Literal["wilson", "wilson_t", "bootstrap_t", "delong_t", "bootstrap_stratified", "delong", "none"]
SCHEMA_VERSION = "1.2"
# 1.0 lacks the sweep, the confusion counts and several numbers; up to 1.1 intervals were percentiles of resamples
READABLE = ("1.0", "1.1", "1.2")
EARLIER_INTERVALS = ("1.0", "1.1")
PACKED = ".gz"  # suffix of records that are packed
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Source:
    """Where the numbers come from. `recomputed`: from the predictions; `reproduced`: from the checkpoint.

    `imported`: of predictions that were made elsewhere, see `ResultRecord.imported`; never ranked with measured ones.
    """

    kind: Literal["measured", "paper", "imported"] = "measured"
    trust: Literal["self_reported", "recomputed", "reproduced"] = "self_reported"
    citation: str | None = None
    submitter: str | None = None
    notes: str | None = None


@dataclass(frozen=True)
class Toolkit:
    """Which code. `git_commit` is null outside a checkout."""

    version: str
    git_commit: str | None
    git_dirty: bool | None
    name: Literal["dfad_bench"] = "dfad_bench"
    source_sha256: str | None = None


@dataclass(frozen=True)
class ModelFacts:
    """Which model. `checkpoint_sha256` is null for models without weights to keep, a count where nobody says it."""

    name: str
    registry_sha256: str  # of the name, where it is registered, and that file
    params_total: int | None
    params_trainable: int | None
    checkpoint_sha256: str | None
    init: dict[str, Any]  # kind: random | local_file | hub | run | local_files (files: by name) | unknown; id, sha256
    display: str | None = None
    size: Literal["paper", "tiny"] = "paper"
    heads: Literal["both", "attribution", "detection"] = "both"
    task: str | None = None  # of the card; "trivial" rows are never ranked
    family: str | None = None
    reimplementation: bool | None = None
    options: dict[str, Any] = field(default_factory=dict)
    data_changes: tuple[str, ...] = ()  # what it hides or changes of its training faces, in its words


@dataclass(frozen=True)
class ProtocolFacts:
    """Which protocol, in full, and how the run departed from it."""

    name: str
    version: str
    sha256: str
    config: dict[str, Any]
    deviations: tuple[str, ...] = ()
    included_generators: dict[str, Any] = field(default_factory=dict)  # rows of the taxonomy that are not shipped


@dataclass(frozen=True)
class SplitFacts:
    """Rows of one part, and how many of each group (key `generators`)."""

    rows: int
    content_sha256: str
    generators: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ManifestFacts:
    """Which faces. `content_sha256` does not depend on the order or the sharding of rows.

    `made`: of each dataset what its manifest says it was made by: `dataset_version`, `dataset_sha256`, `crop` (the
    profile's name), `crop_version`, `crop_sha256`; empty in earlier records.
    """

    name: str
    content_sha256: str
    rows: int
    splits: dict[str, SplitFacts]
    leakage: dict[str, int | None]
    made: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunFacts:
    """How it was trained. There is no way to say that weights were chosen on the test set.

    Of imported predictions what nobody here knows is null: `seed`, `precision`, `world_size`, `steps`, `resumed`.
    """

    run_id: str
    seed: int | None
    config_sha256: str
    precision: Precision | None
    world_size: int | None
    steps: int | None
    resumed: int | None
    config: dict[str, Any] = field(default_factory=dict)
    global_batch: int | None = None
    epochs: float | None = None
    wall_s: float | None = None
    sessions: tuple[dict[str, Any], ...] = ()  # threads, processes and PyTorch from which step on; see engine.sessions
    files: dict[str, str] = field(default_factory=dict)  # hashes of the run's other files; empty in earlier records
    model_selection: Literal["last", "best_on_val"] | None = None
    stopped: str | None = None
    stages: tuple[dict[str, Any], ...] = ()  # the settings each stage was trained by; empty in earlier records
    extended: tuple[Extension, ...] = ()  # each time it was trained on for longer than asked before
    trained_on: dict[str, int] | None = None  # of an evaluation: faces of each seen generator the run learnt from
    references: dict[str, Reference] = field(default_factory=dict)  # by name; none in earlier records

    @property
    def seed_text(self) -> str:
        """The seed for people."""
        return "not known" if self.seed is None else str(self.seed)


@dataclass(frozen=True)
class Environment:
    """Where it ran; null where nobody here knows."""

    python: str | None
    torch: str | None
    device: str | None
    deterministic: bool | None
    cuda: str | None = None
    os: str | None = None
    packages: dict[str, Any] = field(default_factory=dict)
    precision: Precision | None = None  # of the predictions; None in earlier records: that of the run
    precision_why: str | None = None


@dataclass(frozen=True)
class Samples:
    """Test faces asked for, evaluated, and without a prediction; the last two are empty in earlier records."""

    expected: int
    evaluated: int
    failed: int
    refused: dict[str, int] = field(default_factory=dict)  # per group, faces the manifest could not crop
    sources: int | None = None  # different `source_key` of the faces evaluated; None in earlier records
    without_view: dict[str, dict[str, int]] = field(default_factory=dict)  # view -> part -> faces that lack it
    missing_views: dict[str, str] = field(default_factory=dict)  # view -> what the model does then, in its words


@dataclass(frozen=True)
class MetricValue:
    """One number. `subset`: a group key or a set of `report.score`; `members`: the groups in it.

    `unit`: of a metric that record schema 1.1 does not name (see `core.record_ranges`); its bounds follow from it.
    `sources`: independent ones behind the number, of the rarer class where it is of two. `standard_error` over sources
    and its degrees of freedom `df`, where the interval is made of them; `ci_reason`: why there is no interval.
    """

    task: Literal["attribution", "detection", "gaze", "robustness", "efficiency"]
    metric: str
    subset: str
    value: float | None
    n: int
    higher_is_better: bool
    members: tuple[str, ...] = ()
    averaging: Literal["none", "macro", "micro"] = "none"
    n_pos: int | None = None
    n_neg: int | None = None
    ci95: tuple[float, float] | None = None
    ci_method: IntervalMethod = "none"
    ci_resamples: int | None = None
    ci_seed: int | None = None
    params: dict[str, Any] = field(default_factory=dict)
    null_reason: str | None = None
    unit: str | None = None
    sources: int | None = None
    standard_error: float | None = None
    df: float | None = None
    ci_reason: str | None = None


@dataclass(frozen=True)
class GroupCounts:
    """Counts of one test group.

    `correct`: right argmax, seen groups only; `below`: per threshold, faces with less confidence; `named`: per seen
    class, faces of which it is the most probable class, a row of the confusion matrix.
    """

    n: int
    seen: bool
    label: int
    detection_label: int
    below: dict[str, int]
    correct: int | None
    tp: int
    fp: int
    fn: int
    tn: int
    named: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"a group has 1 face or more, got n {self.n}")


@dataclass(frozen=True)
class Sweep:
    """Attribution at many thresholds, means over groups as in the averages; null where a side has no groups.

    `unseen_accuracy`: unseen faces below the threshold; `seen_kept`: seen faces at or above it; `seen_right`: those
    of them that are named rightly, too.
    """

    thresholds: tuple[float, ...]
    unseen_accuracy: tuple[float | None, ...]
    seen_kept: tuple[float | None, ...]
    seen_right: tuple[float | None, ...]

    def __post_init__(self) -> None:
        lengths = [len(values) for values in vars(self).values()]
        if len(set(lengths)) > 1:
            raise ValueError(f"the lists of a sweep must be equally long, got {', '.join(map(str, lengths))}")


@dataclass(frozen=True)
class PredictionFacts:
    """The file the metrics were computed from, relative to the record."""

    path: str
    sha256: str
    rows: int
    columns: tuple[str, ...]

    def __post_init__(self) -> None:
        check_path(self.path)


@dataclass(frozen=True)
class ResultRecord:
    """One evaluation. Only complete records are ranked."""

    record_id: str  # hash of the canonical JSON without this field
    status: Literal["complete", "partial", "failed"]
    created_utc: str
    source: Source
    toolkit: Toolkit
    model: ModelFacts
    protocol: ProtocolFacts
    manifest: ManifestFacts
    run: RunFacts
    environment: Environment
    samples: Samples
    metrics: tuple[MetricValue, ...]
    groups: dict[str, GroupCounts]
    predictions: PredictionFacts
    warnings: tuple[str, ...] = ()
    sweep: Sweep | None = None
    references: dict[str, tuple[MetricValue, ...]] = field(default_factory=dict)  # numbers of `run.references`
    schema_version: Literal["1.0", "1.1", "1.2"] = "1.2"
    imported: Imported | None = None

    def __post_init__(self) -> None:
        if (self.source.kind == "imported") != (self.imported is not None):
            raise ValueError("source.kind is imported where, and only where, there is `imported`")
        if self.imported is None and self.run.seed is None:
            raise ValueError("only an imported record may lack its seed")
        if self.source.kind == "paper" and not self.source.citation:
            raise ValueError("a paper's record needs a citation")
        if not self.metrics:
            raise ValueError("metrics is empty")
        hashes = (self.record_id, self.protocol.sha256, self.manifest.content_sha256, self.predictions.sha256)
        if any(not _SHA256.fullmatch(value) for value in hashes):
            raise ValueError("record, protocol, manifest and predictions need 64 hex digits each as their hash")

    def metric(self, metric: str, subset: str, *, task: str | None = None, **params: Any) -> MetricValue | None:
        """The first number of that name and subset whose `params` hold those given; None where there is none."""
        for value in self.metrics:
            same = value.metric == metric and value.subset == subset and task in (None, value.task)
            if same and all(value.params.get(key) == wanted for key, wanted in params.items()):
                return value
        return None


def seal(values: dict[str, Any]) -> ResultRecord:
    """A record from its fields (dataclasses or plain data) with its `record_id` computed."""
    plain_values = plain({"schema_version": SCHEMA_VERSION, **values})
    plain_values["record_id"] = content_hash({k: v for k, v in plain_values.items() if k != "record_id"})
    record = from_mapping(ResultRecord, plain_values, "record")
    if record.record_id != identity(record):  # defaults filled in while reading must not change the hash
        plain_values["record_id"] = identity(record)
        record = from_mapping(ResultRecord, plain_values, "record")
    return record


def identity(record: ResultRecord) -> str:
    """What a record's `record_id` must be."""
    return content_hash({k: v for k, v in plain(record).items() if k != "record_id"})


def write_record(path: Path, record: ResultRecord) -> None:
    """Write a record as JSON, whole or not at all."""
    write_json(path, plain(record))


def read_record(path: Path, *, verify: bool = True, ranges: bool = True) -> ResultRecord:
    """Read a record strictly, packed (`record.json.gz`) or not.

    To look for what differs, `verify` False accepts one whose `record_id` does not match, and `ranges` False one with
    impossible numbers.

    Raises:
        ConfigError: missing, not JSON, an unknown or missing key, another schema version, a number out of its range,
            or a metric that is known neither here nor by its unit.
        IntegrityError: the content does not match its `record_id`.
    """
    raw = read_packed_json(path) if Path(path).suffix == PACKED else read_json(path)
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version not in READABLE:
        raise ConfigError(f"{path}: record schema {quoted(version)}, this toolkit reads {' and '.join(READABLE)}")
    record = from_mapping(ResultRecord, raw, str(path))
    if verify and identity(record) != record.record_id:
        raise IntegrityError(f"{path}: changed after it was written (record_id does not match its content)")
    if ranges:
        check_ranges(record, str(path))
    return record


def plain(value: Any) -> Any:
    """Dataclasses to dicts and tuples to lists; optional fields that are None or empty are left out."""
    if value is None or isinstance(value, str | int | float):  # most values by far
        return value
    if is_dataclass(value) and not isinstance(value, type):
        pairs = ((name, getattr(value, name), optional) for name, optional in _field_names(type(value)))
        return {name: plain(v) for name, v, optional in pairs if not (optional and (v is None or v in ({}, ())))}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


@cache  # a record has thousands of values of a few classes
def _field_names(kind: type[Any]) -> tuple[tuple[str, bool], ...]:
    """The fields of a dataclass, and whether each has a default."""
    return tuple((f.name, (f.default, f.default_factory) != (MISSING, MISSING)) for f in fields(kind))
