"""Trains small models, alone or as one of several processes, which are forks of the one that runs the tests."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.toy import RECIPE, SIDE, TOYS, Toy, toy_protocol, toys_registered
from helpers.training import run_training
from helpers.views import made_up

from dfad_bench.core.contract import Batch, DFADModel, Inputs, Stage
from dfad_bench.core.errors import DFADError
from dfad_bench.core.recipe import Augmentation, Optimiser, Recipe
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.devices import Place
from dfad_bench.engine.fit import Limits
from dfad_bench.engine.job import RunResult

SGD = replace(RECIPE, optimiser=Optimiser("sgd", 1e-3, 0.0), epochs=2, batch_size=16)
CHANGES = tuple(map(Augmentation, ("horizontal_flip", "gaussian_noise", "color_jitter", "jpeg")))


class Calm(Toy):
    """The toy without noise and dropout: two stages, BatchNorm, a loss of the weights alone."""

    stages = (Stage("warm", epochs=1, validate=False, sampler="class_balanced", batch_size=9), Stage("main"))

    def __init__(self, num_generators: int, config: Any) -> None:
        super().__init__(num_generators, config)
        self.body[-1] = torch.nn.Identity()

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, torch.Tensor]:
        losses = DFADModel.losses(self, batch, stage)
        self.calls += 1
        rank = int(os.environ.get("RANK", "0"))
        if self.calls == self.config.bad_step and rank == int(os.environ.get("BAD_RANK", "0")):
            end = os.environ.get("BAD_END", "nan")
            if end == "kill":
                os.kill(os.getpid(), 9)
            if end == "memory":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
            losses["dfd"] = losses["dfd"] * float("nan")
        return {**losses, "size": self.body[0].weight.square().mean()}

    def parameters_of(self, stage: str):
        return self.body.parameters() if stage == "warm" else self.parameters()


TOYS |= {"calm": "helpers.team:Calm", "pseudo": "helpers.pseudo_labels:PseudoLabelToy"}


@dataclass(frozen=True)
class Work:
    """One training: a registered model, and what differs from the usual."""

    model: str
    name: str = ""
    options: Mapping[str, Any] | None = None
    heads: Any = "both"
    recipe: Recipe = SGD
    max_steps: int | None = None
    precision: str = "fp32"
    protocol: Mapping[str, Any] = field(default_factory=dict)  # changes of the toy protocol
    double: bool = False  # compute in float64, where rounding is far below whatever a mistake would do


def gaze(manifests: Sequence[Manifest]):
    """A provider of made-up gaze."""
    ids = np.concatenate([manifest.frame(["sample_id"])["sample_id"] for manifest in manifests]).tolist()
    angles = np.random.default_rng(0).uniform(-0.3, 0.3, (2, len(ids))).astype(np.float32)
    values = dict(zip(ids, angles.T, strict=True))
    return made_up(manifests, lambda names, crops: np.array([values[name] for name in names]))


@contextlib.contextmanager
def in_double() -> Iterator[None]:
    """Everything in float64, also what asks for float32."""
    move, dtype = Place.move, torch.get_default_dtype()

    def lay_out(place: Place, inputs: Inputs) -> Inputs:
        return Inputs(inputs.images.double(), {name: values.double() for name, values in inputs.views.items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        patch.setattr(Place, "move", lambda place, model: move(place, model.double()))
        patch.setattr(Place, "lay_out", lay_out)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def train(root: Path, out: Path, work: Work, **more: Any) -> RunResult:
    """Train in this process (and in the others of its team)."""
    manifests = [Manifest.open(root / name) for name in ("synthetic", "synthetic-outdoor")]
    more = {"limits": Limits(work.max_steps, checkpoint_steps=3), **more}
    with toys_registered(), in_double() if work.double else contextlib.nullcontext():
        return run_training(
            work.model, toy_protocol(**work.protocol), manifests, out / (work.name or work.model), size="tiny",
            recipe=work.recipe, device="cpu", options=work.options, heads=work.heads, views=gaze(manifests),
            precision=work.precision, force_precision=True, **more,
        )  # fmt: skip


class Member:
    """A process of a team: a fork of this one, which starts at once because torch and the models are imported.

    Args:
        run: what it does.
        variables: its environment beside that of this process.
        printed: a new folder for its output.
    """

    def __init__(self, run: Callable[[], None], variables: Mapping[str, str], printed: Path) -> None:
        printed.mkdir(parents=True)
        self._printed = [printed / "stdout", printed / "stderr"]
        # forking is safe here: torch is held to one thread
        self._process = multiprocessing.get_context("fork").Process(target=self._work, args=(run, variables))
        self._process.start()

    def _work(self, run: Callable[[], None], variables: Mapping[str, str]) -> None:
        for handle, path in enumerate(self._printed, 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), handle)
        sys.stdout, sys.stderr = (os.fdopen(handle, "w", buffering=1) for handle in (1, 2))
        os.environ.update(variables)
        run()

    @property
    def returncode(self) -> int | None:
        """Its exit code once it has ended; the negative number of the signal that ended it."""
        return self._process.exitcode

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for its end: what it wrote to stdout and stderr."""
        self._process.join(timeout)
        if self.returncode is None:
            self._process.kill()
            raise TimeoutError(f"a process of the team still runs after {timeout} s")
        out, errors = (path.read_text(encoding="utf-8") for path in self._printed)
        return out, errors


def start(root: Path, out: Path, works: Sequence[str], processes: int, **variables: str) -> list[Member]:
    """Processes that train the named entries of `WORKS` together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    import_module("open_clip")  # once, instead of in each process
    together = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), **variables}
    started = []
    for rank in range(processes):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), **together}
        started.append(Member(functools.partial(train_all, root, out, works), own, out / "printed" / str(rank)))
    return started


WORKS = {
    work.name or work.model: work
    for work in (
        Work("calm"),
        Work("calm", "calm_attribution", heads="attribution"),
        Work("calm", "calm_odd", recipe=replace(SGD, batch_size=10)),  # 51 faces: the last batch holds 1 + 10
        Work("calm", "calm_adam", recipe=replace(SGD, optimiser=Optimiser("adam", 1e-3, 0.0))),
        Work("calm", "calm_augmented", recipe=replace(SGD, augment=CHANGES)),
        Work("pseudo", options={"drawn": False}, protocol={"unlabelled_share": 0.6}),
        Work("calm", "calm_centres", options={"centre_loss": "dfacc"}),
        Work("calm", "calm_half", max_steps=5),
        Work("calm", "calm_bad", options={"bad_step": 4}),
        Work("calm", "calm_bf16", precision="bf16"),
        Work("xception", recipe=replace(SGD, epochs=1)),
        Work("xception", "xception_double", recipe=replace(SGD, epochs=1), double=True),
        Work("calm", "calm_double", recipe=replace(SGD, optimiser=Optimiser("adam", 1e-3, 0.0)), double=True),
        Work("clip", recipe=replace(SGD, epochs=1)),
        Work("clip", "clip_multi", recipe=replace(SGD, epochs=1), options={"cmc_targets": "multi"}),
        Work("gazeclip", recipe=replace(SGD, epochs=1)),
        Work("gazeclip", "gazeclip_double", recipe=replace(SGD, epochs=1), double=True),
        Work("mfclip", recipe=replace(SGD, epochs=1)),
        Work("majority"),
    )
}


def train_all(root: Path, out: Path, names: Sequence[str]) -> None:
    """Train the named entries of `WORKS` one after the other, as the command does: an error is a line and a code."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    assert SIDE == 32
    for name in names:
        try:
            result = train(root, out, WORKS[name])
        except DFADError as error:
            sys.stderr.write(f"Error: {error}\n")
            sys.exit(error.exit_code)
        sys.stdout.write(f"{name} {result.status} {result.lead}\n")
