"""Labels of others have names: 1 is real in some data sets and forged in others, so a bare number says nothing."""

from __future__ import annotations

import re

from dfad_bench.core.errors import quoted

_BARE = re.compile(r"[+-]?[0-9]+(\.0+)?|true|false|yes|no", re.IGNORECASE)
_BY_COLUMN = {  # a column whose name is the question: its yes is an answer
    "is_fake": ("real", "fake"), "fake": ("real", "fake"), "is_real": ("fake", "real"), "real": ("fake", "real"),
}  # fmt: skip
_NO, _YES = ("0", "false", "no"), ("1", "true", "yes")


def is_bare(value: str) -> bool:
    """Whether a label is a number or a truth value, which says nothing by itself.

    >>> is_bare("1"), is_bare("0.0"), is_bare("True"), is_bare("0_real")
    (True, True, True, False)
    """
    return bool(_BARE.fullmatch(value.strip()))


def column_answer(column: str, value: str) -> str | None:
    """What 0 and 1 mean in a column whose name is the question, as `is_fake`; None elsewhere.

    >>> column_answer("is_real", "1"), column_answer("label", "1")
    ('real', None)
    """
    answers = _BY_COLUMN.get(column.casefold())
    text = value.casefold()
    return answers[text in _YES] if answers and text in (*_NO, *_YES) else None


def unnamed_label(where: str, value: str, also: str = "") -> str:
    """The error about a bare label: what to say instead; `also` names another place to say it."""
    text = value.strip()
    plain = re.sub(r"\.0+$", "", text)
    pairs = (("0", "1"), ("False", "True"), ("No", "Yes"))
    no, yes = next((pair for pair in pairs if plain.title() in pair), pairs[0])
    if text.islower() or text.isupper():  # as it is written, so that the words that are said here are found
        no, yes = (no.lower(), yes.lower()) if text.islower() else (no.upper(), yes.upper())
    return (
        f"{where}: the label {quoted(value)} has no name, and {yes} is real in some data sets, fake in others: say"
        f" --labels {no}=real,{yes}=fake or --labels {no}=fake,{yes}=real{also}"
    )
