r"""How many neighbours of a ranking are told apart over faces, and how many over generators?

Runs that were made by `dfad import-predictions` are ordered by their AUC of detection, and each is compared with the
next one by `dfad compare`: over other faces of these generators, and over other generators of this kind. Of the matrix
of deepsafe-bench (installed by you, for noncommercial use):

    dfad import-predictions predictions_medium.csv.gz --layout deepsafe --only modality=images --set deepsafe-images \\
        --models prob_npr,prob_universal,prob_yermandy,prob_effort,prob_fsd,prob_cospy,prob_aide,ensemble_score \\
        --out runs
    python benchmarks/matrix_ranking.py --runs runs --out benchmarks/results/matrix_ranking.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import dfad_bench as dfad
from dfad_bench.core.files import write_json
from dfad_bench.core.record import read_record
from dfad_bench.core.run_folder import RunFolder


def main() -> None:
    options = parse()
    folders = [folder for folder in sorted(options.runs.iterdir()) if RunFolder(folder).record.is_file()]
    areas = {folder: area(folder) for folder in folders}
    order = sorted(areas, key=lambda folder: -areas[folder])
    pairs = [neighbours(a, b, options.resamples) for a, b in zip(order, order[1:], strict=False)]
    result: dict[str, Any] = {
        "question": "how many neighbours of a ranking are told apart over faces, and how many over generators?",
        "protocol": read_record(RunFolder(order[0]).record).protocol.name,
        "auc": {folder.name: round(areas[folder], 4) for folder in order},
        "neighbours": pairs,
        "apart_over_faces": sum(pair["apart_over_faces"] for pair in pairs),
        "apart_over_generators": sum(pair["apart_over_generators"] for pair in pairs),
        "of": len(pairs),
        "resamples": options.resamples,
    }
    print(json.dumps(result, indent=1))
    if options.out is not None:
        write_json(options.out, result)


def area(folder: Path) -> float:
    """The pooled AUC of detection of the record of a run."""
    record = read_record(RunFolder(folder).record)
    wanted = ("detection", "auc", "unseen", "micro")
    found = [m.value for m in record.metrics if (m.task, m.metric, m.subset, m.averaging) == wanted]
    if not found or found[0] is None:
        raise SystemExit(f"{folder}: no AUC of detection")
    return float(found[0])


def neighbours(a: Path, b: Path, resamples: int) -> dict[str, Any]:
    """The difference of two runs in the mean AUC over generators, with both intervals."""
    found = dfad.compare(a, b, resamples=resamples)
    over = next(one for one in found.over_generators if one.metric == "auc")
    faces = next(row for row in found.rows if (row.metric, row.subset, row.averaging) == ("auc", "unseen", "macro"))
    intervals = {"over_faces": faces.ci95, "over_generators": over.ci95}
    apart = {f"apart_{name}": ci is not None and (ci[0] > 0 or ci[1] < 0) for name, ci in intervals.items()}
    return {"a": a.name, "b": b.name, "difference": faces.difference, **intervals, **apart}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder of runs of the same faces")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    return parser.parse_args()


if __name__ == "__main__":
    main()
