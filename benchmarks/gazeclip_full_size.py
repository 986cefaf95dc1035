r"""Does GazeCLIP at the paper's size learn on this machine, in what memory, how fast?

Trains it for some hundred steps on the faces of a manifest and keeps the curve: the loss as a mean of each tenth of the
steps, seconds a step, and the most memory that the process held. The run is one of `dfad train`, so the same command
goes on where it was stopped. Without published weights it starts from random ones: the curve shows that the network
learns, and nothing about how good it is.

Example: python benchmarks/gazeclip_full_size.py --protocol corpus --manifest m/corpus --steps 240 --run /tmp/full \\
    --out benchmarks/results/gazeclip_full_size.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import dfad_bench as dfad
from dfad_bench.core.files import write_json
from dfad_bench.core.run_folder import RunFolder

PARTS = 10  # of the curve


def main() -> None:
    options = parse()
    began = time.perf_counter()
    settings = dfad.TrainSettings(
        model="gazeclip", protocol=options.protocol, size="paper", precision=options.precision, device=options.device,
        max_steps=options.steps, allow_partial=True,
    )  # fmt: skip
    dfad.train(settings, options.manifest, options.run, report=lambda line: print(line, file=sys.stderr))
    session_s = time.perf_counter() - began
    result = {**curve(RunFolder(options.run)), "last_session_s": session_s, **surroundings(options)}
    print(json.dumps(result, indent=1))
    if options.out is not None:
        write_json(options.out, result)


def curve(run: RunFolder) -> dict[str, Any]:
    """What the trace of a run says: steps, losses, seconds."""
    trace = pd.read_csv(run.trace)
    facts = json.loads(run.facts.read_text(encoding="utf-8"))
    losses = [float(value) for value in trace["loss"]]
    cuts = [round(k * len(losses) / PARTS) for k in range(PARTS + 1)]
    tenths = [statistics.fmean(losses[a:b]) for a, b in zip(cuts, cuts[1:], strict=False) if b > a]
    return {
        "question": "does GazeCLIP at the paper's size learn, in what memory, how fast?",
        "steps": len(losses),
        "loss_by_tenth": tenths,
        "fell": tenths[-1] < tenths[0],
        "seconds_a_step": facts["run"]["wall_s"] / len(losses),
        "precision": facts["environment"]["precision"],
        "resumed": facts["run"]["resumed"],  # times: memory and seconds of a session are those of the last one
    }


def surroundings(options: argparse.Namespace) -> dict[str, Any]:
    """Where it was measured; memory in bytes, of the whole last process, training and prediction."""
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "protocol": options.protocol,
        "last_session_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[2], 2),  # processes that wanted a core, over 15 minutes: others slow a step down
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, nargs="+", required=True)
    parser.add_argument("--protocol", default="corpus")
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
