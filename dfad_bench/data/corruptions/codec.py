"""Corruptions by lossy coding: H.264 of a still and of a clip, JPEG."""

from __future__ import annotations

import io

import numpy as np

from dfad_bench.core.errors import DFADError, need

CLIP = 17  # frames of a repeated image


def video_compression(image: np.ndarray, crf: float, rng: np.random.Generator) -> np.ndarray:
    """Encode the image as a video of one frame with x264 at a constant rate factor, and decode it.

    DeeperForensics-1.0, VC, on a still: the reference encodes whole videos, whose frames keep more at the same factor
    (`docs/corruptions.md`). 4:2:0 chroma, x264's preset "medium", one thread. An odd side is padded by its last row or
    column, which is removed again.

    Raises:
        MissingDependencyError: PyAV is not installed.
        DFADError: PyAV was built without x264.
    """
    return _coded(image, crf, 1)


def video_compression_clip(image: np.ndarray, crf: float, rng: np.random.Generator) -> np.ndarray:
    """As `video_compression`, of a clip that shows the image `CLIP` times; the middle frame is taken.

    x264 gives a frame more bits the longer others refer to it. `CLIP` is the length at which a repeated face keeps as
    much as a face in a real video (`benchmarks/corruption_parity.py`).

    Raises:
        MissingDependencyError, DFADError: as `video_compression`.
    """
    return _coded(image, crf, CLIP)


def _coded(image: np.ndarray, crf: float, count: int) -> np.ndarray:
    """The middle frame of `count` equal ones, coded and decoded."""
    av = need("av", "av", "video compression as a corruption")
    height, width = image.shape[:2]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    frames = [f for data in encode_frames(even, crf, count) for f in decoder.decode(av.Packet(data))]
    frames += decoder.decode(None)
    return frames[count // 2].to_ndarray(format="rgb24")[:height, :width]


def encode_frames(image: np.ndarray, crf: float, count: int = 1) -> list[bytes]:
    """The packets of an H.264 stream (Annex B) that shows one image with even sides `count` times."""
    av = need("av", "av", "video compression as a corruption")
    try:
        encoder = av.CodecContext.create("libx264", "w")
    except av.error.FFmpegError as error:
        raise DFADError("PyAV has no x264 encoder here; install it from its wheels: pip install av") from error
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = image.shape[1], image.shape[0], "yuv420p", 25
    encoder.time_base = 1 / encoder.framerate
    encoder.thread_count = 1  # with threads, the slices and hence the pixels would depend on the machine
    encoder.options = {"crf": f"{crf:g}", "preset": "medium"}
    if count > 1:  # else a clip's pixels depend on what the memory held before and on the processor
        encoder.options |= {"x264-params": "cpu-independent=1"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(format="yuv420p")
    packets: list[bytes] = []
    for number in range(count):
        frame.pts = number
        packets += (bytes(packet) for packet in encoder.encode(frame))
    return [*packets, *(bytes(packet) for packet in encoder.encode(None))]


def jpeg(image: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    """JPEG coding at Pillow's `quality`, 4:2:0 chroma."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=int(quality), subsampling="4:2:0")
    with Image.open(stream) as decoded:
        return np.array(decoded.convert("RGB"))
