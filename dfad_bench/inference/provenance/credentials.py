"""Content credentials (C2PA manifests), read and their signatures checked by c2pa-python; the network is off.

A valid signature says that who signed it states this, not that it is true. Without the extra `provenance`, whether a
file has credentials is not known, and said so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import Any, BinaryIO

from dfad_bench.core.errors import cut
from dfad_bench.core.escape import one_line

NOT_INSTALLED = "not looked for: pip install 'dfad-bench[provenance]'"
ELSEWHERE = "kept elsewhere, not fetched"
MOST_BYTES = 8 << 20  # of the report of a file
_LONGEST = 80  # characters of a text from the file
# nothing is fetched: neither manifests and revocations from the network, nor lists of trusted signers
_SETTINGS: Mapping[str, Any] = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": False}}
# by extension, what c2pa-python is told
_TYPES = {
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "jpe": "image/jpeg", "jfif": "image/jpeg", "png": "image/png",
    "webp": "image/webp", "tif": "image/tiff", "tiff": "image/tiff", "gif": "image/gif", "mp4": "video/mp4",
    "m4v": "video/mp4", "mov": "video/quicktime", "avi": "video/avi",
}  # fmt: skip


@dataclass(frozen=True)
class Credentials:
    """What a file's credentials say.

    Attributes:
        state: "none", "valid", "invalid" (a signature or a hash does not fit), "unreadable", or why nobody looked.
        generator: the program that claims to have made or changed the file.
        signer: who signed, as the certificate says; it is not checked who that is.
        source_types: digital source types of its actions.
        problems: codes of what does not fit.
    """

    state: str
    generator: str = ""
    signer: str = ""
    source_types: tuple[str, ...] = field(default=())
    problems: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """In one cell."""
        parts = [self.state]
        parts += [f"made by {self.generator}"] if self.generator else []
        parts += [f"signed by {self.signer}, not checked who that is"] if self.signer else []
        parts += [", ".join(self.problems)] if self.problems else []
        return "; ".join(parts)


@cache
def is_installed() -> bool:
    """Whether c2pa-python is there."""
    return find_spec("c2pa") is not None


def credentials(data: BinaryIO, name: str) -> Credentials:
    """The credentials of a file, by its name's extension; of a kind that holds none, "none"."""
    kind = _TYPES.get(name.lower().rpartition(".")[2])
    if kind is None:
        return Credentials("none")
    if not is_installed():
        return Credentials(NOT_INSTALLED)
    try:
        report = _report(data, kind)
    except ValueError as error:
        elsewhere = "remote" in str(error).lower()
        return Credentials(ELSEWHERE if elsewhere else "unreadable", problems=() if elsewhere else (_text(error),))
    return Credentials("none") if report is None else _summary(report)


def _report(data: BinaryIO, kind: str) -> Mapping[str, Any] | None:
    """What c2pa-python says of a file; None where it has no manifest.

    Raises:
        ValueError: it cannot be read.
    """
    import c2pa

    try:
        reader = c2pa.Reader.try_create(kind, data, context=_context())
        if reader is None:
            return None
        with reader:
            text = reader.json()
    except c2pa.C2paError as error:
        raise ValueError(str(error)) from error
    if len(text) > MOST_BYTES:
        raise ValueError(f"a report of more than {MOST_BYTES} bytes")
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("no report")  # noqa: TRY004  of a file, not of a caller
    return found


@cache
def _context() -> Any:
    import c2pa

    return c2pa.Context(c2pa.Settings.from_dict(dict(_SETTINGS)))


def _summary(report: Mapping[str, Any]) -> Credentials:
    manifests = _mapping(report.get("manifests"))
    active = _mapping(manifests.get(str(report.get("active_manifest"))))
    info = next((_mapping(one) for one in _sequence(active.get("claim_generator_info"))), {})
    made_by = info.get("name") or active.get("claim_generator") or ""
    signed = _mapping(active.get("signature_info"))
    problems = [_mapping(one).get("code", "") for one in _sequence(report.get("validation_status"))]
    problems = [code for code in problems if code != "signingCredential.untrusted"]  # nobody is trusted here
    state = str(report.get("validation_state") or ("Invalid" if problems else "Valid"))
    valid = state.lower() in ("valid", "trusted") and not problems
    types: list[str] = []
    for assertion in map(_mapping, _sequence(active.get("assertions"))):
        actions = _sequence(_mapping(assertion.get("data")).get("actions"))
        types += [str(kind) for action in actions if (kind := _mapping(action).get("digitalSourceType"))]
    return Credentials(
        "valid" if valid else "invalid",
        _text(made_by),
        _text(signed.get("issuer") or signed.get("common_name") or ""),
        tuple(dict.fromkeys(_text(kind.rstrip("/").rpartition("/")[2]) for kind in types)),
        tuple(dict.fromkeys(_text(code) for code in problems if code))[:10],
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return one_line(cut(" ".join(str(value).split()), _LONGEST))
