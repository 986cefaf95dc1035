"""Where a run is taken from: a folder, or a repository of the hub as `hf://OWNER/NAME[@REVISION]`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dfad_bench.core.progress import NoProgress, Progress

if TYPE_CHECKING:
    from dfad_bench.engine.load import LoadedRun

_HUB = ("hf://", "hf:/")  # `Path` makes the second of the first


def run_path(
    run: Path | str, *, progress: Progress = NoProgress(), report: Callable[[str], None] | None = None,  # noqa: B008
) -> Path:  # fmt: skip
    """The folder of a run; one in a repository is fetched into the cache, unless it is there, and checked.

    Args:
        run: a folder, or `hf://OWNER/NAME` with `@REVISION` (a branch, a tag, a commit).
        progress: shows fetching.
        report: is told which commit is used.

    Raises:
        ConfigError: not of that form, or the repository holds no run.
        DownloadError: not fetched before, and not to be fetched now.
        IntegrityError: what came is not what it should be.
    """
    text = str(run)
    if not text.startswith(_HUB):
        return Path(run)
    from dfad_bench.sharing.hub_runs import fetch_run
    from dfad_bench.sharing.places import run_place

    scheme, short = _HUB
    found = fetch_run(run_place(text if text.startswith(scheme) else scheme + text.removeprefix(short)), progress)
    for note in found.notes:
        if report is not None:
            report(note)
    return found.folder


def load_run(folder: Path | str, *, device: str = "cpu") -> LoadedRun:
    """Open a finished run; neither manifests nor pre-trained weights are needed.

    Args:
        folder: of the run, or `hf://OWNER/NAME[@REVISION]`.
        device: where the model goes: auto, cpu, cuda or cuda:N.

    Raises:
        ConfigError: not the folder of a finished run, or no such device.
        IntegrityError: model or record are not what was written.
        UnknownNameError: the model is not registered here, e.g. because its package is not installed.
    """
    from dfad_bench.engine.load import load_run as load

    return load(run_path(folder), device=device)
