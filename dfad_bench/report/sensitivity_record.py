"""`sensitivity-<hash>.json` of a run: which predictions were compared, and the table that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from dfad_bench.core import bounds
from dfad_bench.core.bounds import check_bounds
from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import check_hash, content_hash, read_json, safe_relative, sha256_file, write_json
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import plain
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import SENSITIVITY, RunFolder
from dfad_bench.core.run_parquet import read_predictions
from dfad_bench.core.strict import from_mapping
from dfad_bench.report.record_diff import Difference, differences
from dfad_bench.report.run_record import protocol_of
from dfad_bench.report.sensitivity import RESAMPLES, Condition, Kind, Sensitivity, compare_conditions, sensitivity_table
from dfad_bench.report.table import Table
from dfad_bench.report.verify import Verification

FORM = 1  # of the file


@dataclass(frozen=True)
class Predicted:
    """Where the predictions of a condition lie, relative to the run, and their hash."""

    name: str
    kind: Kind
    path: str
    sha256: str


@dataclass(frozen=True)
class SensitivityRecord:
    """The file. `learnt` are the faces cropped as those of the training were; `model` is what tables call the run."""

    form: Literal[1]
    model: str
    run_id: str
    seed: int
    heads: Literal["both", "attribution", "detection"]
    checkpoint_sha256: str | None
    protocol: dict[str, Any]  # config and sha256
    learnt: Predicted
    conditions: tuple[Predicted, ...]
    faces: int
    sources: int
    counts: tuple[dict[str, Any], ...]
    rows: tuple[dict[str, Any], ...]
    resamples: int = RESAMPLES
    resample_seed: int = 0
    warnings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        check_bounds("resamples", self.resamples, 0, bounds.RESAMPLES)
        check_bounds("resample_seed", self.resample_seed, 0, bounds.WHOLE)
        names = [one.name for one in (self.learnt, *self.conditions)]
        if len(set(names)) < len(names):
            raise ValueError("a condition is there twice")

    @property
    def table(self) -> Table:
        """The table that `dfad sensitivity` prints."""
        found = Sensitivity(self.faces, self.sources, self.counts, self.rows)
        protocol = self.protocol["config"]["name"]
        return sensitivity_table(found, f"{self.model}, seed {self.seed}, {protocol}, learnt from {self.learnt.name}")


def build_sensitivity(
    run: Path,
    learnt: tuple[str, Path],
    conditions: Sequence[tuple[str, Kind, Path]],
    *,
    warnings: Sequence[str] = (),
    resamples: int = RESAMPLES,
) -> tuple[Path, SensitivityRecord]:
    """Compare the predictions of a run under several conditions, and write the record.

    Args:
        run: its folder.
        learnt: what the faces as learnt are called, and the Parquet file of their predictions inside the run.
        conditions: name, kind and Parquet file of each other one.
        warnings: kept beside.
        resamples: of the bootstrap.

    Raises:
        IntegrityError: predictions are damaged, or hold no common faces.
    """
    facts = read_facts(RunFolder(run).facts)
    named: list[tuple[str, Kind, Path]] = [(learnt[0], "crops", learnt[1]), *conditions]
    files = [Predicted(name, kind, path.relative_to(run).as_posix(), sha256_file(path)) for name, kind, path in named]
    values = {
        "form": FORM,
        "model": facts["model"].get("display") or facts["model"]["name"],
        "run_id": facts["run"]["run_id"],
        "seed": facts["run"]["seed"],
        "heads": facts["model"].get("heads", "both"),
        "checkpoint_sha256": facts["model"].get("checkpoint_sha256"),
        "protocol": {key: facts["protocol"][key] for key in ("config", "sha256")},
        "learnt": asdict(files[0]),
        "conditions": [asdict(one) for one in files[1:]],
        "resamples": resamples,
        "resample_seed": 0,
        "warnings": list(warnings),
    }
    found = _compared(run, values, files)
    values |= plain(asdict(found))
    path = RunFolder(run).sensitivity(content_hash([values["protocol"]["sha256"], [asdict(one) for one in files]]))
    write_json(path, values)
    return path, read_sensitivity(path)


def read_sensitivity(path: Path) -> SensitivityRecord:
    """The file, read strictly.

    Raises:
        ConfigError: missing, not JSON, or a key that is unknown, missing or of another type.
    """
    return from_mapping(SensitivityRecord, read_json(path), str(path))


def is_sensitivity(path: Path) -> bool:
    """Whether a path is of such a file, by its name."""
    return path.name.startswith(SENSITIVITY) and path.suffix == ".json"


def verify_sensitivity(path: Path) -> Verification:
    """Compute the table again from the predictions it names, and compare every number and hash.

    Raises:
        ConfigError: no such file, or one that cannot be read.
        IntegrityError: predictions are missing, or no predictions.
    """
    record, run = read_sensitivity(path), path.parent
    found: list[Difference] = []
    for one in (record.learnt, *record.conditions):
        file = safe_relative(run, one.path)
        if not file.is_file():
            raise IntegrityError(f"{file}: missing; a record is checked beside its predictions")
        found += differences(f"{one.name}: predictions.sha256", one.sha256, sha256_file(file))
    protocol = from_mapping(Protocol, record.protocol.get("config"), f"{path}: protocol")
    found += differences("protocol.sha256", record.protocol.get("sha256"), protocol.sha256)
    notes = ["the evaluations behind the conditions have records of their own, to be verified and predicted again"]
    if (facts := _facts(run)) is None:
        notes.append(f"no {RunFolder(run).facts.name} beside it: that the predictions are of one run was not checked")
    else:
        stated = {"run_id": record.run_id, "checkpoint_sha256": record.checkpoint_sha256, "heads": record.heads}
        theirs = {"run_id": facts["run"]["run_id"], "checkpoint_sha256": facts["model"].get("checkpoint_sha256")}
        found += differences("", stated, {**theirs, "heads": facts["model"].get("heads", "both")})
    values = plain(asdict(record))
    ours = plain(asdict(_compared(run, values, (record.learnt, *record.conditions), hashed=False)))
    stated = {key: values[key] for key in ours}
    found += differences("", stated, ours)
    compared = 2 + len(record.conditions) + sum(len(row) for row in (*record.rows, *record.counts)) + 2
    return Verification(path, compared, tuple(found), tuple(notes))


def _facts(run: Path) -> dict[str, Any] | None:
    facts = RunFolder(run).facts
    return read_facts(facts) if facts.is_file() else None


def _compared(run: Path, values: Mapping[str, Any], files: Sequence[Predicted], *, hashed: bool = True) -> Sensitivity:
    protocol = protocol_of({"protocol": {"config": values["protocol"]["config"]}}, str(run))
    made = []
    for one in files:
        file = safe_relative(run, one.path)
        if hashed:
            check_hash(file, one.sha256)
        made.append(Condition(one.name, one.kind, read_predictions(file)))
    if len(made) < 2:
        raise ConfigError(f"{run}: nothing to compare with {made[0].name}")
    return compare_conditions(
        made[0],
        made[1:],
        protocol,
        heads=values["heads"],
        resamples=values["resamples"],
        seed=values["resample_seed"],
    )
