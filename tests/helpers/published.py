"""The second transcriptions of published tables, which lie beside a checkout and are in no repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = Path(os.environ.get("DFAD_PUBLISHED", ROOT / "../shared/published"))
needs_published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="the transcribed CSV files are not there; set DFAD_PUBLISHED to their folder"
)
