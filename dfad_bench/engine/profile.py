"""What a model costs: parameters, true multiply-adds, latency, and the papers' own count beside the printed one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from dfad_bench.core.contract import Batch, DFADModel, Inputs, Size
from dfad_bench.core.registry import model_class
from dfad_bench.core.resources import shipped
from dfad_bench.core.settings import AskedPrecision
from dfad_bench.core.strict import from_mapping, read_dataclass
from dfad_bench.engine.latency import BatchCost, Timing, TimingRequest, random_images, timing_apart, timing_here
from dfad_bench.engine.macs import Work, count_work
from dfad_bench.engine.thop_convention import ThopCount, thop_count

GENERATORS = 11  # classes of the attribution expert in the published counts
_PROMPTS = ("a photo of a real face",) * 4
_HUNDREDTH = 0.01 + 1e-9  # printed values have two decimals


@dataclass(frozen=True)
class PublishedGraph:
    """Parameters the published graph has beyond ours, and why."""

    parameters: int
    why: str


@dataclass(frozen=True)
class Published:
    """One row of `leaderboards/reported/efficiency.yaml`; see the head of that file."""

    printed: str
    params_m: float
    side: int
    flops_g: float | None = None
    seconds: float | None = None
    count: Literal["thop", "numel", "trained"] = "thop"
    images: int = 1
    texts: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    graph: PublishedGraph | None = None
    params: str | None = None
    flops: str | None = None


@dataclass(frozen=True)
class PublishedTable:
    """The whole file."""

    table: str
    paper: str
    rows: dict[str, Published]


@dataclass(frozen=True)
class Profile:
    """One model's costs; counts are plain numbers, of one image.

    `params_inference` are the parameters the test-time graph reads, `macs` its multiply-adds. `convention_*` are
    counted as the published figures were (millions, 10^9), and so are `published_*`; `seconds` is the median of
    single images on `device` in `precision`, where `batches` has the costs of batches. Missing values are None.
    """

    model: str
    display: str
    size: str
    side: int
    params_total: int
    params_trainable: int
    params_inference: int
    macs: int
    convention_params_m: float
    convention_flops_g: float
    published_params_m: float | None = None
    published_flops_g: float | None = None
    published_seconds: float | None = None  # on an A100, batch not stated
    seconds: float | None = None
    device: str | None = None
    precision: str | None = None
    precision_why: str | None = None
    batches: tuple[BatchCost, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def params_deviation(self) -> float | None:
        """Ours minus the published, millions, both rounded to the printed two decimals."""
        return _difference(self.convention_params_m, self.published_params_m)

    @property
    def flops_deviation(self) -> float | None:
        """Ours minus the published, 10^9, both rounded to the printed two decimals."""
        return _difference(self.convention_flops_g, self.published_flops_g)

    def row(self) -> dict[str, Any]:
        """All of it as plain values."""
        deviations = {"params_deviation": self.params_deviation, "flops_deviation": self.flops_deviation}
        batches = [asdict(cost) for cost in self.batches]
        return {**asdict(self), **deviations, "batches": batches, "notes": list(self.notes)}

    @classmethod
    def of_row(cls, row: Mapping[str, Any], where: str) -> Profile:
        """What `row` gave.

        Raises:
            ConfigError: a field is missing, unknown or of another type.
        """
        own = {name: value for name, value in row.items() if name not in ("params_deviation", "flops_deviation")}
        return from_mapping(cls, own, where)


def published(path: Path | None = None) -> PublishedTable:
    """The printed figures.

    Raises:
        ConfigError: the file is missing or malformed.
    """
    return read_dataclass(PublishedTable, path or shipped("leaderboards") / "reported" / "efficiency.yaml")


def profile_model(
    name: str,
    *,
    size: Size = "paper",
    options: Mapping[str, Any] | None = None,
    latency: bool = False,
    device: str = "auto",
    precision: AskedPrecision = "fp32",
    force_precision: bool = False,
    apart: bool = False,
    minutes: float | None = None,
) -> Profile:
    """Count a registered model with 11 generators and both experts on one image at the side it works at.

    Counting needs shapes only, so the model is built on PyTorch's "meta" device, without memory or time; a model
    whose forward pass looks at values is built on the CPU instead. Only `latency` runs the real thing: in this process,
    or `apart` in one of its own, which is ended after `minutes`; `notes` then say what is missing.

    Raises:
        UnknownNameError: no such model.
        ConfigError: bad options or device.
    """
    cls = model_class(name)
    options = {**cls.profiled_options, **(options or {})}

    def build(options: Mapping[str, Any] = options) -> DFADModel:
        return cls.build(GENERATORS, size=size, class_prompts=(_PROMPTS,) * GENERATORS, options=dict(options)).eval()

    counted = published().rows.get(name) if size == "paper" else None  # how, also where options make another model
    printed = None if options else counted
    model, work, thop = _count(build, counted)
    published_model, published_work = model, work
    if printed is not None and printed.options:
        published_model, published_work, thop = _count(lambda: build(printed.options), printed)
    convention = _convention(published_model, published_work, thop, counted)
    asked = TimingRequest(name, GENERATORS, (_PROMPTS,) * GENERATORS, size, options, device, precision, force_precision)
    timing = _timing_of(asked, apart, minutes) if latency else Timing(())
    return Profile(
        model=name,
        display=cls.card.display,
        size=size,
        side=model.side,
        params_total=sum(p.numel() for p in model.parameters()),
        params_trainable=_trained(model),
        params_inference=work.parameters,
        macs=work.macs,
        convention_params_m=convention / 1e6,
        convention_flops_g=thop.operations / 1e9,
        notes=(*_notes(printed, convention / 1e6, thop.operations / 1e9, model.side), *timing.missing),
        **_figures(printed),
        **_timing(timing),
    )


def _figures(printed: Published | None) -> dict[str, Any]:
    """The fields of `Profile` that are printed."""
    if printed is None:
        return {}
    figures = {"params_m": printed.params_m, "flops_g": printed.flops_g, "seconds": printed.seconds}
    return {f"published_{name}": value for name, value in figures.items()}


def _timing_of(asked: TimingRequest, apart: bool, minutes: float | None) -> Timing:
    return timing_apart(asked, minutes=minutes) if apart else timing_here(asked)


def _timing(timing: Timing) -> dict[str, Any]:
    """The fields of `Profile` that are measured."""
    about = {"device": timing.device, "precision": timing.precision, "precision_why": timing.precision_why}
    return {**about, "seconds": timing.costs[0].seconds if timing.costs else None, "batches": timing.costs}


def _count(build: Callable[[], DFADModel], printed: Published | None) -> tuple[DFADModel, Work, ThopCount]:
    try:
        return _count_on("meta", build, printed)
    except (NotImplementedError, RuntimeError):  # an operation that needs values, or has no shape rule
        return _count_on("cpu", build, printed)


def _count_on(
    device: str, build: Callable[[], DFADModel], printed: Published | None
) -> tuple[DFADModel, Work, ThopCount]:
    with torch.device(device):
        model = build()
        inputs = random_images(model, device)
        work = count_work(model, lambda: model(inputs))
        thop = thop_count(model, lambda: _published_pass(model, inputs, printed))
    return model, work, thop


def _published_pass(model: DFADModel, inputs: Inputs, printed: Published | None) -> object:
    """The pass the published count was made of: one image, several, or one with a face's prompts as in training."""
    if printed is None:
        return model(inputs)
    if printed.images > 1:
        return model(random_images(model, inputs.images.device, printed.images, printed.texts))
    if not printed.texts:
        return model(inputs)
    label = torch.zeros(1, dtype=torch.int64)
    return model.losses(Batch(inputs, label, label, (_PROMPTS,)), model.stages[-1].name)


def _convention(model: DFADModel, work: Work, thop: ThopCount, printed: Published | None) -> int:
    """Parameters as the published figure counts them."""
    if printed is None:
        return thop.parameters
    counts = {"thop": thop.parameters, "numel": work.parameters, "trained": _trained(model)}
    return counts[printed.count] + (printed.graph.parameters if printed.graph else 0)


def _trained(model: DFADModel) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _notes(printed: Published | None, params_m: float, flops_g: float, side: int) -> tuple[str, ...]:
    if printed is None:
        return ()
    notes = []
    if printed.images > 1:
        notes.append(f"published of {printed.images} images with {printed.texts} texts, and counted so")
    if printed.options:
        given = ", ".join(f"{name}={value}" for name, value in printed.options.items())
        notes.append(f"published, and counted, with --set {given}")
    if side != printed.side:
        notes.append(f"counted at {side} pixels, published at {printed.side}")
    if printed.graph is not None:
        notes.append(f"parameters include {printed.graph.parameters:,} of the published graph: {printed.graph.why}")
    explained = (
        ("parameters", params_m, printed.params_m, printed.params),
        ("FLOPs", flops_g, printed.flops_g, printed.flops),
    )
    for label, ours, theirs, why in explained:
        difference = _difference(ours, theirs)
        if difference is not None and abs(difference) > _HUNDREDTH:
            notes.append(f"{label} {difference:+.2f}: {why or 'not explained'}")
    return tuple(notes)


def _difference(ours: float, theirs: float | None) -> float | None:
    return None if theirs is None else round(round(ours, 2) - theirs, 2)
