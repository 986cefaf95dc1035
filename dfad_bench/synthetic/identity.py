"""The person that is drawn (identity) and the circumstances of the image (scene), as plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dfad_bench.synthetic.geometry import Placement
from dfad_bench.synthetic.seeding import rng_for

Colour = tuple[float, float, float]  # RGB, 0 to 255
Source = Literal["studio", "outdoor"]

_SKIN: tuple[Colour, ...] = (
    (244, 208, 184),
    (230, 184, 152),
    (205, 153, 116),
    (165, 113, 80),
    (124, 84, 62),
    (104, 72, 56),
)
_HAIR: tuple[Colour, ...] = ((30, 24, 22), (62, 42, 30), (104, 70, 44), (196, 158, 96), (134, 66, 36), (150, 148, 146))
_IRIS: tuple[Colour, ...] = ((58, 34, 20), (74, 48, 28), (44, 74, 112), (52, 84, 62), (62, 74, 84))
_CLOTH: tuple[Colour, ...] = ((52, 62, 92), (120, 42, 48), (58, 92, 70), (190, 186, 178), (44, 44, 50), (154, 120, 74))


@dataclass(frozen=True)
class Identity:
    """A person: colours, and shape factors around 1."""

    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    face_width: float
    jaw: float
    chin: float
    hairline_mm: float
    hair_length_mm: float  # how far below the nose tip it ends; negative: short hair
    fringe: float  # -1 parted to the image's left, 1 to the right, 0 none
    hair_volume: float
    brow_thickness: float
    brow_arch: float
    eye_height: float
    nose_width: float
    nose_bridge: float
    mouth_width: float
    lip_fullness: float
    stubble: float  # fraction of darkening
    age: float  # 0 smooth skin to 1 wrinkled


@dataclass(frozen=True)
class Scene:
    """The circumstances of an image: light, background, framing, expression, camera."""

    source: Source
    light: tuple[float, float, float]  # unit vector from the face to the light, camera axes
    ambient: float
    warmth: float
    exposure: float
    cloth: Colour
    backdrop: tuple[Colour, Colour]
    placement: Placement
    roll_rad: float
    smile: float
    noise: float  # standard deviation of the sensor noise, grey levels
    texture_key: int


def draw_identity(seed: int, name: str) -> Identity:
    """The person of an identity name, e.g. `id0007`."""
    rng = rng_for(seed, "identity", name)
    tone = rng.uniform(0, len(_SKIN) - 1)
    skin = _blend_colours(_SKIN, tone, rng, 6.0)
    dark_hair = tone > 2.5
    hair = _blend_colours(_HAIR, float(rng.uniform(0, 1.5) if dark_hair else rng.uniform(0, len(_HAIR) - 1)), rng, 8.0)
    iris = _IRIS[int(rng.integers(0, 2 if dark_hair else len(_IRIS)))]
    redness = rng.uniform(0.15, 0.75)
    lips = _mix(
        tuple(c * f for c, f in zip(skin, (0.86, 0.66, 0.66), strict=True)), (176, 52, 62), float(redness * 0.7)
    )
    long_hair = rng.random() < 0.45
    return Identity(
        skin=skin,
        hair=hair,
        iris=iris,
        lips=lips,
        face_width=float(rng.uniform(0.94, 1.06)),
        jaw=float(rng.uniform(0.88, 1.12)),
        chin=float(rng.uniform(0.94, 1.07)),
        hairline_mm=float(rng.uniform(-104, -88)),
        hair_length_mm=float(rng.uniform(20, 110) if long_hair else rng.uniform(-60, -20)),
        fringe=float(rng.choice([-1.0, 0.0, 0.0, 1.0]) * rng.uniform(0.4, 1.0)),
        hair_volume=float(rng.uniform(1.02, 1.12)),
        brow_thickness=float(rng.uniform(0.75, 1.35)),
        brow_arch=float(rng.uniform(0.4, 1.5)),
        eye_height=float(rng.uniform(0.9, 1.15)),
        nose_width=float(rng.uniform(0.85, 1.2)),
        nose_bridge=float(rng.uniform(0.8, 1.2)),
        mouth_width=float(rng.uniform(0.9, 1.1)),
        lip_fullness=float(rng.uniform(0.75, 1.35)),
        stubble=float(0.0 if long_hair else rng.choice([0.0, 0.0, 1.0]) * rng.uniform(0.1, 0.3)),
        age=float(rng.beta(1.2, 2.0)),
    )


def draw_scene(seed: int, source: Source, path: str) -> Scene:
    """The scene of the image at a path."""
    rng = rng_for(seed, "scene", source, path)
    outdoor = source == "outdoor"
    side, height = rng.uniform(-1.0, 1.0), rng.uniform(0.2, 0.9)
    light = np.array([0.9 * side, -height, -1.0 if not outdoor else -0.7])
    light /= np.linalg.norm(light)
    base = rng.uniform(50, 215)
    tint = rng.normal(0, 14, 3)
    first = tuple(float(v) for v in np.clip(base + tint, 25, 240))
    second = tuple(float(v) for v in np.clip(base * rng.uniform(0.55, 0.85) + tint, 15, 235))
    cloth = _CLOTH[int(rng.integers(len(_CLOTH)))]
    return Scene(
        source=source,
        light=tuple(float(v) for v in light),  # type: ignore[arg-type]
        ambient=float(rng.uniform(0.54, 0.7) if not outdoor else rng.uniform(0.46, 0.64)),
        warmth=float(rng.normal(0.02, 0.025) if not outdoor else rng.normal(-0.03, 0.05)),
        exposure=float(rng.uniform(0.92, 1.08) if not outdoor else rng.uniform(0.85, 1.15)),
        cloth=cloth,
        backdrop=(first, second),  # type: ignore[arg-type]
        placement=Placement(
            float(rng.uniform(1.16, 1.3)), (160 + float(rng.normal(0, 4)), 163 + float(rng.normal(0, 4)))
        ),
        roll_rad=float(np.clip(rng.normal(0, math.radians(2.5)), -0.12, 0.12)),
        smile=float(rng.uniform(-0.2, 1.0)),
        noise=float(rng.uniform(1.6, 3.2)),
        texture_key=int(rng.integers(2**31)),
    )


def with_attributes_of(person: Identity, other: Identity) -> Identity:
    """`person` after an attribute edit: hair, brow and lip colour of `other`, and older or younger skin."""
    age = person.age + 0.6 if person.age < 0.5 else person.age - 0.6
    lips = _mix(person.lips, (186, 40, 66), 0.55)
    return replace(
        person, hair=other.hair, lips=lips, age=min(max(age, 0.0), 1.0), lip_fullness=person.lip_fullness * 1.15
    )


def with_face_of(person: Identity, other: Identity) -> Identity:
    """The result of a face swap: the features of `other` with the colours and the hairline of `person`."""
    red, green, blue = (min(c * a / b, 250.0) for c, a, b in zip(other.lips, person.skin, other.skin, strict=True))
    lips = (red, green, blue)
    return replace(other, skin=person.skin, lips=lips, hairline_mm=-104.0, fringe=0.0, stubble=0.0)


def _mix(first: tuple[float, ...], second: tuple[float, ...], share: float) -> Colour:
    return tuple((1 - share) * a + share * b for a, b in zip(first, second, strict=True))  # type: ignore[return-value]


def _blend_colours(palette: tuple[Colour, ...], position: float, rng: np.random.Generator, spread: float) -> Colour:
    low = min(int(position), len(palette) - 2)
    colour = np.asarray(_mix(palette[low], palette[low + 1], position - low)) + rng.normal(0, spread, 3) * 0.5
    return tuple(float(v) for v in np.clip(colour + rng.normal(0, spread) * 0.5, 12, 248))  # type: ignore[return-value]
