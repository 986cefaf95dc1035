"""Miniature video datasets in the layout of their releases; every frame carries its number."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from helpers.trees import picture
from PIL import Image

_BITS = 10
_CELL = 8  # pixels a side of a bit


@dataclass
class VideoTree:
    """What a tree must be listed as: origin -> (generator, split, source_key, origin of the target)."""

    root: Path
    samples: dict[str, tuple[str, str | None, str | None, str | None]] = field(default_factory=dict)

    def add(
        self, origin: str, generator: str, split: str | None, key: str | None, target: str | None = None, count: int = 9
    ) -> None:
        """A video file of `count` frames."""
        path = self.root / origin
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip(count, seed=len(self.samples) % 5))
        self.samples[origin] = generator, split, key, target


def numbered(number: int, seed: int = 0, width: int = 96, height: int = 64) -> np.ndarray:
    """A (height, width, 3) uint8 picture that carries `number` as black and white cells along its upper edge."""
    image = picture(seed, width, height).copy()
    for bit in range(_BITS):
        image[:_CELL, bit * _CELL : (bit + 1) * _CELL] = 255 if number >> bit & 1 else 0
    return image


def number_of(image: np.ndarray) -> int:
    """The number a picture of `numbered` carries, through lossy coding."""
    cells = [image[2 : _CELL - 2, bit * _CELL + 2 : (bit + 1) * _CELL - 2].mean() > 128 for bit in range(_BITS)]
    return sum(1 << bit for bit, set_ in enumerate(cells) if set_)


def write_video(
    frames: Iterable[np.ndarray],
    *,
    name: str = "clip.mp4",
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: Sequence[int] | None = None,
    rotation: int | None = None,
    **options: str,
) -> bytes:
    """A video file. `times` are presentation times in hundredths of a second; `options` go to the encoder."""
    out = io.BytesIO()
    with av.open(out, "w", format={"mkv": "matroska", "m4v": "mp4"}.get(name[-3:], name.rpartition(".")[2])) as file:
        stream = None
        for index, array in enumerate(frames):
            if stream is None:
                stream = file.add_stream(codec, rate=25)
                stream.height, stream.width = array.shape[:2]
                stream.pix_fmt = pixels
                stream.codec_context.thread_count = 1
                stream.codec_context.time_base = Fraction(1, 100)
                stream.options = {"threads": "1", **options}
                if rotation is not None:
                    stream.set_display_rotation(rotation)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
            frame.pts, frame.time_base = (times[index] if times else 4 * index), Fraction(1, 100)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


@cache
def clip(count: int, seed: int = 0) -> bytes:
    """An MP4 of `count` numbered frames."""
    return write_video((numbered(i, seed) for i in range(count)), preset="ultrafast", g="12")


def animation(count: int, kind: str) -> bytes:
    """An animated GIF, WebP or PNG of `count` numbered frames."""
    images = [Image.fromarray(numbered(i)) for i in range(count)]
    out = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    images[0].save(out, kind, save_all=True, append_images=images[1:], duration=40, **options)
    return out.getvalue()


FFPP_METHODS = {
    "Deepfakes": "deepfakes_ae",
    "Face2Face": "face2face",
    "FaceSwap": "faceswap_3d",
    "NeuralTextures": "neuraltextures",
    "FaceShifter": "faceshifter",
}
FFPP_PAIRS = {"train": [["071", "054"]], "val": [["720", "672"]], "test": [["634", "660"]]}


def faceforensics_tree(root: Path, compression: str = "c23") -> VideoTree:
    """FaceForensics++ at one compression level, with masks, DFD beside it, and the split files of the repository."""
    tree = VideoTree(root)
    for split, pairs in FFPP_PAIRS.items():
        for pair in pairs:
            for target, source in (pair, pair[::-1]):
                real = f"original_sequences/youtube/{compression}/videos/{target}.mp4"
                tree.add(real, "real", split, f"ffpp:{target}", count=9 + int(target) % 2)
                for method, key in FFPP_METHODS.items():
                    fake = f"manipulated_sequences/{method}/{compression}/videos/{target}_{source}.mp4"
                    tree.add(fake, key, split, f"ffpp:{target}", real)
        _write(root / f"dataset/splits/{split}.json", json.dumps(pairs))
    _write(root / "manipulated_sequences/Deepfakes/masks/videos/071_054.mp4", b"mask")
    return tree


def dfd_tree(root: Path, compression: str = "c23") -> VideoTree:
    """DeepFakeDetection, in the same tree as FaceForensics++."""
    tree = VideoTree(root)
    for actor in ("01", "02"):
        for scene in ("hugging_happy", "walk_down_hall_angry"):
            real = f"original_sequences/actors/{compression}/videos/{actor}__{scene}.mp4"
            tree.add(real, "real", None, f"dfd:{actor}")
    for target, source, scene, code in (("01", "02", "hugging_happy", "YVGY8LOK"), ("02", "01", "podium", "ABCDEFGH")):
        fake = f"manipulated_sequences/DeepFakeDetection/{compression}/videos/{target}_{source}__{scene}__{code}.mp4"
        real = f"original_sequences/actors/{compression}/videos/{target}__{scene}.mp4"
        tree.add(fake, "deepfakedetection", None, f"dfd:{target}", real if real in tree.samples else None)
    return tree


def celeb_df_tree(
    root: Path, test: Sequence[str] = ("YouTube-real/00170", "Celeb-synthesis/id1_id0_0002")
) -> VideoTree:
    """Celeb-DF v1 and v2: the same layout."""
    tree = VideoTree(root)

    def add(stem: str, generator: str, key: str, target: str | None = None) -> None:
        tree.add(f"{stem}.mp4", generator, "test" if stem in test else "train", key, target)

    for identity, record in (("id0", "0000"), ("id1", "0002")):
        add(f"Celeb-real/{identity}_{record}", "real", f"celebdf:{identity}")
    for name in ("00000", "00170"):
        add(f"YouTube-real/{name}", "real", f"celebdf:youtube_{name}")
    for target, source, record in (("id0", "id1", "0000"), ("id1", "id0", "0002")):
        stem = f"Celeb-synthesis/{target}_{source}_{record}"
        add(stem, "celeb_df", f"celebdf:{target}", f"Celeb-real/{target}_{record}.mp4")
    lines = [f"{int(tree.samples[f'{stem}.mp4'][0] == 'real')} {stem}.mp4" for stem in test]
    _write(root / "List_of_testing_videos.txt", "\n".join(lines) + "\n")
    return tree


def celeb_df_pp_tree(root: Path) -> VideoTree:
    """Celeb-DF++: a method of each kind, and the test list."""
    tree = VideoTree(root)
    real = "Celeb-real/id29_0002.mp4"
    tree.add(real, "real", "train", "celebdf:id29", count=14)
    tree.add("YouTube-real/00011.mp4", "real", "test", "celebdf:youtube_00011")
    fakes = {
        "FaceSwap/GHOST/id29_id3_0002.mp4": ("ghost", "train"),
        "FaceSwap/Celeb-DF/id29_id3_0002.mp4": ("celeb_df", "test"),
        "FaceReenact/TPSMM/id29_id3_0002.mp4": ("tpsm", "train"),
        "TalkingFace/EDTalk/id29_0002_test_id08701_aaa.mp4": ("edtalk", "test"),
    }
    for path, (generator, split) in fakes.items():
        tree.add(f"Celeb-synthesis/{path}", generator, split, "celebdf:id29", real)
    test = [(facts[0] == "real", origin) for origin, facts in tree.samples.items() if facts[1] == "test"]
    _write(root / "List_of_testing_videos.txt", "".join(f"{int(real)} {origin}\n" for real, origin in test))
    return tree


def dfdc_train_tree(root: Path) -> VideoTree:
    """Two training parts of DFDC with their metadata."""
    tree = VideoTree(root)
    for part in (0, 49):
        folder = f"dfdc_train_part_{part}"
        names = [f"{letter}{part}" for letter in ("real", "swap", "other")]
        metadata = {
            f"{names[0]}.mp4": {"label": "REAL", "split": "train"},
            f"{names[1]}.mp4": {"label": "FAKE", "split": "train", "original": f"{names[0]}.mp4"},
            f"{names[2]}.mp4": {"label": "FAKE", "split": "train", "original": "elsewhere.mp4"},
        }
        tree.add(f"{folder}/{names[0]}.mp4", "real", "train", f"dfdc:{names[0]}", count=12)
        tree.add(f"{folder}/{names[1]}.mp4", "dfdc", "train", f"dfdc:{names[0]}", f"{folder}/{names[0]}.mp4")
        tree.add(f"{folder}/{names[2]}.mp4", "dfdc", "train", "dfdc:elsewhere")
        _write(root / folder / "metadata.json", json.dumps(metadata))
    return tree


def dfdc_test_tree(root: Path) -> VideoTree:
    """The test set of DFDC with labels.csv."""
    tree = VideoTree(root)
    tree.add("test/aaa.mp4", "real", "test", "dfdc:aaa")
    tree.add("test/bbb.mp4", "dfdc", "test", "dfdc:bbb")
    _write(root / "test/labels.csv", "filename,label\naaa.mp4,0\nbbb.mp4,1\n")
    return tree


def videos_tree(root: Path) -> VideoTree:
    """A folder of videos that says nothing about them."""
    tree = VideoTree(root)
    for name in ("a.mp4", "deep/er/b.mp4"):
        tree.add(name, "unlabelled", None, f"videos:{name.removesuffix('.mp4')}")
    return tree


TREES = {
    "faceforensics": faceforensics_tree,
    "dfd": dfd_tree,
    "celeb_df_v1": celeb_df_tree,
    "celeb_df": celeb_df_tree,
    "celeb_df_pp": celeb_df_pp_tree,
    "dfdc": dfdc_train_tree,
    "videos": videos_tree,
}


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
