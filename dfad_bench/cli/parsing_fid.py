"""`dfad parsing-fid`: compare the parsing maps of real and forged faces by generator."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_json, echo_tables
from dfad_bench.parsing.settings import ParsingStudySettings

_setting = partial(options.setting, ParsingStudySettings)


@click.command(
    "parsing-fid",
    epilog="Example: dfad parsing-fid --manifest quickstart/manifests/synthetic --view parsing.parser=stand-in",
)
@options.manifest()
@click.option(
    "--view",
    "views",
    multiple=True,
    metavar="NAME.KEY=VALUE",
    help="The parser: parsing.weights=FILE (BiSeNet), parsing.folder=DIR (label maps), or parsing.parser=stand-in.",
)
@_setting("features")
@_setting("fid_weights")
@_setting("histogram")
@_setting("side")
@options.study_settings
@click.option("--all", "all_tables", is_flag=True, help="Print every table, not only the short one.")
@options.as_json
@options.out("Folder for parsing.json, parsing.csv, parsing.md and the figures.", required=False)
@options.quiet
def command(
    manifests: tuple[Path, ...],
    views: tuple[str, ...],
    all_tables: bool,
    as_json: bool,
    out: Path | None,
    quiet: bool,
    **asked: Any,
) -> None:
    """Compare the parsing maps of real and forged faces: FID by generator.

    Distances have a 95 % interval over sources and a floor (real faces against real faces), and are averaged by forgery
    type and by family. BMRL's claim that maps of GAN are nearer to real than those of diffusion is tested by
    permutation. Maps that are not stored yet are made first. Printed is what fits a screen; --all prints every table,
    --out writes them, and figures as BMRL's 2 and 7.
    """
    from dfad_bench.api.parsing import parsing_study
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.views.options import view_settings

    settings = ParsingStudySettings(**asked)
    result = parsing_study(manifests, view_settings(views), settings, out=out, progress=make_progress(quiet))
    if as_json:
        echo_json(result.facts)
    else:
        echo_tables(result.tables if all_tables else result.short_tables)
    if result.written and not quiet:
        echo(f"Written to {out}: {', '.join(path.name for path in result.written)}", err=True)
