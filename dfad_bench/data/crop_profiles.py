"""With which crop profiles manifests were made, and whether a protocol may use them side by side.

Margin, side, alignment and landmarks are facts of a pipeline. Where they go with the label a model learns the pipeline,
so one protocol takes one profile, unless it names others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dfad_bench.core.crop_rules import UNSTATED, rule_for
from dfad_bench.core.errors import ProtocolError, cut, listed
from dfad_bench.core.escape import one_line
from dfad_bench.core.protocol import Protocol
from dfad_bench.data.manifest import Manifest

_NO_PIXELS = ("sha256", "title", "notes")  # compared apart, or for the reader
_WAYS = (
    "build them alike (`dfad build-manifest --crop NAME`), or name the profiles that may be mixed in a protocol of your"
    " own (`crops:`, see manifests/README.md)"
)


@dataclass(frozen=True)
class CropMade:
    """How a manifest, or what a run kept of it, says that its faces were cropped."""

    name: str
    version: Any
    sha256: Any
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, crop: Mapping[str, Any] | None) -> CropMade:
        """Of `crop` in `manifest.json`."""
        stated = crop or {}
        settings = {key: value for key, value in stated.items() if key not in _NO_PIXELS}
        return cls(str(stated.get("name", UNSTATED)), stated.get("version"), stated.get("sha256"), settings)

    def is_same_profile(self, other: CropMade) -> bool:
        """Whether both are one profile: name, version and whatever both state of its settings.

        A setting that only one of them states is of a later toolkit, which leaves earlier profiles as they were.
        """
        if (self.name, self.version) != (other.name, other.version):
            return False
        common = self.settings.keys() & other.settings.keys()
        says_enough = len(common - {"name", "version"}) > 0
        alike = all(self.settings[key] == other.settings[key] for key in common)
        return self.sha256 == other.sha256 or (says_enough and alike)

    def __str__(self) -> str:
        if self.name == UNSTATED:
            return "no profile stated"
        version = "" if self.version is None else f" version {self.version}"
        return one_line(cut(f"{self.name}{version}", 80))


def refuse_mixed(protocol: Protocol, manifests: Sequence[Manifest]) -> None:
    """Refuse manifests of a protocol's datasets that were cropped in ways it does not name.

    Without `crops` in the protocol all are of one profile, in one version and with one content. With it, those of a
    dataset that it names are of a profile it names, and the others of one profile. A profile named without version is
    there in one version.

    Raises:
        ProtocolError: names manifests and profiles, and what to do.
    """
    datasets = {group.dataset for group in protocol.all_groups}
    alike: dict[str, list[tuple[CropMade, Manifest]]] = {}
    for manifest in (one for one in manifests if one.name in datasets):
        made, rule = crop_of(manifest), rule_for(protocol.crops, manifest.name)
        entry = "" if rule is None else rule.entry(made.name, made.version)
        if entry is None:
            assert rule is not None
            raise ProtocolError(
                f"protocol {protocol.name} takes {one_line(cut(manifest.name, 80))} cropped by"
                f" {listed(rule.profiles, separator=' or ')}, and {manifest.folder} was cropped by {made}; build it"
                f" again (`dfad build-manifest --crop {rule.profiles[0].partition('@')[0]}`)"
            )
        alike.setdefault(entry, []).append((made, manifest))
    for same in alike.values():
        if len(kinds := _kinds(same)) > 1:
            raise ProtocolError(
                f"protocol {protocol.name}: crop profiles are mixed: {'; '.join(kinds)}. What differs with the dataset"
                f" can be learnt in place of the generator: {_WAYS}"
            )


def refuse_others(protocol: Protocol, manifests: Sequence[Manifest], trained: Mapping[str, Any], run: str) -> None:
    """Refuse test faces cropped in a way that a run's training faces were not, unless the protocol names it.

    Args:
        protocol: under which the run is evaluated.
        manifests: of its datasets.
        trained: `manifest.made` of the run's facts; empty for runs that did not keep it, of which nothing is known.
        run: its folder, for the message.

    Raises:
        ProtocolError: names the manifest and both profiles.
    """
    about = [value for value in trained.values() if isinstance(value, Mapping) and "crop" in value]
    known = [CropMade(str(a["crop"]), a.get("crop_version"), a.get("crop_sha256"), {}) for a in about]
    for manifest in manifests if known else ():
        made = crop_of(manifest)
        if rule_for(protocol.crops, manifest.name) is None and not any(made.is_same_profile(other) for other in known):
            raise ProtocolError(
                f"{run}: learnt from faces cropped by {listed(dict.fromkeys(map(str, known)), separator=' and ')}, and"
                f" {manifest.folder} was cropped by {made}; build it by the same profile (`dfad build-manifest --crop"
                f" {one_line(cut(known[0].name, 80))}`), or name its profile in a protocol of your own (`crops:`)"
            )


def crop_of(manifest: Manifest) -> CropMade:
    """How a manifest says that its faces were cropped."""
    return CropMade.of(manifest.info.get("crop"))


def _kinds(manifests: Sequence[tuple[CropMade, Manifest]]) -> list[str]:
    """Each profile with its manifests; profiles of one name and version with the beginnings of their hashes."""
    kinds: list[tuple[CropMade, list[str]]] = []
    for made, manifest in manifests:
        mine = next((folders for other, folders in kinds if other.is_same_profile(made)), None)
        if mine is None:
            kinds.append((made, mine := []))
        mine.append(str(manifest.folder))
    names = [str(made) for made, _ in kinds]
    return [
        f"{name}{f' (sha256 {str(made.sha256)[:8]})' if names.count(name) > 1 else ''} in {listed(folders, 4)}"
        for name, (made, folders) in zip(names, kinds, strict=True)
    ]
