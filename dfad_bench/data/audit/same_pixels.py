"""Different files whose crops have identical pixels: a lossless copy, or a forgery that changed nothing."""

from __future__ import annotations

from dfad_bench.data.audit.copies import COLUMNS, copy_sets, remarks, table
from dfad_bench.data.audit.findings import Findings
from dfad_bench.data.audit.subject import Subject


def check(subject: Subject) -> Findings:
    """Sets of files with one hash of the crop's pixels, where the files themselves differ."""
    faces = subject.faces
    digests = faces["source_sha256"].fillna(faces["sample_id"])
    sets = [s for s in copy_sets(subject.kept_faces, "crop_sha256") if digests.iloc[list(s.rows)].nunique() > 1]
    title = "Same pixels: different files with the same crop"
    return Findings("same_pixels", title, COLUMNS, table(sets), remarks(faces, sets, "the same pixels in other files"))
