"""Training split over processes and machines: torchrun's environment, plain DDP, each batch the same as on one process.

The recipe's batch is the global one. Each process takes a consecutive part of it; losses and gradients are weighted by
the parts' sizes, losses that compare faces and BatchNorm's statistics see the whole batch, so results differ from those
of one process by rounding only. A batch too small to split is computed by every process in full. What a model draws at
random while training (dropout, crops) differs with the number of processes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist

from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.core.parallel import is_split, summed

T = TypeVar("T")
STEP_TIMEOUT = timedelta(minutes=30)  # the longest a process waits for the others within training
LEAD_TIMEOUT = timedelta(days=2)  # the longest it waits for the first one to prepare faces and views
SUPERVISED = "DFAD_SUPERVISED"  # set by `launch`, which says itself which process died: a pipe that ends with it
_LOST = ("closed by peer", "reset by peer", "broken pipe", "timed out", "connection refused", "socket error")


class LostProcessError(DFADError):
    """Another process of the run ended."""


@dataclass(frozen=True)
class Share:
    """A process's part of a batch, its weight in the mean over the batch, and whether others hold the rest."""

    index: np.ndarray
    weight: float
    split: bool
    places: range = range(0)  # where its rows stand in the whole batch
    unlabelled: np.ndarray | None = None  # its part of the unlabelled rows, and where those stand
    unlabelled_places: range = range(0)


class Team:
    """The processes that train together; one alone by default.

    Args:
        rank: number of this process.
        size: number of processes.
        store: torch's key-value store that they share.
    """

    def __init__(self, rank: int = 0, size: int = 1, store: Any = None) -> None:
        self.rank, self.size, self._store, self._keys_used = rank, size, store, 0

    @property
    def lead(self) -> bool:
        """Whether this process writes, logs and predicts."""
        return self.rank == 0

    def share(self, index: np.ndarray, *, whole: bool = False, unlabelled: np.ndarray | None = None) -> Share:
        """This process's part of a batch; all of it where parts would be of one face, or `whole` asks for it.

        Args:
            index: the labelled rows of the batch.
            whole: every process takes all rows.
            unlabelled: the unlabelled rows that go with them; split where the labelled ones are, by the same rule.

        >>> Team(1, 2).share(np.arange(5)).index
        array([3, 4])
        """
        kinds = [index] if unlabelled is None else [index, unlabelled]
        split = self.size > 1 and not whole and min(map(len, kinds)) >= 2 * self.size
        parts = [_consecutive(len(rows), self.rank, self.size) if split else range(len(rows)) for rows in kinds]
        mine = [rows[part.start : part.stop] for rows, part in zip(kinds, parts, strict=True)]
        weight = len(mine[0]) / len(index) if split else 1 / self.size
        return Share(mine[0], weight, split, parts[0], *(() if unlabelled is None else (mine[1], parts[1])))

    def total(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.size > 1:
            with self._lost_process_reported():
                dist.all_reduce(values)
        return values

    def from_lead(self, make: Callable[[], T]) -> T:
        """What the first process makes, on all of them; its `DFADError` as well."""
        if self.size == 1:
            return make()
        made: list[Any] = [None, None]
        if self.lead:
            try:
                made[0] = make()
            except DFADError as error:
                made[1] = error
        with self._lost_process_reported():
            dist.broadcast_object_list(made, src=0)
        if made[1] is not None:
            raise made[1]
        return made[0]

    def lead_first(self, make: Callable[[], T]) -> T:
        """Call `make` on the first process, then on the others, which find what it has written."""
        if self.size == 1:
            return make()
        self._keys_used += 1
        key = f"lead/{self._keys_used}"
        if not self.lead:
            with self._lost_process_reported():
                self._store.wait([key], LEAD_TIMEOUT)
            return make()
        made = make()
        self._store.set(key, "done")
        return made

    def leave(self) -> None:
        """End working together; the first process goes on alone."""
        if self.size > 1 and dist.is_initialized():
            with self._lost_process_reported():
                dist.barrier()
                dist.destroy_process_group()

    def reports(self, error: DFADError) -> bool:
        """Whether this process prints the error: the first of all processes that fails does."""
        if self.size == 1:
            return True
        if isinstance(error, LostProcessError) and os.environ.get(SUPERVISED):
            return False
        try:
            return int(self._store.add("errors", 1)) == 1
        except RuntimeError:  # the store was in the first process, which has ended
            return True

    @contextlib.contextmanager
    def _lost_process_reported(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # torch has no error class for a lost peer, only its message
            raise self.lost(error) from error

    def lost(self, error: RuntimeError) -> Exception:
        """A `LostProcessError` where `error` says that another process has ended, else `error`."""
        text = str(error)
        if self.size == 1 or not any(word in text.lower() for word in _LOST):
            return error
        return LostProcessError(
            f"another of the {self.size} training processes ended; the same command goes on from the last checkpoint"
        )


def _consecutive(count: int, number: int, parts: int) -> range:
    """Places of one of the consecutive parts that `np.array_split` makes of `count` rows.

    >>> [list(_consecutive(5, k, 2)) for k in range(2)]
    [[0, 1, 2], [3, 4]]
    """
    each, more = divmod(count, parts)
    begin = number * each + min(number, more)
    return range(begin, begin + each + (number < more))


def processes() -> tuple[int, int, int]:
    """Rank, number of processes and rank on this machine, as torchrun says; (0, 1, 0) without it.

    Raises:
        ConfigError: the environment is not torchrun's.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if "RANK" not in os.environ or "MASTER_ADDR" not in os.environ:
        return 0, 1, 0
    try:
        rank, size, local = (int(os.environ[name]) for name in names)
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{', '.join(names)} must be set as torchrun does, each a number") from error
    return rank, size, local


_runs = itertools.count()  # one process may train several times, e.g. a run a seed


@cache
def _meeting_point() -> Any:
    """The store of torchrun's environment; a process can ask for it once."""
    return next(iter(dist.rendezvous("env://", timeout=STEP_TIMEOUT)))[0]


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Team]:
    """The team of this process, formed as the environment says; gloo between hosts, and NCCL between GPUs.

    Raises:
        DFADError: the others cannot be reached.
    """
    rank, size, _ = processes()
    if size == 1:
        yield Team()
        return
    number = next(_runs)
    try:
        store = _meeting_point()
        team = Team(rank, size, dist.PrefixStore(f"words{number}", store))
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=dist.PrefixStore(f"group{number}", store),
            rank=rank,
            world_size=size,
            timeout=STEP_TIMEOUT,
        )
    except (RuntimeError, ValueError) as error:
        text = str(error).splitlines()[0]
        raise DFADError(f"process {rank} of {size} cannot reach the others ({text}); check MASTER_ADDR") from error
    try:
        yield team
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over the whole batch wherever its parts are; also on CPUs, where torch's own does not run."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected 2 dimensions or more, got {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) normalised by the statistics of the whole batch; `nn.BatchNorm2d` where nothing is split."""
        if not (self.training and is_split()):
            return super().forward(input)
        dims = [d for d in range(input.dim()) if d != 1]
        x = input.float()
        sums = summed(torch.cat([x.sum(dims), x.new_full((1,), x.numel() / x.shape[1])]))  # filled there: no copy
        count = sums[-1].detach()
        shape = [1, -1, *[1] * (input.dim() - 2)]
        centred = x - (sums[:-1] / count).view(shape)
        variance = summed(centred.square().sum(dims)) / count
        self._keep((sums[:-1] / count).detach(), variance.detach() * count / (count - 1))
        result = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            result = result * self.weight.view(shape) + self.bias.view(shape)
        return result.to(input.dtype)

    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics as `nn.BatchNorm2d` does."""
        if not self.track_running_stats:
            return
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        for running, now in ((self.running_mean, mean), (self.running_var, variance)):
            share = 1 / self.num_batches_tracked.to(running.dtype) if self.momentum is None else self.momentum
            running.lerp_(now.to(running.dtype), share)


def synchronise(module: nn.Module) -> None:
    """Turn every BatchNorm below `module` into a `SyncedBatchNorm` that shares its parameters and statistics."""
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and not isinstance(child, SyncedBatchNorm):
            synced = SyncedBatchNorm(
                child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
            )
            synced.__dict__.update({key: child.__dict__[key] for key in ("_parameters", "_buffers", "training")})
            setattr(module, name, synced)
        else:
            synchronise(child)
