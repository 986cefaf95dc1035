"""Miniature trees in the exact layout of every image dataset, from small drawn faces, with what each file is."""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from helpers.synthetic import synthetic_tree
from PIL import Image

from dfad_bench.data.manifest_schema import sample_id

SIDE = 64


@dataclass(frozen=True)
class Face:
    """A file of a tree and what must be said of it. `target` is the origin of the real face, `of` its dataset."""

    path: str
    generator: str
    split: str | None = None
    source_key: str | None = None
    target: str | None = None
    of: str | None = None
    sure: float = 1.0

    def facts(self, dataset: str) -> tuple[str, str | None, str | None, str | None, float | None]:
        """Generator, split, source key, target's id, confidence."""
        target = sample_id(self.of or dataset, self.target) if self.target else None
        return self.generator, self.split, self.source_key, target, self.sure if target else None


def _hq(number: int) -> dict[str, object]:
    return {
        "source_key": f"celeba_hq:{number}",
        "target": f"CelebA-HQ-img/{number}.jpg",
        "of": "celeba_hq",
        "sure": 0.5,
    }


def _wild() -> list[Face]:
    faces = []
    for label, generator in (("real", "real"), ("fake", "wilddeepfake")):
        for split in ("train", "test"):
            for shard, sequence in ((1, 0), (1, 7), (2, 0)):  # shard numbers repeat over the four parts
                key = f"wilddeepfake:{label}_{split}_{shard}_{sequence}"
                top = f"deepfake_in_the_wild/{label}_{split}/{shard}/{label}/{sequence}"
                faces += [Face(f"{top}/{frame}.png", generator, split, key) for frame in (2, 10)]
    return faces


TREES: dict[str, list[Face]] = {
    "genface": [
        Face("train/EFS/StyleGAN3/seed0001.png", "stylegan3", "train"),
        Face("train/EFS/LatDiff/12_99.png", "latdiff", "train"),  # two numbers, but made from nothing
        Face("test/FS/DiffFace/12_99.png", "diffface", "test", **_hq(12)),
        Face("test/FS/FSLSD/00012_00099.png", "fslsd", "test", **_hq(12)),
        Face("test/AM/Diffae/7.jpg", "diffae", "test", **_hq(7)),
        Face("Testing/AM/lattrans/7_Smiling.jpg", "lattrans", "test", **_hq(7)),
        # no folder of a type, no folder of a split
        Face("train/CollDiff/12_99.png", "colldiff", "train"),
        Face("train/FaceSwapper/12_99.png", "faceswapper", "train", **_hq(12)),
        Face("train/FaceSwapper/13.png", "faceswapper", "train", **_hq(13)),
        Face("train/Diffae/14_Smiling.png", "diffae", "train", **_hq(14)),
        Face("DDPM/12_99.png", "ddpm"),
        Face("FSLSD/15_99.png", "fslsd", None, **_hq(15)),
    ],
    "df40": [
        Face("DF40_train/SimSwap/frames/001_002/000.png", "simswap", "train", "ffpp:001"),
        Face("DF40_train/MRAA/ff/frames/001_002/000.png", "mraa", "train", "ffpp:001"),
        Face("DF40/inswap/cdf/frames/id0_id1_0000/012.png", "inswapper", "test", "celebdf:id0"),
        Face("DF40/simswap/ff/frames/003_004/007.png", "simswap", "test", "ffpp:003"),
        Face("DF40/e4e/cdf/Celeb-real/inversions/1.png", "e4e", "test", "df40:cdf:Celeb-real/inversions/1"),
        Face("DF40/StyleGAN2/ff/001/003.png", "stylegan2", "test", "df40:ff:001"),
        Face("DF40/MidJourney/fake/0001.png", "midjourney", "test"),
        Face("DF40/MidJourney/real/0001.png", "real", "test"),
        Face("DF40/heygen/fake/clip_1/0001.png", "heygen", "test", "df40:heygen:fake/clip_1"),
        Face("DF40/heygen/real/frames/clip_1/0001.png", "real", "test", "df40:heygen:real/clip_1"),
        Face("original_sequences/youtube/c23/frames/001/000.png", "real", None, "ffpp:001"),
        Face("Celeb-DF-v2/Celeb-real/frames/id0_0000/012.png", "real", None, "celebdf:id0"),
        Face("Celeb-DF-v2/YouTube-real/frames/00012/003.png", "real", None, "celebdf:youtube_00012"),
    ],
    "celeba_hq": [
        Face("CelebA-HQ-img/0.jpg", "real", "train", "celeba_hq:0"),
        Face("CelebA-HQ-img/1.jpg", "real", "val", "celeba_hq:1"),
        Face("CelebA-HQ-img/29999.jpg", "real", "test", "celeba_hq:29999"),
    ],
    "ffhq": [
        Face("images1024x1024/00000/00003.png", "real", "train", "ffhq:3"),
        Face("images1024x1024/59000/59999.png", "real", "train", "ffhq:59999"),
        Face("images1024x1024/60000/60000.png", "real", "test", "ffhq:60000"),
        Face("thumbnails128x128/61000/61234.png", "real", "test", "ffhq:61234"),  # the only size of it that is there
    ],
    "wilddeepfake": _wild(),
    "extra": [
        Face("train/REFace/a.png", "reface", "train"),
        Face("test/diffusion_act/a.png", "diffusionact", "test"),
        Face("val/VAE/deep/a.webp", "vae", "val"),
        Face("FLUX.1/a.png", "flux", None),
        Face("HART/a.jpg", "hart", None),
    ],
    "processed_reals": [
        Face("ffhq/GFPGAN/00007.png", "gfpgan", "test", "ffhq:7"),
        Face("ffhq/codeformer/60123.png", "codeformer", "test", "ffhq:60123"),
        Face("celeba_hq/re-delivery/12.jpg", "redelivered", "test", "celeba_hq:12"),
        Face("mine/night_mode/a/1.jpg", "night_mode", "test", "processed_reals:mine/a/1"),
    ],
    "images": [Face("any/where.png", "unlabelled")],
    "image_folder": [
        Face("train/flux/0.png", "flux", "train"),
        Face("validation/FFHQ/0.png", "real", "val"),
        Face("test/Stable Diffusion 2.1/0.png", "sd21", "test"),
        Face("data/test/vae/x/0.png", "vae", "test"),
        Face("hart/0.png", "hart"),
    ],
}  # fmt: skip
MAPPING = "idx\torig_idx orig_file\n0 119613 119614.jpg\n1    162771 162772.jpg\n29999 182638 182639.jpg\n"
BESIDE: dict[str, dict[str, str]] = {"celeba_hq": {"CelebA-HQ-to-CelebA-mapping.txt": MAPPING}}


def dataset_tree(root: Path, dataset: str) -> list[Face]:
    """Draw the tree of a dataset and return what is in it."""
    for index, face in enumerate(TREES[dataset]):
        draw(root / face.path, index)
    for name, text in BESIDE.get(dataset, {}).items():
        (root / name).write_text(text)
    return TREES[dataset]


def draw(path: Path, index: int = 0, side: int = SIDE) -> Path:
    """Save the drawn face of that number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(_drawn()[index % len(_drawn())]) as face:
        face.resize((side, side)).save(path, compress_level=1)
    return path


def pack(folder: Path, archive: Path, inside: str = "", *, dot: bool = False) -> Path:
    """Move a folder's files into an archive (by its suffix), named `inside/<path below folder>`, in reverse order."""
    files = sorted((p for p in folder.rglob("*") if p.is_file()), reverse=True)
    names = {file: ("./" if dot else "") + inside + file.relative_to(folder).as_posix() for file in files}
    archive.parent.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for file, name in names.items():
                packed.write(file, name)
    else:
        kind = {".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}.get(archive.suffix, "w")
        with tarfile.open(archive, kind) as tar:
            for file, name in names.items():
                tar.add(file, name)
    shutil.rmtree(folder)
    return archive


def deepfakebench_json(file: Path) -> Path:
    """A list as DeepfakeBench writes it: one dataset with compressions, one without; Windows paths in one."""
    base = "FaceForensics++\\original_sequences\\youtube\\c23\\frames\\000\\"
    fake = "FaceForensics++\\manipulated_sequences\\Deepfakes\\c23\\frames\\000_003\\"
    celeb = "./Celeb-DF-v2/Celeb-synthesis/frames/id0_id1_0000/"
    value = {
        "FaceForensics++": {
            "FF-real": {"train": {"c23": {"000": {
                "label": "FF-real", "frames": [base + "000.png", base + "010.png"]}}}},
            "FF-DF": {"train": {"c23": {"000_003": {
                "label": "FF-DF", "frames": [fake + "000.png", fake + "010.png"]}}}},
        },
        "Celeb-DF-v2": {
            "CelebDFv2_real": {"test": {"id0_0000": {
                "label": "CelebDFv2_real", "frames": ["Celeb-DF-v2/Celeb-real/frames/id0_0000/004.png"]}}},
            "CelebDFv2_fake": {split: {"id0_id1_0000": {
                "label": "CelebDFv2_fake", "frames": [celeb + "004.png"]}} for split in ("train", "test")},
        },
        "simswap": {
            "simswap_Fake": {"test": {"001_002": {"label": "simswap_Fake", "frames": ["DF40/simswap/001_002/0.png"]}}},
            "nobody_Fake": {"test": {"001_002": {"label": "nobody_Fake", "frames": ["DF40/nobody/001_002/0.png"]}}},
        },
    }  # fmt: skip
    file.write_text(json.dumps(value))
    return file


class _Kept:
    folder: tempfile.TemporaryDirectory[str] | None = None  # removed when Python ends


@cache
def _drawn() -> list[Path]:
    _Kept.folder = tempfile.TemporaryDirectory(prefix="drawn-faces-")
    return sorted(synthetic_tree(Path(_Kept.folder.name), per_group=2).rglob("*.png"))
