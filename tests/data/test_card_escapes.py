"""The dataset card of a manifest whose dataset was named by a stranger."""

from __future__ import annotations

from helpers.hostile_names import HOSTILE
from helpers.hostile_outputs import card, card_of
from hypothesis import example, given
from hypothesis import strategies as st


def with_examples(test):  # type: ignore[no-untyped-def]
    for text in HOSTILE:
        test = example(text)(test)
    return given(st.text(max_size=30))(test)


@with_examples
def test_the_front_matter_is_ours_and_the_text_has_no_markup_of_others(text: str) -> None:
    card(text)


def test_an_address_can_be_followed() -> None:
    assert "- Home: <https://example.org/a_b?c=d>\n" in card_of("https://example.org/a_b?c=d")
    assert "<https" not in card_of("https://example.org/ <b>")
