"""One synthetic face as a pure function of the seed and its path."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.labels import ForgeryType
from dfad_bench.synthetic.camera import expose
from dfad_bench.synthetic.generators import StandIn, Subject
from dfad_bench.synthetic.geometry import Pose
from dfad_bench.synthetic.identity import Scene, draw_identity, draw_scene
from dfad_bench.synthetic.portrait import render
from dfad_bench.synthetic.poses import natural_pose, share_kept, with_gaze_error
from dfad_bench.synthetic.seeding import rng_for
from dfad_bench.synthetic.unseen_generators import ALL_GENERATORS

STUDIO, OUTDOOR = "real-studio", "real-outdoor"
_PATH = re.compile(
    r"(?P<split>train|test)/(?P<group>[a-z-]+)/(?P<identity>id(?P<number>\d{4,}))_(?P<shot>\d{2,})(?:_by_(?P<other>id\d{4,}))?\.png"
)


@dataclass(frozen=True)
class Truth:
    """The ground truth of a face; angles in the camera frame, radians."""

    path: str
    split: str
    generator: str
    identity: str
    pitch_rad: float
    yaw_rad: float
    head_pitch_rad: float
    head_yaw_rad: float
    target: str | None
    gaze_kept: float


@dataclass(frozen=True)
class Plan:
    """All parameters of a face, decided before it is drawn."""

    path: str
    split: str
    group: str
    identity: str
    other: str | None
    target: str | None
    scene: Scene
    target_pose: Pose
    pose: Pose

    @property
    def truth(self) -> Truth:
        """The row of the ground truth."""
        noise = ALL_GENERATORS[self.group].noise_rad if self.group in ALL_GENERATORS else 0.0
        pose = self.pose
        angles = (pose.pitch_rad, pose.yaw_rad, pose.head_pitch_rad, pose.head_yaw_rad)
        return Truth(self.path, self.split, self.group, self.identity, *angles, self.target, share_kept(noise))


def plan_face(seed: int, path: str) -> Plan:
    """Decide scene, pose and gaze of the face at `path` (`<split>/<group>/<identity>_<shot>[_by_<other>].png`).

    Raises:
        ConfigError: no such path can occur in a synthetic tree.
    """
    match = _PATH.fullmatch(path)
    group = match["group"] if match else ""
    stand_in = ALL_GENERATORS.get(group)
    if match is None or (stand_in is None and group not in (STUDIO, OUTDOOR)):
        raise ConfigError(f"{quoted(path)}: not a path of a synthetic face")
    number, shot = int(match["number"]), int(match["shot"])
    needs_target = stand_in is not None and stand_in.forgery is not ForgeryType.EFS
    if needs_target != (match["other"] is not None):
        raise ConfigError(
            f"{quoted(path)}: `_by_<other>` belongs to face swaps, edits and reenactments, and to them only"
        )
    target = f"{match['split']}/{STUDIO}/{match['identity']}_{match['shot']}.png" if needs_target else None
    scene = draw_scene(seed, "outdoor" if group == OUTDOOR else "studio", target or path)
    # Generators sample the poses of the seen real faces, so that their gaze differs by their own error only.
    series = OUTDOOR if group == OUTDOOR else STUDIO
    target_pose = natural_pose(seed, f"{match['split']} {series}", number, shot, scene.roll_rad)
    pose = _rendered_pose(target_pose, seed, group, stand_in, number, shot)
    return Plan(path, match["split"], group, match["identity"], match["other"], target, scene, target_pose, pose)


def draw_face(seed: int, path: str) -> tuple[np.ndarray, Truth]:
    """The image (320, 320, 3) uint8 RGB and the ground truth of the face at `path`.

    Raises:
        ConfigError: no such path can occur in a synthetic tree.
    """
    plan = plan_face(seed, path)
    person = draw_identity(seed, plan.identity)
    rng = rng_for(seed, "pixels", path)
    if plan.group in ALL_GENERATORS:
        other = draw_identity(seed, plan.other) if plan.other else person
        subject = Subject(person, other, plan.scene, plan.target_pose, plan.pose, rng)
        image = ALL_GENERATORS[plan.group].paint(subject)
    else:
        image = render(person, plan.scene, plan.pose).image
    return expose(image, plan.scene, rng), plan.truth


def _rendered_pose(pose: Pose, seed: int, group: str, stand_in: StandIn | None, number: int, shot: int) -> Pose:
    if stand_in is None:
        return pose
    noise, share = stand_in.noise_rad, stand_in.head_share
    return with_gaze_error(pose, seed, group, number, shot, noise_rad=noise, head_share=share)
