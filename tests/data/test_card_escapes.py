"""The dataset card of a manifest whose dataset was named by a stranger."""

from __future__ import annotations

import yaml
from helpers.hostile_names import HOSTILE, markdown_kinds
from hypothesis import example, given
from hypothesis import strategies as st

from dfad_bench.core import escape
from dfad_bench.data.card import dataset_card


def card_of(text: str) -> str:
    info = {
        "dataset": {"name": text or "x", "title": text, "licence": text, "homepage": text, "citation": text},
        "parts": [{}],
        "rows": 1,
        "tool": {"name": "dfad_bench", "version": "1"},
        "schema_version": "1",
        "content_sha256": "0" * 64,
        "counts": {text: {"ok": 1, text: 2}},
        "crop": {"name": text, "sha256": "0" * 64, "margin": text},
    }
    return dataset_card(info)


def with_examples(test):  # type: ignore[no-untyped-def]
    for text in HOSTILE:
        test = example(text)(test)
    return given(st.text(max_size=30))(test)


@with_examples
def test_the_front_matter_is_ours_and_the_text_has_no_markup_of_others(text: str) -> None:
    card = card_of(text)
    assert escape.terminal(card) == card
    _, front, body = card.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert set(facts) == {"pretty_name", "license", "task_categories", "tags", "configs"}
    assert facts["pretty_name"] == escape.terminal(text or "x")
    kinds = markdown_kinds(body)
    plain = {"heading", "paragraph", "text", "text_special", "code_inline", "bullet_list", "list_item", "softbreak"}
    table = {"table", "thead", "tbody", "tr", "th", "td"}
    link = {"link"} if text.startswith("http") else set()  # an address of the web, shown as it is
    assert kinds <= plain | table | link | {"fence"}
    assert body.count("```") == 2 or "`" in text


def test_an_address_can_be_followed() -> None:
    assert "- Home: <https://example.org/a_b?c=d>\n" in card_of("https://example.org/a_b?c=d")
    assert "<https" not in card_of("https://example.org/ <b>")
