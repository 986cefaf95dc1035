"""The contract every model keeps: pixels in, two experts' logits out, losses by name.

What flows through a model is in `core.batch`, how it is trained in `core.stages`; all of it can be imported from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.added_loss import AddedLoss, check_dim, heard_experts, split_options
from dfad_bench.core.batch import (
    Batch,
    Inputs,
    Label,
    LossTerm,
    Output,
    ViewValue,
    attribution_term,
    detection_term,
    expert_losses,
    loss_terms,
    weighted_losses,
)
from dfad_bench.core.bounds import OPTION
from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.notices import collect_notices
from dfad_bench.core.settings import Size
from dfad_bench.core.stages import ParameterGroup, Stage, StageData
from dfad_bench.core.strict import from_mapping

__all__ = [
    "Batch", "Card", "DFADModel", "Experts", "Inputs", "Label", "LossTerm", "Output", "ParameterGroup", "Size",
    "Stage", "StageData", "ViewValue", "WeightFiles", "attribution_term", "detection_term", "expert_losses",
    "loss_terms", "weighted_losses",
]  # fmt: skip

WeightFiles = Path | Mapping[str, Path]  # one file, or several by the names of `DFADModel.weight_names`


@dataclass(frozen=True)
class Card:
    """What a reader of a table must know about a model."""

    display: str  # as printed in tables: "DNA-Det"
    paper: str  # citation of the model's own paper
    year: int
    task: Literal["attribution", "detection", "both", "trivial"]  # what its paper does
    idea: str  # one sentence
    added: str  # which expert the benchmark added, and how
    deviations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what to know when training it
    reference: str | None = None  # where the authors' code is; never opened while writing ours
    reference_licence: str | None = None
    weights: tuple[
        str, ...
    ] = ()  # names in manifests/weights.yaml of what its paper starts from; `weights=` takes them
    recipe: str | None = None  # in manifests/recipes: as its authors (or its detector's) train; see `--recipe author`
    no_recipe: str = ""  # where there is none: why, as the answer to `--recipe author`
    waits: tuple[str, ...] = ()  # stages whose steps wait for a GPU in their losses; `notes` say why
    no_export: str = ""  # why `dfad export` cannot write it as a graph; empty where it can


class Experts(nn.Module):
    """Attribution and detection expert, one linear layer each, on the same embedding (GazeCLIP III-E)."""

    def __init__(self, dim: int, num_generators: int) -> None:
        super().__init__()
        self.attribution = nn.Linear(dim, num_generators)
        self.detection = nn.Linear(dim, 2)

    def forward(self, embedding: Tensor) -> Output:
        return Output(self.attribution(embedding), self.detection(embedding), embedding)


class DFADModel(nn.Module):
    """Subclasses write `embed`; those with more losses or phases override `losses` or `stages`.

    Images come as RGB in [0, 1] at the protocol's size; `prepare` resizes and normalises inside the model, so
    that no model can be evaluated with another's statistics. A model may replace `self.experts` by the head
    form of its paper; whatever it is must map an embedding to `Output`. `losses` should call `self.experts`, which is
    where a loss that a user adds (`core.added_loss`) finds the embedding; where it gives several rows a face (crops),
    those of a face come one after another.

    `Config` is the model's frozen dataclass of settings, its defaults the paper's, with a classmethod `tiny()`; the
    constructor takes the number of generators and a `Config`. `needs`, `needs_training`, `missing_views`,
    `data_changes`, `needs_prompts`, `needs_images`, `view_settings`, `view_weights` and `stages` may be set on the
    instance where they follow from its settings.

    State that a hook makes (prototypes, thresholds) belongs in registered buffers: they are in every checkpoint, so
    a killed run goes on with the same bits. Hooks run on every process, see the same faces, draw from seeded global
    generators, and run without gradients.
    """

    card: ClassVar[Card]
    Config: ClassVar[type[Any]]
    image_size: ClassVar[int] = 256  # side the model works at (size="paper")
    mean: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.0)
    std: ClassVar[tuple[float, float, float]] = (1.0, 1.0, 1.0)
    weight_names: ClassVar[tuple[str, ...]] = ()  # where several files are loaded: `--weights image=...,text=...`
    weight_rows: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # of these, rows of weights.yaml its paper starts from
    earlier_defaults: ClassVar[Mapping[str, Any]] = {}  # options whose default has changed: what runs made before have
    earlier_tiny: ClassVar[Mapping[str, Any]] = {}  # likewise, of tiny models alone
    known_zero_gradient: ClassVar[tuple[str, ...]] = ()  # name suffixes of parameters that never learn
    needs: tuple[str, ...] = ()  # views the loader must give, at test time too
    needs_training: tuple[str, ...] = ()  # views the loader must give for `losses` only
    # by view that some faces may lack: what the model does for those, in words that records and warnings repeat;
    # `Inputs.has(name)` says which they are, and whatever stands in the view there must change nothing
    missing_views: Mapping[str, str] = MappingProxyType({})
    # what it changes of its training faces beyond resizing them, in words that record and boards repeat: crops,
    # transformations; empty where all is seen as the recipe gives it. Labels that its losses do not use are stated by
    # `Stage.hidden_labels`, which record and boards repeat, too
    data_changes: tuple[str, ...] = ()
    needs_prompts: bool = False
    # settings of views that follow from the model's own, by view: `{"embedding": {"backbone": config.backbone}}`;
    # settings of a run need not repeat them, and must not contradict them
    view_settings: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    # views whose network starts from the run's weight file (`--weights FILE`; of several by name, the one named as the
    # view): their settings `weights` and `weights_sha256` are the run's, and cannot be given by `--view`
    view_weights: tuple[str, ...] = ()
    needs_images: bool = True  # False: `forward` and `losses` read views alone, and get images of (B, 3, 0, 0)
    stages: tuple[Stage, ...] = (Stage("main"),)
    added: ClassVar[Mapping[str, Any]] = {}  # what its paper sets of `core.added_loss.CentreOptions`
    profiled_options: ClassVar[Mapping[str, Any]] = {}  # options of its whole cost, where a view would hide a part

    def __init__(self, dim: int, num_generators: Any, *, side: int | None = None) -> None:
        super().__init__()
        self.side = side or self.image_size
        self.num_generators = num_generators
        self.embedding_dim = dim
        self.experts: nn.Module = Experts(dim, num_generators)
        self.added_loss: AddedLoss | None = None

    @classmethod
    def build(
        cls,
        num_generators: int,
        *,
        size: Size = "paper",
        weights: WeightFiles | None = None,
        class_prompts: Sequence[Sequence[str]] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        """A new model.

        Args:
            num_generators: classes of the attribution expert.
            size: "paper" is the published architecture, "tiny" the same modules at toy widths.
            weights: pre-trained weights to start from; None is random initialisation, always possible.
            class_prompts: per class, its prompts coarse to fine (for models whose classifier is text).
            options: fields of `Config`, checked strictly, and those of `core.added_loss.CentreOptions`.

        Raises:
            ConfigError: a bad option, or weights for a model that takes none.
            WeightsError: the weights do not fit.
        """
        if isinstance(weights, Mapping) and (unknown := sorted(set(weights) - set(cls.weight_names))):
            takes = f"files named {', '.join(cls.weight_names)}" if cls.weight_names else "one file without a name"
            raise ConfigError(f"{cls.card.display} has no weights named {quoted(unknown[0])}; it takes {takes}")
        _check_options(options or {}, cls.card.display)
        with collect_notices():  # lines about the file come when it is loaded
            implied = cls.options_of(weights) if weights is not None else {}
        given = cls.expanded({**implied, **(options or {})})
        own, centres = split_options(given, getattr(cls, "Config", None), cls.added, cls.card.display)
        model = cls.assemble(num_generators, cls.configure(size, own), weights, class_prompts)
        if centres.centre_loss != "none":  # after all else, whose random start is the same without
            dim = check_dim(model.embedding_dim, cls.card.display)
            model.added_loss = AddedLoss(centres, model.num_generators, dim)
        return model

    @classmethod
    def options_before(cls, size: Size) -> dict[str, Any]:
        """Options whose default has changed for a size, as runs have them that were made before."""
        return {**cls.earlier_defaults, **(cls.earlier_tiny if size == "tiny" else {})}

    @classmethod
    def expanded(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Options with those that the name of a variant stands for; overridden by models with such names."""
        return options

    @classmethod
    def assemble(
        cls,
        num_generators: int,
        config: Any,
        weights: WeightFiles | None,
        class_prompts: Sequence[Sequence[str]],
    ) -> Self:
        """A model of checked settings; overridden where construction itself needs the weights or the prompts."""
        model = cls(num_generators, config)
        if weights is not None:
            model.load_weights(weights)
        return model

    @classmethod
    def options_of(cls, weights: WeightFiles) -> Mapping[str, Any]:
        """Options that weight files were trained with; they hold where they are not set otherwise, and are stored.

        Raises:
            WeightsError: a file cannot be read.
        """
        return {}

    @property
    def pretrained(self) -> tuple[str, ...]:
        """Names in `weights.yaml` of what a model of these settings starts from in its paper; none: random weights.

        Where `pretrained_origin` says where to get them, any names.
        """
        return self.card.weights

    @property
    def pretrained_by_name(self) -> Mapping[str, tuple[str, ...]]:
        """Of a model that takes several files (`weight_names`): what `pretrained` says, for each one it starts from."""
        return {}

    @property
    def pretrained_origin(self) -> str:
        """Where to get them, where they follow from the settings and have no row in `weights.yaml`; else empty."""
        return ""

    @classmethod
    def configure(cls, size: Size, options: Mapping[str, Any] | None) -> Any:
        """The `Config` of a size with the given fields changed.

        Raises:
            ConfigError: a field that does not exist, or a value of the wrong type.
        """
        config = cls.Config.tiny() if size == "tiny" else cls.Config()
        return from_mapping(cls.Config, {**asdict(config), **(options or {})}, f"options of {cls.card.display}")

    def load_weights(self, weights: WeightFiles) -> None:
        """Start from pre-trained weights, after construction.

        Raises:
            ConfigError: this model takes none.
            WeightsError: they do not fit.
        """
        raise ConfigError(f"{self.card.display} starts from random weights; leave --weights out")

    def embed(self, inputs: Inputs) -> Tensor:
        """(B, 3, H, W) images to the embedding (B, d) both experts read."""
        raise NotImplementedError

    def forward(self, inputs: Inputs) -> Output:
        return self.experts(self.embed(inputs))

    def last_layer(self) -> tuple[Tensor, Tensor] | None:
        """Weight (x, d) and bias (x,) of the attribution expert where logits are linear in the embedding; else None.

        Overridden by models whose logits are not those of `self.experts.attribution`.
        """
        expert = getattr(self.experts, "attribution", None)
        layers = list(expert) if isinstance(expert, nn.Sequential) else [expert]
        if not isinstance(layers[-1], nn.Linear) or not all(isinstance(one, nn.Dropout) for one in layers[:-1]):
            return None  # as a LayerNorm before it
        weight, bias = layers[-1].weight, layers[-1].bias
        return weight, weight.new_zeros(len(weight)) if bias is None else bias

    def losses(self, batch: Batch, stage: str = "main") -> Mapping[str, Tensor | LossTerm]:
        """Named scalars without their weights; the engine sums them. The last stage gives at least "dfa" and "dfd".

        A term that is made of labels, or of prompts, and is not named dfa or dfd is a `LossTerm` that says so.
        """
        return expert_losses(self(batch.inputs), batch)

    def terms(self, batch: Batch, stage: str = "main") -> Mapping[str, Tensor | LossTerm]:
        """`losses`, and the loss that a user added; what training sums. Models override `losses`, not this."""
        if self.added_loss is None:
            return self.losses(batch, stage)
        with heard_experts(self) as outputs:
            losses = self.losses(batch, stage)
        last = stage == self.stages[-1].name
        return {**losses, **self.added_loss.terms(outputs, batch, last=last, model=self.card.display)}

    def prepare(self, images: Tensor) -> Tensor:
        """Resize to (B, 3, side, side), antialiased, and normalise with the model's mean and std."""
        if images.shape[-1] != self.side or images.shape[-2] != self.side:
            images = F.interpolate(images, (self.side, self.side), mode="bilinear", antialias=True, align_corners=False)
        if self.mean == (0.0, 0.0, 0.0) and self.std == (1.0, 1.0, 1.0):
            return images
        values = torch.tensor([self.mean, self.std], dtype=images.dtype)[:, :, None, None]
        mean, std = values.to(images.device, non_blocking=True)  # a copy that waits would wait for all steps before
        return (images - mean) / std

    def parameters_of(self, stage: str) -> Iterable[nn.Parameter | ParameterGroup]:
        """What learns in a stage (default: all that requires a gradient); groups have settings of their own."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def blocks_to_checkpoint(self) -> Iterable[nn.Module] | None:
        """Modules whose inner results `--checkpointing` computes again; None: transformer blocks, as the engine finds.

        Called again in the backward pass with the same arguments and draws, they must give the same and change nothing;
        those with batch norms that keep statistics, or spectral norms, are left out.
        """
        return None

    def before_stage(self, stage: str, data: StageData) -> None:
        """Called once when a stage begins, before its first step (not again where a run is resumed within it)."""

    def after_step(self, stage: str, batch: Batch) -> None:
        """Called after each optimiser step with its batch; `core.parallel.gather_rows` adds rows of other processes."""

    def after_stage(self, stage: str, data: StageData) -> None:
        """Called when a stage is done and its chosen weights are loaded."""

    def before_prediction(self, data: StageData) -> None:
        """Called once when training ends, however it ended; what it leaves in buffers is stored with the model."""


def _check_options(options: Mapping[str, Any], model: str) -> None:
    """Refuse numbers no network could be built with, before the attempt takes all memory."""
    for name, value in options.items():
        for number in value if isinstance(value, list | tuple) else (value,):
            if isinstance(number, int) and abs(number) > OPTION:
                raise ConfigError(f"options of {model}: {name} must be {OPTION:,} or less, got {str(number)[:40]}")
