"""The columns of a manifest, the statuses of its rows, and the names of its faces."""

from __future__ import annotations

import hashlib
import json

import pyarrow as pa

from dfad_bench.data.stored_crop import OK

VERSION = 1
STATUSES = (
    OK,
    "no_face",
    "too_small",
    "too_large",
    "not_a_crop",  # given by crop profiles for images that are crops already
    "unreadable",
    "unsupported_format",
    "outside_root",
    "timeout",
    "worker_crash",
)
_NAME = pa.dictionary(pa.int32(), pa.string())
_FEATURES = {
    "image": {"_type": "Image"},
    "detection_label": {"_type": "ClassLabel", "names": ["real", "fake"]},  # ClassLabel reads 64 bits only
}
SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),  # first 16 hex digits of sha256("dataset/origin[#frame]")
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),  # PNG; null where refused
        ("dataset", _NAME),
        ("generator", _NAME),
        ("forgery", _NAME),
        ("family", _NAME),
        ("attribution_label", pa.int8()),
        ("detection_label", pa.int64()),  # 0 real, 1 fake, -1 unknown
        ("split", pa.string()),
        ("origin", pa.string()),  # POSIX path below the source folder
        ("frame", pa.int32()),
        ("source_key", pa.string()),  # rows that share it stay in one split
        ("target_id", pa.string()),  # sample_id of the real target face
        ("pair_confidence", pa.float32()),  # confidence of the pair, 0 to 1
        ("source_sha256", pa.string()),
        ("source_width", pa.int32()),  # upright
        ("source_height", pa.int32()),
        ("source_format", pa.string()),  # PNG, JPEG, ... or the codec of a video
        ("source_bytes", pa.int64()),  # of the file or archive member
        ("crop_sha256", pa.string()),  # of the crop's pixels
        ("phash", pa.int64()),
        ("box", pa.list_(pa.float32(), 4)),  # x0, y0, x1, y1 in source pixels
        (
            "crop_box",
            pa.list_(pa.float32(), 4),
        ),  # square of the source that was cropped; null where rotated
        ("crop_affine", pa.list_(pa.float32(), 6)),  # a to f: crop x = a x + b y + c, crop y = d x + e y + f
        ("landmarks", pa.list_(pa.float32(), 10)),  # 5 points x, y in source pixels: eyes, nose, mouth corners
        ("box_score", pa.float32()),
        ("faces", pa.int8()),  # number of faces found; the biggest is the crop
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("flags", pa.string()),  # comma-separated remarks on a kept face: identity_switch, ...
        ("status", pa.string()),
        ("reason", pa.string()),
    ],
    metadata={
        b"dfad_manifest": str(VERSION).encode(),
        b"huggingface": json.dumps({"info": {"features": _FEATURES}}, sort_keys=True).encode(),
    },
)
SOURCE = "source"  # collection of the dataset that a face is from; only where the dataset distinguishes several
SCHEMA_WITH_SOURCE = SCHEMA.append(pa.field(SOURCE, _NAME))


def sample_id(dataset: str, origin: str, frame: int | None = None) -> str:
    """The name of a face, equal on every machine. `frame` only where one file holds many faces.

    >>> sample_id("ffhq", "00001.png")
    '69108303dcf25765'
    """
    text = f"{dataset}/{origin}" + ("" if frame is None else f"#{frame}")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain_schema() -> pa.Schema:
    """The schema with dictionary columns as plain strings, as tables in memory have it."""
    fields = ((f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in SCHEMA_WITH_SOURCE)
    return pa.schema(list(fields))
