"""Ready-made crops by an exported ONNX file, without torch: onnxruntime, numpy and Pillow only.

The file is untrusted: it is bounded in size, reads no other file, and its arrays must be those that its own facts name.
No library of custom operators is loaded. That what it computes is what its facts say, nobody can check from here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dfad_bench.core.errors import ConfigError, WeightsError, cut
from dfad_bench.core.escape import one_line
from dfad_bench.core.onnx_file import LARGEST_FILE, first_line, onnx_session
from dfad_bench.export.facts import IMAGES, KEY, P_FAKE, P_GENERATOR, PRESENT, ExportFacts, ViewInput, read_facts

_TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)", "int64": "tensor(int64)", "bool": "tensor(bool)"}
_SUM = 1e-3  # by which probabilities of a face may miss 1


@dataclass(frozen=True)
class FileAnswer:
    """What a file says of some faces: P(fake) (N,), and probabilities of its classes (N, x)."""

    p_fake: np.ndarray
    p_generator: np.ndarray


@dataclass(frozen=True)
class ExportedModel:
    """An opened ONNX file.

    Attributes:
        path: of the file.
        facts: what it says of itself.
        sha256: of its bytes.
    """

    path: Path
    facts: ExportFacts
    sha256: str
    session: Any = field(repr=False)

    @classmethod
    def open(cls, path: Path, *, threads: int = 1) -> ExportedModel:
        """Open a file that `dfad export` wrote.

        Args:
            path: the file.
            threads: that a call uses.

        Raises:
            WeightsError: no such file, not ONNX, with weights elsewhere, or arrays that are not those of its facts.
            ConfigError: facts that are missing or cannot be.
            MissingDependencyError: onnxruntime or onnx is not installed.
        """
        if not path.is_file():
            raise WeightsError(f"{path}: no such file; `dfad export --format onnx` writes one")
        session = onnx_session(path, threads=threads, largest_bytes=LARGEST_FILE)
        try:
            text = session.get_modelmeta().custom_metadata_map.get(KEY)
        except UnicodeDecodeError as error:
            raise WeightsError(f"{path}: its metadata are no text") from error
        facts = read_facts(text, str(path))
        _check_arrays(session, facts, path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path, facts, sha256, session)

    @property
    def without_views(self) -> list[ViewInput]:
        """Views that every face must have."""
        return [view for view in self.facts.views if not view.missing]

    def answer(self, crops: np.ndarray, views: Mapping[str, np.ndarray] | None = None) -> FileAnswer:
        """What the file says of crops (N, side, side, 3) uint8, RGB.

        Args:
            crops: as manifests store them; of a model that reads views alone, (N, ...) of any shape.
            views: by name, (N, *shape); a face without has NaN, and a view that is left out none of the faces has.

        Raises:
            ConfigError: crops of another shape, or a view that is missing or of another shape.
            WeightsError: the file cannot be run, or gives no probabilities.
        """
        side, count = self.facts.side, len(crops)
        given: dict[str, np.ndarray] = {}
        if side is not None:
            if crops.shape[1:] != (side, side, 3) or crops.dtype != np.uint8:
                raise ConfigError(f"{self.path}: takes crops (N, {side}, {side}, 3) uint8, got {crops.shape}")
            given[IMAGES] = np.ascontiguousarray(crops)
        for view in self.facts.views:
            given |= self._view(view, (views or {}).get(view.name), count)
        try:
            p_fake, p_generator = self.session.run([P_FAKE, P_GENERATOR], given)
        except Exception as error:  # onnxruntime's errors have no common class
            raise WeightsError(f"{self.path}: cannot be run ({one_line(cut(first_line(error)))})") from error
        return FileAnswer(
            self._probabilities(p_fake, (count,)), self._probabilities(p_generator, (count, len(self.facts.classes)))
        )

    def _view(self, view: ViewInput, values: np.ndarray | None, count: int) -> dict[str, np.ndarray]:
        shape = (count, *view.shape)
        if values is None:
            if not view.missing:
                raise ConfigError(
                    f"{self.path}: {self.facts.display} reads the view {view.name} of every face"
                    f" ({view.meaning}); give it, or `dfad predict --run` makes it"
                )
            values = np.full(shape, np.nan if view.told_by == "nan" else 0, dtype=view.dtype)
            here = np.zeros(count, dtype=bool)
        else:
            here = np.ones(count, dtype=bool)
        if values.shape != shape:
            raise ConfigError(f"{self.path}: the view {view.name} must be {shape}, got {values.shape}")
        found = {view.name: np.ascontiguousarray(values, dtype=view.dtype)}
        return {**found, view.name + PRESENT: here} if view.told_by == "mask" else found

    def _probabilities(self, values: Any, shape: tuple[int, ...]) -> np.ndarray:
        found = np.asarray(values, dtype=np.float64)
        if found.shape != shape or not np.isfinite(found).all() or found.min(initial=0) < 0 or found.max(initial=0) > 1:
            raise WeightsError(f"{self.path}: gives no probabilities (N, {', '.join(map(str, shape[1:]))})")
        if len(shape) > 1 and np.abs(found.sum(axis=1) - 1).max(initial=0) > _SUM:
            raise WeightsError(f"{self.path}: probabilities of its classes do not add up to 1")
        return found


def _check_arrays(session: Any, facts: ExportFacts, path: Path) -> None:
    """Refuse a graph whose arrays are others than its facts name.

    Raises:
        WeightsError: which.
    """
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {}
    if facts.side is not None:
        wanted[IMAGES] = (_TYPES["uint8"], (facts.side, facts.side, 3))
    for view in facts.views:
        wanted[view.name] = (_TYPES[view.dtype], view.shape)
        if view.told_by == "mask":
            wanted[view.name + PRESENT] = (_TYPES["bool"], ())
    found = {each.name: (each.type, tuple(each.shape[1:])) for each in session.get_inputs()}
    if found != wanted:
        raise WeightsError(f"{path}: its inputs are {cut(str(sorted(found)))}, its facts say {sorted(wanted)}")
    outputs = {each.name: (each.type, tuple(each.shape[1:])) for each in session.get_outputs()}
    for name, shape in ((P_FAKE, ()), (P_GENERATOR, (len(facts.classes),))):
        if outputs.get(name) != (_TYPES["float32"], shape):
            raise WeightsError(f"{path}: its output {name} is {cut(str(outputs.get(name)))}, not float (N, *{shape})")
