"""What models on CLIP's towers have in common: how they are built, where they start, and how they see pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from dfad_bench.core.contract import DFADModel, WeightFiles
from dfad_bench.core.weights import one_file
from dfad_bench.layers.clip_towers import OPENAI_WEIGHTS


class CLIPBased(DFADModel):
    """A model whose constructor takes CLIP's weight file after its settings, since towers are built with their weights.

    `config.architecture` is open_clip's name of the towers. Where `reads_class_prompts` is true, the constructor takes
    the generators' prompts after the file.
    """

    mean = (0.48145466, 0.4578275, 0.40821073)
    std = (0.26862954, 0.26130258, 0.27577711)
    reads_class_prompts: ClassVar[bool] = False
    config: Any

    @classmethod
    def assemble(
        cls,
        num_generators: int,
        config: Any,
        weights: WeightFiles | None,
        class_prompts: Sequence[Sequence[str]],
    ) -> Self:
        given: list[Any] = [None if weights is None else one_file(weights, cls.card.display)]
        if cls.reads_class_prompts:
            given.append(class_prompts)
        return cls(num_generators, config, *given)

    @property
    def pretrained(self) -> tuple[str, ...]:
        return OPENAI_WEIGHTS.get(self.config.architecture, self.card.weights)
