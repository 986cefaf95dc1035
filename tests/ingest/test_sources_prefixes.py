"""The prefix that is advised makes the listed file found, also where one was given already."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfad_bench.ingest.sources.prefixes import map_prefix, suggest_prefix


@pytest.mark.parametrize(
    "given", [{}, {"/old/data": "new"}, {"/old/data": "new/x"}, {"/old": "a/b"}, {"/old/data/": "/new"}]
)
@pytest.mark.parametrize("below", ["", "datasets", "datasets/rgb/v2"])
@pytest.mark.parametrize("place", ["real/0.png", "x/real/0.png", "real/x/0.png"])
def test_the_advice_works(given: dict[str, str], below: str, place: str, tmp_path: Path) -> None:
    listed = f"/old/data/{place}"
    (tmp_path / below / place).parent.mkdir(parents=True)
    (tmp_path / below / place).touch()
    advice = suggest_prefix(tmp_path, [map_prefix(listed, given)], given)
    if advice is None:  # found as it is
        assert (tmp_path / map_prefix(listed, given)).is_file()
        return
    old, _, new = advice.partition("--map-prefix ")[2].partition(" in place of ")[0].partition("=")
    replaced = advice.partition(" in place of ")[2].partition("=")[0]
    now = {**{key: value for key, value in given.items() if key != replaced}, old: new}
    assert now != given
    assert (tmp_path / map_prefix(listed, now)).is_file(), advice


def test_a_folder_that_the_root_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "datasets/rgb/cdf/real").mkdir(parents=True)
    (tmp_path / "datasets/rgb/cdf/real/0.png").touch()
    advice = suggest_prefix(tmp_path, ["cdf/real/0.png"])
    assert str(advice).endswith("add 'datasets/rgb' to --root")
    assert suggest_prefix(tmp_path, ["/old/0.png", "../datasets/rgb/cdf/real/0.png"]) is None


def test_looking_for_a_prefix_ends_in_any_folder(tmp_path: Path) -> None:
    """No link is entered (here, one in a circle), and folders beyond the first few hundred are not looked into."""
    (tmp_path / "circle").symlink_to(tmp_path, target_is_directory=True)
    for index in range(250):
        (tmp_path / f"folder{index:03}").mkdir()
    (tmp_path / "folder240/cdf").mkdir()
    (tmp_path / "folder240/cdf/0.png").touch()
    assert suggest_prefix(tmp_path, ["/old/cdf/0.png"]) is None
    assert "folder240" in str(suggest_prefix(tmp_path, ["/old/folder240/cdf/0.png"]))
    assert suggest_prefix(tmp_path / "nowhere", ["/old/cdf/0.png"]) is None
