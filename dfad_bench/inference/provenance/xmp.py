"""XMP packets of pictures and videos, and the digital source type that IPTC's schema has in them.

IPTC, "Digital Source Type" NewsCodes; ISO 16684-1 (XMP). A packet is found where its format keeps it, never by a search
for bytes; at most `MOST_BYTES` of a file are read, and XML with a document type, and so with entities, is refused.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO
from xml.parsers import expat

MOST_BYTES = 1 << 20  # of all packets of a file
_MOST_PARTS = 4096  # segments, chunks or boxes of a file that are looked at
_MOST_DEPTH = 64  # elements within elements
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_NAMES = frozenset({f"{_IPTC} DigitalSourceType", f"{_IPTC} DigitalSourcefileType"})
_RESOURCE = "http://www.w3.org/1999/02/22-rdf-syntax-ns# resource"
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\x00"
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # of MP4 and MOV
_LONGEST = 200  # characters of a value
_TAG = 700  # of TIFF
# NewsCodes that say a picture, or part of it, was made by a trained model
GENERATED = (
    "trainedalgorithmicmedia", "compositewithtrainedalgorithmicmedia", "algorithmicmedia", "compositesynthetic",
)  # fmt: skip


class DamagedPacketError(ValueError):
    """A packet that cannot be read; the text says why."""


def source_types(data: BinaryIO) -> list[str]:
    """The digital source types that a file states, as IPTC's codes or whatever stands there; empty for none.

    Raises:
        DamagedPacketError: a packet that is no XML, too large, or has a document type.
    """
    found: list[str] = []
    left = MOST_BYTES
    for packet in packets(data):
        left -= len(packet)
        if left < 0:
            raise DamagedPacketError(f"XMP packets of more than {MOST_BYTES} bytes")
        found += _types_in(packet)
    return list(dict.fromkeys(found))


def packets(data: BinaryIO) -> Iterator[bytes]:
    """The XMP packets of a file of a known format: JPEG, PNG, WebP, TIFF, MP4 and MOV; none of others."""
    head = data.read(12)
    for begins, reader in _READERS:
        if begins(head):
            data.seek(0)
            yield from reader(data)
            return


def _types_in(packet: bytes) -> list[str]:
    """Values of the digital source type, as an attribute, a resource or a text."""
    found: list[str] = []
    open_names: list[str] = []
    text: list[str] = []

    def begin(name: str, attributes: dict[str, str]) -> None:
        open_names.append(name)
        if len(open_names) > _MOST_DEPTH:
            raise DamagedPacketError("an XMP packet of too many levels")
        found.extend(value for key, value in attributes.items() if key in _NAMES)
        if name in _NAMES:
            text.clear()
            found.extend(value for key, value in attributes.items() if key == _RESOURCE)

    def end(name: str) -> None:
        open_names.pop()
        if name in _NAMES and (value := "".join(text).strip()):
            found.append(value)

    def add(part: str) -> None:
        if any(name in _NAMES for name in open_names):
            text.append(part)

    def refuse(*_: object) -> None:
        raise DamagedPacketError("an XMP packet with a document type")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = begin, end, add
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(packet.rstrip(b"\x00"), True)
    except DamagedPacketError:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:  # the last two: of the encoding it states
        raise DamagedPacketError(f"an XMP packet that is no XML ({error})") from error
    return [_code(value) for value in found]


def _code(value: str) -> str:
    """The last part of a NewsCode's address; at most so many characters.

    >>> _code("http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia")
    'trainedAlgorithmicMedia'
    """
    text = " ".join(value.split())
    head, slash, last = text.rstrip("/").rpartition("/")
    return (last if slash and "iptc.org/" in head else text)[:_LONGEST]


def _of_jpeg(data: BinaryIO) -> Iterator[bytes]:
    data.seek(2)
    for _ in range(_MOST_PARTS):
        mark = data.read(4)
        while mark.startswith(b"\xff\xff") and (more := data.read(1)):  # any marker may have fill bytes before it
            mark = mark[1:] + more
        if len(mark) < 4 or mark[0] != 0xFF or mark[1] in (0xD9, 0xDA):  # the end, or the picture itself
            return
        size = int.from_bytes(mark[2:], "big") - 2
        body = data.read(max(size, 0))
        if mark[1] == 0xE1 and body.startswith(_JPEG_XMP):
            yield body[len(_JPEG_XMP) :]


def _of_png(data: BinaryIO) -> Iterator[bytes]:
    data.seek(8)
    for _ in range(_MOST_PARTS):
        head = data.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        size = int.from_bytes(head[:4], "big")
        if head[4:] == b"iTXt" and size <= MOST_BYTES:
            packet = _of_png_text(data.read(size))
            if packet is not None:
                yield packet
            data.seek(4, io.SEEK_CUR)
        else:
            data.seek(size + 4, io.SEEK_CUR)


def _of_png_text(body: bytes) -> bytes | None:
    """The text of an iTXt chunk that is an XMP packet, inflated within bounds where it is compressed."""
    name, _, rest = body.partition(b"\x00")
    if name != b"XML:com.adobe.xmp" or len(rest) < 2:
        return None
    fields = rest[2:].split(b"\x00", 2)
    if len(fields) < 3:
        raise DamagedPacketError("an XMP packet that is cut")
    if not rest[0]:
        return fields[2]
    import zlib

    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(fields[2], MOST_BYTES + 1)
    except zlib.error as error:
        raise DamagedPacketError(f"an XMP packet that is damaged ({error})") from error
    return text


def _of_webp(data: BinaryIO) -> Iterator[bytes]:
    data.seek(12)
    for _ in range(_MOST_PARTS):
        head = data.read(8)
        if len(head) < 8:
            return
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"XMP ":
            yield _bounded(data, size)
            return
        data.seek(size + size % 2, io.SEEK_CUR)


def _of_tiff(data: BinaryIO) -> Iterator[bytes]:
    order = "little" if data.read(2) == b"II" else "big"

    def number(size: int) -> int:
        return int.from_bytes(data.read(size), order)  # type: ignore[arg-type]  # one of two texts

    data.seek(4)
    data.seek(number(4))
    for _ in range(min(number(2), _MOST_PARTS)):
        tag, _, count, place = number(2), number(2), number(4), number(4)
        if tag == _TAG:
            data.seek(place)
            yield _bounded(data, count)
            return


def _of_boxes(data: BinaryIO) -> Iterator[bytes]:
    """Of MP4 and MOV, at the outermost level, where XMP puts it."""
    place, end = 0, data.seek(0, io.SEEK_END)
    for _ in range(_MOST_PARTS):
        if place >= end:  # a stated size may lead anywhere
            return
        data.seek(place)
        head = data.read(16)
        if len(head) < 8:
            return
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        begin = 8
        if size == 1:
            size, begin = int.from_bytes(head[8:16], "big"), 16
        if kind == b"uuid":
            data.seek(place + begin)
            if data.read(16) == _XMP_BOX:
                yield _bounded(data, size - begin - 16 if size else MOST_BYTES)
        if size < begin:  # 0: to the end of the file
            return
        place += size


def _bounded(data: BinaryIO, size: int) -> bytes:
    """A packet of that many bytes, at most one byte more than may be."""
    return data.read(max(0, min(size, MOST_BYTES + 1)))


_READERS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO], Iterator[bytes]]], ...] = (
    (lambda head: head.startswith(b"\xff\xd8\xff"), _of_jpeg),
    (lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"), _of_png),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", _of_webp),
    (lambda head: head[:4] in (b"II*\x00", b"MM\x00*"), _of_tiff),
    (lambda head: head[4:8] in (b"ftyp", b"moov", b"free", b"skip", b"wide", b"mdat"), _of_boxes),
)
