"""Exact duplicates: files with the same bytes, within and across manifests, splits and labels (refused ones too)."""

from __future__ import annotations

from dfad_bench.data.audit.copies import COLUMNS, copy_sets, remarks, table
from dfad_bench.data.audit.findings import Findings
from dfad_bench.data.audit.subject import Subject


def check(subject: Subject) -> Findings:
    """Sets of files with one SHA-256."""
    sets = copy_sets(subject.faces, "source_sha256")
    title = "Exact duplicates: files with the same bytes"
    return Findings("same_files", title, COLUMNS, table(sets), remarks(subject.faces, sets, "the same file"))
