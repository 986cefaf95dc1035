"""Rows of `dfad predict`: one schema for every format, documented in docs/predict.md.

Of several runs each has a row of its own, and one more says what they come to together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.inference.faces import FoundFace, SampleFaces
from dfad_bench.inference.provenance.stated_origin import StatedOrigin
from dfad_bench.inference.redeliveries import REDELIVERIES
from dfad_bench.report.open_world.face_answers import NONE, UNSURE, Naming, RunAnswers, name_face
from dfad_bench.report.open_world.gallery_table import Prototypes

if TYPE_CHECKING:
    from dfad_bench.inference.stream import Chunk

FACE, VIDEO, REFUSED = "face", "video", "refused"
TOGETHER = "all runs"
SWITCHED = "identity_switch"
TURNS = 2  # re-deliveries of eight that must turn a verdict for it to be unsure
# every column, in this order; what a row does not say is empty
COLUMNS = (
    "kind", "input", "frame", "face", "faces", "run", "verdict", "p_fake", "real_up_to", "fake_above",
    "disagreement", "turned_by", "lost_by", "redelivered", "generator", "nearest", "similarity", "p_seen",
    "attribution_set", "top", "box_x0", "box_y0", "box_x1", "box_y1", "box_score", "width", "height", "pitch_rad",
    "yaw_rad", "flags", "frames", "p_fake_low", "p_fake_high", "called_fake", "source_type", "credentials",
    "states_generated", "annotated", "status", "reason",
)  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True)
class Scored:
    """Numbers of some faces by one run: (n,) and (n, x); `p` are p-values of the classes, None without."""

    p_fake: np.ndarray
    probs: np.ndarray
    p: np.ndarray | None
    similar: np.ndarray | None = None  # (n, k) cosines to the prototypes of a gallery
    again: np.ndarray | None = None  # (n, ways) scores in re-deliveries, NaN where a face was not found again

    def mean(self) -> Scored:
        """Those of the faces as one: means of probabilities; of p-values twice the mean.

        Frames of one video, and answers of several runs for one face, depend on each other in ways nobody knows. Twice
        the mean of p-values is a p-value whatever they do (Vovk and Wang, Biometrika 2020).
        """
        p = None if self.p is None else np.minimum(2 * self.p.mean(axis=0, keepdims=True), 1.0)
        again = None if self.again is None else _means_of_found(self.again)
        similar = None if self.similar is None else self.similar.mean(axis=0, keepdims=True)
        return Scored(self.p_fake.mean(keepdims=True), self.probs.mean(axis=0, keepdims=True), p, similar, again)

    def of_rows(self, rows: Sequence[int]) -> Scored:
        """Those of some faces."""
        at = np.asarray(rows, dtype=int)
        p, similar, again = (None if one is None else one[at] for one in (self.p, self.similar, self.again))
        return Scored(self.p_fake[at], self.probs[at], p, similar, again)


@dataclass(frozen=True)
class RowMaker:
    """Makes rows of chunks.

    Attributes:
        answers: of each run, by what it is called.
        learnt: of each run, hashes of the pixels of its training faces.
        top: classes that are named.
        galleries: of each run, prototypes that faces are named by; empty where none was asked for.
    """

    answers: Mapping[str, RunAnswers]
    learnt: Sequence[frozenset[str]]
    top: int
    galleries: Sequence[Prototypes] = ()

    def rows(self, chunk: Chunk) -> Iterator[list[Row]]:
        """The rows of each sample of a chunk."""
        scored = [self._scored(chunk, number) for number in range(len(self.answers))] if chunk.outputs else []
        first = 0
        for sample in chunk.samples:
            numbers = range(first, first + len(sample.faces))
            first += len(sample.faces)
            rows: list[Row] = []
            for own, place in enumerate(numbers):
                rows += self._face_rows(chunk, sample, place, own, scored)
            if sample.is_video and len(numbers):
                rows += self._video_rows(sample, [one.of_rows(numbers) for one in scored])
            rows += [_refused_row(sample, part.frame, part.status, part.reason) for part in sample.refused]
            yield [row | _origin_columns(sample.origin) for row in rows]

    def _scored(self, chunk: Chunk, number: int) -> Scored:
        made, answers = chunk.outputs[number], list(self.answers.values())[number]
        probs = made.probs
        again = chunk.redelivered[number] if chunk.redelivered else None
        embedding = made.outputs.embedding
        similar = self.galleries[number].similarities(embedding) if self.galleries else None
        return Scored(made.p_fake, probs, answers.p_values(probs, embedding), similar, again)

    def _face_rows(
        self, chunk: Chunk, sample: SampleFaces, place: int, own: int, scored: Sequence[Scored]
    ) -> Iterator[Row]:
        face = sample.faces[own]
        about = {"kind": FACE, "input": sample.sample.origin, **_face_columns(face)}
        if chunk.gaze is not None and np.isfinite(chunk.gaze[place]).all():
            pitch, yaw = (float(angle) for angle in chunk.gaze[place])
            about |= {"pitch_rad": pitch, "yaw_rad": yaw}
        known = [face.crop_sha256 in learnt for learnt in self.learnt]
        made = []
        for (label, answers), one, learnt in zip(self.answers.items(), scored, known, strict=True):
            cells = self._answer(answers, one.of_rows([place]))
            flags = [*face.crop.flags, *([SWITCHED] * face.crop.switched), *(["training_face"] * learnt)]
            made.append({**about, "run": label, **cells, "flags": flags})
        yield from made
        if len(made) > 1:
            yield {**about, "run": TOGETHER, **self._together(made, [one.of_rows([place]) for one in scored])}

    def _video_rows(self, sample: SampleFaces, scored: Sequence[Scored]) -> Iterator[Row]:
        about = {"kind": VIDEO, "input": sample.sample.origin, "frames": len(sample.faces)}
        made = []
        for (label, answers), one in zip(self.answers.items(), scored, strict=True):
            cells = self._answer(answers, one.mean())
            if answers.band is not None:
                cells |= {"p_fake_low": float(one.p_fake.min()), "p_fake_high": float(one.p_fake.max())}
                cells["called_fake"] = float((one.p_fake > answers.band.high).mean())
            flags = [SWITCHED] if any(face.crop.switched for face in sample.faces) else []
            made.append({**about, "run": label, **cells, "flags": flags})
        yield from made
        if len(made) > 1:
            yield {**about, "run": TOGETHER, **self._together(made, [one.mean() for one in scored])}

    def _answer(self, answers: RunAnswers, one: Scored) -> Row:
        """What one run says of one face."""
        cells: Row = {"verdict": answers.verdicts(one.p_fake)[0]}
        if answers.band is not None:
            cells |= {"p_fake": float(one.p_fake[0]), "real_up_to": answers.band.low, "fake_above": answers.band.high}
            if one.again is not None:
                cells |= _stability(answers, one.again[0], str(cells["verdict"]))
        cells |= _naming_columns(answers.names(one.probs, one.p, self.top)[0])
        return cells if one.similar is None else cells | self._nearest(answers, one.similar[0])

    def _nearest(self, answers: RunAnswers, similar: np.ndarray) -> Row:
        """The nearest prototype; where it is an enrolled generator, a face is named by it."""
        gallery = self.galleries[list(self.answers.values()).index(answers)]
        best = int(similar.argmax())
        cells: Row = {"nearest": gallery.titles[best], "similarity": float(similar[best])}
        return cells | ({"generator": gallery.titles[best]} if best >= gallery.seen else {})

    def _together(self, made: Sequence[Row], scored: Sequence[Scored]) -> Row:
        """What several runs come to: the verdict they share, else unsure; a name by their mean where classes agree."""
        verdicts = {row["verdict"] for row in made} - {NONE}
        cells: Row = {"verdict": NONE if not verdicts else verdicts.pop() if len(verdicts) == 1 else UNSURE}
        if values := [row["p_fake"] for row in made if "p_fake" in row]:
            cells |= {"p_fake": float(np.mean(values)), "disagreement": float(max(values) - min(values))}
        every = list(self.answers.values())
        if all(one.attributes for one in every) and len({one.classes for one in every}) == 1:
            known = [one.p[0] for one in scored if one.p is not None]
            p = np.stack(known) if len(known) == len(scored) else None
            whole = Scored(np.zeros(len(scored)), np.stack([one.probs[0] for one in scored]), p).mean()
            least = max(one.arrays.protocol.attribution.headline for one in every)
            naming = name_face(
                every[0].classes, whole.probs[0], None if whole.p is None else whole.p[0], self.top, least
            )
            return cells | _naming_columns(naming)
        names = {row.get("generator") for row in made} - {None}
        return cells | ({"generator": names.pop()} if len(names) == 1 else {})


def _means_of_found(again: np.ndarray) -> np.ndarray:
    """Means (1, ways) over the faces (n, ways) that were found again; NaN where none was."""
    found = np.isfinite(again)
    counts = found.sum(axis=0)
    sums = np.where(found, again, 0.0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)[None]


def _stability(answers: RunAnswers, again: np.ndarray, verdict: str) -> Row:
    """Which re-deliveries turn a verdict or lose the face; two of them make it unsure."""
    scores = dict(zip(REDELIVERIES, again.tolist(), strict=True))
    lost = [way for way, score in scores.items() if not np.isfinite(score)]
    said = {way: answers.verdicts(np.array([score]))[0] for way, score in scores.items() if way not in lost}
    turned = [way for way, other in said.items() if other != verdict]
    cells: Row = {"turned_by": turned, "lost_by": lost}
    cells["redelivered"] = {way: scores[way] for way in said}
    return cells | ({"verdict": UNSURE} if len(turned) + len(lost) >= TURNS and verdict != NONE else {})


def _face_columns(face: FoundFace) -> Row:
    box = dict(zip(("box_x0", "box_y0", "box_x1", "box_y1"), face.crop.box or (), strict=False))
    about = {"frame": face.frame, "face": face.number, "faces": face.faces, "width": face.width, "height": face.height}
    return {**about, **box, "box_score": face.crop.box_score}


def _naming_columns(naming: Naming | None) -> Row:
    if naming is None:
        return {}
    inside = None if naming.inside is None else list(naming.inside)
    cells = {"generator": naming.generator, "p_seen": naming.p_seen, "attribution_set": inside}
    return {**cells, "top": [{"generator": name, "probability": p} for name, p in naming.top]}


def _origin_columns(origin: StatedOrigin | None) -> Row:
    if origin is None:
        return {}
    cells: Row = {"source_type": origin.source_type, "credentials": origin.credentials.text}
    return cells | {"states_generated": origin.states_generated}


def _refused_row(sample: SampleFaces, frame: int | None, status: str, reason: str) -> Row:
    return {"kind": REFUSED, "input": sample.sample.origin, "frame": frame, "status": status, "reason": reason}
