"""Files derived from a manifest and kept beside it: what they were made from, a lock, and parts to go on from.

    <folder>/<stem><suffix>     the file: a Parquet table, or an array (`side_array`)
    <folder>/<stem>.json        its record: `identity` (what it was made from), `sha256`, and facts for a reader
    <folder>/<stem>.lock        held by the process that makes it
    <folder>/<stem>.parts/      what an interrupted process had finished

A manifest is never rewritten. A file whose record names another identity is not used and is made again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import atomic_path, check_hash, read_json, sha256_file, sweep_temporaries, write_json
from dfad_bench.core.progress import NoProgress, Progress

_LOCK_SECONDS = -1.0  # wait for as long as the other process works
_ABANDONED = 30 * 24 * 3600  # seconds after which unfinished parts are taken for abandoned
MARKER = "identity.json"
_SILENT = NoProgress()


class SideFile:
    """One derived file.

    Args:
        path: the file itself.
        identity: what it is made from, as plain JSON values; a file of another identity is not used.
        remake_text: ends the message about a damaged file: what happens once it is deleted.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, remake_text: str = "it is made again") -> None:
        self.path, self.identity, self.remake_text = path, dict(identity), remake_text
        self.record_path, self.parts = path.with_suffix(".json"), path.with_name(f"{path.stem}.parts")

    def record(self) -> dict[str, Any] | None:
        """The stored record; None where there is none, or one of another identity.

        Raises:
            IntegrityError: the record is not JSON.
        """
        if not self.record_path.is_file():
            return None
        try:
            found = read_json(self.record_path)
        except ConfigError as error:
            raise IntegrityError(f"{error}; delete it, {self.remake_text}") from error
        return found if isinstance(found, dict) and self._has_same_identity(found) else None

    def check(self) -> bool:
        """Whether the file is there, of this identity and undamaged.

        Raises:
            IntegrityError: it is of this identity, and damaged.
        """
        record = self.record()
        if record is None or not self.path.is_file():
            return False
        try:
            check_hash(self.path, str(record.get("sha256")))
        except IntegrityError as error:
            raise IntegrityError(f"{error}; delete it and {self.record_path.name}, {self.remake_text}") from error
        return True

    @contextmanager
    def locked(self) -> Iterator[Self]:
        """Hold the file against other processes while it is made; its folder must be there.

        Leftovers of killed processes in the folder are removed: temporary files, and parts that no process has
        continued for a month.
        """
        from filelock import FileLock

        with FileLock(self.path.with_suffix(".lock"), timeout=_LOCK_SECONDS):
            sweep_temporaries(self.path.parent)
            self._sweep_parts()
            yield self

    def begin_parts(self) -> None:
        """Have an empty folder for parts, or the one an interrupted process of the same identity left."""
        marker = self.parts / MARKER
        if self.parts.is_dir():
            try:
                same = read_json(marker) == self.identity
            except ConfigError:
                same = False
            if not same:
                shutil.rmtree(self.parts)
        self.parts.mkdir(parents=True, exist_ok=True)
        write_json(marker, self.identity)

    def write_record(self, facts: Mapping[str, Any], sha256: str) -> None:
        """Write the record; `facts` are for readers and decide nothing."""
        write_json(self.record_path, {**facts, "identity": self.identity, "sha256": sha256})

    def _has_same_identity(self, record: Mapping[str, Any]) -> bool:
        if "identity" in record:
            return bool(record["identity"] == self.identity)
        return all(record.get(key) == value for key, value in self.identity.items())  # records of earlier versions

    def _sweep_parts(self) -> None:
        for parts in self.path.parent.glob("*.parts"):
            if parts != self.parts and (parts / MARKER).is_file():
                with suppress(FileNotFoundError):
                    newest = max(path.stat().st_mtime for path in (parts, *parts.iterdir()))
                    if time.time() - newest > _ABANDONED:
                        shutil.rmtree(parts)


class SideTable(SideFile):
    """A Parquet table with a row a face, column `sample_id`, made part by part.

    Args:
        path: the Parquet file.
        identity: see `SideFile`.
        remake_text: see `SideFile`.
        empty: a table without rows: the columns and their types.
        schema: Arrow types, where those of `empty` do not say them.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, Any],
        *,
        remake_text: str = "it is made again",
        empty: pd.DataFrame | None = None,
        schema: pa.Schema | None = None,
    ) -> None:
        super().__init__(path, identity, remake_text=remake_text)
        self._empty_table, self._schema = empty, schema

    def read(self) -> pd.DataFrame | None:
        """The stored table; None where there is none of this identity.

        Raises:
            IntegrityError: it is damaged.
        """
        return pq.read_table(self.path).to_pandas() if self.check() else None

    def write(self, table: pd.DataFrame, facts: Mapping[str, Any]) -> None:
        """Store a whole table and its record."""
        self._write(self.path, table)
        self.write_record({"rows": len(table), **facts}, sha256_file(self.path))

    def make(
        self,
        sample_ids: Sequence[str],
        work: Callable[[list[str]], Iterator[pd.DataFrame]],
        *,
        label: str,
        facts: Callable[[pd.DataFrame], Mapping[str, Any]] = lambda table: {},
        progress: Progress = _SILENT,
        part_rows: int = 1024,
        part_seconds: float = 60.0,
    ) -> pd.DataFrame:
        """Make and store the table, from where an interrupted process stopped; the file must be `locked`.

        Args:
            sample_ids: the faces it is of.
            work: given the faces that are left, yields tables of some of them at a time.
            label: of the progress.
            facts: what the record says of the whole table.
            progress: shows how many faces are done.
            part_rows: faces between two commits.
            part_seconds: or so long, whichever comes first.

        Returns:
            The table sorted by `sample_id`; equal whether interrupted or not.
        """
        assert self._empty_table is not None, "a table that is made needs its columns"
        self.begin_parts()
        done = self._finished_parts()
        seen = {name for part in done for name in part["sample_id"]}
        progress.start(label, len(sample_ids))
        progress.advance(len(seen))
        try:
            coming = work([name for name in sample_ids if name not in seen])
            number = max((int(part.stem) + 1 for part in self.parts.glob("*.parquet")), default=0)
            while bundle := list(_until_commit(coming, part_rows, part_seconds, progress)):
                done.append(pd.concat(bundle, ignore_index=True))
                self._write(self.parts / f"{number:06d}.parquet", done[-1])
                number += 1
        finally:
            progress.finish()
        table = pd.concat([self._empty_table, *done], ignore_index=True).sort_values("sample_id", kind="stable")
        table = table.astype(self._empty_table.dtypes.to_dict()).reset_index(drop=True)
        self.write(table, facts(table))
        shutil.rmtree(self.parts)
        return table

    def _finished_parts(self) -> list[pd.DataFrame]:
        """The readable parts; damaged ones are removed, and their faces done again."""
        done = []
        for part in sorted(self.parts.glob("*.parquet")):
            try:
                done.append(pq.read_table(part, page_checksum_verification=True).to_pandas())
            except (pa.ArrowException, OSError):
                part.unlink()
        return done

    def _write(self, path: Path, table: pd.DataFrame) -> None:
        with atomic_path(path) as temporary:
            content = pa.Table.from_pandas(table, schema=self._schema, preserve_index=False)
            pq.write_table(content, temporary, compression="zstd", write_page_checksum=True)


def _until_commit(
    coming: Iterator[pd.DataFrame], rows: int, seconds: float, progress: Progress
) -> Iterator[pd.DataFrame]:
    """Tables from `coming` until it is time to commit."""
    begun, count = time.monotonic(), 0
    for table in coming:
        yield table
        progress.advance(len(table))
        count += len(table)
        if count >= rows or time.monotonic() - begun > seconds:
            return
