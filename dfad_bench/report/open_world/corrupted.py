"""Corrupted test faces of a run, where they were predicted: one set of faces for each corruption and severity."""

from __future__ import annotations

import pandas as pd

from dfad_bench.core.record import read_record
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.report.open_world.run_arrays import RunArrays
from dfad_bench.report.run_record import read_predictions
from dfad_bench.report.score import faces_of
from dfad_bench.report.scored_faces import Faces


def corrupted_faces(run: RunArrays) -> list[Faces]:
    """Faces under each corruption and severity of a run's robustness evaluations under the same protocol.

    Of several evaluations with the same cell the last counts. Empty where nothing was predicted.

    Raises:
        IntegrityError: predictions that were changed after they were written.
    """
    cells: dict[tuple[str, int], Faces] = {}
    for path in RunFolder(run.folder).robustness_records():
        record = read_record(path)
        if record.protocol.sha256 != run.record.protocol.sha256:
            continue
        about = {"path": record.predictions.path, "sha256": record.predictions.sha256}
        frame = read_predictions(path.parent, about)
        frame = frame[frame["severity"] > 0]
        keys = zip(frame["corruption"].astype(str), frame["severity"].astype(int), strict=True)
        for key, rows in frame.groupby(pd.Series(list(keys), index=frame.index)):
            cells[key] = faces_of(rows.reset_index(drop=True), run.protocol, run.resamples)  # type: ignore[index]  # a pair
    return [cells[key] for key in sorted(cells)]
