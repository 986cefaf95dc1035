"""Ready-made crops put to an exported file, without torch: rows as those of `predict`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from dfad_bench.api.predict_rows import COLUMNS, FACE, REFUSED
from dfad_bench.core.errors import ConfigError, listed
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.images import ImageRefused
from dfad_bench.export.runner import ExportedModel, FileAnswer
from dfad_bench.inference.inputs import STDIN, NamedInputs
from dfad_bench.report.open_world.face_answers import FAKE, NONE, REAL, UNSEEN, UNSURE
from dfad_bench.report.open_world.known_limits import CANNOT_KNOW

if TYPE_CHECKING:
    from dfad_bench.ingest.sample import RawSample

_AT_ONCE = 32  # faces a call of the file


@dataclass
class FilePredictions:
    """Rows as they come, as `Predictions` of `predict`; `left_out`, `limits` and `remarks` likewise."""

    model: ExportedModel
    limits: tuple[str, ...]
    total: int | None
    _rows: Iterator[dict[str, Any]] = field(repr=False)
    _inputs: NamedInputs = field(repr=False)
    inputs_done: int = 0
    inputs_refused: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in self._rows:
            self.inputs_done += 1
            self.inputs_refused += "status" in row
            if "verdict" in row:
                self.verdicts[row["verdict"]] += 1
            yield row

    @property
    def runs(self) -> tuple[str, ...]:
        """What the file is called in the column `run`."""
        return (self.model.path.name,)

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys a row may have, in the order of a table."""
        return COLUMNS

    @property
    def left_out(self) -> Mapping[str, int]:
        """Files of folders and archives that were not read, by reason."""
        return self._inputs.listing.ignored


def predict_onnx(
    inputs: Sequence[str | Path] | str | Path, onnx: Path | str, *, top: int = 3, skip: int = 0,
    stdin: BinaryIO | None = None, progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> FilePredictions:  # fmt: skip
    """Say of ready-made crops whether they are forged, and by which generator, by a file of `dfad export`.

    No face is looked for: each picture is taken for one crop, as a manifest has it. Torch is not needed.

    Args:
        inputs: pictures, folders, patterns, archives; "-" for names on `stdin`.
        onnx: the file.
        top: classes that are named.
        skip: inputs that are left out, to go on with an interrupted call.
        stdin: where names come from; default `sys.stdin`.
        progress: one step an input.

    Raises:
        WeightsError, ConfigError: see `ExportedModel.open`; or a model that reads views which every face must have.
    """
    import sys

    model = ExportedModel.open(Path(onnx))
    if needed := model.without_views:
        raise ConfigError(
            f"{onnx}: {model.facts.display} reads the view {needed[0].name} of every face, and a picture has"
            " none; use `dfad predict --run`, or `dfad_bench.export.runner` with the view"
        )
    named = NamedInputs([inputs] if isinstance(inputs, str | Path) else list(inputs), stdin or sys.stdin.buffer)
    streamed = any(str(name) == STDIN for name in named.names)
    samples = named if streamed else list(named)
    total = None if streamed else max(0, len(samples) - skip)  # type: ignore[arg-type]  # a list
    rows = _rows(islice(samples, skip, None), model, top, total, progress)
    remarks = [f"no {view.name} is given with pictures: {view.missing}" for view in model.facts.views]
    return FilePredictions(model, tuple(_limits(model)), total, rows, named, remarks=remarks)


def _limits(model: ExportedModel) -> Iterator[str]:
    facts, label = model.facts, model.path.name
    yield CANNOT_KNOW
    faces = listed(facts.crops, 5) or "a dataset that is not said"
    yield f"{label}: {facts.display}, taught {listed(facts.classes, 20)} by faces of {faces}"
    if facts.detection is not None:
        band = facts.detection
        yield f"{label}: real up to {band.low:.3f}, fake above {band.high:.3f}: {band.rule}"
    if facts.unseen is not None:
        yield f"{label}: unseen where the likeliest class is below {facts.unseen.threshold:.3f}: {facts.unseen.rule}"
    yield f"{label}: no face was looked for; each picture was taken for a crop of {facts.side} pixels"


def _rows(
    samples: Iterator[RawSample], model: ExportedModel, top: int, total: int | None, progress: Progress
) -> Iterator[dict[str, Any]]:
    progress.start("Predicting", total)
    try:
        while chunk := list(islice(samples, _AT_ONCE)):
            read = [_crop_of(sample, model.facts.side or 1) for sample in chunk]
            crops = [one[0] for one in read if not isinstance(one, ImageRefused)]
            answer = model.answer(np.stack(crops)) if crops else None
            place = 0
            for sample, one in zip(chunk, read, strict=True):
                if isinstance(one, ImageRefused):
                    yield {"kind": REFUSED, "input": sample.origin, "status": one.status, "reason": one.reason}
                else:
                    assert answer is not None
                    yield {"kind": FACE, "input": sample.origin, **one[1], **_answer_columns(model, answer, place, top)}
                    place += 1
                progress.advance()
    finally:
        progress.finish()


def _answer_columns(model: ExportedModel, answer: FileAnswer, place: int, top: int) -> dict[str, Any]:
    """What the file says of a face, in the columns of `predict`."""
    band, unseen = model.facts.detection, model.facts.unseen
    p_fake, probs = float(answer.p_fake[place]), answer.p_generator[place]
    said: dict[str, Any] = {"face": 1, "faces": 1, "run": model.path.name, "verdict": NONE, "flags": []}
    if band is not None:
        verdict = FAKE if p_fake > band.high else REAL if p_fake <= band.low else UNSURE
        said |= {"verdict": verdict, "p_fake": p_fake, "real_up_to": band.low, "fake_above": band.high}
    if unseen is not None:
        order = np.argsort(-probs, kind="stable")[:top]
        best = model.facts.classes[order[0]]
        said["generator"] = best if probs[order[0]] >= unseen.threshold else UNSEEN
        said["top"] = [{"generator": model.facts.classes[k], "probability": float(probs[k])} for k in order]
    return said


def _crop_of(sample: RawSample, side: int) -> tuple[np.ndarray, dict[str, int]] | ImageRefused:
    """The pixels of a picture (side, side, 3), resized where it has another size, and its own size; or why not."""
    from dfad_bench.data.crop_storage import resized_pixels
    from dfad_bench.ingest.media import read
    from dfad_bench.ingest.media.base import Frame, Sampling

    if sample.refusal:
        return ImageRefused(sample.refusal, sample.refusal_reason)
    if sample.medium in ("video", "animation"):
        return ImageRefused("unreadable", "a video, no ready-made crop: `dfad predict --run` finds its faces")
    try:
        for frame in read(sample, Sampling()):
            if isinstance(frame, Frame):
                pixels = np.asarray(frame.image.convert("RGB"))
                height, width = pixels.shape[:2]
                if height != width:
                    why = f"{width}x{height} pixels, no ready-made square crop: `dfad predict --run` finds faces"
                    return ImageRefused("no_face", why)
                return resized_pixels(pixels, side), {"width": width, "height": height}
    except ImageRefused as refused:
        return refused
    except MemoryError:
        return ImageRefused("too_large", "not enough memory")
    return ImageRefused("unreadable", "no picture")
