from __future__ import annotations

import re

import pytest

from dfad_bench.report.site.environment import shipped_text
from dfad_bench.report.site.heat import SHADES, legend, shade_of

TEXT, LARGE = 4.5, 3.0  # WCAG 2.2, 1.4.3 and 1.4.11
ON_PAGE = ("fg", "soft", "link", "struck", *(f"s{k}" for k in range(8)))


def themes() -> dict[str, dict[str, str]]:
    """Colours by name, of both themes; what the dark one does not name is as in the light one."""
    text = shipped_text("site.css")
    light, dark = (block for block in text.split("@media print")[0].split(":root {")[1:3])
    found = [dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", block.split("}")[0])) for block in (light, dark)]
    return {"light": found[0], "dark": {**found[0], **found[1]}}


def luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_recommendation() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_on_every_ground(theme: str) -> None:
    colours = themes()[theme]
    pairs = [(name, ground) for name in ON_PAGE for ground in ("bg", "head")]
    pairs += [("warn-fg", "warn-bg"), *(("hf", f"h{k}") for k in range(SHADES))]
    weak = {pair: contrast(*(colours[name] for name in pair)) for pair in pairs}
    assert {pair: value for pair, value in weak.items() if value < TEXT} == {}
    for name in ("edge", "focus"):
        assert contrast(colours[name], colours["bg"]) >= LARGE


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_shades_go_one_way(theme: str) -> None:
    shades = [luminance(themes()[theme][f"h{k}"]) for k in range(SHADES)]
    assert shades in (sorted(shades), sorted(shades, reverse=True))
    assert len(set(shades)) == SHADES


def test_dark_colours_are_of_screens_only() -> None:
    """A browser leaves grounds unprinted: light text of the dark theme would be white on white."""
    assert "@media screen and (prefers-color-scheme: dark)" in shipped_text("site.css")
    assert shipped_text("site.css").count("prefers-color-scheme") == 1


def test_every_variable_that_is_used_is_declared_and_the_other_way_round() -> None:
    text = shipped_text("site.css")
    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", text))
    assert used == set(themes()["light"]) == set(themes()["dark"])


def test_every_shade_stands_for_its_share_and_is_in_the_legend() -> None:
    assert [shade for shade, _ in legend()] == list(range(SHADES))
    assert [shade_of(k / 100) for k in (0, 14, 15, 99, 100)] == [0, 0, 1, 6, 6]
    assert shade_of(-0.1) == 0
    text = shipped_text("site.css")
    assert all(f"td.h{k} " in text and f".legend .h{k} " in text for k in range(SHADES))
