"""The frames of a video whose packets do not tell their place, found by decoding all of it.

Packets are numbered as they stand in the file. A decoded frame carries the number of its packet, so the place of a
packet that cannot be decoded follows from the frames around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.media.ffmpeg import codec_of, decode_frames, open_video, packets_of

MAX_COUNT = 5_000_000  # frames in a file
_HIDES = "vp8"  # has packets with frames that are never shown
_PLACEHOLDER = 20  # bytes below which a packet of MPEG-4 Part 2 stands for a frame that the packet before it holds


class PacketOrder(NamedTuple):
    """The frames of a video: how many, and the numbers of their packets in order of presentation.

    `packets` is empty where frames do not carry the numbers of their packets; `frames` then are those before the first
    packet that cannot be decoded. `uncertain` are places that may be those of other frames. `damage` is what ended
    decoding before the end of the file.
    """

    frames: int
    packets: tuple[int, ...]
    uncertain: frozenset[int]
    damage: str


def order_by_decoding(path: Path, times: Sequence[int | None]) -> PacketOrder:
    """Decode all of a video. Packets that cannot be decoded are counted as frames, unless nothing can be.

    Args:
        path: the video.
        times: of its packets, as they stand in the file.

    Raises:
        ImageRefused: too many frames.
    """
    shown: list[int | None] = []
    lost: list[int] = []
    sound, damage, codec = -1, "", ""  # sound: frames before the first damage

    def lose(packet: Any) -> None:
        nonlocal sound
        sound = len(shown) if sound < 0 else sound
        if not packet.is_discard:  # cut off by an edit list
            lost.append(packet.pts)

    try:
        with open_video(path) as (container, stream):
            codec = codec_of(stream)
            for frame in decode_frames(container, stream, set(), lose, numbered=True):
                shown.append(frame.pts)
                if len(shown) + len(lost) > MAX_COUNT:
                    raise ImageRefused("too_large", f"more than {MAX_COUNT} frames")
    except ImageRefused as refused:
        if refused.status == "too_large":
            raise
        damage = refused.reason
    known = [number for number in shown if number is not None]
    if not known or len(set(known)) < len(shown):
        sound = len(shown) if sound < 0 else sound
        why = damage or ("a frame cannot be decoded" if lost else "")
        return PacketOrder(sound, (), frozenset(), why and f"damaged after {sound} frames: {why}")
    lost = without_hidden(known, lost, times) if codec == _HIDES else lost + _left_out(path, codec, known, lost, times)
    order, uncertain = presentation_order(known, lost)
    return PacketOrder(len(order), tuple(order), uncertain, damage and f"damaged after {len(order)} frames: {damage}")


def presentation_order(shown: Sequence[int], lost: Iterable[int]) -> tuple[list[int], frozenset[int]]:
    """The packets of all frames in the order in which they are shown, and the places that are uncertain.

    A lost packet is put before the first frame that is stored after it. Where the codec reorders frames, its frame
    may be shown sooner or later by as many frames as others are; all places so near are uncertain.

    >>> presentation_order([0, 1, 3], [2]), presentation_order([0, 2, 1, 4, 3, 6, 5], [7])
    (([0, 1, 2, 3], frozenset()), ([0, 2, 1, 4, 3, 6, 5, 7], frozenset({8, 6, 7})))
    >>> presentation_order([], [1, 0])
    ([0, 1], frozenset())
    """
    left = sorted(lost, reverse=True)
    if not left:
        return list(shown), frozenset()
    places = sorted(zip(shown, range(len(shown)), strict=True))
    moved = max((abs(place - rank) for rank, (_, place) in enumerate(places)), default=0)  # 0: all packets are lost
    stored = {number: rank for rank, number in enumerate(sorted([*shown, *left]))}
    near = {stored[number] + step for number in left for step in range(-moved, moved + 1)} if moved else ()
    order: list[int] = []
    for number in shown:
        while left and left[-1] < number:
            order.append(left.pop())
        order.append(number)
    return [*order, *reversed(left)], frozenset(near)


def without_hidden(shown: Sequence[int], lost: Sequence[int], times: Sequence[int | None]) -> list[int]:
    """The lost packets whose frames would have been shown: those whose time is missing between their neighbours'.

    Args:
        shown: packets of the shown frames, ascending.
        lost: packets that cannot be decoded, ascending.
        times: of all packets; where they are not known, packets count as shown.

    >>> without_hidden([0, 1, 3, 5, 6], [2, 4], [0, 40, 80, 120, 121, 160, 200])
    [2]
    """
    clock = {number: time for number in shown if number < len(times) and (time := times[number]) is not None}
    steps = [end - begin for begin, end in pairwise(clock.values())]
    if not steps or (typical := median(steps)) <= 0:
        return list(lost)
    found: list[int] = []
    left = list(reversed(lost))
    for before, number in pairwise([-1, *shown]):
        between: list[int] = []
        while left and left[-1] < number:
            between.append(left.pop())
        begin, end = clock.get(before), clock.get(number)
        missing = len(between) if begin is None or end is None else max(0, round((end - begin) / typical) - 1)
        found += between[:missing]
    return [*found, *reversed(left)]


def _left_out(
    path: Path, codec: str, shown: Sequence[int], lost: Sequence[int], times: Sequence[int | None]
) -> list[int]:
    """Packets that FFmpeg leaves out without an error, because their time or a frame they need is damaged.

    Not those at the beginning, whose keyframe was cut off; nor where it leaves out very many: then two packets make a
    frame.
    """
    if len(shown) + len(lost) >= len(times):
        return []
    known, second = {*shown, *lost}, sorted(shown)[min(1, len(shown) - 1)]
    first = min([second, *lost])
    found: list[int] = []
    with suppress(ImageRefused), open_video(path) as (container, stream):  # the file's end, as when decoding
        for number, packet in enumerate(packets_of(container, stream)):
            if packet.is_corrupt:
                break
            placeholder = packet.is_discard or (codec == "mpeg4" and packet.size < _PLACEHOLDER)
            if number > first and number not in known and not placeholder:
                found.append(number)
    return found if 2 * len(found) < len(shown) else []
