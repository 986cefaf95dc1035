"""What a licence in words asks of whoever fetches a file or gives a trained model away.

These are texts of `weights.yaml` and of dataset files. Nothing here is legal advice: the rules err on the
side of asking.
"""

from __future__ import annotations

import re
from typing import Literal

Terms = Literal["open", "non_commercial", "restricted", "unknown"]
# whole texts: with anything behind it, as in "MIT code; trained on ImageNet, research only", it is another licence
_OPEN = frozenset(
    """
    mit apache-2.0 apache2.0 bsd-2-clause bsd-3-clause bsd isc cc0 cc0-1.0 cc-by-4.0 cc-by-3.0 cc-by-2.0 cc-by-sa-4.0
    cc-by-sa-3.0 unlicense zlib public-domain drawn-by-dfad_bench
    """.split()  # noqa: SIM905  names of licences, easier to read as a text
)
_RESTRICTED = re.compile(
    r"no[- ]?redistribut|not (?:be )?(?:re)?distribut|redistribution (?:is )?(?:forbidden|prohibited|not)|agreement|"
    r"\bEULA\b|on request|upon request|signed|form\b|\bND\b|no[- ]derivative|individual|application|passed on",
    flags=re.IGNORECASE,
)
_NON_COMMERCIAL = re.compile(
    r"non[- ]?commercial|research[- ](?:use )?only|academic|\bNC\b|\bresearch purposes|for research",
    flags=re.IGNORECASE,
)


def is_open(licence: str) -> bool:
    """Whether a licence is one of the known open ones and nothing more.

    >>> is_open("Apache-2.0"), is_open("MIT code; trained on ImageNet, research only"), is_open("as on its model card")
    (True, False, False)
    """
    return re.sub(r"[\s_]+", "-", licence.strip().rstrip(".").lower()) in _OPEN


def terms_of(licence: str | None) -> Terms:
    """What the text of a licence says of giving away what was made from the data.

    >>> terms_of("CC BY 4.0"), terms_of("CC BY-NC 4.0"), terms_of("on request, by a signed agreement"), terms_of("?")
    ('open', 'non_commercial', 'restricted', 'unknown')
    """
    text = (licence or "").replace("-", " ")
    if licence and is_open(licence):
        return "open"
    if _RESTRICTED.search(text) or _RESTRICTED.search(licence or ""):
        return "restricted"
    if _NON_COMMERCIAL.search(text) or _NON_COMMERCIAL.search(licence or ""):
        return "non_commercial"
    return "unknown"
