"""Facts of every record: which code, and which protocol."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ProtocolFacts, Toolkit
from dfad_bench.core.version import __version__


def toolkit_facts() -> Toolkit:
    """The toolkit's version, and its commit where it runs from a checkout."""
    root = Path(__file__).resolve().parents[2]
    commit, dirty = None, None
    if (root / ".git").exists():
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
        dirty = None if changed is None else bool(changed)
    return Toolkit(__version__, commit or None, dirty)


def protocol_facts(protocol: Protocol, deviations: Sequence[str]) -> ProtocolFacts:
    """The whole protocol and how the rows deviate from it."""
    return ProtocolFacts(
        name=protocol.name,
        version=str(protocol.version),
        sha256=protocol.sha256,
        config=asdict(protocol),
        deviations=tuple(deviations),
        included_generators=protocol.included_generators,
    )


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "backslashreplace").strip() if done.returncode == 0 else None
