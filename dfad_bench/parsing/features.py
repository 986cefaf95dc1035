"""What of a parsing map is compared: shares of its parts, or Inception's features of the coloured map.

BMRL calculates "the FID score of the parsing image", which says Inception of a picture as FID is defined, but neither
the palette nor the size. Inception needs a published file and thousands of faces, since its Gaussians have 2,048
dimensions; `shares` is ours, needs no network, and has a dimension a part of the face.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.errors import WeightsError, need
from dfad_bench.core.label_colours import CELEBAMASK_HQ, label_colours
from dfad_bench.core.weights import find_weights, load_state_dict

INCEPTION_WEIGHTS = "pt_inception"
INCEPTION_SIDE = 299
INCEPTION_DIM = 2048
PARTS = (
    ("background",), ("skin",), ("left brow", "right brow"), ("left eye", "right eye", "glasses"),
    ("left ear", "right ear", "earring"), ("nose",), ("mouth", "upper lip", "lower lip"), ("neck", "necklace"),
    ("cloth",), ("hair", "hat"),
)  # fmt: skip
VectorsOf = Callable[[np.ndarray], np.ndarray]  # (n, H, W) labels to (n, d) vectors


def parts_of(classes: int) -> np.ndarray:
    """The part (classes,) that each label counts as: ten of CelebAMask-HQ's 19 labels, else each label its own.

    Left and right are one part, and what few faces wear counts as what it covers (glasses as eyes, earrings as ears,
    necklaces as neck, hats as hair): the spread of a part that one face in twenty has is not known from a few sources.

    >>> parts_of(3).tolist(), int(parts_of(19).max())
    ([0, 1, 2], 9)
    """
    if classes != len(CELEBAMASK_HQ):
        return np.arange(classes)
    numbers = {name: number for number, part in enumerate(PARTS) for name in part}
    return np.array([numbers[name] for name in CELEBAMASK_HQ])


def root_shares(labels: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Square roots of each part's share of the pixels, (n, p) of (n, H, W) labels.

    Distances of these are Hellinger's: a part with few pixels, such as an eye, counts as much for its number of
    pixels as hair does for its own. With plain shares hair and background would be nearly all of the distance.

    Args:
        labels: (n, H, W).
        parts: (classes,) of `parts_of`.

    >>> root_shares(np.array([[[0, 0], [0, 2]]]), parts_of(3)).round(3).tolist()
    [[0.866, 0.0, 0.5]]
    """
    flat = parts[labels.reshape(len(labels), labels[0].size if len(labels) else 1)]
    count = int(parts.max()) + 1
    offsets = np.arange(len(flat), dtype=np.int64)[:, None] * count
    counts = np.bincount((flat + offsets).ravel(), minlength=len(flat) * count).reshape(len(flat), count)
    return np.sqrt(counts / flat.shape[1])


def inception_features(weights: str | None, device: str) -> tuple[VectorsOf, Path]:
    """A function to Inception's 2,048 features of label maps, and the file it read.

    As pytorch-fid does: pictures in [0, 1] are enlarged to 299 pixels by bilinear interpolation and scaled to [-1, 1].

    Args:
        weights: name or path of pytorch-fid's file; None: `pt_inception`.
        device: torch device.

    Raises:
        WeightsError: the file is missing or not of this network.
        MissingDependencyError: pytorch-fid is not installed.
    """
    path = find_weights(weights or INCEPTION_WEIGHTS)
    network = _inception(path).to(device)
    palette = torch.tensor(label_colours(), dtype=torch.float32, device=device) / 255

    def vectors_of(labels: np.ndarray) -> np.ndarray:
        pictures = palette[torch.from_numpy(labels).to(device).long()].permute(0, 3, 1, 2)
        size = (INCEPTION_SIDE, INCEPTION_SIDE)
        with torch.inference_mode():
            enlarged = F.interpolate(pictures, size=size, mode="bilinear", align_corners=False)
            found: np.ndarray = network(enlarged * 2 - 1).double().cpu().numpy()
        return found

    return vectors_of, path


def _inception(path: Path) -> nn.Module:
    """pytorch-fid's Inception with the tensors of a file, without its classifier."""
    module = need("pytorch_fid.inception", "pytorch-fid", "--features inception")
    state = load_state_dict(path, lambda state: "Mixed_7c.branch_pool.conv.weight" in state)

    def loaded(*_: object, **__: object) -> dict[str, Tensor]:
        return state  # instead of a download

    original = module.fid_inception_v3
    names = {**original.__globals__, "load_state_dict_from_url": loaded}
    make = FunctionType(original.__code__, names, original.__name__, original.__defaults__, original.__closure__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torchvision, that it draws random weights, which the file replaces
        try:
            network: nn.Module = make()
        except RuntimeError as error:
            raise WeightsError(
                f"{path}: not pytorch-fid's Inception ({str(error).splitlines()[-1].strip()})"
            ) from error
    network.fc = nn.Identity()
    return network.eval().requires_grad_(False)
