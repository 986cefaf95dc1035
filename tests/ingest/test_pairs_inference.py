from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from helpers.dataset_trees import draw, pack
from helpers.synthetic import synthetic_tree, synthetic_truth
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import IntegrityError, ManifestError
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.pair_table import read_pairs, with_pairs, write_pairs
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.pairs import COMPARED, infer_pairs
from dfad_bench.ingest.shot_similarity import SIDE, Shot, likeness
from dfad_bench.ingest.sources.spec import load_dataset_spec
from dfad_bench.ingest.sources.table import list_images as list_table
from dfad_bench.ingest.unpaired import FROM_NOTHING, NO_RULE, NOT_AT_HAND, count_unpaired


def build(dataset: str, root: Path, out: Path, crop: str = "raw-256") -> Manifest:
    build_manifest(dataset, root, out, crop=crop, workers=0)
    return Manifest.open(out)


def by_origin(manifest: Manifest, pairs: pd.DataFrame, *reals: Manifest) -> dict[str, tuple[str, str]]:
    """Forged origin -> (origin of its target, method)."""
    names = {}
    for each in (manifest, *reals):
        rows = each.frame(["sample_id", "origin"])
        names |= dict(zip(rows["sample_id"], rows["origin"], strict=True))
    return {
        names[s]: (names[t], m) for s, t, m in zip(pairs["sample_id"], pairs["target_id"], pairs["method"], strict=True)
    }


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_tree(tmp_path_factory.mktemp("faces"), per_group=6)


@pytest.fixture(scope="module")
def swaps(faces: Path) -> list[tuple[Path, Path]]:
    """Swapped faces and the real ones they were made from."""
    truth = synthetic_truth(faces)
    made = truth[truth["generator"].str.contains("swap") & truth["target"].notna()]
    return [(faces / fake, faces / real) for fake, real in zip(made["path"], made["target"], strict=True)]


def df40(root: Path, swaps: list[tuple[Path, Path]], *, crop: int = 0, order: str = "ab") -> dict[str, str]:
    """DF40's layout from pairs: video `a_b` where a (or b) is the target; returns forged origin -> target's origin."""
    truth = {}
    for index, (fake, real) in enumerate(swaps):
        other = next(
            r
            for r in sorted(real.parents[2].glob("*/real-studio/*.png"))
            if r.stem.split("_")[0] != real.stem.split("_")[0]
        )
        a, b = f"{100 + index}", f"{500 + index}"
        target, source = (a, b) if order == "ab" else (b, a)
        for frame in (0, 7):
            shift = crop * (1 + frame % 2)
            paths = {
                f"DF40/SimSwap/ff/frames/{a}_{b}/{frame:03d}.png": (fake, shift),
                f"original_sequences/youtube/c23/frames/{target}/{frame:03d}.png": (real, 0),
                f"original_sequences/youtube/c23/frames/{source}/{frame:03d}.png": (other, 0),
            }
            for name, (path, cut) in paths.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                with Image.open(path) as image:
                    image.crop((cut, cut, image.width, image.height)).save(root / name, compress_level=1)
            fakes, reals, _ = paths
            truth[fakes] = reals
    return truth


@pytest.mark.heavy
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_the_target_among_two_candidates(swaps: list[tuple[Path, Path]], tmp_path: Path, order: str):
    truth = df40(tmp_path / "root", swaps[::2], order=order)
    manifest = build("df40", tmp_path / "root", tmp_path / "m")
    assert manifest.frame(["target_id"])["target_id"].isna().all()
    pairs = infer_pairs(manifest, [manifest])
    assert by_origin(manifest, pairs) == {fake: (real, "compared") for fake, real in truth.items()}
    assert (pairs["pair_confidence"] > 0.85).all()
    assert (pairs["margin"] > 0).all()
    assert pairs["source_id"].notna().all()


@pytest.mark.heavy
def test_with_boxes_and_points_the_crops_need_not_agree_and_gaze_reads_the_pairs(
    swaps: list[tuple[Path, Path]], tmp_path: Path
):
    truth = df40(tmp_path / "root", swaps[:4], crop=9)
    manifest = build("df40", tmp_path / "root", tmp_path / "m", crop="face-256-1.3")
    pairs = infer_pairs(manifest, [manifest])
    found = by_origin(manifest, pairs)
    assert len(found) >= len(truth) - 2
    assert all(found[fake][0] == truth[fake] for fake in found)
    write_pairs(manifest, pairs, [manifest])
    result = CliRunner().invoke(dfad, ["gaze-fid", "--manifest", str(manifest.folder), "--json", "--quiet"])
    assert result.exit_code == 0, result.output
    row = next(row for row in json.loads(result.stdout)["rows"] if row["generator"] == "simswap")
    assert row["pairs"] == len(found)


def test_reals_of_another_manifest_in_an_archive(swaps: list[tuple[Path, Path]], tmp_path: Path):
    truth = df40(tmp_path / "root", swaps[:3])
    (tmp_path / "reals").mkdir()
    (tmp_path / "root/original_sequences").rename(tmp_path / "reals/original_sequences")
    pack(tmp_path / "root/DF40", tmp_path / "root/DF40.zip", "DF40/")
    manifest = build("df40", tmp_path / "root", tmp_path / "m")
    reals = build("df40", tmp_path / "reals", tmp_path / "r")
    found = by_origin(manifest, infer_pairs(manifest, [reals]), reals)
    assert found == {f"DF40.zip/{fake}": (real, "compared") for fake, real in truth.items()}


def test_frames_without_a_partner_have_no_pair(swaps: list[tuple[Path, Path]], tmp_path: Path):
    truth = df40(tmp_path / "root", swaps[:2])
    gone = sorted(truth)[0]
    (tmp_path / "root" / truth[gone]).unlink()
    draw(tmp_path / "root/DF40/SimSwap/ff/frames/900_901/000.png")  # no candidate at hand
    manifest = build("df40", tmp_path / "root", tmp_path / "m")
    found = by_origin(manifest, infer_pairs(manifest, [manifest]))
    assert set(found) == set(truth) - {gone}
    assert all(found[fake][0] == truth[fake] for fake in found)


def test_alike_candidates_give_half_a_confidence(swaps: list[tuple[Path, Path]], tmp_path: Path):
    df40(tmp_path / "root", swaps[:1])
    base = tmp_path / "root/original_sequences/youtube/c23/frames"
    for frame in ("000.png", "007.png"):
        (base / "500" / frame).write_bytes((base / "100" / frame).read_bytes())
    manifest = build("df40", tmp_path / "root", tmp_path / "m")
    pairs = infer_pairs(manifest, [manifest])
    assert pairs["pair_confidence"].tolist() == [0.5, 0.5]


def test_numbers_lead_to_celeba_hq_whatever_its_layout(faces: Path, swaps: list[tuple[Path, Path]], tmp_path: Path):
    genface, celeba = tmp_path / "genface", tmp_path / "celeba"
    for folder in (genface / "test/AM/Diffae", genface / "test/FS/DiffFace", genface / "test/EFS/StyleGAN3", celeba):
        folder.mkdir(parents=True)
    fake, real = swaps[0]
    other = next(r for _, r in swaps if r.stem.split("_")[0] != real.stem.split("_")[0])
    for path, name in ((real, "imgHQ00012.png"), (other, "imgHQ00099.png")):
        (celeba / name).write_bytes(path.read_bytes())
    for name in ("AM/Diffae/12.png", "FS/DiffFace/99_12.png", "EFS/StyleGAN3/12_99.png"):
        (genface / "test" / name).write_bytes(fake.read_bytes())
    manifest, reals = build("genface", genface, tmp_path / "m"), build("celeba_hq", celeba, tmp_path / "r")
    found = by_origin(manifest, infer_pairs(manifest, [reals]), reals)
    assert found == {
        "test/AM/Diffae/12.png": ("imgHQ00012.png", "key"),
        "test/FS/DiffFace/99_12.png": ("imgHQ00012.png", "compared"),  # the guessed order of the name was wrong
    }


@pytest.mark.parametrize("second", [False, True], ids=["as named", "the other way round"])
def test_pictures_decide_whom_a_reenactment_animates(swaps: list[tuple[Path, Path]], tmp_path: Path, second: bool):
    df40(tmp_path / "made", swaps[:1], order="ba" if second else "ab")
    videos = tmp_path / "made/original_sequences/youtube/c23/frames"
    places = {
        "Celeb-real/id100_0001": videos / "100",
        "Celeb-real/id500_0001": videos / "500",
        "Celeb-synthesis/FaceReenact/TPSMM/id100_id500_0001": tmp_path / "made/DF40/SimSwap/ff/frames/100_500",
    }
    for place, folder in places.items():
        (tmp_path / "root" / place).parent.mkdir(parents=True, exist_ok=True)
        folder.rename(tmp_path / "root" / place)
    manifest = build("celeb_df_pp", tmp_path / "root", tmp_path / "m")
    found = by_origin(manifest, infer_pairs(manifest, [manifest]))
    target = "Celeb-real/id500_0001" if second else "Celeb-real/id100_0001"
    assert found == {
        f"Celeb-synthesis/FaceReenact/TPSMM/id100_id500_0001/{frame:03d}.png": (f"{target}/{frame:03d}.png", COMPARED)
        for frame in (0, 7)
    }


def test_a_name_that_pictures_contradict_is_no_pair(swaps: list[tuple[Path, Path]], tmp_path: Path):
    """The target that pictures choose lacks a frame: the face that the name calls the target does not step in."""
    df40(tmp_path / "made", swaps[:1], order="ba")
    videos = tmp_path / "made/original_sequences/youtube/c23/frames"
    (videos / "500/007.png").unlink()
    for place, folder in {
        "Celeb-real/id100_0001": videos / "100",
        "Celeb-real/id500_0001": videos / "500",
        "Celeb-synthesis/FaceReenact/TPSMM/id100_id500_0001": tmp_path / "made/DF40/SimSwap/ff/frames/100_500",
    }.items():
        (tmp_path / "root" / place).parent.mkdir(parents=True, exist_ok=True)
        folder.rename(tmp_path / "root" / place)
    manifest = build("celeb_df_pp", tmp_path / "root", tmp_path / "m")
    found = by_origin(manifest, infer_pairs(manifest, [manifest]))
    forged = "Celeb-synthesis/FaceReenact/TPSMM/id100_id500_0001/000.png"
    assert found == {forged: ("Celeb-real/id500_0001/000.png", COMPARED)}


def test_names_that_tell_need_no_comparison(tiny_manifest: Path):
    manifest = Manifest.open(tiny_manifest)
    rows = manifest.frame(["sample_id", "target_id"]).dropna()
    rows = rows[rows["target_id"].isin(manifest.frame(["sample_id"])["sample_id"])]
    pairs = infer_pairs(manifest, [manifest])
    assert dict(zip(pairs["sample_id"], pairs["target_id"], strict=True)) == dict(
        zip(rows["sample_id"], rows["target_id"], strict=True)
    )
    assert set(pairs["method"]) == {"name"}


def test_the_table_is_taken_before_the_column(swaps: list[tuple[Path, Path]], tmp_path: Path):
    df40(tmp_path / "root", swaps[:2])
    manifest = build("df40", tmp_path / "root", tmp_path / "m")
    rows = manifest.frame(["sample_id", "target_id"])
    assert with_pairs(manifest, rows) is rows
    pairs = infer_pairs(manifest, [manifest])
    write_pairs(manifest, pairs, [manifest])
    stored = read_pairs(manifest)
    assert stored is not None
    assert stored.equals(pairs)
    told = with_pairs(manifest, rows).set_index("sample_id")["target_id"]
    assert told.dropna().to_dict() == dict(zip(pairs["sample_id"], pairs["target_id"], strict=True))
    table = tmp_path / "m/tables/pairs.parquet"
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="damaged or changed"):
        read_pairs(manifest)
    record = table.with_suffix(".json")
    record.write_text(record.read_text().replace(manifest.sha256, "0" * 64, 1))
    with pytest.raises(IntegrityError, match="made for another state of the manifest; run `dfad infer-pairs` again"):
        read_pairs(manifest)


def test_no_real_faces_is_said(swaps: list[tuple[Path, Path]], tmp_path: Path):
    df40(tmp_path / "root", swaps[:1])
    (tmp_path / "root/original_sequences").rename(tmp_path / "elsewhere")
    manifest = build("df40", tmp_path / "root", tmp_path / "m")
    with pytest.raises(ManifestError, match=r"no real faces in .*--real"):
        infer_pairs(manifest, [manifest])


def test_faces_without_a_pair_are_counted_with_the_reason(swaps: list[tuple[Path, Path]], tmp_path: Path):
    root = tmp_path / "root"
    df40(root, swaps[:2])
    videos = sorted((root / "original_sequences/youtube/c23/frames").iterdir())
    gone = videos[-1]
    gone.rename(tmp_path / "elsewhere")
    some = next(path for path in root.rglob("*.png") if "SimSwap" in path.parts)
    for place in ("DF40/e4e/ff/frames/free/000.png", "DF40/DDIM/fake/0.png"):
        (root / place).parent.mkdir(parents=True)
        (root / place).write_bytes(some.read_bytes())
    manifest = build("df40", root, tmp_path / "m")
    pairs = infer_pairs(manifest, [manifest])
    told = {row.generator: row for row in count_unpaired(manifest, pairs, [manifest]).itertuples()}
    assert {name: row.reason for name, row in told.items()} == {
        "simswap": NOT_AT_HAND, "e4e": NO_RULE, "ddim": FROM_NOTHING}  # fmt: skip
    assert told["simswap"].wanted == [gone.name]
    forged = manifest.frame(["detection_label"])["detection_label"].sum()
    assert sum(row.faces for row in told.values()) == forged - len(pairs)
    result = CliRunner().invoke(dfad, ["infer-pairs", "--manifest", str(tmp_path / "m"), "--quiet"])
    assert f"missing: '{gone.name}'" in result.stdout


def test_the_command_stores_and_counts(swaps: list[tuple[Path, Path]], tmp_path: Path):
    df40(tmp_path / "root", swaps[:2])
    build("df40", tmp_path / "root", tmp_path / "m")
    result = CliRunner().invoke(dfad, ["infer-pairs", "--manifest", str(tmp_path / "m"), "--quiet"])
    assert result.exit_code == 0, result.output
    lines = [line.split()[:6] for line in result.stdout.splitlines()]
    assert ["simswap", "4", "4", "0", "0", "4"] in lines
    assert (tmp_path / "m/tables/pairs.json").is_file()
    missing = CliRunner().invoke(dfad, ["infer-pairs", "--manifest", str(tmp_path / "gone")])
    assert missing.exit_code == 1
    assert "no such manifest" in missing.stderr


def shot(pixels: np.ndarray, box: tuple[float, ...] = (0, 0, 256, 256)) -> Shot:
    return Shot.of(pixels, box, (60, 60, 196, 196), (90, 100, 160, 100, 128, 130, 100, 160, 156, 160))


@given(seed=st.integers(0, 1000), gain=st.floats(0.5, 1.0), shift=st.integers(0, 40))
def test_likeness_ignores_the_face_and_plain_changes_of_light(seed: int, gain: float, shift: int):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    scene = np.asarray(small.resize((256, 256), Image.Resampling.BICUBIC))
    other = scene.copy()
    other[64:192, 64:192] = rng.integers(0, 256, 3)
    lit = (other * gain).astype(np.uint8) + np.uint8(shift * (1 - gain))
    assert likeness(shot(scene), shot(scene)) == pytest.approx(1.25, abs=1e-6)
    assert likeness(shot(lit), shot(scene)) > 1.2
    strange = np.asarray(Image.fromarray(scene).transpose(Image.Transpose.ROTATE_180))
    assert likeness(shot(lit), shot(scene)) > likeness(shot(lit), shot(strange))


def test_likeness_without_any_geometry_and_without_surroundings():
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    assert likeness(Shot.of(noise), Shot.of(noise)) == pytest.approx(1)
    assert likeness(Shot.of(noise), Shot.of(np.zeros_like(noise))) == 0
    filled = Shot.of(noise, (0, 0, 256, 256), (0, 0, 256, 256))
    assert np.isnan(likeness(filled, filled))
    assert Shot.of(noise, None, None, [float("nan")] * 10).points is None
    assert Shot.of(noise).pixels.shape == (SIDE, SIDE, 3)


@pytest.mark.heavy
@pytest.mark.corpus
def test_a_real_swap_finds_its_target(corpus: Path, tmp_path: Path):
    """FaceForensics++ 519_515 against 519 and, for want of 515, each time another person's video."""
    frames = sorted((corpus / "ffpp/Deepfakes").glob("519-515_f*_face.jpg"))
    decoys = [
        *sorted((corpus / "ghost/real_GHOST-target").glob("*.jpg")),
        *sorted((corpus / "ciplab").rglob("real*/*.jpg")),
    ]
    base = tmp_path / "root/original_sequences/youtube/c23/frames"
    for index, fake in enumerate(frames):
        number = fake.stem.split("_f")[1].split("_")[0]
        real = corpus / "ffpp/real_FF++" / fake.name.replace("519-515", "519")
        video = {"519": real, "515": decoys[index % len(decoys)], "519_515": fake}
        if not real.is_file():
            continue
        for name, path in video.items():
            folder = tmp_path / "root/DF40/faceswap/ff/frames" if "_" in name else base
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / f"{number}.jpg").write_bytes(path.read_bytes())
    manifest = build("df40", tmp_path / "root", tmp_path / "m", crop="face-256-1.3")
    pairs = infer_pairs(manifest, [manifest])
    found = by_origin(manifest, pairs)
    assert len(found) >= 5
    assert all("/519/" in target for target, _ in found.values())
    assert pairs["pair_confidence"].min() > 0.9


def test_the_targets_of_real_forgeries(corpus: Path, tmp_path: Path):
    """Frames of one clip pair by their number, edited portraits with the portrait; what has no real face has none."""
    only = load_dataset_spec("corpus")
    listing = list_table(only, corpus)
    pairs = {s.origin: s.target_origin for s in listing.samples if s.target_origin}
    count = Counter(origin.split("/")[1] for origin in pairs)
    assert count == {"Deepfakes": 20, "FaceSwap": 20, "DiffAE": 39, "GHOST": 5, "HyperLips": 3}
    assert pairs["ffpp/FaceSwap/634-660_f0002.jpg"] == "ffpp/real_FF++/634_f0002.jpg"
    assert pairs["ghost/GHOST/mark_f040.jpg"] == "ghost/real_GHOST-target/dance_f040.jpg"
    groups = {s.origin: s.source_key for s in listing.samples}
    same = [groups[fake] == groups[real] for fake, real in pairs.items() if "ghost" not in fake]
    assert all(same)  # the corpus's own grouping; GHOST's is by the face that was put in
