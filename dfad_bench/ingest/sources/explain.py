"""Why a path fits no template of a dataset file: which part of which template fits which part of the name no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import Formatter
from typing import NamedTuple

from dfad_bench.data.images import EXTENSIONS, VIDEO_EXTENSIONS
from dfad_bench.ingest.sources.base import PICTURES
from dfad_bench.ingest.sources.folders import NO_PATH, places_of
from dfad_bench.ingest.sources.spec import DatasetSpec
from dfad_bench.ingest.sources.template import Template

_MOST = 3  # files that are explained
_LONGEST = 255  # letters of a path: the search tries every beginning of it
_MEANINGS = {
    "": "one or more letters without '/'",
    "int": "digits",
    "number": "digits",
    "word": "letters without '/' and '_'",
    "path": "one or more letters",
}


class _Fit(NamedTuple):
    """How far a template fits: the number of its parts, and of letters of the path."""

    parts: int
    letters: int
    template: str
    place: str


def explain_misfits(spec: DatasetSpec, origins: Sequence[str]) -> Iterator[str]:
    """One line for each of the first pictures and videos that fit no template, by the one that fits the longest."""
    templates = list(dict.fromkeys(entry.path for entry in spec.entries))
    pictures = [origin for origin in origins if origin.lower().rpartition(".")[2] in PICTURES]
    for origin in pictures[:_MOST]:
        places = [place for place in places_of(origin) if len(place) <= _LONGEST]
        fits = [_longest_fit(template, place) for template in templates for place in places]
        if fits:
            yield f"{origin!r}: {NO_PATH}; {_explain(max(fits, key=lambda fit: (fit.parts, fit.letters)))}"


def _longest_fit(template: str, place: str) -> _Fit:
    pieces = parts_of(template)
    best = _Fit(0, 0, template, place)
    for count in range(1, len(pieces) + 1):  # what does not fit does not fit with more behind it either
        begin = Template("".join(pieces[:count]))
        end = next((end for end in range(len(place), 0, -1) if begin.match(place[:end]) is not None), None)
        if end is None:
            break
        best = _Fit(count, end, template, place)
    return best


def parts_of(template: str) -> list[str]:
    """A template cut into its texts and fields.

    >>> parts_of("{split}/{who:word}_{shot:int}.{ext}")
    ['{split}', '/', '{who:word}', '_', '{shot:int}', '.', '{ext}']
    """
    pieces = []
    for literal, name, kind, _ in Formatter().parse(template):
        pieces += [literal.replace("{", "{{").replace("}", "}}")] if literal else []
        pieces += [f"{{{name}{f':{kind}' if kind else ''}}}"] if name is not None else []
    return pieces


def _explain(fit: _Fit) -> str:
    pieces = parts_of(fit.template)
    remainder = fit.place[fit.letters :]
    fitting = f"its {''.join(pieces[: fit.parts])!r} fits {fit.place[: fit.letters]!r}, then " if fit.parts else ""
    if fit.parts == len(pieces):
        found = f"{fitting}the path goes on with {remainder!r}"
    elif not remainder:
        found = f"{fitting}the path ends before {_described(pieces[fit.parts])}"
    else:
        found = f"{fitting}{_described(pieces[fit.parts])} does not fit {remainder!r}"
    return f"nearest is {fit.template!r}: {found}"


def _described(piece: str) -> str:
    if not piece.startswith("{") or piece.startswith("{{"):
        return repr(piece)
    name, _, kind = piece[1:-1].partition(":")
    if name == "ext":
        endings = VIDEO_EXTENSIONS if kind == "video" else EXTENSIONS
        return f"{piece} ({', '.join(endings[:3])} ...)"
    return f"{piece} ({_MEANINGS.get(kind, 'as where it stood before')})"
