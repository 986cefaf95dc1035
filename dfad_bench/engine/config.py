"""The settings of a run, and the folder they are kept in.

config.yaml          every setting, resolved
selection.parquet    which face was in which part
trace.csv            a row a step, a column a loss
checkpoint/          the finished model; steps to go on from while it is unfinished
predictions.parquet  test faces, every class probability
not_finite.json      only where training ended so: step, terms and faces of a loss that was no number
run.json             facts for the record (`report.run_record` adds the scores and writes record.json)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dfad_bench.core.contract import Size
from dfad_bench.core.errors import ConfigError, DFADError, IntegrityError
from dfad_bench.core.files import content_hash, read_json, sha256_file, sweep_temporaries, write_text
from dfad_bench.core.recipe import Recipe
from dfad_bench.core.strict import from_mapping, read_yaml, yaml_text
from dfad_bench.engine.fit import REFUSED, Heads

CONFIG, FACTS, PREDICTIONS, ROWS = "config.yaml", "run.json", "predictions.parquet", "selection.parquet"


@dataclass(frozen=True)
class RunConfig:
    """Every setting that decides a run's numbers; its hash is the run's identity."""

    model: str
    protocol: str
    protocol_sha256: str
    manifests: dict[str, str]  # dataset -> content hash
    size: Size
    recipe: Recipe
    epochs: int | None  # asked for; no stage is longer
    seed: int
    device: str
    precision: str
    heads: Heads
    init: dict[str, Any]  # kind: random | local_file; id, sha256
    options: dict[str, Any] = field(default_factory=dict)
    views: dict[str, Any] = field(default_factory=dict)  # how views were made, see `views.identity`
    allow_partial: bool = False
    compiled: bool = False
    channels_last: bool | None = None  # None: as suits the device

    @property
    def sha256(self) -> str:
        """Hash of all settings; those that came later count only where they are not as before them."""
        later = {"compiled": False, "channels_last": None}
        plain_values = {**asdict(self), "recipe": self.recipe.settings}
        return content_hash({k: v for k, v in plain_values.items() if k not in later or v != later[k]})


def write_config(out: Path, config: RunConfig) -> None:
    """Write `config.yaml`; the run of `out` is unfinished from here on."""
    write_text(out / CONFIG, yaml_text(plain(asdict(config))))
    for name in (FACTS, REFUSED):
        (out / name).unlink(missing_ok=True)


def read_config(run: Path) -> RunConfig:
    """The settings of a finished run.

    Raises:
        ConfigError: not the folder of a finished run.
    """
    if not (run / CONFIG).is_file() or not (run / FACTS).is_file():
        raise ConfigError(f"{run}: not the folder of a finished run (`dfad train --out {run}` makes one)")
    return _stored(run / CONFIG)


def _stored(path: Path) -> RunConfig:
    """The settings in a file; recipes written before they said so kept what a model's stage states."""
    raw = read_yaml(path)
    if isinstance(raw, dict) and isinstance(raw.get("recipe"), dict):
        raw["recipe"].setdefault("stage_values", "keep")
    return from_mapping(RunConfig, raw, str(path))


def finished(out: Path, config: RunConfig) -> dict[str, Any] | None:
    """The facts of the finished run of these settings in `out`; None where it must be made or go on.

    Raises:
        IntegrityError: `out` holds a run of other settings, or files of something else.
    """
    if not (out / CONFIG).is_file():
        if any(path for path in out.iterdir() if not path.name.startswith(".")):
            raise IntegrityError(f"{out}: holds other files and no run; use another --out")
        return None
    if not (out / FACTS).is_file() and not any((out / "checkpoint").glob("*")):
        return None  # ended before anything was learnt, perhaps because of a setting: nothing to protect
    found = _stored(out / CONFIG)
    if found.sha256 != config.sha256:
        mine, theirs = plain(asdict(config)), plain(asdict(found))
        changed = ", ".join(key for key in mine if mine[key] != theirs[key])
        raise IntegrityError(f"{out}: holds a run with other settings ({changed}); use another --out")
    if not (out / FACTS).is_file():
        return None
    known = read_json(out / FACTS)
    if known["run"]["stopped"].startswith("limit"):
        return None  # goes on from its last checkpoint
    whole = (out / PREDICTIONS).is_file() and sha256_file(out / PREDICTIONS) == known["predictions"]["sha256"]
    return known if whole else None


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a run folder, made if need be, against other processes; leftovers of killed ones are removed.

    Raises:
        DFADError: another process holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(out / ".lock", timeout=0)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (PermissionError, NotADirectoryError, FileExistsError, NotImplementedError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DFADError(f"{out}: cannot be written ({why}); use another --out") from error
    except Timeout as error:
        raise DFADError(f"{out}: another process works in this folder; wait for it or use another --out") from error
    try:
        sweep_temporaries(out)
        yield
    finally:
        lock.release()


def plain(value: Any) -> Any:
    """Tuples as lists, paths as text: what YAML and JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
