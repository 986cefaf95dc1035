"""How long does a board of many records take, with intervals over faces and over generators?

Records are made of drawn predictions (as many as `--distinct`, copied under other names), of a protocol of 30 unseen
generators. The board is made once without the numbers over generators and once with them, in turns; memory is the
largest of the process. Reading the records from disk is timed apart.

    python benchmarks/board_speed.py --records 200 --out benchmarks/results/board_speed.json
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.runs import write_run
from helpers.toy import toy_predictions

from dfad_bench.core.files import write_json
from dfad_bench.core.protocol import Group, Protocol, load_protocol
from dfad_bench.core.record import ResultRecord, read_record, write_record
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.report import leaderboard


def protocol_of(generators: int) -> Protocol:
    """The synthetic protocol with so many unseen forged groups."""
    base = load_protocol("synthetic")
    seen = {group.generator for group in base.seen}
    names = [about.key for about in taxonomy() if about.detection_label == 1 and about.key not in seen]
    return replace(base, unseen=(base.unseen[0], *(Group(name, "synthetic-unseen") for name in names[:generators])))


def records_of(protocol: Protocol, count: int, distinct: int, folder: Path) -> list[ResultRecord]:
    """Records of as many models."""
    made = [
        write_run(folder / str(k), protocol, toy_predictions(protocol, 20, seed=k), resamples=200)
        for k in range(distinct)
    ]
    found = []
    for k in range(count):
        one, digest = made[k % distinct], f"{k:064x}"
        model = replace(one.model, name=f"model-{k}", display=f"Model {k}", registry_sha256=digest)
        found.append(replace(one, record_id=digest, model=model, run=replace(one.run, config_sha256=digest)))
    return found


def seconds(make: Callable[[], Any]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    make()
    return time.perf_counter() - began


def measure(records: int, generators: int, distinct: int, turns: int) -> dict[str, Any]:
    """Both boards in turns, the first one of each left out."""
    protocol = protocol_of(generators)
    with tempfile.TemporaryDirectory() as name:
        made = records_of(protocol, records, distinct, Path(name))
        path = Path(name) / "record.json"
        write_record(path, read_record(Path(name) / "0" / "record.json"))
        reading = statistics.median(seconds(lambda: read_record(path)) for _ in range(20))
    none = {"unseen_generators_range": None, "no_generators": None, "_over": None}
    with_both, faces_only = [], []
    for _ in range(turns + 1):
        with (
            patch.object(leaderboard, "generator_numbers", lambda *_: dict(none)),
            patch.object(leaderboard, "rank_over_generators", lambda _: None),
        ):
            faces_only.append(seconds(lambda: leaderboard.board(protocol, made)))
        with_both.append(seconds(lambda: leaderboard.board(protocol, made)))
    both, alone = statistics.median(with_both[1:]), statistics.median(faces_only[1:])
    return {
        "question": "a board of many records, with intervals over faces only and over generators too",
        "records": records, "unseen_generators": generators, "turns": turns,
        "faces_only_s": round(alone, 3), "both_s": round(both, 3), "ratio": round(both / alone, 2),
        "read_one_record_s": round(reading, 5),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }  # fmt: skip


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--generators", type=int, default=30)
    parser.add_argument("--distinct", type=int, default=4)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    found = measure(options.records, options.generators, options.distinct, options.turns)
    print(f"{found['records']} records: {found['faces_only_s']} s over faces only, {found['both_s']} s with both")
    print(f"reading a record {1000 * found['read_one_record_s']:.1f} ms; memory {found['peak_memory_mib']} MiB")
    if options.out:
        write_json(options.out, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
