"""Training: one run, several seeds, several processes; each run is scored and gets its record."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dfad_bench.api.manifests import open_manifests
from dfad_bench.api.runs import record_table
from dfad_bench.api.seeds import write_seeds
from dfad_bench.api.views import provide_views, unused_views, view_arguments
from dfad_bench.core.contract import DFADModel
from dfad_bench.core.errors import ConfigError, DFADError, quoted
from dfad_bench.core.files import sha256_file, write_text
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.record import ResultRecord, plain, read_record
from dfad_bench.core.registry import model_class
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import RunFolder, SeedsFolder
from dfad_bench.core.settings import changed, option_of
from dfad_bench.core.strict import yaml_text
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.prompts import DEFAULT_PROMPTS
from dfad_bench.engine import distributed, loggers
from dfad_bench.engine.devices import gpus
from dfad_bench.engine.job import RunResult
from dfad_bench.engine.launch import end_with_launcher, launch
from dfad_bench.engine.needs import random_start
from dfad_bench.engine.run import Plan, log_names, run_precision, run_training, settings_place
from dfad_bench.engine.settings import TrainSettings
from dfad_bench.report.aggregate import seeds_table
from dfad_bench.report.run_record import build_record
from dfad_bench.report.table import Table

ReportLine = Callable[[str], None]
# settings whose options have another form than the field
_OTHER_FORM = ("views", "seeds", "processes", "options", "weights", "protocol", "recipe")


class ProcessesError(ConfigError):
    """`processes` and torchrun disagree."""

    exit_code = 2


class TeamError(DFADError):
    """A training process ended with an error, which it has printed itself."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"training processes ended with exit code {exit_code}; the error is printed above")
        self.exit_code = exit_code  # type: ignore[misc]  # that of the processes, not of the class


@dataclass(frozen=True)
class Training:
    """What `train` made.

    `runs` and `records` are in the order of the seeds. `table` shows the run beside the constant models, or mean and
    spread over seeds; `full_table` is the same with every number. `lead` is False on all but the first process under
    torchrun, which has no records. `printed` says that the training processes have printed the warnings.
    """

    out: Path
    runs: tuple[RunResult, ...]
    records: tuple[ResultRecord, ...] = field(default=(), repr=False)
    table: Table | None = field(default=None, repr=False)
    full_table: Table | None = field(default=None, repr=False)
    lead: bool = True
    printed: bool = False


def train(
    settings: TrainSettings,
    manifests: Sequence[Path | str | Manifest],
    out: Path | str,
    *,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
    report: ReportLine = lambda line: None,
) -> Training:
    """Train a model under a protocol, predict its test faces, score them, write the record.

    A killed run goes on where it was when called again with the same settings; a finished one is left as it is. With
    `settings.seeds` there is a run a seed in `out/seed-N`; with `settings.processes` they share the work, started as
    `python -m dfad_bench train`. Under torchrun every process calls this with the same arguments.

    Args:
        settings: what to train, and how.
        manifests: folders, or open manifests: one a dataset of the protocol.
        out: folder of the run, or of the runs of several seeds.
        progress: shows decoding, training and predicting.
        report: called with each line a reader should see at once: warnings, options without effect, limits reached.

    Returns:
        Folders, how they ended, records and a table.

    Raises:
        IntegrityError: `out` holds a run of other settings.
        ProtocolError: the manifests lack faces the protocol asks for.
        DFADError: what is wrong with names, settings, weights or losses.
    """
    out, opened = Path(out), open_manifests(manifests)
    rank, world, _ = distributed.processes()
    if settings.processes > 1 and world == 1:
        return _with_processes(settings, opened, out, quiet=type(progress) is NoProgress)
    if settings.processes not in (1, world):
        raise ProcessesError(f"--processes {settings.processes}: torchrun has started {world}; leave it out")
    if world > 1:
        end_with_launcher()
    shown, report_line = (progress, report) if rank == 0 else (NoProgress(), _ignore)
    begun = (*loggers.lacking(log_names(settings)), *_unused_settings(settings), *_random_start(settings))
    begun += _precision_lines(settings, next(iter(_folders(settings, out).values())))
    for line in begun:
        report_line(line)
    views, runs = provide_views(opened, settings.views, settings.device, shown), []
    for seed, folder in _folders(settings, out).items():
        one = replace(settings, seed=seed, seeds=())
        runs.append(run_training(one, opened, folder, views=views, progress=shown))
        for line in _lines(runs[-1]) if runs[-1].lead else ():
            if line not in begun:
                report_line(line)
    if rank > 0:
        return Training(out, tuple(runs), lead=False)
    return _scored(settings, out, runs, printed=False)


def parse_weights(text: str) -> str | dict[str, str]:
    """A weight file, or several by name, as `--weights` takes them.

    >>> parse_weights("vit.pt"), parse_weights("image=a.pt,text=b.pt")
    ('vit.pt', {'image': 'a.pt', 'text': 'b.pt'})

    Raises:
        ConfigError: some parts have a name and others have none, or a name is there twice.
    """
    if "=" not in text or Path(text).is_file():
        return text
    pairs = [part.partition("=") for part in text.split(",")]
    names = [name for name, _, _ in pairs]
    if not all(name and file for name, _, file in pairs) or len(set(names)) < len(names):
        raise ConfigError(f"--weights {quoted(text)}: expected FILE, or NAME=FILE with commas between, each name once")
    return {name: file for name, _, file in pairs}


def _ignore(line: str) -> None:
    """Drop the line."""


def _folders(settings: TrainSettings, out: Path) -> dict[int, Path]:
    """The seed and the folder of every run."""
    return {seed: SeedsFolder(out).run(seed) for seed in settings.seeds} or {settings.seed: out}


def _unused_settings(settings: TrainSettings) -> list[str]:
    """A line for each setting of a view, or of prompts, that the model makes no use of."""
    given = {name: about for name, about in settings.views.items() if about}
    lines = unused_views(given, Plan.of(settings).needs.all_views, settings.model) if given else []
    if settings.prompts != DEFAULT_PROMPTS and not Plan.of(settings).reads_prompts(settings):
        lines.append(f"--prompts is not used: {settings.model} reads no prompts")
    return lines


def _precision_lines(settings: TrainSettings, folder: Path) -> tuple[str, ...]:
    """What is wrong with the number format, and what `auto` came to.

    Raises:
        ConfigError: it is far slower than fp32 on this device.
    """
    chosen = run_precision(folder, settings, settings_place(settings).device)
    lines = [f"Warning: {line}" for line in chosen.warnings]
    return (*lines, *([f"Number format {chosen.precision}: {chosen.why}"] if settings.precision == "auto" else []))


def _random_start(settings: TrainSettings) -> list[str]:
    """See `random_start`; said before hours of training, and kept in the record."""
    kind = model_class(settings.model)
    has_published = kind.card.weights or kind.pretrained is not DFADModel.pretrained
    given = settings.finetune_from or (settings.weights and not kind.weight_names)
    if given or settings.size == "tiny" or not has_published:
        return []
    plan = Plan.of(settings)
    lines = random_start(settings.model, settings.size, plan.needs, plan.init)
    return [f"Warning: {line}" for line in lines]


def _lines(result: RunResult) -> list[str]:
    """What a reader must know beside the numbers."""
    nothing_to_do = "finished before with the same settings; nothing to do (--no-resume starts again)"
    lines = [] if result.fresh else [f"{result.out}: {nothing_to_do}"]
    lines += [f"Warning: {warning}" for warning in result.warnings]
    return lines + ([f"Partial: {result.stopped}; the record is not ranked"] if result.status == "partial" else [])


def _scored(settings: TrainSettings, out: Path, runs: Sequence[RunResult], *, printed: bool) -> Training:
    """Write the records that are new, and the mean over seeds."""
    records, built = [], True
    for run in runs:
        path = RunFolder(run.out).record
        scored = path.is_file() and (printed or not run.fresh)  # processes score what they trained
        built = built and not scored
        records.append(read_record(path) if scored else build_record(run.out))
    if not settings.seeds:
        table = record_table(records[0], RunFolder(out).record, built=built)
        return Training(out, tuple(runs), tuple(records), table, printed=printed)
    whole = write_seeds(SeedsFolder(out), records)
    return Training(out, tuple(runs), tuple(records), seeds_table(records), whole, printed=printed)


def _with_processes(settings: TrainSettings, manifests: Sequence[Manifest], out: Path, *, quiet: bool) -> Training:
    """Train by several processes of this machine, once the names in the settings have been found right."""
    plan, folders = Plan.of(settings), _folders(settings, out)
    before = {folder: _state(folder) for folder in folders.values()}
    with tempfile.TemporaryDirectory() as written:
        arguments = [*train_arguments(settings, Path(written)), "--out", str(out), *(["--quiet"] if quiet else [])]
        for manifest in manifests:
            arguments += ["--manifest", str(manifest.folder)]
        devices = gpus() if plan.place.device.type == "cuda" else None
        code = launch(["train", *arguments], settings.processes, cuda_devices=devices, silent=True)
    if code != 0:
        raise TeamError(code)
    runs = []
    for folder, state in before.items():
        facts = read_facts(RunFolder(folder).facts)
        fresh = _state(folder) != state
        warnings = tuple(facts.get("warnings", ()))
        runs.append(RunResult(folder, facts["status"], str(facts["run"].get("stopped")), fresh, warnings))
    return _scored(settings, out, runs, printed=True)


def _state(folder: Path) -> str | None:
    path = RunFolder(folder).facts
    return sha256_file(path) if path.is_file() else None


def train_arguments(settings: TrainSettings, written: Path) -> list[str]:
    """The options of `dfad train` that say the same as `settings`, without manifests, `--out` and `--processes`.

    Args:
        settings: all but those commands cannot take, such as `checkpoint_steps`.
        written: folder for the protocol and the recipe where these are no names.

    Raises:
        ConfigError: a setting that no option says.
    """
    found = [*view_arguments(settings.views)]
    for name, value in changed(settings).items():
        about = option_of(TrainSettings, name)[0]
        if name not in _OTHER_FORM and about.flag is None:
            raise ConfigError(f"TrainSettings.{name} cannot be given to several processes")
        if name not in _OTHER_FORM:
            found += _argument(about.flag or f"--{name.replace('_', '-')}", value)
    for name in ("protocol", "recipe"):
        value = getattr(settings, name)
        found += [f"--{name}", value if isinstance(value, str) else _file(value, written / name)]
    found += ["--seeds", ",".join(map(str, settings.seeds))] if settings.seeds else []
    for key, value in settings.options.items():
        found += ["--set", f"{key}={json.dumps(value)}"]
    if isinstance(settings.weights, Mapping):
        found += ["--weights", ",".join(f"{name}={file}" for name, file in settings.weights.items())]
    elif settings.weights:
        found += ["--weights", settings.weights]
    return found


def _argument(flag: str, value: Any) -> list[str]:
    yes, slash, no = flag.partition("/")
    if isinstance(value, bool):
        return [yes] if value or not slash else [no]
    return [flag, str(value)]


def _file(value: Any, folder: Path) -> str:
    """A protocol or recipe as a file that reads back equal."""
    path = folder / f"{value.name}.yaml"
    write_text(path, yaml_text(plain({field.name: asdict(value)[field.name] for field in fields(value)})))
    return str(path)
