"""File names of pages, made of names that strangers may have chosen; and addresses that are safe to link to."""

from __future__ import annotations

import re

from dfad_bench.core.files import content_hash

_PLAIN = re.compile(r"[a-z0-9]+(?:[_-]+[a-z0-9]+)*")
_LONGEST = 60
_WEB = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:[/?#][^\s<>\"'\\^`{|}]*)?")


def page_of(kind: str, name: str) -> str:
    """The file name of a page of a kind; two names never share one, also where case does not count.

    >>> page_of("model", "dna_det")
    'model-dna_det.html'
    >>> page_of("model", "../x")
    'model-x-d132adc6.html'
    """
    return f"{file_stem(kind, name)}.html"


def file_stem(kind: str, name: str) -> str:
    """The same without a suffix, for what lies beside a page."""
    if _PLAIN.fullmatch(name) and len(name) <= _LONGEST:
        return f"{kind}-{name}"
    plain = "-".join(re.findall(r"[a-z0-9]+", name.lower()))[:_LONGEST].strip("-")
    digest = content_hash(name.encode("utf-8", "surrogatepass").hex())[:8]
    return "-".join(part for part in (kind, plain, digest) if part)


def run_stem(record_id: str) -> str:
    """The file stem of a run's page."""
    return f"run-{record_id[:16]}"


def web_address(text: object) -> str | None:
    """The text where it is an address of the web and nothing else; None for all that must not be followed.

    >>> web_address("https://example.org/a?b=1"), web_address("javascript:alert(1)")
    ('https://example.org/a?b=1', None)
    """
    return text if isinstance(text, str) and _WEB.fullmatch(text) else None
