"""One process against two that share each batch: on one GPU they meet by gloo, on two by NCCL."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import zoo_throughput as zoo
from torch import distributed as dist
from torch import multiprocessing

from dfad_bench.core.recipe import Optimiser, load_recipe
from dfad_bench.core.registry import model_class
from dfad_bench.core.stage_plan import plan_stage
from dfad_bench.engine.devices import place, wait_for
from dfad_bench.engine.distributed import Team, synchronise
from dfad_bench.engine.optimisers import OptimiserSet, parameter_groups
from dfad_bench.engine.step import Stepper
from dfad_bench.report.table import Column
from gpu_items.item import Bench, DisagreementError, Item, Kind, NotMeasuredError, Rows

TOLERANCE = 2e-3  # of a loss, relative: sums in another order, over a few steps of plain gradient descent
KIND = Kind(
    "team",
    "One and two processes",
    (
        Column("way", "way", "text"),
        Column("processes", "processes", "count"),
        Column("steps", "steps", "count"),
        Column("faces_s", "faces/s", digits=1),
        Column("largest", "losses differ from one process by", "text"),
    ),
    f"Xception in fp32, the same batches; {TOLERANCE:g} of a loss is allowed. Two processes on one GPU show that it"
    " works, not a gain.",
)


@dataclass(frozen=True)
class Work:
    """What each process does."""

    devices: tuple[str, ...]
    backend: str
    size: Any
    batch: int
    steps: int
    port: int


def team_item(backend: str) -> Item:
    """Two processes that meet by gloo or by NCCL."""
    return Item(f"team/{backend}", (45.0, 40.0), lambda bench: measure_teams(backend, bench))


def measure_teams(backend: str, bench: Bench) -> Rows:
    """A row for one process and one for two; DisagreementError where losses differ by more than rounding."""
    devices: tuple[str, ...] = (str(bench.device),) * 2
    if backend == "nccl":
        if not bench.on_gpu or not dist.is_nccl_available():
            raise NotMeasuredError("NCCL is for GPUs")
        devices = tuple(f"cuda:{number}" for number in range(min(2, torch.cuda.device_count())))
    batch, steps = bench.choose(32, 8), bench.choose(10, 3)
    found, rows = [], list[dict[str, Any]]()
    for number in sorted({1, len(devices)}):
        work = Work(devices[:number], backend, bench.size, batch, steps, _free_port())
        found.append(_run_team(work))
        losses, single = np.array(found[-1]["losses"]), np.array(found[0]["losses"])
        apart = float((np.abs(losses - single) / np.abs(single)).max())
        if not apart <= TOLERANCE:
            raise DisagreementError(f"{backend}, {number} processes: losses differ by {apart:.2g} of them")
        row = {"way": f"{backend} on {' and '.join(work.devices)}", "processes": number, "steps": steps}
        rows.append(row | {"faces_s": found[-1]["faces_s"], "largest": f"{apart:.1e} of them" if number > 1 else None})
    if len(devices) == 1:
        rows.append({"way": "nccl with two processes: not measured, it needs a second GPU", "largest": None})
    return rows


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _run_team(work: Work) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # as `dfad train --processes` does
    results = context.SimpleQueue()
    started = [context.Process(target=_take_part, args=(r, asdict(work), results)) for r in range(len(work.devices))]
    try:
        for process in started:
            process.start()
        while results.empty():
            if any(process.exitcode not in (None, 0) for process in started):
                raise DisagreementError(f"a process of {work.backend} ended with an error, printed above")
            time.sleep(0.05)
        found: dict[str, Any] = results.get()
        for process in started:
            process.join(timeout=20)
    finally:
        for process in started:
            if process.is_alive():
                process.kill()
                process.join()
    return found


def _take_part(rank: int, asked: Mapping[str, Any], results: Any) -> None:
    """A process of the team; the first one hands losses and pace back."""
    work = Work(**asked)
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(work.port)})
    torch.set_num_threads(1)
    where, count = place(work.devices[rank]), len(work.devices)
    if where.device.type == "cuda":
        torch.cuda.set_device(where.device)
    dist.init_process_group(work.backend, rank=rank, world_size=count)
    try:
        team = Team(rank, count)
        torch.manual_seed(0)
        model = model_class("xception").build(zoo.GENERATORS, size=work.size)
        if count > 1:
            synchronise(model)  # statistics of BatchNorm over the whole batch
        where.move(model.train())
        recipe, optimiser = load_recipe("default"), Optimiser("sgd", 1e-3, 0.0)
        plan = plan_stage(model.stages[-1], recipe)
        stepper = Stepper(
            model, plan.name, OptimiserSet(parameter_groups(model, plan.name), optimiser), recipe,
            place=where, team=team, scaler=torch.amp.GradScaler(enabled=False),
        )  # fmt: skip
        whole = zoo.faces(model, work.batch, torch.device("cpu"))
        share = stepper.share(np.arange(work.batch))
        mine = _part(whole, share.index).to(where.device)
        losses = [stepper.run(mine, share, 1.0, [])[0]["loss"]]
        team.total(torch.zeros(1, device=where.device))  # this backend's sums work, also where one process is alone
        wait_for(where.device)
        began = time.perf_counter()
        losses += [stepper.run(mine, share, 1.0, [])[0]["loss"] for _ in range(work.steps - 1)]
        wait_for(where.device)
        pace = (work.steps - 1) * work.batch / (time.perf_counter() - began)
        if rank == 0:
            results.put({"losses": losses, "faces_s": round(pace, 1)})
    finally:
        dist.destroy_process_group()


def _part(batch: Any, rows: np.ndarray) -> Any:
    from dfad_bench.engine.contract_checks.subject import rows_of_batch

    return rows_of_batch(batch, slice(int(rows[0]), int(rows[-1]) + 1))
