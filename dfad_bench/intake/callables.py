"""A function of somebody's own, from a batch of faces to probabilities, asked for the test faces of a protocol."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ConfigError, DFADError, ProtocolError, cut, quoted
from dfad_bench.core.files import sha256_file
from dfad_bench.core.progress import Progress
from dfad_bench.core.protocol import Protocol
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.manifest_facts import manifest_facts
from dfad_bench.data.pools import ranks
from dfad_bench.data.select import lacks_every_group, manifests_used, select
from dfad_bench.intake.columns import Columns
from dfad_bench.intake.prepared import PreparedImport, prediction_frame

Images = Literal["uint8", "float"]
Answer = tuple[np.ndarray | None, np.ndarray]  # class probabilities (n, x), probability of being forged (n,)
_SUM = 1e-3  # how far class probabilities may be from one in sum
_ASKED_AGAIN = 8  # faces that are asked for once more, in another batch
_SAME = 1e-3  # how far answers for the same face may differ between batches


def load_function(name: str) -> tuple[Callable[[np.ndarray], Any], str | None]:
    """The function of `package.module:function`, looked for in the working folder, too, and the hash of its file.

    Raises:
        ConfigError: not of that form, the module cannot be imported, or it has no such function.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ConfigError(f"--callable {quoted(name)}: expected package.module:function")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever the module of somebody does when it is imported
        raise ConfigError(f"--callable {quoted(name)}: {_first_line(error)}") from error
    finally:
        sys.path.remove(here)
    if not callable(found):
        raise ConfigError(f"--callable {quoted(name)}: is no function but of type {type(found).__name__}")
    try:
        file = inspect.getsourcefile(found if inspect.isroutine(found) else type(found))
    except TypeError:
        file = None
    return found, sha256_file(Path(file)) if file and Path(file).is_file() else None


def callable_import(
    function: Callable[[np.ndarray], Any],
    name: str,
    protocol: Protocol,
    manifests: Sequence[Manifest],
    *,
    images: Images,
    batch_size: int,
    allow_partial: bool,
    progress: Progress,
) -> PreparedImport:
    """Ask a function for every test face of a protocol.

    Args:
        function: from images (n, side, side, 3), RGB, to `p_fake` (n,), or to a pair of class probabilities (n, x) in
            the order of the protocol's labels and `p_fake`. `side` is the protocol's `image_size`.
        name: of the function, for errors.
        protocol: whose test faces are asked for.
        manifests: one a dataset of the protocol.
        images: "uint8" is 0 to 255, "float" is float32 from 0 to 1.
        batch_size: faces a call. They are mixed, so that no batch is of one group.
        allow_partial: go on with missing or short groups.
        progress: one step a batch.

    Raises:
        DFADError: the function raises an error, returns something else, or answers otherwise in another batch.
        ProtocolError: groups are missing or short.
    """
    mine = manifests_used(protocol, manifests)
    if not mine:
        raise ProtocolError(lacks_every_group(protocol, manifests))
    selection = select(protocol, mine, allow_partial=allow_partial, training=False)
    faces = selection.tested
    store = CropStore.open(faces, mine, protocol.image_size, progress=progress)
    asked = _AskedFunction(function, name, store, faces["sample_id"], protocol.num_generators, images)
    order = np.argsort(ranks(faces["sample_id"], f"{protocol.seed}:predicted").to_numpy(), kind="stable")
    probs, p_fake = _answers_in_order(asked, order, batch_size, progress)
    asked.require_same(order[:: max(1, len(order) // _ASKED_AGAIN)][:_ASKED_AGAIN], probs, p_fake)
    columns = Columns({"p_fake": name}, {}, "detection" if probs is None else "both")
    frame = prediction_frame(faces, np.zeros((len(faces), 0)) if probs is None else probs, p_fake)
    rows = faces.assign(part="test")[["sample_id", "part", "group", "source_key", "crop_sha256"]]
    partial = bool(selection.missing or (selection.short_groups and protocol.on_short == "error"))
    return PreparedImport(
        protocol, manifest_facts(mine, selection), frame, columns, "callable", len(faces), len(faces),
        deviations=tuple(selection.deviations), selection=rows, refused=selection.refused, partial=partial,
    )  # fmt: skip


def _answers_in_order(
    asked: _AskedFunction, order: np.ndarray, batch_size: int, progress: Progress
) -> tuple[np.ndarray | None, np.ndarray]:
    """The answers for all faces, in the order of the faces."""
    batches = [order[begin : begin + batch_size] for begin in range(0, len(order), batch_size)]
    classes, fake = [], []
    progress.start("Predicting", len(batches))
    try:
        for rows in batches:
            probs, p_fake = asked.answer(rows)
            classes.append(probs)
            fake.append(p_fake)
            progress.advance()
    finally:
        progress.finish()
    back = np.argsort(order)
    known = [one for one in classes if one is not None]
    if len(known) not in (0, len(classes)):
        raise DFADError(f"{asked.name}: returned class probabilities for some batches, and none for others")
    return (np.concatenate(known)[back] if known else None), np.concatenate(fake)[back]


class _AskedFunction:
    """A function and the faces it is asked for."""

    def __init__(
        self,
        function: Callable[[np.ndarray], Any],
        name: str,
        store: CropStore,
        sample_ids: pd.Series,
        classes: int,
        images: Images,
    ) -> None:
        self.function, self.name, self.store, self.classes, self.images = function, name, store, classes, images
        self.places = store.places(sample_ids.tolist())

    def answer(self, rows: np.ndarray) -> Answer:
        """What it says of some faces (n,), checked."""
        images = np.array(self.store.array[self.places[rows]])  # a copy: what it does with it stays there
        if self.images == "float":
            images = images.astype(np.float32) / 255
        try:
            found = self.function(images)
            pair = isinstance(found, tuple | list) and len(found) == 2 and np.ndim(found[0]) == 2
            probs = np.asarray(found[0], dtype=float) if pair else None
            p_fake = np.asarray(found[1] if pair else found, dtype=float)
        except Exception as error:  # whatever somebody's function does
            raise DFADError(f"{self.name} failed on a batch of {len(rows)} faces: {_first_line(error)}") from error
        self._check_shape("p_fake", p_fake, (len(rows),))
        self._check_range("p_fake", p_fake)
        if probs is not None:
            self._check_shape("class probabilities", probs, (len(rows), self.classes))
            self._check_range("class probabilities", probs)
            if (off := np.abs(probs.sum(axis=1) - 1).max()) > _SUM:
                raise DFADError(
                    f"{self.name}: class probabilities of a face must sum to 1, one sum is off by {off:.3g}"
                )
        return probs, p_fake

    def require_same(self, rows: np.ndarray, probs: np.ndarray | None, p_fake: np.ndarray) -> None:
        """Refuse a function whose answers depend on the other faces of a batch, or on chance."""
        again, fake = self.answer(rows)
        off = float(np.abs(fake - p_fake[rows]).max())
        if probs is not None and again is not None:
            off = max(off, float(np.abs(again - probs[rows]).max()))
        if off > _SAME:
            raise DFADError(
                f"{self.name}: the same {len(rows)} faces in another batch get answers that differ by {off:.3g}: it"
                " looks at the other faces of a batch (batch normalisation in training mode?) or draws at random"
            )

    def _check_shape(self, what: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
        if values.shape != shape:
            raise DFADError(
                f"{self.name}: returned {what} of shape {values.shape}, expected {shape}; it must return p_fake (n,),"
                f" or a pair of class probabilities (n, {self.classes}) and p_fake (n,)"
            )

    def _check_range(self, what: str, values: np.ndarray) -> None:
        bad = values[~((values >= 0) & (values <= 1))]
        if len(bad):
            raise DFADError(f"{self.name}: returned {what} {bad.flat[0]:g}, which is no probability from 0 to 1")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {cut(lines[0], 160)}" if lines else type(error).__name__
