"""Videos and extracted frames: paths as in `folders`, then the release's own lists of splits and labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources import official
from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.sources.folders import list_images
from dfad_bench.ingest.sources.forgerynet import forgerynet
from dfad_bench.ingest.sources.release_lists import apply_lists
from dfad_bench.ingest.sources.spec import DatasetSpec

READERS: dict[str, Callable[[Listing, Path, DatasetSpec], None]] = {
    "celeb_df": official.celeb_df,
    "faceforensics": official.faceforensics,
    "dfdc": official.dfdc,
    "forgerynet": forgerynet,
}
VIDEOS = ("video", "animation")


def list_videos(spec: DatasetSpec, root: Path) -> Listing:
    """The videos and frame files below `root` that fit an entry, with splits and labels as the release lists them.

    A forged video gets the file of its target (`target_path`), so that it is sampled at the same frames.

    Raises:
        ConfigError: no such folder, or a damaged list.
    """
    listing = list_images(spec, root)
    if spec.lists:
        READERS[spec.lists](listing, root, spec)
    if spec.listed:
        apply_lists(listing, root, spec)
    listing.samples = with_target_files(listing.samples)
    return listing


def with_target_files(samples: list[RawSample]) -> list[RawSample]:
    """The samples, with the file of the target added where a video was made from a video of the same folder."""
    files = {s.origin: s for s in samples if s.medium in VIDEOS and s.refusal is None}
    return [_with_target_file(sample, files) for sample in samples]


def _with_target_file(sample: RawSample, files: dict[str, RawSample]) -> RawSample:
    if sample.medium not in VIDEOS or sample.target_origin is None or sample.target_dataset is not None:
        return sample
    target = files.get(sample.target_origin)
    if target is None:
        return sample
    return replace(sample, target_path=target.path, target_size=target.size, target_changed=target.changed)
