"""The prefix that is advised makes the listed file found, also where one was given already."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfad_bench.ingest.sources.prefixes import map_prefix, suggest_prefix


@pytest.mark.parametrize(
    "given", [{}, {"/old/data": "new"}, {"/old/data": "new/x"}, {"/old": "a/b"}, {"/old/data/": "/new"}]
)
@pytest.mark.parametrize("place", ["real/0.png", "x/real/0.png", "real/x/0.png"])
def test_the_advice_works(given: dict[str, str], place: str, tmp_path: Path) -> None:
    listed = f"/old/data/{place}"
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).touch()
    advice = suggest_prefix(tmp_path, [map_prefix(listed, given)], given)
    if advice is None:  # found as it is
        assert (tmp_path / map_prefix(listed, given)).is_file()
        return
    old, _, new = advice.partition("--map-prefix ")[2].partition(" in place of ")[0].partition("=")
    replaced = advice.partition(" in place of ")[2].partition("=")[0]
    now = {**{key: value for key, value in given.items() if key != replaced}, old: new}
    assert now != given
    assert (tmp_path / map_prefix(listed, now)).is_file(), advice
