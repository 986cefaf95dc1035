"""Pictures that `dfad predict` writes: faces with what was said of them, and timelines of videos."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.api.predict_rows import FACE, REFUSED, TOGETHER, VIDEO, Row
from dfad_bench.core.errors import ConfigError
from dfad_bench.inference.annotated_picture import FaceDrawing, draw_faces
from dfad_bench.inference.faces import FoundFace, frames_again
from dfad_bench.inference.picture_folder import PictureFolder, open_folder
from dfad_bench.inference.run_faces import RunFaces
from dfad_bench.inference.settings import PredictSettings
from dfad_bench.inference.stream import Chunk
from dfad_bench.report.figures.timeline import Timeline, draw_timeline
from dfad_bench.report.open_world.face_answers import UNSEEN, RunAnswers

if TYPE_CHECKING:
    from PIL import Image

NO_GUILT = "A score is no probability of guilt. fake, real and unsure are said at the run's own points."
_AT_ONCE = 16  # faces of a heat-map


@dataclass
class PictureWriter:
    """Writes pictures of chunks, where they were asked for.

    Args:
        asked: which pictures.
        answers: of each run, by what it is called.
        run: the first one, whose heat-maps are drawn.
        normalised: whether gaze is that of the virtual camera.
    """

    asked: PredictSettings
    answers: Mapping[str, RunAnswers]
    run: RunFaces
    normalised: bool
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        folders = {"annotated": self.asked.annotate, "timeline": self.asked.plot}
        self._folders = {name: open_folder(path, name) for name, path in folders.items() if path is not None}
        self._heat_title = ""

    @property
    def needs_pictures(self) -> bool:
        """Whether pictures are to be kept until their faces are predicted."""
        return "annotated" in self._folders

    def write_sample(
        self, chunk: Chunk, place: int, number: int, rows: Sequence[Row], heat: Sequence[np.ndarray]
    ) -> None:
        """Write the pictures of a sample.

        Args:
            chunk: it is in.
            place: of the sample in the chunk.
            number: of the input, which names files.
            rows: of the sample; those of its faces are told the name of their picture.
            heat: heat-maps of all faces of the chunk, or none.
        """
        sample = chunk.samples[place]
        if (folder := self._folders.get("annotated")) is not None:
            self._annotate(folder, chunk, place, number, rows, heat)
        if "timeline" in self._folders and any(row["kind"] == VIDEO for row in rows):
            self._draw_timeline(self._folders["timeline"], number, sample.sample.origin, rows)

    def _annotate(
        self, folder: PictureFolder, chunk: Chunk, place: int, number: int, rows: Sequence[Row],
        heat: Sequence[np.ndarray],
    ) -> None:  # fmt: skip
        """Write the picture of a sample, or each frame of a video."""
        sample = chunk.samples[place]
        first = sum(len(other.faces) for other in chunk.samples[:place])
        faces, by_frame = defaultdict(list), defaultdict(list)
        for at, face in enumerate(sample.faces, first):
            faces[face.frame].append((at, face))
        for row in rows:
            if row["kind"] == FACE:
                by_frame[row["frame"]].append(row)
        drawn = 0
        for frame, picture in self._pictures_of(chunk, place):
            if frame not in faces:
                continue
            drawings = [self._drawing(chunk, at, face, by_frame[frame], heat) for at, face in faces[frame]]
            path = folder.write(draw_faces(picture, drawings, self._foot()), number, sample.sample.origin, frame)
            for row in by_frame[frame]:
                row["annotated"] = path.name
            drawn += 1
        if left := len(faces) - drawn:
            self.remarks.append(f"{sample.sample.origin}: {left} frames could not be read again to be annotated")

    def _pictures_of(self, chunk: Chunk, place: int) -> Iterator[tuple[int | None, Image.Image]]:
        """The picture of a sample, or the frames of a video one by one, read again: all at once may be gigabytes."""
        if (picture := chunk.pictures.get(place)) is not None:
            yield None, picture
        elif chunk.samples[place].faces:
            sample = chunk.samples[place].sample
            for frame in frames_again(sample, self.asked.sampling, self.asked.item_seconds):
                yield frame.index, frame.image

    def heat_of(self, chunk: Chunk) -> list[np.ndarray]:
        """The heat-maps (h, w) of all faces of a chunk; none where they were not asked for, or cannot be made."""
        faces = chunk.faces
        if not self.asked.heat_maps or not faces:
            return []
        found: list[np.ndarray] = []
        try:
            for begin in range(0, len(faces), _AT_ONCE):
                made = self.run.heat_maps([face.crop for face in faces[begin : begin + _AT_ONCE]])
                found += list(made.maps.numpy())
                told = "what was looked at" if made.method == "rollout" else "what speaks for fake"
                self._heat_title = f"{told} ({made.title})"
        except ConfigError as error:
            self.remarks.append(f"no heat-maps: {error}")
            return []
        return found

    def _drawing(
        self, chunk: Chunk, at: int, face: FoundFace, rows: Sequence[Row], heat: Sequence[np.ndarray]
    ) -> FaceDrawing:
        counted = TOGETHER if len(self.answers) > 1 else next(iter(self.answers))
        row = next(
            row
            for row in rows
            if row["kind"] == FACE and (row["frame"], row["face"], row["run"]) == (face.frame, face.number, counted)
        )
        lines = [f"{face.number}: {row['verdict']}"]
        if "p_fake" in row:
            lines.append(f"score {row['p_fake']:.2f}")
        if row.get("generator") is not None:
            lines.append(_label_of_generator(row))
        gaze = None
        if chunk.gaze is not None and np.isfinite(chunk.gaze[at]).all():
            gaze = (float(chunk.gaze[at][0]), float(chunk.gaze[at][1]))
        shown = heat[at] if heat else None
        return FaceDrawing(face.crop, str(row["verdict"]), tuple(lines), gaze, self.normalised, shown)

    def _foot(self) -> list[str]:
        lines = [
            f"{label}: fake above {one.band.high:.2f}, real up to {one.band.low:.2f}, unsure between."
            for label, one in self.answers.items()
            if one.band is not None
        ]
        lines += [f"Red: {self._heat_title}."] if self._heat_title else []
        return [*lines, NO_GUILT]

    def _draw_timeline(self, folder: PictureFolder, number: int, name: str, rows: Sequence[Row]) -> None:
        runs = {}
        for label, answers in self.answers.items():
            mine = [row for row in rows if row["kind"] == FACE and row["run"] == label and "p_fake" in row]
            points = None if answers.band is None else (answers.band.low, answers.band.high)
            if mine:
                runs[label] = Timeline([row["frame"] for row in mine], [row["p_fake"] for row in mine], points)
        lost = [row["frame"] for row in rows if row["kind"] == REFUSED and row.get("frame") is not None]
        if runs:
            path = folder.target(number, name, None, "svg")
            note = (
                f"Fake above the broken line, real below the band. Frames of one video are not independent. {NO_GUILT}"
            )
            draw_timeline(path, runs, lost, Path(name).name, note)


def _label_of_generator(row: Row) -> str:
    """Who made a face, for its picture; the p-value of "seen" stands beside "unseen" only, where it says why.

    Beside a name, in a picture that goes from hand to hand, "1.00" would be read as certainty.
    """
    if row["generator"] != UNSEEN:
        return f"likeliest: {row['generator']}"
    return UNSEEN if row.get("p_seen") is None else f"{UNSEEN} (p {row['p_seen']:.2f})"
