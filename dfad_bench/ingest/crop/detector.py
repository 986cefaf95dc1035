"""MTCNN on several images of equal size at once, with the published networks and weights.

Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", 2016. Three
networks follow each other: P-Net searches the whole image at several scales, R-Net and O-Net judge what it found.

Two things make it fast. The networks run in `channels_last` order, where pooling is several times faster on a CPU.
And every patch is averaged from a summed-area table, all patches in a few operations, with the same result as
"area" interpolation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dfad_bench.core.errors import need

SMALLEST = 20  # pixels: images and faces with shorter sides are not searched
_THRESHOLDS = (0.6, 0.7, 0.7)  # probability of a face that passes P-Net, R-Net, O-Net
PYRAMID = 0.709  # from one scale to the next: half the area
_CELL, _STRIDE = 12, 2  # of P-Net, pixels
_SIDES = {"rnet": 24, "onet": 48}
_MOST_PIXELS = 8_000_000  # per image: 255 times this fits into 32 bits
_CHUNK = 512  # patches that go through a network at once


class Faces(NamedTuple):
    """The faces of one image, the most probable first."""

    boxes: np.ndarray  # (n, 4) x0, y0, x1, y1, pixels
    scores: np.ndarray  # (n,) probabilities


@dataclass
class _Candidates:
    """Boxes (n, 4), scores (n,) and the index of the image (n,), as tensors."""

    boxes: Any
    scores: Any
    picture: Any

    def take(self, which: Any) -> _Candidates:
        return _Candidates(self.boxes[which], self.scores[which], self.picture[which])

    def __len__(self) -> int:
        return len(self.scores)


class FaceDetector:
    """MTCNN with the weights of facenet-pytorch, which are in its package.

    The result for an image does not depend on earlier calls; other images of the same call change its last bits only.
    """

    def __init__(self, device: str = "cpu") -> None:
        import torch

        package = need("facenet_pytorch", "facenet-pytorch==2.5.3", "finding faces")
        found = package.MTCNN(keep_all=True, device="cpu").eval()
        self.device = torch.device(device)
        self._nets: dict[str, Callable[..., Any]] = {
            name: getattr(found, name).to(self.device, memory_format=torch.channels_last)
            for name in ("pnet", "rnet", "onet")
        }

    def detect(self, pictures: np.ndarray, min_face: float) -> list[Faces]:
        """Faces of at least about `min_face` pixels in each of (n, H, W, 3) uint8 pictures."""
        import torch

        if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.dtype != np.uint8:
            raise ValueError(f"expected uint8 (n, H, W, 3), got {pictures.dtype} {pictures.shape}")
        if min(pictures.shape[1:3]) < max(SMALLEST, min_face):
            return [Faces(np.zeros((0, 4)), np.zeros(0)) for _ in pictures]
        with torch.inference_mode():
            table = _Sums(pictures, self.device)
            found = self._propose(table, max(min_face, SMALLEST))
            found = self._refine(table, found)
            found = self._decide(table, found)
            boxes, scores, picture = (v.double().cpu().numpy() for v in (found.boxes, found.scores, found.picture))
        return [Faces(boxes[picture == index], scores[picture == index]) for index in range(len(pictures))]

    def points(self, patches: np.ndarray) -> np.ndarray:
        """Five points (n, 5, 2) as shares of the side of (n, 48, 48, 3) face patches with values 0 to 255."""
        import torch

        with torch.inference_mode():
            _, points, _ = self._nets["onet"](_normalised(torch.from_numpy(patches).to(self.device)))
            return points.double().cpu().numpy().reshape(-1, 2, 5).transpose(0, 2, 1)

    def _propose(self, table: _Sums, min_face: float) -> _Candidates:
        """Candidates of P-Net over all scales."""
        import torch

        found = []
        scale = _CELL / min_face
        levels = 0
        while min(table.height, table.width) * scale >= _CELL:
            size = int(table.height * scale + 1), int(table.width * scale + 1)
            shift, probability = self._nets["pnet"](_normalised(table.reduced_pictures(*size)))
            picture, row, column = torch.nonzero(probability[:, 1] >= _THRESHOLDS[0], as_tuple=True)
            corner = torch.stack([column, row], 1) * _STRIDE
            cell = torch.cat([(corner + 1).div(scale).floor(), (corner + _CELL).div(scale).floor()], 1)
            found.append((cell, probability[picture, 1, row, column], shift[picture, :, row, column], picture))
            levels += 1
            scale *= PYRAMID
        boxes, scores, shifts, picture = (torch.cat(parts) for parts in zip(*found, strict=True))
        level = torch.repeat_interleave(torch.tensor([len(part[3]) for part in found], device=picture.device))
        kept = _suppress(boxes, scores, picture * levels + level, 0.5)
        kept = kept[_suppress(boxes[kept], scores[kept], picture[kept], 0.7)]
        boxes, shifts = boxes[kept], shifts[kept]
        sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
        return _Candidates(_square_boxes(boxes + shifts * sides), scores[kept], picture[kept])

    def _refine(self, table: _Sums, found: _Candidates) -> _Candidates:
        """R-Net."""
        found, outputs = self._run_network("rnet", table, found)
        if not len(found):
            return found
        shift, probability = outputs
        found.scores = probability[:, 1]
        passed = found.scores > _THRESHOLDS[1]
        found, shift = found.take(passed), shift[passed]
        kept = _suppress(found.boxes, found.scores, found.picture, 0.7)
        found = found.take(kept)
        found.boxes = _square_boxes(_shift_boxes(found.boxes, shift[kept]))
        return found

    def _decide(self, table: _Sums, found: _Candidates) -> _Candidates:
        """Final boxes by O-Net; of boxes inside each other the most probable is kept."""
        import torch

        found, outputs = self._run_network("onet", table, found)
        if not len(found):
            return found
        shift, _, probability = outputs
        found.scores = probability[:, 1]
        passed = found.scores > _THRESHOLDS[2]
        found, shift = found.take(passed), shift[passed]
        found.boxes = _shift_boxes(found.boxes, shift)
        kept = _suppress_nested(found)
        return found.take(torch.as_tensor(kept, dtype=torch.long, device=self.device))

    def _run_network(self, net: str, table: _Sums, found: _Candidates) -> tuple[_Candidates, tuple[Any, ...]]:
        """Candidates that overlap the image, and the network's outputs for each."""
        import torch

        found, windows = table.clip_to_picture(found)
        if not len(found):
            return found, ()
        side = _SIDES[net]
        outputs = [
            self._nets[net](
                _normalised(table.patches(found.picture[i : i + _CHUNK], windows[i : i + _CHUNK], side, side))
            )
            for i in range(0, len(found), _CHUNK)
        ]
        return found, tuple(torch.cat(parts) for parts in zip(*outputs, strict=True))


class _Sums:
    """Summed-area tables of images: the mean of any rectangle from four numbers."""

    def __init__(self, pictures: np.ndarray, device: Any) -> None:
        self.count, self.height, self.width, _ = pictures.shape
        if self.height * self.width > _MOST_PIXELS:
            raise ValueError(f"a picture has more than {_MOST_PIXELS} pixels")
        self._sums = _integral_images(pictures, device)  # (n, H + 1, W + 1, 3)

    def reduced_pictures(self, height: int, width: int) -> Any:
        """Each image reduced to (n, height, width, 3) mean values."""
        import torch

        edges = torch.tensor([[0, 0, self.width, self.height]], device=self._sums.device)
        x0, x1 = (v[0] for v in _cell_edges(edges[:, 0], edges[:, 2], width))
        y0, y1 = (v[0] for v in _cell_edges(edges[:, 1], edges[:, 3], height))
        rows = self._sums[:, y1] - self._sums[:, y0]
        return (rows[:, :, x1] - rows[:, :, x0]).float() / ((y1 - y0)[:, None] * (x1 - x0))[..., None]

    def clip_to_picture(self, found: _Candidates) -> tuple[_Candidates, Any]:
        """Candidates that overlap the image, and the pixel ranges (n, 4) x0, y0, x1, y1 they cover in it."""
        import torch

        edges = found.boxes.trunc().long()
        low = edges[:, :2].clamp(min=1) - 1  # boxes count pixels from 1
        high = torch.minimum(edges[:, 2:], torch.tensor([self.width, self.height], device=edges.device))
        some = (high > low).all(1)
        return found.take(some), torch.cat([low, high], 1)[some]

    def patches(self, picture: Any, windows: Any, height: int, width: int) -> Any:
        """(n, height, width, 3) mean values of windows (n, 4) x0, y0, x1, y1 cut into a grid, as "area" does."""
        x0, x1 = _cell_edges(windows[:, 0], windows[:, 2], width)
        y0, y1 = _cell_edges(windows[:, 1], windows[:, 3], height)
        area = ((y1 - y0)[:, :, None] * (x1 - x0)[:, None, :])[..., None]
        top = (picture[:, None] * (self.height + 1) + y0)[:, :, None] * (self.width + 1)
        bottom = (picture[:, None] * (self.height + 1) + y1)[:, :, None] * (self.width + 1)
        x0, x1, flat = x0[:, None, :], x1[:, None, :], self._sums.view(-1, 3)
        total = flat[bottom + x1] - flat[top + x1] - flat[bottom + x0] + flat[top + x0]
        return total.float() / area


def _integral_images(pictures: np.ndarray, device: Any) -> Any:
    """Sums (n, H + 1, W + 1, 3) of all pixels above and left of each corner."""
    import torch
    from torch.nn import functional

    if torch.device(device).type == "cpu":
        import cv2  # thirty times as fast as two cumulative sums

        tables = [torch.from_numpy(cv2.integral(picture, sdepth=cv2.CV_32S)) for picture in pictures]
        return tables[0][None] if len(tables) == 1 else torch.stack(tables)
    reduced_pictures = torch.tensor(pictures, device=device)
    sums = reduced_pictures.cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32)
    return functional.pad(sums, (0, 0, 1, 0, 1, 0)).contiguous()


def _cell_edges(low: Any, high: Any, count: int) -> tuple[Any, Any]:
    """First and last edge (n, count) of the cells of a grid over [low, high); cells share pixels, none is empty."""
    import torch

    steps = torch.arange(count, device=low.device)
    length = (high - low)[:, None]
    return low[:, None] + steps * length // count, low[:, None] - (-(steps + 1) * length // count)


def _normalised(patches: Any) -> Any:
    """(n, h, w, 3) values 0 to 255 as network input: (n, 3, h, w) about -1 to 1, channels last in memory."""
    return ((patches - 127.5) * 0.0078125).permute(0, 3, 1, 2)


def _square_boxes(boxes: Any) -> Any:
    """Squares of the boxes' longer side around the same centres."""
    import torch

    sides = boxes[:, 2:] - boxes[:, :2]
    side = sides.max(1, keepdim=True).values
    low = boxes[:, :2] + (sides - side) / 2
    return torch.cat([low, low + side], 1)


def _shift_boxes(boxes: Any, shift: Any) -> Any:
    """Boxes corrected by a network's output, which is given in fractions of their sides."""
    return boxes + shift * (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)


def _suppress(boxes: Any, scores: Any, group: Any, threshold: float) -> Any:
    """Non-maximum suppression within groups: indices of the boxes to keep, the most probable first."""
    from torchvision.ops import nms

    if not len(boxes):
        return group.new_zeros(0)
    offsets = (boxes.max() + 1 - boxes.min()) * group
    return nms(boxes + offsets[:, None], scores, threshold)


def _suppress_nested(found: _Candidates) -> list[int]:
    """As `_suppress` within an image, with overlap as fraction of the smaller box, so that none lies in another."""
    boxes, scores, picture = (v.double().cpu().numpy() for v in (found.boxes, found.scores, found.picture))
    areas = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)
    left = np.lexsort((np.arange(len(scores)), -scores))
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        low, high = np.maximum(boxes[left, :2], boxes[best, :2]), np.minimum(boxes[left, 2:], boxes[best, 2:])
        common = np.prod(np.maximum(high - low + 1, 0), axis=1)
        nested = common / np.minimum(areas[left], areas[best]) > 0.7
        left = left[~(nested & (picture[left] == picture[best]))]
    return kept
