"""`dfad export`: a finished run as one file for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_json


@click.command(
    "export", epilog="Example: dfad export --run quickstart/runs/xception --format torchscript --out xception.pt"
)
@click.option("--run", type=options.RUN, required=True, help="Folder of a finished, scored run.")
@click.option(
    "--format", "form", type=click.Choice(["onnx", "torchscript", "safetensors"]), default="onnx", show_default=True,
    help="A graph for onnxruntime, a graph for torch, or the weights alone.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The file: .onnx, .pt or .safetensors."
)  # fmt: skip
@click.option("--embedding", is_flag=True, help="Give the embedding of each face, too.")
@options.manifest(required=False)
@options.quiet
@options.as_json
def command(
    run: Path, form: str, out: Path, embedding: bool, manifests: tuple[Path, ...], quiet: bool, as_json: bool
) -> None:
    """Write a finished run to one file that holds all a crop needs.

    Crops go in as uint8, (N, side, side, 3) RGB, with N free; out come P(fake) and the probability of each class.
    Resizing and normalisation are inside; class names, thresholds, crop profile, licences and hashes stand in the
    metadata. The file is compared with torch on crops of --manifest, or on drawn faces, and kept only where it is equal
    to 1e-4. A model that reads gaze takes it as a second input. docs/export.md has all of it.
    """
    from dataclasses import asdict

    from dfad_bench.api.export import export_run
    from dfad_bench.cli.progress import make_progress

    found = export_run(run, out, form, embedding=embedding, manifests=manifests, progress=make_progress(quiet))  # type: ignore[arg-type]  # one of the choices
    if as_json:
        about = {"path": str(found.path), "format": found.form, "bytes": found.size, "sha256": found.sha256}
        echo_json({**about, "facts": asdict(found.facts)})
        return
    facts, check = found.facts, found.facts.check
    apart = ", ".join(f"{name} {value:.1e}" for name, value in check["differences"].items()) or "equal to the bit"
    echo(f"{found.path}: {facts.display} as {found.form}, {found.size / 1e6:,.1f} MB, {found.sha256[:12]}")
    echo(f"  compared with torch on {check['faces']} crops ({check['from']}): {apart}")
    for name, licence in {**facts.licence["weights"], **facts.licence["data"]}.items():
        echo(f"  licence of {name}: {licence}")
