"""One shard of a build: a pure function from its samples to one part of the manifest, run here or in a worker."""

from __future__ import annotations

import hashlib
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dfad_bench.core.files import content_hash
from dfad_bench.core.labels import FAKE
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.data.images import ImageRefused, encode_png, perceptual_hash
from dfad_bench.data.manifest import OK
from dfad_bench.data.manifest_parts import commit_part
from dfad_bench.data.manifest_schema import SOURCE
from dfad_bench.ingest.crop.cropper import Crop, CropProfile, FaceCropper
from dfad_bench.ingest.crop.detector import Faces
from dfad_bench.ingest.masks import Masks
from dfad_bench.ingest.media import read
from dfad_bench.ingest.media.base import Frame, LostFrame, Sampling
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.seen import keep_seen

T = TypeVar("T")
Found = list[tuple[Frame | LostFrame, Faces | None]]  # frames of a sample and the faces in them
SWITCHED = "identity_switch"  # flag of a frame that shows another face than those before
_PIXELS = 1 << 26  # pixels held at once for an accelerator: 256 MB
_FRAMES_A_LIMIT = 8  # the time limit of a video is that of an image for each so many frames


class Watch(Protocol):
    """Is called before every item; may raise to end the shard."""

    def __call__(self, index: int) -> None:
        """Item `index` begins; -1: all items are done and the part is about to be written."""


class ItemTimeout(BaseException):
    """An item took too long. Not an `Exception`, so that no handler in a decoder can catch it."""


@dataclass(frozen=True)
class ShardTask:
    """The task of a worker: what to read, how to crop it, where to write.

    `verdicts` are items that killed or hung a worker before: index to (status, reason); they are not tried again.
    """

    part: Path
    samples: tuple[RawSample, ...]
    profile: CropProfile
    config_sha256: str
    item_seconds: float
    sampling: Sampling = Sampling()
    verdicts: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    device: str = "cpu"  # where faces are found

    @property
    def name(self) -> str:
        """The part's file name."""
        return self.part.name

    @property
    def inputs_sha256(self) -> str:
        """Hash of the input files' names and of what is known of them."""
        rows = [
            [s.sample_id, s.origin, s.size, s.generator, s.split, s.source_key, s.target_id, s.frame, s.medium]
            + ([s.target_size] if s.target_path else [])
            + ([["source", s.source]] if s.source is not None else [])
            + ([["spans", s.spans, s.outside]] if s.outside is not None else [])
            + ([["mask", s.mask_size]] if s.mask_path is not None else [])
            for s in self.samples
        ]
        return content_hash(rows)

    @property
    def seen_sha256(self) -> str:
        """Hash of the times at which the input files were last changed."""
        rows = [[s.sample_id, s.changed, s.target_changed] + [s.mask_changed] * bool(s.mask_path) for s in self.samples]
        return content_hash(rows)

    def seconds(self, index: int) -> float:
        """The time limit of an item: that of a video grows with the frames it gives."""
        return self.item_seconds * (1 + (self.samples[index].weight - 1) / _FRAMES_A_LIMIT)

    def refuse(self, index: int, status: str, reason: str) -> ShardTask:
        """The same shard with one more item that is refused without being tried."""
        return replace(self, verdicts={**self.verdicts, index: (status, reason)})


_CROPPERS: dict[tuple[str, str], FaceCropper] = {}


def run_shard(task: ShardTask, watch: Watch = lambda index: None) -> dict[str, Any]:
    """Crop every sample of a shard and commit the part; returns the part's JSON.

    Raises:
        DFADError: the disk is full.
    """
    key = task.profile.sha256, task.device
    cropper = _CROPPERS[key] if key in _CROPPERS else _CROPPERS.setdefault(key, FaceCropper(task.profile, task.device))
    rows = []
    ahead: dict[int, Found] = {}
    looked = 0
    with one_thread() if task.profile.detector != "none" else nullcontext():
        for index, sample in enumerate(task.samples):
            if cropper.batch > 1 and index >= looked:
                ahead, looked = _look_ahead(task, index, cropper, watch)
            watch(index)
            if index in task.verdicts:
                rows.append(_refused_row(sample, *task.verdicts[index]))
            else:
                rows += crop_sample(sample, cropper, task.seconds(index), task.sampling, ahead.pop(index, None))
    watch(-1)
    facts = {"inputs_sha256": task.inputs_sha256, "config_sha256": task.config_sha256}
    return commit_part(task.part, rows, facts, lambda sha256: keep_seen(task.part, sha256, task.seen_sha256))


def crop_sample(
    sample: RawSample,
    cropper: FaceCropper,
    seconds: float,
    sampling: Sampling = Sampling(),  # noqa: B008  frozen
    known: Found | None = None,
) -> list[dict[str, Any]]:
    """The manifest rows of one sample, one per frame; whatever is wrong becomes a status and a reason.

    `known` holds the frames and faces of the sample if they were read ahead.

    A refusal of the sample, or of the rest of it, is a row without a frame. The same face is followed through the
    frames of a video; where it is lost and another one is taken, the row is flagged `identity_switch`.
    """
    near: tuple[float, ...] | None = None
    masks = Masks(sample, sampling)

    def crop_frame(frame: Frame | LostFrame, faces: Faces | None) -> dict[str, Any]:
        nonlocal near
        row = _crop_frame(sample, frame, cropper, near, faces, masks)
        near = row.get("box") or near
        return row

    rows, refused = each_frame(sample, cropper, seconds, sampling, crop_frame, known)
    if refused is None:
        return rows
    return [*rows, _refused_row(sample, refused.status, refused.reason, refused.source_sha256)]


def each_frame(
    sample: RawSample,
    cropper: FaceCropper,
    seconds: float,
    sampling: Sampling,
    work: Callable[[Frame | LostFrame, Faces | None], T],
    known: Found | None = None,
) -> tuple[list[T], ImageRefused | None]:
    """What `work` makes of each frame of a sample, and why the sample, or the rest of it, is refused.

    Args:
        sample: an image or a video.
        cropper: finds faces ahead, on an accelerator.
        seconds: that it may take, the work included.
        sampling: frames of a video.
        work: called with each frame and the faces that were found ahead; frames before a refusal are kept.
        known: the frames and faces of the sample, if they were read ahead.
    """
    if sample.refusal:
        return [], ImageRefused(sample.refusal, sample.refusal_reason)
    made: list[T] = []
    try:
        with time_limit(seconds):
            for frame, faces in known or _find_faces(read(sample, sampling), cropper):
                made.append(work(frame, faces))  # noqa: PERF401  those before a refusal count
        return made, None if made else ImageRefused("unreadable", "no frames")
    except ImageRefused as refused:
        return made, refused
    except ItemTimeout:
        return made, ImageRefused("timeout", f"took more than {seconds:g} s")
    except MemoryError:
        return made, ImageRefused("too_large", "not enough memory")
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # an image that the cropper cannot handle must not end the build of a million others
        return made, ImageRefused("worker_crash", f"{type(error).__name__}: {error}")


def _find_faces(
    frames: Iterator[Frame | LostFrame], cropper: FaceCropper
) -> Iterator[tuple[Frame | LostFrame, Faces | None]]:
    """Frames with their faces, detected in batches on an accelerator; with None the cropper detects them itself."""
    if cropper.batch == 1:
        yield from ((frame, None) for frame in frames)
        return
    refused = None
    while refused is None:
        some: list[Frame | LostFrame] = []
        try:
            for frame in frames:
                some.append(frame)  # frames before a refusal are kept
                if _batch_is_full([f for f in some if isinstance(f, Frame)], cropper):
                    break
        except ImageRefused as error:
            refused = error  # raised once the frames before it are done
        if not some and refused is None:
            return
        found = iter(cropper.find([frame.image for frame in some if isinstance(frame, Frame)]))
        yield from ((frame, next(found) if isinstance(frame, Frame) else None) for frame in some)
    raise refused


def _look_ahead(task: ShardTask, start: int, cropper: FaceCropper, watch: Watch) -> tuple[dict[int, Found], int]:
    """Read a batch of still images from `start` on and find their faces; returns also the index to go on from.

    Images that cannot be read are left out.
    """
    frames: dict[int, Frame] = {}
    end = start
    while end < len(task.samples) and not _batch_is_full(frames.values(), cropper):
        sample = task.samples[end]
        if sample.medium == "image" and not sample.refusal and end not in task.verdicts:
            watch(end)
            # errors are ignored here: `crop_sample` reads the image again and reports them
            with suppress(Exception, ItemTimeout), time_limit(task.item_seconds):
                frame = next(read(sample, task.sampling))
                if isinstance(frame, Frame):
                    frames[end] = frame
        end += 1
    found = cropper.find([frame.image for frame in frames.values()])
    return {index: [(frame, faces)] for (index, frame), faces in zip(frames.items(), found, strict=True)}, end


def _batch_is_full(frames: Collection[Frame], cropper: FaceCropper) -> bool:
    return len(frames) >= cropper.batch or sum(f.image.width * f.image.height for f in frames) > _PIXELS


def _crop_frame(
    sample: RawSample,
    frame: Frame | LostFrame,
    cropper: FaceCropper,
    near: tuple[float, ...] | None,
    faces: Faces | None,
    masks: Masks,
) -> dict[str, Any]:
    if isinstance(frame, LostFrame):
        return _refused_row(sample, "unreadable", frame.reason, frame.source_sha256, frame.index)
    try:
        crop = cropper.crop(frame.image, near, faces)
        return _face_row(sample, crop, frame, masks.generator_of(crop.box, frame))
    except ImageRefused as refused:
        row = _refused_row(sample, refused.status, refused.reason, frame.source_sha256, frame.index)
        return {**row, **_source_columns(frame)}


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `ItemTimeout` in the block after `seconds`; only in a main thread, and not on Windows."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(signum: int, frame: Any) -> None:
        raise ItemTimeout

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread: sums in another order would change the last bits of a box."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _common_columns(
    sample: RawSample, digest: str | None, frame: int | None, generator: str | None = None
) -> dict[str, Any]:
    taxon = taxonomy()[generator or sample.generator_at(frame)]
    return {
        "sample_id": sample.sample_id if frame is None else sample.frame_id(frame),
        "dataset": sample.dataset,
        "generator": taxon.key,
        "forgery": taxon.forgery.value,
        "family": taxon.grouping.value,
        "attribution_label": taxon.attribution_label,
        "detection_label": taxon.detection_label,
        "split": sample.split,
        "origin": sample.origin,
        "frame": sample.frame if frame is None else frame,
        "source_key": sample.source_key,
        **_pair_columns(sample, frame, taxon.detection_label),
        "source_sha256": digest,
        **({} if sample.source is None else {SOURCE: sample.source or None}),
    }


def _pair_columns(sample: RawSample, frame: int | None, label: int) -> dict[str, Any]:
    """The target of a forged face; an untouched frame or face of a forged video has none."""
    if label != FAKE:
        return {"target_id": None, "pair_confidence": None}
    target = sample.target_id if frame is None else sample.target_frame_id(frame)
    return {"target_id": target, "pair_confidence": sample.pair_confidence}


def _source_columns(frame: Frame) -> dict[str, Any]:
    return {
        "source_width": frame.image.width,
        "source_height": frame.image.height,
        "source_format": frame.image.format,
        "source_bytes": frame.source_bytes,
    }


def _face_row(sample: RawSample, crop: Crop, frame: Frame, generator: str) -> dict[str, Any]:
    height, width, _ = crop.pixels.shape
    return {
        **_common_columns(sample, frame.source_sha256, frame.index, generator),
        **_source_columns(frame),
        "image": {"bytes": encode_png(crop.pixels), "path": None},
        "crop_sha256": hashlib.sha256(crop.pixels.tobytes()).hexdigest(),
        "phash": perceptual_hash(crop.pixels),
        "box": crop.box,
        "crop_box": crop.crop_box,
        "crop_affine": crop.affine,
        "landmarks": crop.landmarks,
        "box_score": crop.box_score,
        "faces": crop.faces,
        "width": width,
        "height": height,
        "flags": ",".join([SWITCHED] * crop.switched + [*crop.flags]) or None,
        "status": OK,
    }


def _refused_row(
    sample: RawSample, status: str, reason: str, digest: str | None = None, frame: int | None = None
) -> dict[str, Any]:
    return {**_common_columns(sample, digest, frame), "status": status, "reason": " ".join(reason.split())[:200]}
