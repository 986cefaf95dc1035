"""What files state of their origin: digital source types in every format, content credentials, and hostile packets."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from dfad_bench.inference.inputs import NamedInputs
from dfad_bench.inference.provenance import credentials as c2pa_side
from dfad_bench.inference.provenance.stated_origin import stated_origin
from dfad_bench.inference.provenance.xmp import MOST_BYTES, DamagedPacketError, source_types

CODE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_RDF = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">{}</rdf:RDF></x:xmpmeta>'
)
ATTRIBUTE = _RDF.format(f'<rdf:Description Iptc4xmpExt:DigitalSourceType="{CODE}"/>').encode()
ELEMENT = _RDF.format(
    f"<rdf:Description><Iptc4xmpExt:DigitalSourceType>{CODE}</Iptc4xmpExt:DigitalSourceType></rdf:Description>"
).encode()
RESOURCE = _RDF.format(
    f'<rdf:Description><Iptc4xmpExt:DigitalSourceType rdf:resource="{CODE}"/></rdf:Description>'
).encode()


def picture(format: str, packet: bytes | None) -> bytes:
    """A small picture of a format with an XMP packet."""
    image, data = Image.new("RGB", (16, 16), "red"), io.BytesIO()
    if format == "PNG":
        info = PngImagePlugin.PngInfo()
        if packet is not None:
            info.add_itxt("XML:com.adobe.xmp", packet.decode("latin-1"), zip=True)
        image.save(data, "PNG", pnginfo=info)
    elif format == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        if packet is not None:
            tags[700] = packet
            tags.tagtype[700] = 1
        image.save(data, "TIFF", tiffinfo=tags)
    else:
        image.save(data, format, **({} if packet is None else {"xmp": packet}))
    return data.getvalue()


def movie(packet: bytes) -> bytes:
    """The boxes of an MP4 file, the XMP one last."""
    body = bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + packet
    return struct.pack(">I4s8s", 16, b"ftyp", b"isom0000") + struct.pack(">I4s", 8 + len(body), b"uuid") + body


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_source_types_are_found_in_every_format(format: str) -> None:
    for packet in (ATTRIBUTE, ELEMENT, RESOURCE):
        assert source_types(io.BytesIO(picture(format, packet))) == ["trainedAlgorithmicMedia"]
    assert source_types(io.BytesIO(picture(format, None))) == []
    data = picture(format, ATTRIBUTE)
    for end in range(0, len(data), max(1, len(data) // 60)):  # cut files are none, or said to be damaged
        with contextlib.suppress(DamagedPacketError):
            assert source_types(io.BytesIO(data[:end])) in ([], ["trainedAlgorithmicMedia"])


def test_source_types_of_films_and_of_other_files() -> None:
    assert source_types(io.BytesIO(movie(ATTRIBUTE))) == ["trainedAlgorithmicMedia"]
    assert source_types(io.BytesIO(b"no picture" + ATTRIBUTE)) == []  # bytes are not searched
    assert source_types(io.BytesIO(b"")) == []
    for size in (0, 1, 15, 1 << 62, (1 << 64) - 1):  # no size of a box leads out of the file
        box = struct.pack(">I4sQ", 1, b"free", size)
        assert source_types(io.BytesIO(movie(b"<a/>") + box)) == []


def test_fill_bytes_before_a_marker_of_jpeg_are_skipped() -> None:
    data = picture("JPEG", ATTRIBUTE)
    assert data.count(b"\xff\xe1") == 1
    filled = data.replace(b"\xff\xe1", b"\xff\xff\xff\xe1")
    assert source_types(io.BytesIO(filled)) == ["trainedAlgorithmicMedia"]


@pytest.mark.parametrize(
    ("packet", "says"),
    [
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "document type"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "document type"),
        (b"<a>" * 100, "too many levels"),
        (b"<a", "no XML"),
        (b'<?xml version="1.0" encoding="utf-7"?><a/>', "multi-byte"),
        (b'<?xml version="1.0" encoding="hex"?><a/>', "not a text encoding"),
        (b'<?xml version="1.0" encoding="none-such"?><a/>', "unknown encoding"),
    ],
)
def test_hostile_packets_are_refused(packet: bytes, says: str) -> None:
    with pytest.raises(DamagedPacketError, match=says):
        source_types(io.BytesIO(picture("WEBP", packet)))


def test_packets_are_bounded() -> None:
    chunk = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b" " * (8 * MOST_BYTES))  # a small bomb
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", len(chunk), b"iTXt") + chunk + bytes(4)
    with pytest.raises(DamagedPacketError, match="more than"):
        source_types(io.BytesIO(data))
    chunk = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<a>" + b"<b/>" * (MOST_BYTES // 8) + b"</a>")
    data = b"\x89PNG\r\n\x1a\n" + 200 * (struct.pack(">I4s", len(chunk), b"iTXt") + chunk + bytes(4))
    with pytest.raises(DamagedPacketError, match="more than"):  # 100 MB of XML in 200 KB
        source_types(io.BytesIO(data))
    long = _RDF.format(f'<rdf:Description Iptc4xmpExt:DigitalSourceType="{"a b " * 1000}"/>').encode()
    assert len(source_types(io.BytesIO(picture("WEBP", long)))[0]) == 200


def test_an_origin_is_stated_or_none(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture("PNG", ATTRIBUTE))
    (tmp_path / "b.jpg").write_bytes(picture("JPEG", None))
    (tmp_path / "c.webp").write_bytes(picture("WEBP", b"<a"))
    found = {sample.origin[-5:]: stated_origin(sample) for sample in NamedInputs([str(tmp_path), "absent.png"])}
    made, silent, damaged, absent = found["a.png"], found["b.jpg"], found["c.webp"[-5:]], found["t.png"]
    assert made is not None
    assert silent is not None
    assert damaged is not None
    assert (made.source_type, made.states_generated) == ("trainedAlgorithmicMedia", True)
    assert (silent.source_type, silent.states_generated) == ("none", False)  # never "real"
    assert damaged.source_type.startswith("unreadable: an XMP packet that is no XML")
    assert absent is None


def test_without_the_extra_credentials_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c2pa_side, "is_installed", lambda: False)
    assert "dfad-bench[provenance]" in c2pa_side.credentials(io.BytesIO(picture("JPEG", None)), "a.jpg").state


def signed_picture() -> bytes:
    """A picture whose credentials are signed by a new key that nobody knows."""
    c2pa = pytest.importorskip("c2pa", reason="the extra `provenance` is not installed")
    pytest.importorskip("cryptography", reason="makes the certificate")
    import json

    from helpers.signing import certificate_chain

    chain, key = certificate_chain()
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(alg=b"es256", sign_cert=chain, private_key=key, ta_url=None))
    actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": CODE}]}
    manifest = {
        "claim_generator_info": [{"name": "my\x1b[2J generator", "version": "1"}], "format": "image/png",
        "title": "x", "assertions": [{"label": "c2pa.actions", "data": actions}],
    }  # fmt: skip
    source, signed = io.BytesIO(picture("PNG", None)), io.BytesIO()
    with c2pa.Builder(json.dumps(manifest)) as builder:
        builder.sign(signer, "image/png", source, signed)
    return signed.getvalue()


@pytest.mark.heavy
def test_credentials_are_read_and_their_signature_is_checked() -> None:
    data = signed_picture()
    found = c2pa_side.credentials(io.BytesIO(data), "a.png")
    assert (found.state, found.signer, found.source_types) == ("valid", "Test Signer", ("trainedAlgorithmicMedia",))
    assert "\x1b" not in found.text
    assert "not checked who that is" in found.text
    for place, code in ((data.rfind(b"IDAT") + 8, "assertion.dataHash.mismatch"), (data.find(b"x.26"), "")):
        if place > 0:
            changed = bytearray(data)
            changed[place] ^= 1
            other = c2pa_side.credentials(io.BytesIO(bytes(changed)), "a.png")
            assert other.state in ("invalid", "unreadable")
            assert code in other.problems or not code
    assert c2pa_side.credentials(io.BytesIO(picture("PNG", None)), "a.png").state == "none"
    assert c2pa_side.credentials(io.BytesIO(b"no picture"), "a.png").state == "unreadable"
