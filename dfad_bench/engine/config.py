"""The settings a run was made with, as `config.yaml` keeps them: read, written, hashed and compared."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import ConfigError, DFADError, IntegrityError, quoted
from dfad_bench.core.files import content_hash, sha256_file, sweep_temporaries, write_text
from dfad_bench.core.plain import check_plain
from dfad_bench.core.recipe import Recipe
from dfad_bench.core.record import Extension
from dfad_bench.core.registry import model_class
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import RunFolder, not_a_run
from dfad_bench.core.strict import from_mapping, read_yaml, yaml_text
from dfad_bench.data.prompts import PromptTemplates, stored_templates
from dfad_bench.engine.settings import ModelSettings

# settings added later, and the value they had before
_LATER: dict[str, Any] = {"compiled": False, "channels_last": None, "implied": {}, "prompts": {}, "extended": ()}
_UNSAID = ("implied", "prompts", "extended")  # of these, the ones that files and records leave out where they are empty
_WAYS = "use another --out, or --extend where it is to be trained longer only"
_OPTIONAL = {"options", "views", "allow_partial", *_LATER}  # keys a file may lack


@dataclass(frozen=True, kw_only=True)
class RunConfig(ModelSettings):
    """Every setting that decides a run's numbers; its hash is the run's identity.

    Beside what was asked (`ModelSettings`) it holds what that came to: hashes of protocol, faces and weights, the
    whole recipe, the kind of device, the number format that `auto` chose. `init` is {"kind": "random"},
    {"kind": "local_file", "id", "sha256"}, {"kind": "local_files", "files": {name: {"id", "sha256"}}, "random": [names
    without a file]} or {"kind": "run", ...}, see `finetune.Parent`.
    `views` is how views were made, see `views.identity`. `implied` holds options of the model that were not set: those
    its weight files were trained with, and the value of those whose default has changed
    (`DFADModel.options_before`), so that the run opens as it was made. `prompts` is the
    whole prompt file where the model reads prompts and they are not the default ones. `extended` has an entry for each
    time the run was trained on for longer than it was asked before, see `extend`.
    """

    protocol: str
    protocol_sha256: str
    manifests: dict[str, str]  # dataset -> content hash
    recipe: Recipe
    device: str
    init: dict[str, Any]
    views: dict[str, Any] = field(default_factory=dict)
    implied: dict[str, Any] = field(default_factory=dict)
    prompts: dict[str, Any] = field(default_factory=dict)
    extended: tuple[Extension, ...] = ()

    @property
    def plain_values(self) -> dict[str, Any]:
        """The settings as files and records hold them; those of `_UNSAID` only where something is in them."""
        values: dict[str, Any] = plain(asdict(self))
        return {key: value for key, value in values.items() if value or key not in _UNSAID}

    @property
    def templates(self) -> PromptTemplates:
        """The prompt file the run was trained with."""
        return stored_templates(self.prompts)

    @property
    def model_options(self) -> dict[str, Any]:
        """Every option the model was built with, apart from today's defaults."""
        return {**model_class(self.model).options_before(self.size), **self.implied, **self.options}

    def __post_init__(self) -> None:
        if self.precision == "auto":
            raise ConfigError("settings of a run: precision must be what auto came to (fp32, bf16 or fp16), got 'auto'")
        try:
            check_plain(plain(asdict(self)))
        except ValueError as error:
            raise ConfigError(f"settings of a run: {error}") from error
        if self.prompts:
            stored_templates(self.prompts, "settings of a run: prompts")

    @property
    def sha256(self) -> str:
        """Hash of all settings; settings added later count only where they differ from what held before."""
        values = {**asdict(self), "recipe": self.recipe.settings}
        return content_hash({k: v for k, v in values.items() if k not in _LATER or v != _LATER[k]})


def write_config(out: Path, config: RunConfig) -> None:
    """Write the settings; the run of `out` is unfinished from here on."""
    files = RunFolder(out)
    for path in (files.facts, files.not_finite):  # first: facts must never stand beside settings that are not theirs
        path.unlink(missing_ok=True)
    write_text(files.config, yaml_text(config.plain_values))


def read_config(run: Path) -> RunConfig:
    """The settings of a finished run.

    Raises:
        ConfigError: not the folder of a finished run.
        IntegrityError: the settings were changed since.
    """
    files = RunFolder(run)
    if not files.config.is_file() or not files.facts.is_file():
        raise ConfigError(not_a_run(run))
    config = config_from(read_yaml(files.config), str(files.config))
    if config.sha256 != read_facts(files.facts)["run"]["config_sha256"]:
        raise IntegrityError(f"{files.config}: changed since the run was made ({files.facts.name} has another hash)")
    return config


def config_from(raw: Any, where: str) -> RunConfig:
    """Settings as `config.yaml` and records hold them, also those written by earlier versions.

    Recipes of earlier versions have no `stage_values` and are read as "keep".

    Raises:
        ConfigError: names `where`, the key and what was expected.
    """
    if isinstance(raw, Mapping) and isinstance(raw.get("recipe"), Mapping):
        raw = {**raw, "recipe": {"stage_values": "keep", **raw["recipe"]}}
    if isinstance(raw, Mapping):
        needed = [each.name for each in fields(RunConfig) if each.name not in _OPTIONAL]
        if lacking := [name for name in needed if name not in raw]:
            raise ConfigError(f"{where}: key {quoted(lacking[0])} is missing")
    return from_mapping(RunConfig, raw, where)


def finished(out: Path, config: RunConfig) -> dict[str, Any] | None:
    """The facts of the finished run of these settings in `out`; None where it must be made or go on.

    Raises:
        IntegrityError: `out` holds a run of other settings, or files of something else.
    """
    files = RunFolder(out)
    if not files.config.is_file():
        if any(path for path in out.iterdir() if not path.name.startswith(".")):
            raise IntegrityError(f"{out}: holds other files and no run; use another --out")
        return None
    if not files.facts.is_file() and not any(files.checkpoint.path.glob("*")):
        return None  # ended before anything was learnt, perhaps because of a setting: nothing to protect
    found = config_from(read_yaml(files.config), str(files.config))
    if config.extended and config.extended[-1].config_sha256 == found.sha256:
        return None  # is made longer by this call
    if not has_same_settings(config, found):
        raise IntegrityError(f"{out}: {_other_settings(config, found)}")
    if not files.facts.is_file():
        return None
    known = read_facts(files.facts)
    if str(known["run"].get("stopped")).startswith("limit"):
        return None  # goes on from its last checkpoint
    whole = files.predictions.is_file() and sha256_file(files.predictions) == known["predictions"]["sha256"]
    return known if whole else None


def has_same_settings(config: RunConfig, found: RunConfig) -> bool:
    """Whether two settings are the same; that one run was made longer in several steps does not count."""
    return replace(config, extended=()).sha256 == replace(found, extended=()).sha256


def _other_settings(config: RunConfig, found: RunConfig) -> str:
    """Which settings of the run that was found are others, and what to do."""
    if replace(config, implied=found.implied, extended=()).sha256 != replace(found, extended=()).sha256:
        return f"holds a run with other settings ({', '.join(changes(config, found))}); {_WAYS}"
    then = {**model_class(found.model).options_before(found.size), **found.implied}
    names = [name for name in config.implied if config.implied[name] != found.implied.get(name)]
    what = ", ".join(f"{name}: {then.get(name, 'not set')} then, {config.implied[name]} now" for name in names)
    return (
        f"holds a run made when the same options meant something else ({what or 'implied settings'}); `dfad scores` and"
        " `dfad evaluate` open it as it was made, to train anew use another --out"
    )


def changes(config: RunConfig, found: RunConfig) -> list[str]:
    """The settings in which two differ, by name."""
    mine, theirs = plain(asdict(config)), plain(asdict(found))
    names = [key for key in mine if key != "extended" and mine[key] != theirs[key]]
    return [f"{key}: {' '.join(mine[key])}" if key == "implied" else key for key in names]


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a run folder, made if need be, against other processes; leftovers of killed ones are removed.

    Raises:
        DFADError: another process holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(RunFolder(out).lock, timeout=0)
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
