"""The frames of a video whose packets do not tell their place, found by decoding all of it.

Packets are numbered as they stand in the file. A decoded frame carries the number of its packet, so the place of a
packet that cannot be decoded follows from the frames around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.media.damage import BETWEEN
from dfad_bench.ingest.media.ffmpeg import codec_of, decode_frames, open_video, packets_of

MAX_COUNT = 5_000_000  # frames in a file
_VOP = b"\x00\x00\x01\xb6"  # start code of a frame, ISO/IEC 14496-2, 6.2.1
_VOP_BETWEEN = 2  # vop_coding_type "B", the two bits behind it
_PLACEHOLDER = 20  # bytes below which a packet of MPEG-4 Part 2 stands for a frame that the packet before it holds

Kind = Literal["plain", "between", "hidden"]  # between: a B-frame; hidden: decoded, but never shown


class Packet(NamedTuple):
    """A packet that holds a frame."""

    number: int
    between: bool


class PacketOrder(NamedTuple):
    """The frames of a video: how many, and the numbers of their packets in order of presentation.

    `packets` is empty where frames do not carry the numbers of their packets; `frames` then are those before the first
    packet that cannot be decoded. `damage` is what ended decoding before the end of the file.
    """

    frames: int
    packets: tuple[int, ...]
    damage: str


def order_by_decoding(path: Path, stored: int) -> PacketOrder:
    """Decode all of a video. Packets that cannot be decoded are counted as frames, unless nothing can be.

    Args:
        path: the video.
        stored: how many packets it has.

    Raises:
        ImageRefused: too many frames.
    """
    shown: list[tuple[int | None, bool]] = []
    lost: list[Packet] = []
    sound, damage = 0, ""  # frames before the first damage
    failed, codec = False, ""

    def lose(packet: Any) -> None:
        nonlocal failed, sound
        sound, failed = sound if failed else len(shown), True
        kind = "hidden" if packet.is_discard else kind_of(codec, bytes(packet))  # discard: cut off by an edit list
        if kind != "hidden":
            lost.append(Packet(packet.pts, kind == "between"))

    try:
        with open_video(path) as (container, stream):
            codec = codec_of(stream)
            for frame in decode_frames(container, stream, set(), lose, numbered=True):
                shown.append((frame.pts, frame.pict_type == BETWEEN))
                if len(shown) + len(lost) > MAX_COUNT:
                    raise ImageRefused("too_large", f"more than {MAX_COUNT} frames")
    except ImageRefused as refused:
        if refused.status == "too_large":
            raise
        damage = refused.reason
    sound = sound if failed else len(shown)
    if shown and codec == "mpeg4" and len(shown) + len(lost) < stored:
        lost += _skipped(path, shown, {packet.number for packet in lost})
    return _ordered(shown, lost, sound, damage)


def _skipped(path: Path, shown: Sequence[tuple[int | None, bool]], lost: set[int]) -> list[Packet]:
    """Packets of MPEG-4 Part 2 that FFmpeg leaves out without an error, because their time is damaged.

    B-frames at the beginning, whose keyframe was cut off, are left out, too; nobody counts these.
    """
    plain = sorted(number for number, between in shown if number is not None and not between)
    known = lost | {number for number, _ in shown if number is not None}
    found: list[Packet] = []
    with open_video(path) as (container, stream), suppress(Exception):  # the demuxer's end, as when decoding
        for number, packet in enumerate(packets_of(container, stream)):
            if packet.is_corrupt:
                break
            if number in known or packet.size < _PLACEHOLDER or packet.is_discard:
                continue
            if len(plain) > 1 and number > plain[1]:
                found.append(Packet(number, kind_of("mpeg4", bytes(packet)) == "between"))
    return found


def _ordered(shown: Sequence[tuple[int | None, bool]], lost: Sequence[Packet], sound: int, damage: str) -> PacketOrder:
    packets = [Packet(number, between) for number, between in shown if number is not None]
    if not shown or len({packet.number for packet in packets}) < len(shown):
        why = damage or ("a frame cannot be decoded" if lost else "")
        return PacketOrder(sound, (), why and f"damaged after {sound} frames: {why}")
    order = presentation_order(packets, lost)
    return PacketOrder(len(order), tuple(order), damage and f"damaged after {len(order)} frames: {damage}")


def presentation_order(shown: Sequence[Packet], lost: Sequence[Packet]) -> list[int]:
    """The numbers of all packets in the order in which their frames are shown.

    B-frames are stored after the frame that is shown behind them, so the kinds of all frames decide their order. Where
    that does not explain the order of the `shown` ones (B-frames that others depend on), each lost one is put before
    the first that is stored after it: its place is then uncertain by as many frames as the codec reorders.

    >>> presentation_order([Packet(0, False), Packet(2, True), Packet(1, False), Packet(4, True)], [Packet(3, False)])
    [0, 2, 1, 4, 3]
    """
    if not lost:
        return [packet.number for packet in shown]
    keys: dict[int, tuple[int, int, int]] = {}
    before = -1  # the last frame that is no B-frame
    for number, between in sorted([*shown, *lost]):
        before = before if between else number
        keys[number] = (before, 0 if between else 1, number)
    if all(keys[a.number] < keys[b.number] for a, b in zip(shown, shown[1:], strict=False)):
        return sorted(keys, key=keys.__getitem__)
    order: list[int] = []
    left = sorted((packet.number for packet in lost), reverse=True)
    for packet in shown:
        while left and left[-1] < packet.number:
            order.append(left.pop())
        order.append(packet.number)
    return [*order, *reversed(left)]


def kind_of(codec: str, data: bytes) -> Kind:
    r"""What a packet holds, by its first bits; `plain` where these do not say.

    >>> kind_of("mpeg4", b"\x00\x00\x01\xb6\x90"), kind_of("vp8", b"\x10"), kind_of("vp8", b"\x01")
    ('between', 'plain', 'hidden')
    """
    if codec == "vp8" and data:  # RFC 6386, 9.1: the bit show_frame
        return "plain" if data[0] >> 4 & 1 else "hidden"
    if codec == "mpeg4":
        place = data.find(_VOP) + len(_VOP)
        if place >= len(_VOP) and place < len(data) and data[place] >> 6 == _VOP_BETWEEN:
            return "between"
    return "plain"
