"""What models cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dfad_bench.core.registry import model_names
from dfad_bench.core.settings import Size

if TYPE_CHECKING:
    from dfad_bench.engine.profile import Profile


def profile_models(
    names: Sequence[str] | None = None,
    *,
    size: Size = "paper",
    options: Mapping[str, Any] | None = None,
    latency: bool = False,
    device: str = "auto",
) -> list[Profile]:
    """Parameters and multiply-adds of one image, for several models.

    Args:
        names: registered models; None is every one.
        size: "paper", or "tiny" for tests.
        options: of the model's configuration; with one model only, since each has its own.
        latency: also time one image and a batch of 32, in seconds, with the memory of each in bytes, on `device`.
        device: auto, cpu, cuda or cuda:N.

    Returns:
        One profile a model, in the order of the names.

    Raises:
        UnknownNameError: no such model.
        ConfigError: bad options or device.
    """
    from dfad_bench.engine.profile import profile_model

    chosen = model_names() if names is None else list(names)
    return [profile_model(name, size=size, options=options, latency=latency, device=device) for name in chosen]
