"""Options several commands share: the same name means the same thing everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from dfad_bench.core.errors import DFADError, cut, quoted
from dfad_bench.core.resources import include
from dfad_bench.core.settings import Option, base_type, choices, option_of
from dfad_bench.engine.settings import TrainSettings
from dfad_bench.gaze.settings import StudySettings
from dfad_bench.ingest.settings import BuildSettings


class Real(click.FloatRange):
    """A number within bounds; neither NaN, which no bound holds back, nor infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that a text says."""
        number = super().convert(value, param, ctx)
        return number if math.isfinite(number) else self.fail(f"{value} is not a finite number.", param, ctx)


class NameType(click.ParamType):
    """A registered name: completed by the shell, checked by the function that uses it (which offers near names)."""

    def __init__(self, kind: str, names: Callable[[], list[str]]) -> None:
        self.name = kind
        self._names = names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names that begin with what was typed, those of `dfad --include DIR` among them; none from bad folders."""
        try:
            with include(*ctx.find_root().params.get("folders", ())):
                return [CompletionItem(name) for name in self._names() if name.startswith(incomplete)]
        except DFADError:
            return []


def _models() -> list[str]:
    from dfad_bench.core.registry import model_names

    return model_names()


def _protocols() -> list[str]:
    from dfad_bench.core.protocol import earlier_protocol_names, protocol_names

    return sorted([*protocol_names(), *earlier_protocol_names()])


def _datasets() -> list[str]:
    from dfad_bench.core.resources import yaml_names

    return yaml_names("manifests", "datasets")


def _estimators() -> list[str]:
    from dfad_bench.gaze.estimators.build import estimator_names

    return estimator_names()


def _recipes() -> list[str]:
    from dfad_bench.core.recipe import ALIASES, AUTHOR, recipe_names

    return [AUTHOR, *ALIASES, *recipe_names()]


def _prompts() -> list[str]:
    from dfad_bench.core.resources import yaml_names

    return yaml_names("manifests", "prompts")


def _tables() -> list[str]:
    from dfad_bench.report.paper_items import item_names

    return item_names()


def _schemas() -> list[str]:
    from dfad_bench.core.json_schema import SCHEMAS

    return list(SCHEMAS)


MODEL = NameType("model", _models)
SCHEMA = NameType("schema", _schemas)
TABLE = NameType("table", _tables)
PROTOCOL = NameType("protocol", _protocols)
DATASET = NameType("dataset", _datasets)
ESTIMATOR = NameType("estimator", _estimators)
RECIPE = NameType("recipe", _recipes)
PROMPT = NameType("prompt", _prompts)

_FOLDER = click.Path(path_type=Path, file_okay=False)


class RunType(click.Path):
    """The folder of a run; `hf://OWNER/NAME[@REVISION]` is fetched into the cache, and its folder is given."""

    def __init__(self, *, exists: bool = False) -> None:
        super().__init__(path_type=Path, file_okay=False, exists=exists)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The folder, fetched if need be."""
        if isinstance(value, str) and value.startswith("hf://") and not (ctx and ctx.resilient_parsing):
            from dfad_bench.api.run_source import run_path
            from dfad_bench.cli.output import echo
            from dfad_bench.cli.progress import make_progress

            return run_path(value, progress=make_progress(), report=lambda note: echo(note, err=True))
        return super().convert(value, param, ctx)


RUN = RunType()


_NAMES = {"model": MODEL, "protocol": PROTOCOL, "recipe": RECIPE, "prompt": PROMPT}


def setting(owner: type, name: str, *, also: Sequence[str] = (), **changes: Any) -> Callable[[Any], Any]:
    """The option of a settings field: help, choices, limits, default and spelling are the field's.

    Args:
        owner: the settings class, see `core.settings`.
        name: the field; also the parameter's name.
        also: other spellings of the option.
        changes: what the command says otherwise, as of `click.option`.
    """
    about, hint, default = option_of(owner, name)
    kind, required = base_type(hint), default is MISSING
    more: dict[str, Any] = {"help": about.help, "required": required, "metavar": about.metavar}
    if kind is bool:
        more |= {"is_flag": True, "default": default, "show_default": default is True}
    else:
        more["type"] = _click_type(about, hint, kind)
        if not required and default not in (None, (), {}):
            more |= {"default": default, "show_default": about.show_default}
    return click.option(about.flag or f"--{name.replace('_', '-')}", *also, name, **{**more, **changes})


def run_and_faces(command: Any) -> Any:
    """`--run` and `--faces`, of commands that put faces of one's own to a finished run."""
    folder = click.Path(path_type=Path, file_okay=False)
    words = "A manifest, or a folder of pictures that are face crops."
    command = click.option("--faces", type=folder, required=True, metavar="DIR", help=words)(command)
    return click.option("--run", type=RUN, required=True, help="Folder of a finished run, or hf://OWNER/NAME.")(command)


def classifier(command: Any) -> Any:
    """`--classifier`: how faces are named by those that are known."""
    words = "Faces are named by the nearest mean (prototype), or by most of the nearest faces (knn)."
    kinds = click.Choice(("prototype", "knn"))
    return click.option("--classifier", type=kinds, default="prototype", show_default=True, help=words)(command)


def study_settings(command: Any) -> Any:
    """The options that every study of distances has."""
    for name in reversed(("samples", "equal_n", "generators", "min_faces", "device", "seed")):
        changes: dict[str, Any] = {"type": str, "callback": split_names} if name == "generators" else {}
        command = setting(StudySettings, name, **changes)(command)
    return command


def _click_type(about: Option, hint: Any, kind: Any) -> Any:
    if allowed := choices(hint):
        return click.Choice(list(allowed))
    if about.names:
        return _NAMES[about.names]
    if kind is int and about.least is not None:
        return click.IntRange(int(about.least), None if about.most is None else int(about.most))
    if kind is float and about.above is not None:
        return Real(about.above, about.most, min_open=True)
    if kind is float and about.least is not None:
        return Real(about.least, about.most)
    return kind if kind in (int, float, str) else None


def manifest(*, required: bool = True) -> Callable[[Any], Any]:
    """`--manifest DIR`, repeatable: one manifest per dataset."""
    return click.option(
        "--manifest",
        "manifests",
        type=_FOLDER,
        multiple=True,
        required=required,
        help="Manifest folder; repeat for several datasets.",
    )


def out(help: str, *, required: bool = True) -> Callable[[Any], Any]:
    """`--out DIR`."""
    return click.option("--out", type=_FOLDER, required=required, help=help)


def protocol(*, required: bool = True) -> Callable[[Any], Any]:
    """`--protocol NAME`: a shipped protocol, or the path of a YAML file."""
    return setting(TrainSettings, "protocol", required=required)


def _fields(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    if bad := [text for text in values if "" in text.partition("=")]:
        raise click.UsageError(f"--only {quoted(bad[0])}: expected FIELD=VALUE.", context)
    return {field: value for field, _, value in (text.partition("=") for text in values)}


def _prefixes(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    if bad := [text for text in values if not text.partition("=")[0] or "=" not in text]:
        raise click.UsageError(f"--map-prefix {quoted(bad[0])}: expected OLD=NEW.", context)
    return {old: new for old, _, new in (text.partition("=") for text in values)}


def label_names(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """What labels mean, from texts such as `0=real,1=fake`."""
    pairs = [pair for text in values for pair in text.split(",")]
    if bad := [pair for pair in pairs if "" in pair.partition("=")]:
        raise click.UsageError(f"--labels {quoted(bad[0])}: expected VALUE=NAME, as in 0=real,1=fake.", context)
    return {value: name for value, _, name in (pair.partition("=") for pair in pairs)}


map_prefix = click.option(
    "--map-prefix",
    "prefixes",
    multiple=True,
    metavar="OLD=NEW",
    callback=_prefixes,
    help=option_of(BuildSettings, "prefixes")[0].help,
)
dataset = click.option(
    "--dataset",
    type=DATASET,
    default=None,
    help="Dataset name, or your own YAML file (default with --from-deepfakebench: deepfakebench).",
)
only = click.option(
    "--only",
    multiple=True,
    metavar="FIELD=VALUE",
    callback=_fields,
    help=option_of(BuildSettings, "only")[0].help,
)
from_deepfakebench = click.option(
    "--from-deepfakebench",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help=option_of(BuildSettings, "from_deepfakebench")[0].help,
)
labels = click.option(
    "--labels",
    multiple=True,
    metavar="VALUE=NAME",
    callback=label_names,
    help=option_of(BuildSettings, "labels")[0].help,
)
follow_links = setting(BuildSettings, "follow_links")
seed = setting(TrainSettings, "seed")
device = setting(TrainSettings, "device")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
quiet = click.option("--quiet", is_flag=True, help="No progress bars.")
view_estimator = click.option(
    "--estimator",
    type=ESTIMATOR,
    help="Gaze estimator, short for --view gaze.estimator=...: see `dfad list estimators`.  [default: geometric]",
)
view_weights = click.option("--gaze-weights", help="Weight file of the gaze estimator (a name or a path).")
estimators = click.option(
    "--estimator",
    "estimators",
    type=ESTIMATOR,
    multiple=True,
    default=("geometric",),
    show_default=True,
    help="See `dfad list estimators`; repeat to compare several. NAME:yaw_pitch,bgr,... sets a network's"
    " order, channels, range.",
)


def weights_of_each(values: tuple[str, ...], estimators: tuple[str, ...]) -> dict[str, str | None]:
    """Each estimator with its weight file, from `FILE` (one estimator) and `NAME=FILE`."""
    found: dict[str, str | None] = dict.fromkeys(estimators)
    for value in values:
        name, equals, file = value.partition("=")
        if not (equals and name in found):
            if len(found) > 1:
                example = f"--weights {estimators[0]}={cut(value)}"
                raise click.UsageError(f"--weights {quoted(value)}: say whose, as in {example}.")
            name, file = estimators[0], value
        if found[name] is not None:
            raise click.UsageError(f"--weights {quoted(value)}: {name} has weights already.")
        found[name] = file
    return found


each_weights = click.option(
    "--weights",
    multiple=True,
    metavar="FILE|NAME=FILE",
    help="Weight file of the estimator (a name or a path); NAME=FILE where there are several.",
)


def settings_in(values: dict[str, Any], owner: type) -> dict[str, Any]:
    """Those values of a command that are fields of the settings class `owner`."""
    return {field.name: values[field.name] for field in fields(owner) if field.name in values}


def split_names(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """The names in a text, separated by commas; none where the option is not given."""
    if value is None:
        return ()
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    if not names:
        raise click.BadParameter("nothing is named", context, parameter)
    return names


def parse_levels(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """The whole numbers in a text, separated by commas; None where the option is not given."""
    if value is None:
        return None
    texts = split_names(context, parameter, value)
    if not all(text.isdecimal() for text in texts):
        words = f"{quoted(value)}: expected whole numbers with commas, as in 1,3,5"
        raise click.BadParameter(words, context, parameter)
    return tuple(int(text) for text in texts)


def parse_seeds(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...]:
    """The seeds in a text, separated by commas; none where the option is not given."""
    if text is None:
        return ()
    try:
        seeds = tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{quoted(text)} is not a list of whole numbers with commas between") from error
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise click.BadParameter(f"{quoted(text)}: seeds are 0 or more, each once")
    return seeds
