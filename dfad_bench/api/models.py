"""What models cost."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.registry import model_names
from dfad_bench.core.settings import AskedPrecision, Size

if TYPE_CHECKING:
    from dfad_bench.engine.profile import Profile
    from dfad_bench.engine.shares import PartShare


def profile_models(
    names: Sequence[str] | None = None,
    *,
    size: Size = "paper",
    options: Mapping[str, Any] | None = None,
    latency: bool = False,
    device: str = "auto",
    precision: AskedPrecision = "fp32",
    force_precision: bool = False,
    minutes: float | None = None,
    out: Path | str | None = None,
    progress: Progress | None = None,
) -> list[Profile]:
    """Parameters and multiply-adds of one image, for several models.

    Args:
        names: registered models; None is every one.
        size: "paper", or "tiny" for tests.
        options: of the model's configuration; with one model only, since each has its own.
        latency: also time one image and a batch of 32, in seconds, with the memory of each in bytes, on `device`; each
            model in a process of its own, so that one that does not fit into memory says so in its `notes`.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: number format of the timed passes; auto: what the device computes well.
        force_precision: time a format that is far slower than fp32, too.
        minutes: at most of timing a model; what is missing then is in its `notes`.
        out: a JSON file where each profile is kept at once; those that are in it, made with the same settings and code
            of the model, are not made again.
        progress: shown while models are profiled.

    Returns:
        One profile a model, in the order of the names.

    Raises:
        UnknownNameError: no such model.
        ConfigError: bad options or device, a number format that is far slower than fp32, or `out` is another file.
    """
    import torch

    from dfad_bench.engine.kept_profiles import KeptProfiles
    from dfad_bench.engine.profile import profile_model

    chosen = model_names() if names is None else list(names)
    timed: dict[str, Any] = {"device": device, "precision": precision, "force_precision": force_precision}
    about = {"size": size, "options": dict(options or {}), "latency": latency, **timed}
    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__, "machine": platform.machine()}
    kept = None if out is None else KeptProfiles(Path(out), {**about, **machine, "minutes": minutes})
    bar, found = progress or NoProgress(), []
    bar.start("Profiling", len(chosen))
    try:
        for name in chosen:
            profile = kept.get(name) if kept is not None else None
            if profile is None:
                profile = profile_model(name, **about, apart=True, minutes=minutes)
                if kept is not None:
                    kept.add(profile)
            found.append(profile)
            bar.advance(model=name)
    finally:
        bar.finish()
    return found


def profile_shares(
    names: Sequence[str] | None = None,
    *,
    size: Size = "paper",
    options: Mapping[str, Any] | None = None,
    batch: int = 8,
    device: str = "auto",
    precision: AskedPrecision = "fp32",
    force_precision: bool = False,
) -> list[tuple[str, list[PartShare]]]:
    """Which share of a training step each module takes, forward and backward, and the optimiser, for several models.

    Of the last stage of a model with random weights, on random faces with the prompts of 11 generators.

    Args:
        names: registered models; None is every one.
        size: "paper", or "tiny" for tests.
        options: of the model's configuration; with one model only, since each has its own.
        batch: faces a step.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: number format; auto: what the device computes well.
        force_precision: also a format that is far slower than fp32.

    Returns:
        Each model's name and parts, seconds being medians of three steps; no part where nothing learns.

    Raises:
        UnknownNameError: no such model.
        ConfigError: bad options or device, or a number format that is far slower than fp32.
    """
    from dfad_bench.engine.shares import model_shares

    chosen = model_names() if names is None else list(names)
    where: dict[str, Any] = {"device": device, "precision": precision, "force_precision": force_precision}
    return [(name, model_shares(name, size=size, options=options, batch=batch, **where)) for name in chosen]
