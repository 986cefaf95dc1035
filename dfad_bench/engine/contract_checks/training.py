"""What training must and must not do: losses, gradients, labels, frozen parts, state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from dfad_bench.core.contract import Batch, DFADModel, Label, loss_terms, weighted_losses
from dfad_bench.engine.contract_checks.subject import (
    GENERATORS,
    Subject,
    differing,
    predict,
    prompts_of,
)
from dfad_bench.engine.gradient_checkpointing import blocks_of, checkpoint_blocks, restore_blocks

_EXPERTS: tuple[tuple[Label, Label], ...] = (("detection", "attribution"), ("attribution", "detection"))


def check_losses(subject: Subject) -> str:
    """Every stage gives finite scalars by name; the last has `dfa` and `dfd`."""
    trained = subject.trained()
    for stage, terms in trained.losses.items():
        bad = [name for name, term in terms.items() if term.value.ndim != 0 or not torch.isfinite(term.value)]
        if bad or not terms:
            return f"stage {stage}: not finite scalars: {', '.join(bad) or 'no loss at all'}"
    last = trained.model.stages[-1].name
    lacking = {"dfa", "dfd"} - trained.losses[last].keys()
    return f"stage {last} lacks {', '.join(sorted(lacking))}" if lacking else ""


def check_gradients(subject: Subject) -> str:
    """Every trainable parameter learns in some stage, but for those the model names in `known_zero_gradient`."""
    trained, known = subject.trained(), subject.cls.known_zero_gradient
    trainable = {name for name, p in trained.model.named_parameters() if p.requires_grad}
    if idle := sorted(trainable - trained.assigned):
        return f"no stage trains {len(idle)} parameters, e.g. {idle[0]}"
    named = {name for name in trainable if known and name.endswith(known)}
    if dead := sorted(trainable - trained.learned - named):
        return f"{len(dead)} parameters get no gradient, e.g. {dead[0]}"
    alive = sorted(named & trained.learned)
    return f"{alive[0]} is in known_zero_gradient but gets a gradient" if alive else ""


def check_heads(subject: Subject) -> str:
    """With one expert alone (`--heads`), nothing that is trained depends on the labels of the other."""
    for stage in subject.model.stages:
        for kept, other in _EXPERTS:
            batch = subject.batch()
            changed = _other_generators(batch) if other == "attribution" else _other_detection(batch)
            first, second = (_gradients(subject, b, stage.name, kept) for b in (batch, changed))
            for name in first.keys() | second.keys():
                if name not in first or name not in second or not torch.equal(first[name], second[name]):
                    return (
                        f"stage {stage.name}: with --heads {kept} the gradient of {name} depends on {other} labels;"
                        " give its loss as a LossTerm with the labels it uses"
                    )
            if other in _expert_names(first):
                return f"stage {stage.name}: with --heads {kept} the {other} expert still learns"
    return ""


def _expert_names(gradients: dict[str, Tensor]) -> set[str]:
    """Which experts (`experts.attribution`, `experts.detection`) got a gradient that is not zero."""
    parts = {name.split(".")[1] for name, g in gradients.items() if name.startswith("experts.") and bool(g.ne(0).any())}
    return parts & {"attribution", "detection"}


def check_label_polarity(subject: Subject) -> str:
    """`dfa` and `dfd` pull the logits towards the labels: 0 is real and 1 is fake, classes are in label order.

    Asked of batches whose faces are all of one class, so that two classes that are swapped cannot hide behind others.
    """
    model, mixed = subject.build().eval(), subject.batch()
    output = model(mixed.inputs)
    for label in range(GENERATORS):
        batch = _all_of_class(mixed, label)
        found = loss_terms(model.terms(batch, model.stages[-1].name))
        for name, logits, labels in (
            ("dfd", output.detection_logits, batch.detection),
            ("dfa", output.attribution_logits, batch.attribution),
        ):
            if name not in found or not found[name].value.requires_grad or not logits.requires_grad:
                continue
            expected = F.cross_entropy(logits.float(), labels)
            if _agreement(model, found[name].value, expected) < 0:
                kind = "0 is real, 1 is fake" if name == "dfd" else "class 0 is real, the others in label order"
                return f"{name} pulls faces of class {label} away from their label ({kind}); are classes swapped?"
    return ""


def _all_of_class(batch: Batch, label: int) -> Batch:
    """The same faces, all of one class."""
    attribution = torch.full_like(batch.attribution, label)
    return replace(batch, attribution=attribution, detection=(attribution > 0).long(), prompts=prompts_of(attribution))


def check_hidden_labels(subject: Subject) -> str:
    """The last stage leaves the labels of `Batch.hidden` unused, and those of no other face.

    How many those are over an epoch is the engine's, by `Stage.hidden_labels`, which is what record and boards state;
    so a model that hides labels on its own, whatever its `data_changes` say, is refused. Every loss is asked again with
    another label for one face, and the label counts as unused where none differs by a bit.
    """
    batch, stage = subject.batch(), subject.model.stages[-1]
    if not stage.hidden_labels and batch.hidden is not None:
        batch = replace(batch, hidden=None)  # another stage hides some
    found = [_terms(subject, batch), *(_terms(subject, _relabelled(batch, row)) for row in range(len(batch)))]
    if not any(term.requires_grad for term in found[0].values()):
        return ""
    unused = {row for row, terms in enumerate(found[1:]) if all(map(torch.equal, terms.values(), found[0].values()))}
    asked = set() if batch.hidden is None else set(batch.hidden.nonzero()[:, 0].tolist())
    if read := sorted(asked - unused):
        return f"its losses use labels that are hidden (`Batch.hidden`), e.g. that of face {read[0]} of {len(batch)}"
    if not (silent := sorted(unused - asked)):
        return ""
    return (
        f"its losses use no label of {len(silent)} of {len(batch)} faces that are not in `Batch.hidden`; state the"
        " share as Stage(hidden_labels=...), and hide those"
    )


def _terms(subject: Subject, batch: Batch) -> dict[str, Tensor]:
    """The losses of the last stage in training, with the same random numbers at each call."""
    model = subject.build().train()
    torch.manual_seed(0)
    return {name: term.value for name, term in loss_terms(model.terms(batch, model.stages[-1].name)).items()}


def _relabelled(batch: Batch, row: int) -> Batch:
    """The batch with another generator, and the other answer to real or fake, for one face."""
    attribution = batch.attribution.clone()
    attribution[row] = 0 if attribution[row] else 1
    prompts = [*batch.prompts]
    prompts[row] = prompts_of(attribution)[row]
    return replace(batch, attribution=attribution, detection=(attribution > 0).long(), prompts=prompts)


def check_checkpointing(subject: Subject) -> str:
    """With blocks computed again in the backward pass, losses, gradients and all buffers are those without."""
    if not blocks_of(subject.model):
        return ""
    for stage in subject.model.stages:
        plain, again = (_one_step(subject, stage.name, checkpointed=on) for on in (False, True))
        if changed := sorted(name for name in plain if not _close(plain[name], again.get(name))):
            return (
                f"stage {stage.name}: with --checkpointing {len(changed)} numbers are others, e.g. {changed[0]}; leave"
                " blocks that keep something between calls out of blocks_to_checkpoint()"
            )
    return ""


def _one_step(subject: Subject, stage: str, *, checkpointed: bool) -> dict[str, Tensor]:
    """Losses, gradients and buffers of a fresh model after one forward and backward pass, with equal random draws."""
    model = subject.build().train()
    torch.manual_seed(7)
    blocks = checkpoint_blocks(blocks_of(model) if checkpointed else ())
    try:
        losses = weighted_losses(model.terms(subject.batch(), stage))
        total = torch.stack(list(losses.values())).sum()
        if total.requires_grad:
            total.backward()
    finally:
        restore_blocks(blocks)
    found = {f"loss {name}": value.detach() for name, value in losses.items()}
    found |= {f"gradient of {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    return found | {f"buffer {name}": buffer.clone() for name, buffer in model.named_buffers()}


def _close(one: Tensor, other: Tensor | None) -> bool:
    """Equal but for rounding of sums taken by several threads; whole numbers and NaN exactly."""
    if other is None or one.shape != other.shape:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    scale = float(one.nan_to_num().abs().max()) if one.numel() else 0.0
    return torch.allclose(one, other, rtol=0.0, atol=1e-5 * scale, equal_nan=True)


def check_frozen(subject: Subject) -> str:
    """Frozen parameters, and statistics of frozen parts, are bit-equal after training steps."""
    moved = subject.trained().moved
    return f"{len(moved)} frozen tensors changed, e.g. {moved[0]}" if moved else ""


def check_state_dict(subject: Subject) -> str:
    """A trained model's state in a fresh model gives the same outputs."""
    trained, inputs = subject.trained().model, subject.batch().inputs
    fresh = subject.build(seed=1)
    fresh.load_state_dict({name: value.clone() for name, value in trained.state_dict().items()}, strict=True)
    changed = differing(predict(trained, inputs), predict(fresh, inputs))
    advice = "what training and hooks leave behind belongs in parameters and registered buffers"
    return f"a reloaded model differs in {changed}; {advice}" if changed else ""


def _other_generators(batch: Batch) -> Batch:
    """The same faces as forged by other generators, some of them more often than before; real ones stay real."""
    forged = batch.attribution > 0
    other = batch.attribution % (GENERATORS - 1) + 1
    other[len(other) // 2 :] = 1
    attribution = torch.where(forged, other, batch.attribution)
    return replace(batch, attribution=attribution, prompts=prompts_of(attribution))


def _other_detection(batch: Batch) -> Batch:
    """The same faces of the same classes, real ones called fake and fake ones real."""
    return replace(batch, detection=1 - batch.detection)


def _gradients(subject: Subject, batch: Batch, stage: str, kept: Label) -> dict[str, Tensor]:
    """Gradients of the objective of one expert alone, from a fresh model and equal random draws."""
    model = subject.build().train()
    torch.manual_seed(7)
    used = weighted_losses(model.terms(batch, stage), labels=frozenset({kept}))
    total = torch.stack(list(used.values())).sum() if used else torch.zeros(())
    if not total.requires_grad:
        return {}
    total.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def _agreement(model: DFADModel, found: Tensor, expected: Tensor) -> float:
    """Inner product of two losses' gradients over the parameters both reach."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    pairs = zip(_gradients_of_loss(found, parameters), _gradients_of_loss(expected, parameters), strict=True)
    return sum(float((a * b).sum()) for a, b in pairs if a is not None and b is not None)


def _gradients_of_loss(loss: Tensor, parameters: list[torch.nn.Parameter]) -> Iterator[Tensor | None]:
    yield from torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
