"""The mask beside a forged file, which says which of several faces in it is forged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dfad_bench.core.labels import FAKE
from dfad_bench.core.taxonomy import UNLABELLED_KEY, taxonomy
from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.sources.fitted import Fitted
from dfad_bench.ingest.sources.official import find_file
from dfad_bench.ingest.sources.spec import DatasetSpec
from dfad_bench.ingest.sources.template import Template


def with_masks(spec: DatasetSpec, root: Path, fitted: list[Fitted], listing: Listing) -> list[Fitted]:
    """The samples with their masks; a forged one without its mask is `unlabelled`, and a note counts those."""
    if not any(item.entry.mask for item in fitted):
        return fitted
    done, without = [], 0
    for item in fitted:
        masked = item
        if item.entry.mask and taxonomy()[item.sample.generator].detection_label == FAKE:
            masked = _with_mask(spec, root, item)
            without += masked.sample.mask_path is None
        done.append(masked)
    if without:
        listing.notes.append(
            f"{without:,} forged files have no mask: which of their faces is forged is not known, they are unlabelled"
        )
    return done


def _with_mask(spec: DatasetSpec, root: Path, item: Fitted) -> Fitted:
    for text in item.entry.mask:
        path = Template(text).fill(item.fields)
        file = find_file(root, path, spec.follow_links) if path else None
        if file is not None:
            facts = file.stat()
            mask = {"mask_path": file.resolve(), "mask_size": facts.st_size, "mask_changed": facts.st_mtime_ns}
            return item._replace(sample=replace(item.sample, **mask))  # type: ignore[arg-type]  # values by their names
    return item._replace(sample=replace(item.sample, generator=UNLABELLED_KEY))
