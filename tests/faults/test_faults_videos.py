"""Bad videos: frames up to the damage, then a row with a reason; the build goes on, and nothing else is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.bad_videos import bad_videos, video_verdicts


@pytest.mark.heavy
def test_damaged_videos_are_rows(tmp_path: Path):
    counts = video_verdicts(bad_videos(tmp_path / "in", 40), tmp_path / "m")
    assert counts["ok"] > 4
    assert counts["unreadable"] + counts.get("unsupported_format", 0) > 8


@pytest.mark.slow
def test_three_hundred_damaged_videos_are_rows(tmp_path: Path):
    video_verdicts(bad_videos(tmp_path / "in", 300, seed=1), tmp_path / "m")
