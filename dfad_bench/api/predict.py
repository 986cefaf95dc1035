"""Pictures and videos of anybody, and what finished runs say of the faces in them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from dfad_bench.api.galleries import gallery_of_run
from dfad_bench.api.predict_pictures import PictureWriter
from dfad_bench.api.predict_rows import COLUMNS, FACE, TOGETHER, Row, RowMaker
from dfad_bench.api.runs import Run, folder_of, list_of_runs
from dfad_bench.api.views import views_of_run
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.engine.config import read_config
from dfad_bench.gaze.estimators.base import GazeEstimator
from dfad_bench.gaze.estimators.build import build_estimator
from dfad_bench.inference.faces import SampleFaces
from dfad_bench.inference.inputs import STDIN, NamedInputs
from dfad_bench.inference.run_faces import RunFaces
from dfad_bench.inference.settings import PredictSettings
from dfad_bench.inference.stream import predict_samples, same_profile
from dfad_bench.report.labels import run_labels
from dfad_bench.report.open_world.face_answers import RunAnswers
from dfad_bench.report.open_world.known_limits import CANNOT_KNOW, limits
from dfad_bench.report.open_world.run_arrays import RunArrays

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.ingest.sample import RawSample

Inputs = Sequence[str | Path] | str | Path
NO_GAZE = "none"
_ESTIMATOR = "geometric"  # needs no download


@dataclass
class Predictions:
    """Rows as they come; one picture after the other is read when the next row is asked for.

    Attributes:
        runs: what the runs are called in the column `run`.
        limits: what the runs cannot know, and what they did on their own test faces.
        total: inputs, None where names come from a stream.
        inputs_done: inputs whose rows have been given out.
        inputs_refused: inputs of which something could not be used.
        verdicts: how many faces were called what; of several runs, by all of them.
        remarks: what a reader must know that came up on the way.
    """

    runs: tuple[str, ...]
    limits: tuple[str, ...]
    total: int | None
    _rows: Iterator[tuple[list[Row], Sequence[str]]] = field(repr=False)
    _inputs: NamedInputs = field(repr=False)
    inputs_done: int = 0
    inputs_refused: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Row]:
        for rows, remarks in self._rows:
            self.remarks += [line for line in remarks if line not in self.remarks]
            yield from rows
            counted = TOGETHER if len(self.runs) > 1 else self.runs[0]
            self.verdicts.update(row["verdict"] for row in rows if row["kind"] == FACE and row["run"] == counted)
            self.inputs_refused += any("status" in row for row in rows)
            self.inputs_done += 1

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys a row may have, in the order of a table."""
        return COLUMNS

    @property
    def left_out(self) -> Mapping[str, int]:
        """Files of folders and archives that were not read, by reason."""
        return self._inputs.listing.ignored

    def to_frame(self) -> pd.DataFrame:
        """All rows that are left, in the columns of docs/predict.md; holds them in memory."""
        import pandas as pd

        return pd.DataFrame(list(self), columns=list(COLUMNS))


def predict(
    inputs: Inputs, run: Sequence[Run] | Run, settings: PredictSettings = PredictSettings(), *,  # noqa: B008  frozen
    views: Mapping[str, Mapping[str, Any]] | None = None, stdin: BinaryIO | None = None,
    progress: Progress = NoProgress(), **changes: Any,  # noqa: B008  stateless
) -> Predictions:  # fmt: skip
    """Say of the faces in pictures and videos whether they are forged, and by which generator, as finished runs see it.

    Faces are read, found and cropped as in the manifests the runs learnt from.

    Args:
        inputs: pictures, folders, patterns, videos, archives; "-" for names on `stdin`.
        run: a finished run, or several, which are asked about the same crops.
        settings: how to read, and what to say.
        views: settings of the views the models need, where they are not those they were trained with.
        stdin: where names come from; default `sys.stdin`.
        progress: one step an input.
        changes: fields of `PredictSettings` that take the place of those in `settings`, as in `top=5`.

    Returns:
        Rows as they come, a mapping a row; see `Predictions`.

    Raises:
        ConfigError: no such run, one that does not say how its faces were cropped, or runs of several crop profiles.
        IntegrityError: a run that was changed after it was written.
    """
    asked, folders = replace(settings, **changes), [folder_of(one) for one in list_of_runs(run)]
    if not folders:
        raise ConfigError("predict: give a run (--run)")
    answers = {label: RunAnswers(arrays) for label, arrays in _labelled(folders).items()}
    opened = [_opened(folder, views or {}, asked) for folder in folders]
    same_profile(opened)
    lines = [line for one in opened for line in one.warnings]
    told = [CANNOT_KNOW, *(line for label, one in answers.items() for line in limits(one, label))]
    names = NamedInputs([inputs] if isinstance(inputs, str | Path) else list(inputs), stdin or sys.stdin.buffer)
    streamed = any(str(name) == STDIN for name in names.names)
    samples = names if streamed else list(names)
    total = None if streamed else max(0, len(samples) - asked.skip)  # type: ignore[arg-type]
    galleries = [gallery_of_run(one.folder, one.checkpoint_sha256, asked.gallery) for one in opened if asked.gallery]
    maker = RowMaker(answers, [one.learnt for one in opened], asked.top, galleries)
    rows = _rows(islice(samples, asked.skip, None), opened, asked, maker, total, progress)
    return Predictions(tuple(answers), tuple(told), total, rows, names, remarks=lines)


def _rows(
    samples: Iterator[RawSample], opened: Sequence[RunFaces], asked: PredictSettings, maker: RowMaker,
    total: int | None, progress: Progress,
) -> Iterator[tuple[list[Row], Sequence[str]]]:  # fmt: skip
    """The rows of each sample, and remarks."""
    gaze = _estimator(asked)
    normalised = bool(getattr(gaze, "normalised", True))
    writer = PictureWriter(asked, maker.answers, opened[0], normalised)
    number = asked.skip
    progress.start("Predicting", total)
    try:
        for chunk in predict_samples(samples, opened, asked, gaze, keep_pictures=writer.needs_pictures):
            heat = writer.heat_of(chunk)
            for place, rows in enumerate(maker.rows(chunk)):
                number += 1
                writer.write_sample(chunk, place, number, rows, heat)
                yield rows, [*chunk.remarks, *writer.remarks, *_count_of_others(chunk.samples[place])]
                progress.advance()
    finally:
        progress.finish()


def _count_of_others(sample: SampleFaces) -> list[str]:
    more = "more faces, smaller than those shown (--most-faces)"
    return [f"{sample.sample.origin}: {sample.left_out} {more}"] if sample.left_out else []


def _labelled(folders: Sequence[Path]) -> dict[str, RunArrays]:
    """The runs as arrays, by what they are called."""
    found = [RunArrays(folder, resamples=0) for folder in folders]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError("--run: a run is given twice")
    labels = run_labels([one.record for one in found], folders)
    return dict(zip(labels, found, strict=True))


def _opened(folder: Path, views: Mapping[str, Mapping[str, Any]], asked: PredictSettings) -> RunFaces:
    known = views_of_run(read_config(folder).views, views)
    return RunFaces.open(folder, known, device=asked.device, crop=asked.crop)


def _estimator(asked: PredictSettings) -> GazeEstimator | None:
    """What estimates the gaze that is shown."""
    if asked.estimator == NO_GAZE:
        return None
    return build_estimator(asked.estimator or _ESTIMATOR)
