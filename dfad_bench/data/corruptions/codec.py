"""Corruptions by lossy coding: H.264 of a single frame, JPEG."""

from __future__ import annotations

import io

import numpy as np

from dfad_bench.core.errors import DFADError, need


def video_compression(image: np.ndarray, crf: float, rng: np.random.Generator) -> np.ndarray:
    """Encode the image as a video of one frame with x264 at a constant rate factor, and decode it.

    DeeperForensics-1.0, VC; the reference encodes whole videos, a still image is one frame. 4:2:0 chroma, x264's
    preset "medium", one thread. An odd side is padded by its last row or column, which is removed again.

    Raises:
        MissingDependencyError: PyAV is not installed.
        DFADError: PyAV was built without x264.
    """
    av = need("av", "av", "video compression as a corruption")
    height, width = image.shape[:2]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packet = av.Packet(encode_frame(even, crf))
    frames = [*decoder.decode(packet), *decoder.decode(None)]
    return frames[0].to_ndarray(format="rgb24")[:height, :width]


def encode_frame(image: np.ndarray, crf: float) -> bytes:
    """The H.264 stream (Annex B) of one image with even sides."""
    av = need("av", "av", "video compression as a corruption")
    try:
        encoder = av.CodecContext.create("libx264", "w")
    except av.error.FFmpegError as error:
        raise DFADError("PyAV has no x264 encoder here; install it from its wheels: pip install av") from error
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = image.shape[1], image.shape[0], "yuv420p", 25
    encoder.time_base = 1 / encoder.framerate
    encoder.thread_count = 1  # with threads, the slices and hence the pixels would depend on the machine
    encoder.options = {"crf": f"{crf:g}", "preset": "medium"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(format="yuv420p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def jpeg(image: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    """JPEG coding at Pillow's `quality`, 4:2:0 chroma."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=int(quality), subsampling="4:2:0")
    with Image.open(stream) as decoded:
        return np.array(decoded.convert("RGB"))
