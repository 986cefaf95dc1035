"""The lazy command group `dfad`, included folders, and what it does with errors."""

from __future__ import annotations

import io
import sys
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from dfad_bench.cli.option_groups import format_options
from dfad_bench.cli.output import echo, set_up_streams
from dfad_bench.core.errors import DFADError, cut, quoted
from dfad_bench.core.escape import terminal
from dfad_bench.core.interrupts import EXIT_INTERRUPTED, leads
from dfad_bench.core.resources import INCLUDE, include, included
from dfad_bench.core.version import __version__

# name -> module of dfad_bench.cli holding a click command called `command`, and its line in `dfad --help`
COMMANDS = {
    "quickstart": ("quickstart", "Run the whole chain on synthetic faces."),
    "synthesize": ("synthesize", "Draw synthetic faces with a known gaze, in the layout of a dataset."),
    "doctor": ("doctor", "Check this installation, or a source folder against its release."),
    "build-manifest": ("build_manifest", "Crop the faces of a dataset into a manifest."),
    "check-manifest": ("check_manifest", "Check a manifest, and what a protocol would lack."),
    "merge-manifests": ("merge_manifests", "Finish what several shards built, or join manifests."),
    "share-manifest": ("share_manifest", "List the faces of a manifest by hashes, without pictures."),
    "rebuild-manifest": ("rebuild_manifest", "Build a manifest again from such a list, and compare."),
    "infer-pairs": ("infer_pairs", "Find the real face each forged one was made from."),
    "gaze-extract": ("gaze_extract", "Estimate the gaze of every face of a manifest, once."),
    "gaze-fid": ("gaze_fid", "Compare gaze of real and forged faces: FID and paired cosine."),
    "parsing-fid": ("parsing_fid", "Compare parsing maps of real and forged faces: FID by generator."),
    "train": ("train", "Train a model under a protocol, predict, score."),
    "evaluate": ("evaluate", "Score a trained model again."),
    "sensitivity": ("sensitivity", "Test whether a run's numbers survive another crop, size or quality."),
    "import-predictions": ("import_predictions", "Score predictions that were made elsewhere."),
    "compare": ("compare", "Test whether one run is better than another on the same faces."),
    "claim": ("claim", "Test a paper's claim about training on your runs, over models."),
    "export": ("export", "Write a run as one file: ONNX, TorchScript or safetensors."),
    "verify-record": ("verify_record", "Compute every number of a record again and compare."),
    "enroll": ("enroll", "Learn a generator from a few faces, without training."),
    "identify": ("identify", "Name faces by a run's classes and enrolled generators."),
    "predict": ("predict", "Say of any picture or video whether its faces are forged, and by whom."),
    "scores": ("scores", "Show all numbers of a run: by group, over thresholds, confusion."),
    "report": ("report", "Draw the figures of runs, and a page that holds them."),
    "reproduce": ("reproduce", "Make a table of GazeCLIP or BMRL again, from faces to its layout."),
    "profile": ("profile", "Parameters and multiply-adds beside the published figures."),
    "leaderboard": ("leaderboard", "Render measured, trivial and reported rows."),
    "push": ("push", "Write a run as a folder to share, with a model card; upload it."),
    "weights": ("weights", "List, fetch, check and find weight files of others."),
    "submit": ("submit", "Check finished runs and write their entries for the leaderboards."),
    "list": ("list_names", "List models, protocols, datasets, generators, recipes and more."),
    "schema": ("schema", "Print the JSON Schema of a file, for programs of others."),
    "new": ("new", "Write the skeleton of a model, dataset or protocol of your own."),
    "check-model": ("check_model", "Run the contract test on one model."),
}

_LONGEST = 3000  # characters of an error
# modules of packages that an installation without torch lacks (requirements-light.txt)
_FULL_ONLY = frozenset(
    """
    PIL av cv2 facenet_pytorch filelock huggingface_hub jinja2 matplotlib open_clip pytorch_fid safetensors sklearn
    tensorboard timm torch torchvision
    """.split()  # noqa: SIM905  a list of 16 quoted names is harder to read
)

_INCLUDE: dict[str, Any] = {
    "type": click.Path(path_type=Path),
    "multiple": True,
    "metavar": "DIR",
    "help": f"Folder with generators, datasets, protocols ... of your own, or a dataset file; repeatable; {INCLUDE}.",
}


def _include(context: click.Context, parameter: click.Parameter, folders: tuple[Path, ...]) -> None:
    """Include folders until `dfad` ends; the environment carries them to the processes it starts."""
    if folders:
        # of the group: click does not close a command's own context when a later option of it is wrong
        context.find_root().with_resource(include(*folders))
        _check_generators()


def _check_generators() -> None:
    """Read the included generators at once: a bad row is an error of the folder, whatever the command needs."""
    from dfad_bench.core.taxonomy import taxonomy

    if included():
        taxonomy()


def _group_options(command: click.Command) -> None:
    """Let the help of a command, and of its own commands, show options in groups."""
    # one place for all commands: a class of ours would have to be named in each file
    command.format_options = partial(format_options, command)  # type: ignore[method-assign]
    for inner in getattr(command, "commands", {}).values():
        _group_options(inner)


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for, never for `dfad --help`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"dfad_bench.cli.{COMMANDS[cmd_name][0]}").command
        if all(parameter.name != "include" for parameter in command.params):
            command.params.append(click.Option(["--include"], expose_value=False, callback=_include, **_INCLUDE))
        if command.epilog and not command.epilog.startswith("\b"):
            command.epilog = f"\b\n{command.epilog}"  # click must not break the example's lines: it is to be copied
        _group_options(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is asked for; the nearest names where there is none."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"No command named {quoted(args[0])}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help lines without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a `DFADError` becomes one line and its exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.exceptions.Abort from None  # click prints an empty line of its own for the other
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if ctx.params.get("debug") or package not in _FULL_ONLY:
                raise  # a bug
            needed = f"`dfad {ctx.invoked_subcommand}` needs {package}, which is not installed"
            raise click.ClickException(f"{needed}: pip install dfad-bench installs all it needs") from error
        except DFADError as error:
            if ctx.params.get("debug"):
                raise
            shown = click.ClickException(terminal(str(error)))
            shown.exit_code = error.exit_code  # type: ignore[misc]  # click declares it a class variable
            raise shown from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dfad")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--include", "folders", **_INCLUDE)
@click.pass_context
def dfad(context: click.Context, debug: bool, folders: tuple[Path, ...]) -> None:
    """Fine-grained deepfake attribution and detection under identical protocols.

    Start with `dfad quickstart`, then point `dfad build-manifest` at your own data.
    """
    context.with_resource(include(*folders))  # also checks the folders of DFAD_INCLUDE
    _check_generators()


def main() -> None:
    """Run the command line; an interrupt ends with exit code 130. `dfad_bench.__main__` calls it."""
    set_up_streams()
    try:
        status = dfad.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        if leads():
            echo("Interrupted.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        echo(cut(shown.getvalue(), _LONGEST), err=True, nl=False)  # it repeats what was typed
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    sys.exit(status if isinstance(status, int) else 0)
