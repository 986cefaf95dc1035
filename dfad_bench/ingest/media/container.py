"""The first bytes of a video file: its format, and the file size they declare."""

from __future__ import annotations

HEAD = 64  # bytes that are read
_ISO = ("ftyp", "moov", "mdat", "free", "skip", "wide")  # first box of MP4, MOV, M4V
_DEMUXERS = {"iso": "mov,mp4,m4a,3gp,3g2,mj2", "matroska": "matroska,webm", "avi": "avi"}
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def format_of(head: bytes) -> str | None:
    """`iso` (MP4, MOV), `matroska` (WebM, too) or `avi`; None for anything else.

    >>> format_of(bytes(4) + b"ftypisom"), format_of(b"RIFF....AVI LIST"), format_of(b"#EXTM3U")
    ('iso', 'avi', None)
    """
    if head[4:8] in [name.encode() for name in _ISO]:
        return "iso"
    if head.startswith(_EBML):
        return "matroska"
    return "avi" if head.startswith(b"RIFF") and head[8:12] == b"AVI " else None


def demuxers(name: str) -> str:
    """FFmpeg's `format_whitelist` for a format."""
    return _DEMUXERS[name]


def declared_bytes(head: bytes) -> int:
    """The least size of the complete file by its header; 0 where the header does not say.

    MP4 is left to its frame count: its boxes may come in any order.

    >>> declared_bytes(b"RIFF" + (1000).to_bytes(4, "little") + b"AVI ")
    1008
    """
    if head.startswith(b"RIFF"):
        return int.from_bytes(head[4:8], "little") + 8
    if not head.startswith(_EBML):
        return 0
    length, used = _variable(head[4:])
    begin = 4 + used + length
    if head[begin : begin + 4] != _SEGMENT:
        return 0
    size, used = _variable(head[begin + 4 :])
    unknown = used and size == (1 << 7 * used) - 1  # a live recording
    return 0 if unknown or not used else begin + 4 + used + size


def _variable(data: bytes) -> tuple[int, int]:
    """Matroska's variable-length integer, and how many bytes it takes."""
    if not data or not data[0]:
        return 0, 0
    used = 9 - data[0].bit_length()
    return int.from_bytes(data[:used], "big") & ((1 << 7 * used) - 1), used
