"""The audit of manifests: one check per file, found by name; each is a pure function of a `Subject`."""

from __future__ import annotations

from collections.abc import Sequence

from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.registry import resolve
from dfad_bench.data.audit.findings import Findings
from dfad_bench.data.audit.subject import NEAR_BITS, load
from dfad_bench.data.manifest import Manifest

# in the order of a report
AUDITS = {
    "same_files": "dfad_bench.data.audit.same_files:check",
    "same_pixels": "dfad_bench.data.audit.same_pixels:check",
    "near_duplicates": "dfad_bench.data.audit.near_duplicates:check",
    "altered_copies": "dfad_bench.data.audit.altered_copies:check",
    "split_leaks": "dfad_bench.data.audit.split_leaks:check",
    "reused_reals": "dfad_bench.data.audit.reused_reals:check",
    "balance": "dfad_bench.data.audit.balance:check",
    "file_facts": "dfad_bench.data.audit.file_facts:check",
    "shortcut": "dfad_bench.data.audit.shortcut:check",
}


def audit(
    manifests: Sequence[Manifest],
    protocol: Protocol | None = None,
    *,
    checks: Sequence[str] = tuple(AUDITS),
    near_bits: int = NEAR_BITS,
    seed: int = 0,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> list[Findings]:
    """Run the checks over all manifests together.

    Args:
        manifests: the manifests to audit; duplicates are searched across all of them.
        protocol: train and test rows are those it chooses; without one, those of the source's split.
        checks: names in `AUDITS`.
        near_bits: bits in which the perceptual hashes of near duplicates may differ.
        seed: seed of the classifier's folds in the shortcut test.
        progress: is called after every check.

    Raises:
        UnknownNameError: no such check.
        ManifestError: two manifests of one dataset under a protocol, or a damaged one.
    """
    functions = [resolve("audit", name, AUDITS) for name in checks]
    progress.start("audit", len(functions) + 1)
    subject = load(manifests, protocol, near_bits=near_bits, seed=seed)
    progress.advance()
    found = []
    for function in functions:
        found.append(function(subject))
        progress.advance()
    progress.finish()
    return found
