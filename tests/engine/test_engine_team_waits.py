"""What a step of a team waits for, counted in two processes over gloo: nothing but what is listed here.

Processes exchange gradients, losses, statistics of batch norms and rows of the batch by collectives of the device, for
which its host does not wait. Their hosts exchange how many rows each has. Steps are watched from the second on: torch
arranges its buckets after the first, once a stage.
"""

from __future__ import annotations

import functools
import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.steps import CPU, batch_for, built
from helpers.syncs import SyncWatch
from helpers.team import SGD, WORKS, Member, train
from helpers.toy import RECIPE, toy_manifests, toys_registered

from dfad_bench.core.contract import Batch, DFADModel
from dfad_bench.core.files import read_json, write_json
from dfad_bench.engine.contract_checks.subject import rows_of_batch
from dfad_bench.engine.devices import Place
from dfad_bench.engine.distributed import Team, joined, synchronise
from dfad_bench.engine.fit import Limits
from dfad_bench.engine.optimisers import OptimiserSet, parameter_groups
from dfad_bench.engine.step import Stepper

pytestmark = pytest.mark.heavy
# Kinds: batch norm, frozen towers with rows of all processes, labels that are hidden, prototypes, views and prompts.
MODELS = ("calm", "clip", "cpl", "cdal", "omnidfa", "gazeclip", "mfclip")
UNUSED = "torch asks the others for parameters without a gradient"
# Where a step waits, by model and experts that learn.
LISTED = {"clip, attribution": {UNUSED}}
STEPS = 3


def part_of(batch: Batch, team: Team) -> tuple[Batch, Any]:
    share = team.share(np.arange(len(batch)))
    return rows_of_batch(batch, slice(share.places.start, share.places.stop)), share


def waits_of(model: DFADModel, team: Team, heads: str) -> set[str]:
    """What this process waits for in the last stage's steps but the first."""
    synchronise(model)
    stage = model.stages[-1]
    labels = frozenset({"attribution", "detection"}) if heads == "both" else frozenset({heads})
    stepper = Stepper(
        model.train(), stage.name, OptimiserSet(parameter_groups(model, stage.name), RECIPE.optimiser), RECIPE,
        place=Place(CPU), team=team, scaler=torch.amp.GradScaler(enabled=False),
        labels=labels,  # type: ignore[arg-type]  # names of labels
    )  # fmt: skip
    parts = [part_of(batch_for(model), team) for _ in range(STEPS)]
    stepper.issue(*parts[0], 1.0, [False, False])
    with SyncWatch(model, [batch for batch, _ in parts[1:]], CPU) as watch:
        for batch, share in parts[1:]:
            stepper.issue(batch, share, 1.0, [False, False])
    assert len(stepper.read()) == STEPS
    unused = stepper._forward._get_ddp_logging_data().get("unused_parameter_size", 0)  # type: ignore[operator]  # of DDP
    stepper.close()
    return set(watch.found) | ({UNUSED} if unused else set())


def watch_all(out: Path) -> None:
    torch.set_num_threads(1)
    found = {}
    with toys_registered(), joined(CPU) as team:
        for name in MODELS:
            found[name] = sorted(waits_of(built(name), team, "both"))
        found["clip, attribution"] = sorted(waits_of(built("clip"), team, "attribution"))
        write_json(out / f"{team.rank}.json", found)


def team_of_two(run: Any, out: Path) -> list[dict[str, Any]]:
    """Two forks of this process as a team; what each wrote."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    own = [{"RANK": str(rank), "LOCAL_RANK": str(rank), **together} for rank in range(2)]
    members = [Member(run, variables, out / "printed" / variables["RANK"]) for variables in own]
    ended = [member.communicate(timeout=500) for member in members]
    assert [member.returncode for member in members] == [0, 0], ended
    return [read_json(out / f"{rank}.json") for rank in range(2)]


@pytest.mark.timeout(900)
def test_steps_of_a_team_wait_for_nothing_but_what_is_listed(tmp_path: Path) -> None:
    import open_clip  # noqa: F401  # once, instead of in each process

    torch.set_num_threads(1)
    for found in team_of_two(functools.partial(watch_all, tmp_path), tmp_path):
        assert found == {name: sorted(LISTED.get(name, ())) for name in (*MODELS, *LISTED)}, json.dumps(found)


def train_unread(root: Path, out: Path) -> None:
    """A run of two processes on a device whose steps are read five at a time; how many steps each reading had."""
    torch.set_num_threads(1)
    read, many = Stepper.read, list[int]()

    def counted(stepper: Stepper) -> Any:
        found = read(stepper)
        many.append(len(found))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stepper, "read", counted)
        patch.setattr(Place, "steps_unread", 5)
        train(root, out / "run", replace(WORKS["calm"], recipe=replace(SGD, epochs=2, batch_size=4)), limits=Limits())
    write_json(out / f"{os.environ['RANK']}.json", {"readings": [count for count in many if count]})


def test_losses_of_a_team_are_read_once_an_interval(tmp_path: Path) -> None:
    toy_manifests(tmp_path / "faces")
    one, other = team_of_two(functools.partial(train_unread, tmp_path / "faces", tmp_path), tmp_path)
    assert one == other
    steps = sum(one["readings"])
    assert steps > 20
    assert max(one["readings"]) == 5
    assert len(one["readings"]) <= steps / 5 + 3  # the rest of an epoch: a warm one, and two
