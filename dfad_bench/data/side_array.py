"""Arrays with a row a face, kept beside a manifest and memory-mapped: decoded crops, and image-shaped views."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import atomic_path, move_into_place, read_json, reserve, sha256_file, write_json
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.side_table import MARKER, SideFile

VALUES = "values.npy"
VERIFIED_BYTES = 1 << 30  # larger files are checked by size only: hashing them takes longer than an epoch's start
_SILENT = NoProgress()


@dataclass(frozen=True)
class Block:
    """Values of some rows of an array; `absent` are the rows among them that have none (and hold zeros)."""

    places: np.ndarray  # (n,) row numbers
    values: np.ndarray | Sequence[np.ndarray]  # n rows
    absent: tuple[int, ...] = ()


class SideArray(SideFile):
    """A `.npy` file of fixed shape, filled row by row and committed block by block.

    A damaged one is made again: nothing in it is lost, since it follows from its sources.
    """

    def is_whole(self) -> bool:
        """Whether the array is there, of this identity and undamaged (by size alone above 1 GiB)."""
        try:
            record = self.record()
        except IntegrityError:
            return False
        if record is None or not self.path.is_file() or record.get("bytes") != self.path.stat().st_size:
            return False
        return record["bytes"] > VERIFIED_BYTES or record.get("sha256") == sha256_file(self.path)

    def open(self) -> np.ndarray:
        """The array, mapped into memory and read-only."""
        return np.load(self.path, mmap_mode="r", allow_pickle=False)

    def make(
        self,
        shape: tuple[int, ...],
        dtype: str,
        work: Callable[[np.ndarray], Iterator[Block]],
        *,
        label: str,
        facts: Callable[[list[int]], Mapping[str, Any]] = lambda absent: {},
        progress: Progress = _SILENT,
        part_rows: int = 1024,
        part_seconds: float = 60.0,
    ) -> None:
        """Make and store the array, from where an interrupted process stopped; the file must be `locked`.

        Args:
            shape: of the whole array; the first number counts the faces.
            dtype: of its values.
            work: given the row numbers that are left, yields blocks of some of them at a time.
            label: of the progress.
            facts: what the record says, from the row numbers without a value.
            progress: shows how many faces are done.
            part_rows: faces between two commits.
            part_seconds: or so long, whichever comes first.

        Raises:
            DFADError: the disk is full.
        """
        array = self._begin(shape, dtype)
        done, absent = self._finished_blocks(array)
        progress.start(label, shape[0])
        progress.advance(len(done))
        try:
            coming = work(np.setdiff1d(np.arange(shape[0]), np.array(sorted(done), dtype=np.int64)))
            number = max((int(path.stem) + 1 for path in self._markers()), default=0)
            while filled := self._fill(array, coming, part_rows, part_seconds, progress):
                places, missing = filled
                write_json(
                    self.parts / f"{number:06d}.json",
                    {"places": places, "absent": missing, "sha256": _digest(array, places)},
                )
                absent += missing
                number += 1
        finally:
            progress.finish()
        del array
        self._finish(facts(sorted(absent)))

    def _begin(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """The array to fill: a new one whose room is taken on the disk, or what an interrupted process left."""
        self.begin_parts()
        path = self.parts / VALUES
        if path.is_file():
            found = np.load(path, mmap_mode="r+", allow_pickle=False)
            if found.shape == shape and found.dtype == np.dtype(dtype):
                return found
            del found
        for marker in self._markers():
            marker.unlink()
        try:
            with atomic_path(path) as temporary:
                np.lib.format.open_memmap(temporary, "w+", np.dtype(dtype), shape).flush()
                reserve(temporary)
        except BaseException:
            shutil.rmtree(self.parts)  # nothing is lost: no row was there
            raise
        return np.load(path, mmap_mode="r+", allow_pickle=False)

    def _fill(
        self, array: np.ndarray, coming: Iterator[Block], rows: int, seconds: float, progress: Progress
    ) -> tuple[list[int], list[int]] | None:
        """Write blocks until it is time to commit; their row numbers and those without a value; None at the end."""
        begun, places, absent = time.monotonic(), list[int](), list[int]()
        for block in coming:
            for place, value in zip(block.places, block.values, strict=True):
                array[place] = value
            places += [int(place) for place in block.places]
            absent += [int(place) for place in block.absent]
            progress.advance(len(block.places))
            if len(places) >= rows or time.monotonic() - begun > seconds:
                break
        if not places:
            return None
        array.flush()  # type: ignore[attr-defined]  # a memmap
        return places, absent

    def _finished_blocks(self, array: np.ndarray) -> tuple[set[int], list[int]]:
        """Row numbers of committed blocks, and those without a value; damaged blocks are forgotten."""
        done: set[int] = set()
        absent: list[int] = []
        for path in self._markers():
            try:
                marker = read_json(path)
                places = [int(place) for place in marker["places"]]
                if marker["sha256"] != _digest(array, places):
                    raise ValueError("other values than were written")
                missing = [int(place) for place in marker["absent"]]
            except (ConfigError, LookupError, TypeError, ValueError):
                path.unlink()
                continue
            done |= set(places)
            absent += missing
        return done, absent

    def _markers(self) -> list[Path]:
        return sorted(path for path in self.parts.glob("*.json") if path.name != MARKER)

    def _finish(self, facts: Mapping[str, Any]) -> None:
        made = self.parts / VALUES
        # the record first: without its file it counts for nothing, and the parts are still there
        self.write_record({**facts, "bytes": made.stat().st_size}, sha256_file(made))
        move_into_place(made, self.path)
        shutil.rmtree(self.parts)


def _digest(array: np.ndarray, places: Sequence[int]) -> str:
    digest = hashlib.sha256()
    for place in places:
        digest.update(np.ascontiguousarray(array[place]).data)
    return digest.hexdigest()
