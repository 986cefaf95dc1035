"""Which crop profiles a protocol names: those its manifests must be made with, and may mix."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dfad_bench.core.errors import quoted

UNSTATED = "unstated"  # stands for manifests that do not say how they were cropped
_PROFILE = re.compile(r"[^@/\\\s]+(@[1-9][0-9]{0,5})?")


@dataclass(frozen=True)
class CropRule:
    """The manifests of a dataset, or of all datasets without a rule of their own, are made with one of `profiles`.

    A profile is named `face-256-1.3`, whatever its version, of which there may be one only, or `face-256-1.3@2`, that
    version; "unstated" are manifests that name no profile.
    """

    profiles: tuple[str, ...]
    dataset: str | None = None  # None: every dataset that no other rule names

    def __post_init__(self) -> None:
        if not self.profiles or len(set(self.profiles)) < len(self.profiles):
            raise ValueError(f"profiles must be named, each once; got {quoted(list(self.profiles))}")
        if bad := [name for name in self.profiles if not _PROFILE.fullmatch(name)]:
            raise ValueError(f"a profile is NAME or NAME@VERSION, such as face-256-1.3@2; got {quoted(bad[0])}")

    def entry(self, name: str, version: object) -> str | None:
        """Which of `profiles` a manifest of this profile falls under; the one with the version before the plain name.

        >>> CropRule(("a", "a@2")).entry("a", 2), CropRule(("a", "a@2")).entry("a", 1), CropRule(("b@1",)).entry("b", 2)
        ('a@2', 'a', None)
        """
        return next((entry for entry in (f"{name}@{version}", name) if entry in self.profiles), None)


def check_rules(rules: Iterable[CropRule], datasets: set[str]) -> None:
    """Refuse two rules for one dataset, and rules for datasets that the protocol does not name.

    Raises:
        ValueError: names the dataset.
    """
    named = [rule.dataset for rule in rules]
    if twice := [name for name in named if named.count(name) > 1]:
        whose = "all datasets" if twice[0] is None else quoted(twice[0])
        raise ValueError(f"crops has two rules for {whose}; list all profiles in one")
    if unknown := [name for name in named if name is not None and name not in datasets]:
        raise ValueError(f"crops names {quoted(unknown[0])}, of which the protocol has no group")


def rule_for(rules: Iterable[CropRule], dataset: str) -> CropRule | None:
    """The rule that holds for a dataset: its own, else the one for all, else none."""
    found = {rule.dataset: rule for rule in rules}
    return found.get(dataset, found.get(None))
