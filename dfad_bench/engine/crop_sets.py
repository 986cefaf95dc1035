"""Manifests of the same faces cropped in several ways, and the protocol under which a run is tested on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dfad_bench.core.crop_rules import CropRule
from dfad_bench.core.errors import ConfigError, cut, listed, quoted
from dfad_bench.core.protocol import Protocol
from dfad_bench.data.crop_profiles import CropMade, crop_of
from dfad_bench.data.manifest import Manifest

_LONGEST = 60  # characters of a profile's name: it becomes part of a folder's


@dataclass(frozen=True)
class CropSet:
    """Manifests of one crop profile, and whether it is the one that a run learnt from."""

    made: CropMade
    manifests: tuple[Manifest, ...]
    learnt: bool

    @property
    def name(self) -> str:
        """The profile with its version, as a protocol's `crops` names it."""
        return self.made.name if self.made.version is None else f"{self.made.name}@{self.made.version}"

    def protocol(self, trained: Protocol) -> Protocol:
        """The protocol of the run, of faces cropped in this way: its `crops` says so, and its name.

        Raises:
            ConfigError: the profile's name can be no part of a protocol's.
        """
        if self.learnt:
            return trained
        try:
            rule = CropRule((self.name,))
        except ValueError:
            rule = None
        if rule is None or len(self.name) > _LONGEST or not self.made.name.isprintable():
            raise ConfigError(f"{self.manifests[0].folder}: crop profile {quoted(cut(self.name))} has no usable name")
        return replace(trained, name=f"{trained.name}-{self.made.name}", crops=(rule,))


def crop_sets(
    manifests: Sequence[Manifest], facts: Mapping[str, Any], hashes: Mapping[str, str], run: str
) -> list[CropSet]:
    """The manifests by crop profile, those of the profile that a run learnt from first.

    Args:
        manifests: of any number of profiles.
        facts: of the run.
        hashes: of the manifests that the run learnt from, by dataset; they tell where its facts do not.
        run: its folder, for messages.

    Raises:
        ConfigError: the run learnt from several profiles, or no manifest is of the one it learnt from.
    """
    about = facts["manifest"].get("made") or {}
    known = [
        CropMade(str(made["crop"]), made.get("crop_version"), made.get("crop_sha256"), {})
        for made in about.values()
        if isinstance(made, Mapping) and "crop" in made
    ]
    if len({str(made) for made in known}) > 1:
        raise ConfigError(
            f"{run}: learnt from {listed(dict.fromkeys(map(str, known)))}; there is no one profile to compare with"
        )
    found: list[tuple[CropMade, list[Manifest]]] = []
    for manifest in manifests:
        mine = crop_of(manifest)
        same = next((some for made, some in found if made.is_same_profile(mine)), None)
        if same is None:
            found.append((mine, same := []))
        same.append(manifest)
    digests = set(hashes.values())

    def was_learnt(made: CropMade, some: Sequence[Manifest]) -> bool:
        if known:
            return any(made.is_same_profile(other) for other in known)
        return any(manifest.sha256 in digests for manifest in some)

    sets = [CropSet(made, tuple(some), was_learnt(made, some)) for made, some in found]
    if not any(one.learnt for one in sets):
        wanted = f"cropped by {known[0]}, as those of the training were" if known else "that the run learnt from"
        raise ConfigError(
            f"{run}: none of the manifests ({listed([one.name for one in sets], 6)}) is {wanted}; give that one, too"
        )
    return sorted(sets, key=lambda one: not one.learnt)
