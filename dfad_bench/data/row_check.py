"""Whether the rows of a manifest are those of its content hash: computed before they are learnt from, and remembered.

    <manifest>/tables/rows.json    the content hash that was found, and sizes and times of the parts it was found for

The note saves the minutes that two million rows take; `dfad check-manifest` never reads it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import content_hash, read_json, write_json
from dfad_bench.data.manifest import FILE, Manifest
from dfad_bench.data.manifest_parts import rows_hash

NOTE = Path("tables") / "rows.json"


def check_rows(manifest: Manifest) -> None:
    """Compare the rows (labels, splits, hashes of pixels; not the pixels) with the manifest's content hash.

    Raises:
        IntegrityError: they are others, or a part is damaged.
    """
    note = manifest.folder / NOTE
    try:
        found: dict[str, Any] = {"content_sha256": manifest.sha256, "parts": _state(manifest)}
    except OSError as error:
        raise IntegrityError(f"{manifest.folder}: {error.strerror or error}; run the same build again") from error
    with suppress(ConfigError):
        if read_json(note) == found:
            return
    if rows_hash(manifest.parts) != manifest.sha256:
        raise IntegrityError(
            f"{manifest.folder / FILE}: its content hash is not that of the parts; run the same build again"
        )
    with suppress(OSError):  # where nothing can be written, it is computed again next time
        write_json(note, found)


def _state(manifest: Manifest) -> str:
    facts = [(path.name, path.stat()) for path in manifest.parts]
    return content_hash([[name, about.st_size, about.st_mtime_ns] for name, about in facts])
