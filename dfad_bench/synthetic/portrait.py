"""A portrait: one person, one pose, one scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfad_bench.synthetic.backdrop import draw_backdrop
from dfad_bench.synthetic.canvas import SIDE, Part, canvas_side, fixed_point, new_canvas
from dfad_bench.synthetic.eyes import draw_eyes
from dfad_bench.synthetic.geometry import Pose, Projector
from dfad_bench.synthetic.head import draw_body, draw_head, draw_mouth, draw_nose, face_points
from dfad_bench.synthetic.identity import Identity, Scene
from dfad_bench.synthetic.seeding import rng_for
from dfad_bench.synthetic.shading import body_light, hair_texture, relief, skin_texture, stubble


@dataclass(frozen=True)
class Portrait:
    """An image before the camera's noise, with masks of its parts.

    `image` is (320, 320, 3) float32 RGB, 0 to 255; `hair` and `skin` are masks in [0, 1]; `project` maps the head
    frame to pixels.
    """

    image: np.ndarray
    skin: np.ndarray
    hair: np.ndarray
    person: Identity
    project: Projector

    def inner_face(self, feather: float) -> np.ndarray:
        """The region that a face swap replaces, (320, 320) in [0, 1], with a soft edge of `feather` pixels."""
        import cv2

        mask = np.zeros((SIDE, SIDE), np.uint8)
        hull = cv2.convexHull(self.project(face_points(self.person, inner=0.8)).astype(np.float32))[:, 0]
        cv2.fillPoly(mask, [fixed_point(hull, 1.0)], 255, cv2.LINE_AA, 4)
        return cv2.GaussianBlur(mask, (0, 0), feather).astype(np.float32) / 255.0


def render(person: Identity, scene: Scene, pose: Pose) -> Portrait:
    """Draw `person` in `scene`, the irises at `Projector.iris_centres`."""
    project = Projector(pose, scene.placement)
    canvas = new_canvas(draw_backdrop(scene, canvas_side()))
    draw_body(canvas, person, scene, project)
    draw_head(canvas, person, project)
    draw_nose(canvas, person, project)
    draw_mouth(canvas, person, scene, project)
    draw_eyes(canvas, person, scene, project)
    image = canvas.finished_image()
    skin = canvas.mask(Part.SKIN, Part.LIPS, Part.EYE)
    hair, cloth = canvas.mask(Part.HAIR), canvas.mask(Part.CLOTH)
    features = canvas.mask(Part.LIPS, Part.EYE)
    rng = rng_for(scene.texture_key, "texture")
    shape = relief(person, scene, project)
    if (dark := stubble(person, project)) is not None:
        shape = shape * (1.0 - dark)
    factor = 1.0 + (shape - 1.0) * (skin - 0.85 * features)
    factor *= 1.0 + hair * hair_texture(rng)
    factor *= 1.0 + (body_light(scene, project) - 1.0) * np.clip(skin + hair + 0.6 * cloth, 0.0, 1.0)
    image *= factor[..., None]
    image += (skin_texture(rng, person.age) * (0.35 + 0.65 * np.clip(skin - features, 0, 1)))[..., None]
    tint = np.array([1.0 + scene.warmth, 1.0, 1.0 - scene.warmth], np.float32) * scene.exposure
    return Portrait(np.clip(image * tint, 0, 255), skin, hair, person, project)
