"""Which rows make up each batch of an epoch.

Everything here is a pure function of its arguments, so no sampler has a state, and a run resumed in the middle of an
epoch goes on with exactly the faces it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from dfad_bench.core.errors import ConfigError, ProtocolError
from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.recipe import Sampler
from dfad_bench.core.stages import Stage

_UNLABELLED_STREAM = 0x5EED  # keeps the orders of labelled and unlabelled rows apart where both have one seed
_HIDDEN_STREAM = 0xB11D  # likewise, of which labels are hidden


def epoch_batches(
    attribution: np.ndarray,
    detection: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    sampler: Sampler = "shuffle",
    real_forged: tuple[int, int] = (1, 1),
) -> list[np.ndarray]:
    """Row numbers of each batch of an epoch; a pure function of its arguments.

    - "shuffle" visits every row once; a last batch of one row joins the batch before, since BatchNorm cannot train
      on one.
    - "class_balanced" gives every class the same number of rows in every batch (`batch_size` divided by the number of
      classes, rounded down, at least one), for as many batches as "shuffle" would have.
    - "images_per_class" gives every class `batch_size` rows in every batch, for as many batches as it takes to visit
      as many rows as there are. Rows alternate between the classes.
    - "real_forged" gives `batch_size` rows in every batch, of which real and forged ones stand in the ratio
      `real_forged`, for as many batches as it takes to visit as many rows as there are. The number of real rows is
      rounded to the nearest (a half upwards), and at least one row is of either side. Real rows are spread evenly.

    All but "shuffle" repeat the rows of small classes (or of the smaller side) in a new random order, once all of them
    have been visited, and leave some rows of large ones out of an epoch.

    Args:
        attribution: (N,) class of each row; a class is one that occurs here.
        detection: (N,) 0 real, 1 forged; read by "real_forged" only.
        batch_size: rows of a batch, or with "images_per_class" rows of each class.
        seed: of the stage's order.
        epoch: number of the epoch within the stage.
        sampler: see above.
        real_forged: real to forged rows, each at least 1.

    Raises:
        ProtocolError: "real_forged" with no real or no forged row, or a row of unknown label where labels decide.
        ConfigError: "real_forged" with a batch of fewer than two rows.
    """
    rng = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    if sampler == "shuffle":
        return list(_slices(_shuffled(np.arange(len(attribution)), rng), batch_size))
    if sampler == "real_forged":
        sides, each = _sides(detection, batch_size, real_forged)
        return _alternating(sides, each, -(-len(detection) // batch_size), rng)
    classes = _classes(attribution)
    if sampler == "images_per_class":
        count = -(-len(attribution) // (batch_size * len(classes)))
        return _alternating(classes, [batch_size] * len(classes), count, rng)
    count, each_class = -(-len(attribution) // batch_size), max(1, batch_size // max(1, len(classes)))
    columns = [_cycle_members(members, count * each_class, rng).reshape(count, each_class) for members in classes]
    return list(np.concatenate(columns, axis=1))


def unlabelled_batches(
    rows: int, batches: Sequence[np.ndarray], *, ratio: float, seed: int, epoch: int
) -> list[np.ndarray]:
    """Row numbers of the unlabelled part that go with each batch of an epoch.

    The part is visited in a random order, then in another, and so on through all epochs of a stage: no row is visited
    a second time more often than any other. A pure function of its arguments.

    Args:
        rows: how many rows the unlabelled part has.
        batches: the labelled batches of the epoch, of which only the lengths count; they must be the same in every
            epoch of the stage, as those of `epoch_batches` are.
        ratio: `Stage.unlabelled`, unlabelled rows for each labelled row; the number is rounded, and at least one.
        seed: of the stage's order.
        epoch: number of the epoch within the stage.

    Raises:
        ProtocolError: the part has no rows.

    >>> [len(index) for index in unlabelled_batches(5, [np.arange(4), np.arange(3)], ratio=0.5, seed=0, epoch=0)]
    [2, 2]
    """
    if rows < 1:
        raise ProtocolError("no unlabelled faces to make batches of; give the protocol an unlabelled part")
    sizes = [max(1, round(ratio * len(batch))) for batch in batches]
    begin = epoch * sum(sizes)
    rounds = range(begin // rows, (begin + sum(sizes) - 1) // rows + 1)
    order = np.concatenate([_order_of_round(rows, seed, number) for number in rounds])
    cuts = np.cumsum([begin - rounds.start * rows, *sizes])
    return [order[first:last] for first, last in zip(cuts[:-1], cuts[1:], strict=True)]


def hidden_rows(batches: Sequence[np.ndarray], *, share: float, seed: int, epoch: int) -> list[np.ndarray]:
    """Whose labels are hidden in each batch of an epoch, (B,) bool each; a pure function of its arguments.

    What the number of a batch is rounded by is carried to the next, so that the share holds over the epoch, whatever
    the size of its batches; each batch keeps one label at least.

    Args:
        batches: of the epoch, of which only the lengths count.
        share: of rows whose labels are hidden, below 1.
        seed: of the stage's order.
        epoch: number of the epoch within the stage.

    >>> [int(rows.sum()) for rows in hidden_rows([np.arange(4)] * 6, share=0.1, seed=0, epoch=0)]
    [0, 1, 0, 1, 0, 0]
    """
    rng = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63 ^ _HIDDEN_STREAM)
    due, masks = 0.0, []
    for batch in batches:
        due += share * len(batch)
        count = min(int(due + 0.5), len(batch) - 1)
        due -= count
        mask = np.zeros(len(batch), dtype=bool)
        mask[torch.randperm(len(batch), generator=rng)[:count].numpy()] = True
        masks.append(mask)
    return masks


def require_unlabelled(stages: Iterable[Stage], protocol: Protocol, rows: int, model: str) -> bool:
    """Whether a model asks for unlabelled faces; it is refused where it does and there are none.

    Args:
        stages: the model's.
        protocol: of the run.
        rows: how many unlabelled faces were selected.
        model: its name, for the error.

    Raises:
        ConfigError: with both ways out.
    """
    asking = [stage.name for stage in stages if stage.unlabelled > 0]
    if not asking or rows > 0:
        return bool(asking)
    why = "none was selected" if protocol.has_unlabelled else "the protocol has no unlabelled part"
    raise ConfigError(
        f"model {model} asks for unlabelled faces in stage {asking[0]!r}, and protocol {protocol.name} gives none"
        f" ({why}): use a protocol with `unlabelled` groups or an `unlabelled_share` (0.3 hides the labels of 30 % of"
        " the training sources), or set the model's option that trains without them"
    )


def _shuffled(members: np.ndarray, rng: torch.Generator) -> np.ndarray:
    return members[torch.randperm(len(members), generator=rng).numpy()]


def _cycle_members(members: np.ndarray, count: int, rng: torch.Generator) -> np.ndarray:
    """`count` of the members, in a random order, and again in another where there are too few."""
    rounds = -(-count // len(members))
    return np.concatenate([_shuffled(members, rng) for _ in range(rounds)])[:count]


def _alternating(
    kinds: Sequence[np.ndarray], each: Sequence[int], count: int, rng: torch.Generator
) -> list[np.ndarray]:
    """`count` batches with `each[k]` rows of kind k, spread evenly, so that consecutive parts of a batch are alike."""
    columns = [
        _cycle_members(members, count * n, rng).reshape(count, n) for members, n in zip(kinds, each, strict=True)
    ]
    places = np.concatenate([(np.arange(n) + 0.5) / n for n in each])
    return list(np.concatenate(columns, axis=1)[:, np.argsort(places, kind="stable")])


def _classes(attribution: np.ndarray) -> list[np.ndarray]:
    """The rows of each class."""
    if len(attribution) == 0:
        raise ProtocolError("no training faces to make batches of")
    if (attribution < 0).any():
        raise ProtocolError("a training face belongs to no seen class, so its batch cannot be balanced")
    return [np.flatnonzero(attribution == label) for label in np.unique(attribution)]


def _sides(detection: np.ndarray, batch_size: int, ratio: tuple[int, int]) -> tuple[list[np.ndarray], list[int]]:
    """The real and the forged rows, and how many of each are in a batch."""
    sides = {"real": np.flatnonzero(detection == REAL), "forged": np.flatnonzero(detection == FAKE)}
    if empty := [name for name, members in sides.items() if not len(members)]:
        raise ProtocolError(
            f"no {empty[0]} training face, so batches cannot have real and forged faces as {ratio[0]}:{ratio[1]};"
            " use a protocol with seen groups of both, or another sampler"
        )
    if batch_size < 2:
        raise ConfigError(f"batches of real and forged faces need batch_size 2 or more, got {batch_size}")
    real, whole = ratio[0], sum(ratio)
    count = min(max((2 * batch_size * real + whole) // (2 * whole), 1), batch_size - 1)
    return list(sides.values()), [count, batch_size - count]


def _order_of_round(rows: int, seed: int, number: int) -> np.ndarray:
    rng = torch.Generator().manual_seed((seed * 1_000_003 + number) % 2**63 ^ _UNLABELLED_STREAM)
    return torch.randperm(rows, generator=rng).numpy()


def _slices(order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    cuts = list(range(batch_size, len(order), batch_size))
    if cuts and len(order) - cuts[-1] == 1:
        cuts.pop()
    yield from np.split(order, cuts)
