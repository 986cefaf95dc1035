"""Labels and their fixed numbers (GazeCLIP Table I)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

REAL = 0  # detection label of a pristine face
FAKE = 1  # detection label of a forged face
UNLABELLED = -1  # detection label of a face of unknown origin
UNSEEN = -1  # attribution label of every generator outside the seen set, FFHQ included


def group_key(dataset: str, generator: str, source: str | None = None) -> str:
    """The name of a group in predictions, records and tables.

    >>> group_key("faces", "flux"), group_key("faces", "real", "lfw")
    ('faces/flux', 'faces/real:lfw')
    """
    return f"{dataset}/{generator}" + (f":{source}" if source is not None else "")


def generator_counts(groups: Mapping[str, int]) -> dict[str, int]:
    """Faces by generator from faces by group (`dataset/generator` or `dataset/generator:source`).

    >>> generator_counts({"ffhq/real": 2, "mine/real:studio": 1})
    {'real': 3}
    """
    found: dict[str, int] = {}
    for key, n in groups.items():
        generator = key.rpartition("/")[2].partition(":")[0]
        found[generator] = found.get(generator, 0) + n
    return found


class ForgeryType(Enum):
    """What was done to the face."""

    EFS = "EFS"  # entire face synthesis
    FS = "FS"  # face swap
    AM = "AM"  # attribute manipulation
    FR = "FR"  # face reenactment
    TF = "TF"  # talking face
    GR = "GR"  # gaze redirection
    NONE = "none"  # pristine, or not known


class Family(Enum):
    """What kind of generator did it: by what writes the pixels.

    Papers' tables know seven of these; `grouping` says under which of them another one stands there.
    """

    GAN = "gan"
    DIFFUSION = "diffusion"
    FLOW = "flow"  # of the papers: optical-flow warpers and flow matching alike; of other rows: which kind is not told
    VAE = "vae"
    AUTOREGRESSIVE = "autoregressive"
    GRAPHICS = "graphics"  # classical computer graphics, neural radiance fields, or hand editing
    NONE = "none"  # pristine, or not known
    FLOW_MATCHING = "flow_matching"  # rectified flow included
    NORMALIZING_FLOW = "normalizing_flow"
    AUTOENCODER = "autoencoder"  # deterministic

    @property
    def grouping(self) -> Family:
        """The family of the papers' tables under which this one stands.

        >>> Family.FLOW_MATCHING.grouping, Family.AUTOENCODER.grouping
        (<Family.FLOW: 'flow'>, <Family.NONE: 'none'>)
        """
        return _GROUPING.get(self, self)


_GROUPING = {
    Family.FLOW_MATCHING: Family.FLOW, Family.NORMALIZING_FLOW: Family.FLOW, Family.AUTOENCODER: Family.NONE,
}  # fmt: skip
PAPER_FAMILIES = tuple(family for family in Family if family.grouping is family)
