"""Perceptual hashes of parts of a face, as it is and mirrored: copies that were mirrored, shifted or zoomed share one.

The 64-bit hash of a whole crop (`data.images.perceptual_hash`) tells copies that were compressed, resized or changed a
little. A copy shifted by a twentieth of its width has no pixel in its place: but its middle is, elsewhere, in the
other. So several windows of one face are compared with few of the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np

SIDE = 64  # grey values that windows are cut from
_REDUCED = 32  # a window's side, of which frequencies are taken
_LOW = 8  # frequencies an axis
# parts of an axis: all; nine tenths at its start, middle and end; the middle four fifths
_SPANS = ((0.0, 1.0), (0.0, 0.9), (0.05, 0.95), (0.1, 1.0), (0.1, 0.9))
# (vertical, horizontal) spans; the first `KEYS` are what a face is found by
WINDOWS = (
    (0, 0), (2, 2), (4, 4),
    (1, 1), (1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2), (3, 3),
)  # fmt: skip
KEYS = 3
_REACH = 2  # of its 32 values an axis by which a copy may lie elsewhere than its window


def grey_faces(crops: Iterable[np.ndarray]) -> np.ndarray:
    """(N, 64, 64) uint8 grey values of (H, W, 3) uint8 crops, each the mean of the pixels it covers."""
    import cv2

    small = [cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for crop in crops]
    grey = [cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) for face in small]
    return np.stack(grey) if grey else np.zeros((0, SIDE, SIDE), np.uint8)


def window_hashes(faces: np.ndarray) -> np.ndarray:
    """(N, 11, 2) int64: the hash of each of `WINDOWS` of (N, 64, 64) grey faces, as it is and mirrored.

    Each of the 8x8 lowest frequencies of the cosine transform of a window reduced to 32x32 gives one bit, set where it
    exceeds their median (without those of the first row). Mirrored, the odd horizontal ones change their sign.
    """
    spans = _frequencies()  # (5, 8, 64)
    tall = np.einsum("sfy,nyx->nsfx", spans, faces.astype(np.float32), optimize=True)  # (N, 5, 8, 64)
    both = np.einsum("nsfx,tgx->nstfg", tall, spans, optimize=True)  # (N, 5, 5, 8, 8)
    vertical, horizontal = (list(axis) for axis in zip(*WINDOWS, strict=True))
    low = both[:, vertical, horizontal]  # (N, 11, 8, 8)
    signs = np.where(np.arange(_LOW) % 2 == 0, 1, -1)
    low = np.stack([low, low * signs], axis=2).round(3).reshape(len(faces), len(WINDOWS), 2, _LOW * _LOW)
    bits = low > np.median(low[..., 1:], axis=-1, keepdims=True)
    packed: np.ndarray = np.packbits(bits, axis=-1).view(">i8")[..., 0].astype(np.int64)
    return packed


def likeness(
    one: np.ndarray, other: np.ndarray, key: np.ndarray, probe: np.ndarray, mirrored: np.ndarray
) -> np.ndarray:
    """(N,) correlation of window `key` of `one` with window `probe` of `other` (N, 64, 64), mirrored where said.

    The largest over shifts of up to a sixteenth of the window; of a window without contrast 0.
    """
    found = np.zeros(len(one))
    for k, p, turned in {*zip(key.tolist(), probe.tolist(), mirrored.tolist(), strict=True)}:
        rows = (key == k) & (probe == p) & (mirrored == turned)
        second = _cut(other[rows], p)
        found[rows] = _best_correlation(_cut(one[rows], k), second[:, :, ::-1] if turned else second)
    return found


def _best_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(N,) the largest correlation of the middle of `one` with parts of `other` (N, 32, 32) as large."""
    size = _REDUCED - 2 * _REACH
    inner = slice(_REACH, _REACH + size)
    middle = _standard(one[:, inner, inner])
    best = np.full(len(one), -1.0)
    for down in range(2 * _REACH + 1):
        for right in range(2 * _REACH + 1):
            part = _standard(other[:, down : down + size, right : right + size])
            best = np.maximum(best, np.einsum("np,np->n", middle, part))
    return best


def _standard(parts: np.ndarray) -> np.ndarray:
    """(N, pixels) of mean 0 and length 1; zeros where there is no contrast."""
    flat = parts.reshape(len(parts), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    standard: np.ndarray = np.divide(flat, length, out=np.zeros_like(flat), where=length > 1e-3)
    return standard


def _cut(faces: np.ndarray, window: int) -> np.ndarray:
    """A window of grey faces, (N, 32, 32)."""
    rows, columns = (_averages(*_SPANS[span], SIDE, _REDUCED) for span in WINDOWS[window])
    cut: np.ndarray = rows @ faces @ columns.T
    return cut


@cache
def _frequencies() -> np.ndarray:
    """(5, 8, 64): the lowest frequencies of each span of an axis."""
    k, n = np.arange(_LOW)[:, None], np.arange(_REDUCED)[None, :]
    basis = np.cos(np.pi * k * (2 * n + 1) / (2 * _REDUCED))
    return np.stack([basis @ _averages(*span, SIDE, _REDUCED) for span in _SPANS]).astype(np.float32)


@cache
def _averages(begin: float, end: float, size: int, parts: int) -> np.ndarray:
    """(parts, size): means over equal parts of an axis of `size` pixels from `begin` to `end` of it."""
    edges = np.linspace(begin * size, end * size, parts + 1)
    pixels = np.arange(size)
    low = np.maximum(edges[:-1, None], pixels[None, :])
    high = np.minimum(edges[1:, None], pixels[None, :] + 1)
    weights = np.clip(high - low, 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
