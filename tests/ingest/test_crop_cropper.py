from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.trees import picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter, ImageOps

from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.crop.affine import apply_affine
from dfad_bench.ingest.crop.boxes import square_around
from dfad_bench.ingest.crop.cropper import Crop, CropProfile, FaceCropper, load_crop_profile
from dfad_bench.synthetic.faces import draw_face

MIRRORED = [1, 0, 2, 4, 3]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cropper() -> FaceCropper:
    return FaceCropper(load_crop_profile("face-256-1.3"))


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    return Image.fromarray(draw_face(0, "train/real-studio/id0001_00.png")[0])


def points(landmarks: tuple[float, ...] | None) -> np.ndarray:
    return np.array(landmarks).reshape(5, 2)


@given(
    x=st.floats(-50, 450),
    y=st.floats(-50, 450),
    side=st.floats(1, 900),
    size=st.tuples(st.integers(32, 400), st.integers(32, 400)),
)
def test_squares_stay_inside_and_keep_their_side_where_they_can(x: float, y: float, side: float, size):
    x0, y0, x1, y1 = square_around(x, y, side, size)
    assert 0 <= x0 < x1 <= size[0]
    assert 0 <= y0 < y1 <= size[1]
    assert x1 - x0 == pytest.approx(min(side, *size), abs=1e-6)
    assert y1 - y0 == pytest.approx(x1 - x0, abs=1e-6)
    if side / 2 <= x <= size[0] - side / 2 and side / 2 <= y <= size[1] - side / 2:
        assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((x, y), abs=1e-6)


def test_the_crop_is_the_square_around_the_box(cropper: FaceCropper, portrait: Image.Image):
    crop = cropper.crop(portrait)
    assert crop.pixels.shape == (256, 256, 3)
    assert crop.faces == 1
    assert crop.box is not None
    assert crop.box_score is not None
    assert crop.box_score >= 0.9
    width, height = crop.box[2] - crop.box[0], crop.box[3] - crop.box[1]
    expected = min(1.3 * max(width, height), *portrait.size)
    assert crop.crop_box[2] - crop.crop_box[0] == pytest.approx(expected, abs=1e-6)
    again = portrait.resize((256, 256), Image.Resampling.LANCZOS, box=crop.crop_box)
    np.testing.assert_array_equal(crop.pixels, np.asarray(again))
    eyes, mouth = points(crop.landmarks)[:2], points(crop.landmarks)[3:]
    assert eyes[0, 0] < eyes[1, 0]
    assert mouth[0, 0] < mouth[1, 0]
    assert eyes[:, 1].max() < mouth[:, 1].min()


def test_landmarks_of_the_mirror_image_are_the_mirrored_landmarks(cropper: FaceCropper):
    shifts = []
    for number in range(6):
        face = Image.fromarray(draw_face(1, f"train/real-studio/id{number:04d}_00.png")[0])
        here = points(cropper.crop(face).landmarks)
        there = points(cropper.crop(ImageOps.mirror(face)).landmarks)[MIRRORED] * [-1, 1] + [face.width, 0]
        shifts.append((there - here) / np.linalg.norm(here[0] - here[1]))
    assert np.abs(np.mean(shifts, axis=(0, 1))[0]) < 0.02  # no bias in x, in shares of the eyes' distance
    assert np.abs(shifts).mean() < 0.06


def test_one_image_gives_one_crop_whatever_came_before(cropper: FaceCropper, portrait: Image.Image):
    first = cropper.crop(portrait)
    cropper.crop(Image.fromarray(draw_face(0, "train/real-studio/id0002_00.png")[0]).resize((700, 700)))
    second = cropper.crop(portrait)
    fresh = FaceCropper(cropper.profile).crop(portrait)
    for other in (second, fresh):
        np.testing.assert_array_equal(first.pixels, other.pixels)
        assert (first.box, first.box_score, first.landmarks) == (other.box, other.box_score, other.landmarks)


def test_the_biggest_face_is_taken(cropper: FaceCropper, portrait: Image.Image):
    other = Image.fromarray(draw_face(0, "train/real-studio/id0003_00.png")[0])
    scene = Image.new("RGB", (640, 400), (120, 120, 120))
    scene.paste(other.resize((200, 200)), (20, 100))
    scene.paste(portrait.resize((380, 380)), (250, 10))
    crop = cropper.crop(scene)
    assert crop.faces == 2
    assert crop.box is not None
    assert crop.box[0] > 250


def test_a_face_is_followed(cropper: FaceCropper, portrait: Image.Image):
    scene = Image.new("RGB", (640, 400), (120, 120, 120))
    scene.paste(Image.fromarray(draw_face(0, "train/real-studio/id0003_00.png")[0]).resize((200, 200)), (20, 100))
    scene.paste(portrait.resize((380, 380)), (250, 10))
    biggest = cropper.crop(scene)
    smaller = cropper.crop(scene, near=(60, 130, 190, 290))
    assert smaller.box is not None
    assert smaller.box[2] < 240
    assert smaller.faces == 2
    assert not smaller.switched
    moved = tuple(v + 8 for v in smaller.box)
    assert cropper.crop(scene, near=moved).box == smaller.box
    lost = cropper.crop(scene, near=(0, 350, 40, 390))
    assert lost.switched
    assert lost.box == biggest.box


def test_a_small_face_in_a_large_image_is_found_by_the_second_pass(cropper: FaceCropper, portrait: Image.Image):
    scene = Image.new("RGB", (1600, 1200), (120, 120, 120))
    scene.paste(portrait.resize((160, 160)), (1200, 700))
    crop = cropper.crop(scene)
    assert crop.box is not None
    assert 1200 <= (crop.box[0] + crop.box[2]) / 2 <= 1360
    assert 700 <= (crop.box[1] + crop.box[3]) / 2 <= 860
    one_pass = FaceCropper(replace(cropper.profile, retry_side=448, retry_min_face=100))
    with pytest.raises(ImageRefused, match="no_face"):
        one_pass.crop(scene)


@pytest.mark.parametrize("size", [(20, 300), (31, 31), (1, 1)])
def test_small_images_are_refused(cropper: FaceCropper, size: tuple[int, int]):
    with pytest.raises(ImageRefused, match=f"too_small: {size[0]}x{size[1]}, needs 32"):
        cropper.crop(Image.new("RGB", size))


@pytest.mark.parametrize("size", [(32, 32), (33, 2000), (2000, 33), (256, 256)])
def test_images_without_a_face_are_refused(cropper: FaceCropper, size: tuple[int, int]):
    for image in (Image.new("RGB", size, "white"), Image.fromarray(picture(0, *size))):
        with pytest.raises(ImageRefused, match=r"no_face: no face with probability 0\.9 or more"):
            cropper.crop(image)


def test_raw_crops_are_the_centredsquare_around():
    pixels = picture(1, 300, 200)
    crop = FaceCropper(load_crop_profile("raw-256")).crop(Image.fromarray(pixels))
    assert crop.crop_box == (50.0, 0.0, 250.0, 200.0)
    assert (crop.box, crop.landmarks, crop.faces, crop.flags) == (None, None, None, ("not_square",))
    with pytest.raises(ImageRefused, match="not_a_crop: 400x200: sides in a ratio of more than 1.5"):
        FaceCropper(load_crop_profile("raw-256")).crop(Image.fromarray(picture(1, 400, 200)))
    assert FaceCropper(load_crop_profile("raw-256")).crop(Image.new("RGB", (64, 64))).flags == ("flat",)
    square = picture(2, 256, 256)
    np.testing.assert_array_equal(
        FaceCropper(load_crop_profile("raw-256")).crop(Image.fromarray(square)).pixels, square
    )


@pytest.fixture(scope="module")
def uncut() -> FaceCropper:
    return FaceCropper(load_crop_profile("crops-256-landmarks"))


def test_ready_made_crops_keep_the_pixels_of_raw_crops_and_get_landmarks(
    cropper: FaceCropper, uncut: FaceCropper, portrait: Image.Image
):
    raw, cut = FaceCropper(load_crop_profile("raw-256")), cropper.crop(portrait)
    there = apply_affine(cut.affine, points(cut.landmarks))
    for side, image in ((256, Image.fromarray(cut.pixels)), (224, Image.fromarray(cut.pixels).resize((224, 224)))):
        crop, plain = uncut.crop(image), raw.crop(image)
        np.testing.assert_array_equal(crop.pixels, plain.pixels)
        assert (crop.affine, crop.crop_box, crop.flags) == (plain.affine, plain.crop_box, plain.flags)
        assert crop.faces == 1
        assert crop.box_score is not None
        assert crop.box_score >= 0.9
        assert 0.9 < max(crop.box[2] - crop.box[0], crop.box[3] - crop.box[1]) * 1.3 / side < 1.1
        found = apply_affine(crop.affine, points(crop.landmarks))  # what a consumer of the manifest computes
        assert np.linalg.norm(found - there, axis=1).mean() < 4


def test_in_tight_crops_faces_reach_beyond_the_picture(uncut: FaceCropper, cropper: FaceCropper, portrait: Image.Image):
    cut = cropper.crop(portrait)
    inside = Image.fromarray(cut.pixels).crop((40, 40, 216, 216))  # less than the face's box
    found = uncut.crop(inside)
    there = apply_affine(cut.affine, points(cut.landmarks)) - 40
    assert np.linalg.norm(points(found.landmarks) - there, axis=1).mean() < 6


def test_a_ready_made_crop_without_a_face_stays_and_has_no_landmarks(uncut: FaceCropper, portrait: Image.Image):
    small = Image.new("RGB", (512, 512), (90, 110, 90))
    small.paste(portrait.resize((80, 80)))  # a face in a corner is not what the crop was cut for
    for image in (Image.fromarray(picture(3, 256, 256)), Image.new("RGB", (64, 64)), small):
        crop = uncut.crop(image)
        assert (crop.box, crop.box_score, crop.landmarks, crop.faces) == (None, None, None, 0)
    with pytest.raises(ImageRefused, match="not_a_crop"):
        uncut.crop(Image.fromarray(picture(1, 400, 200)))
    with pytest.raises(ImageRefused, match="too_small"):
        uncut.crop(Image.new("RGB", (20, 20)))


def test_profiles_that_cut_keep_the_hash_they_had_before_others_did_not():
    known = {
        "raw-256": "87a33a5aabdf3136",
        "face-256-1.3": "7c57a0139c485557",
        "deepfakebench-256-1.3": "9d573f4c775d81f1",
    }
    assert {name: load_crop_profile(name).sha256[:16] for name in known} == known
    assert replace(load_crop_profile("face-256-1.3"), uncut=True).sha256 != load_crop_profile("face-256-1.3").sha256


def aligned(image: Image.Image) -> Crop:
    return FaceCropper(load_crop_profile("deepfakebench-256-1.3")).crop(image)


def test_aligned_faces_lie_on_the_template(portrait: Image.Image):
    target = load_crop_profile("deepfakebench-256-1.3").template_points
    # the published points of the square of 112 pixels, as DeepfakeBench computes them: resize, margin, resize
    published = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655]])
    enlarged = (published * 256 / 112 + 256 * 0.3 / 2) * 256 / (256 + 256 * 0.3)
    np.testing.assert_allclose(target[:4], enlarged + 0.5)
    for angle in (0, 20, -35):
        turned = portrait.resize((512, 512)).rotate(angle, Image.Resampling.BICUBIC, fillcolor=(120, 120, 120))
        crop = aligned(turned)
        assert crop.crop_box is None
        assert crop.pixels.shape == (256, 256, 3)
        there = apply_affine(crop.affine, points(crop.landmarks))
        assert np.abs(there - target).mean() < 6  # a drawn face is not the mean face
        eyes = there[1] - there[0]
        assert abs(np.degrees(np.arctan2(eyes[1], eyes[0]))) < 10  # upright, however the source is turned


def test_an_aligned_crop_holds_the_pixels_of_the_source(portrait: Image.Image):
    scale = 3
    big = portrait.resize((portrait.width * scale, portrait.height * scale), Image.Resampling.BICUBIC)
    crop = aligned(big)
    assert np.hypot(crop.affine[0], crop.affine[3]) < 1  # shrunk
    grid = np.stack(np.meshgrid(np.arange(60, 200, 7), np.arange(60, 200, 7)), -1).reshape(-1, 2)
    inverse = np.linalg.inv(np.vstack([np.reshape(crop.affine, (2, 3)), [0, 0, 1]]))[:2]
    source = apply_affine(inverse.ravel(), grid + 0.5)
    smooth = np.asarray(big.filter(ImageFilter.GaussianBlur(1)), dtype=float)
    x, y = np.clip(source.astype(int), 0, [[big.width - 1, big.height - 1]]).T
    assert np.abs(smooth[y, x] - crop.pixels[grid[:, 1], grid[:, 0]]).mean() < 3


def test_profiles_are_data(tmp_path: Path):
    profile = load_crop_profile("face-256-1.3")
    assert replace(profile, title="other", notes=("said",)).sha256 == profile.sha256
    assert replace(profile, margin=1.4).sha256 != profile.sha256
    with pytest.raises(
        UnknownNameError, match="no crop named 'face-256-1.4'. Did you mean face-256-1.6 or face-256-1.3"
    ):
        load_crop_profile("face-256-1.4")
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nversion: 1\ntitle: x\nmargin: 0.5\n")
    with pytest.raises(ConfigError, match="needs 1 <= margin <= 4"):
        load_crop_profile(str(file))
    file.write_text("name: mine\nversion: 1\ntitle: x\ntemplate: [1, 2]\n")
    with pytest.raises(ConfigError, match="ten numbers in template"):
        load_crop_profile(str(file))
    for without in ("detector: none", "template: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"):
        file.write_text(f"name: mine\nversion: 1\ntitle: x\nuncut: true\n{without}\n")
        with pytest.raises(ConfigError, match="uncut needs a detector and no template"):
            load_crop_profile(str(file))
    file.write_text("name: theirs\nversion: 1\ntitle: x\n")
    with pytest.raises(ConfigError, match="must equal the file's name"):
        load_crop_profile(str(file))
    assert CropProfile("x", 1, "x").size == 256


def test_faces_reduced_to_one_size_first_hold_as_much_whatever_size_they_had() -> None:
    """A picture and its enlargement: their crops differ by what the larger holds, until both are reduced."""
    plain = CropProfile("raw", 1, "raw", detector="none", size=128)
    reduced = replace(plain, native_side=32)
    rng = np.random.default_rng(0)
    large = Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8))
    small = large.resize((64, 64), Image.Resampling.LANCZOS)

    def apart(profile: CropProfile) -> float:
        one, other = (FaceCropper(profile).crop(image).pixels.astype(float) for image in (large, small))
        return float(np.abs(one - other).mean())

    assert apart(plain) > 15
    assert apart(reduced) < 2
    crop = FaceCropper(reduced).crop(large)
    assert crop.pixels.shape == (128, 128, 3)
    assert crop.affine == FaceCropper(plain).crop(large).affine  # of the image, not of what it was reduced to


def test_a_face_smaller_than_the_one_size_is_refused_and_says_so() -> None:
    profile = CropProfile("raw", 1, "raw", detector="none", native_side=64)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (63, 63, 3), np.uint8))
    with pytest.raises(ImageRefused, match="has 63 pixels, the profile needs 64") as caught:
        FaceCropper(profile).crop(image)
    assert caught.value.status == "too_small"
    with pytest.raises(ValueError, match="native_side"):
        replace(profile, native_side=profile.size + 1)
    assert replace(profile, native_side=None).sha256 != profile.sha256


def test_shipped_margins_differ_in_the_margin_alone() -> None:
    known = load_crop_profile("face-256-1.3")
    for margin in ("1.0", "1.6", "2.0"):
        other = load_crop_profile(f"face-256-{margin}")
        same = replace(other, name=known.name, version=known.version, title=known.title, margin=known.margin)
        assert (other.margin, same) == (float(margin), known)
    reduced = load_crop_profile("face-256-1.3-native-64")
    kept = {"name": known.name, "version": known.version, "title": known.title, "notes": known.notes}
    assert replace(reduced, native_side=None, **kept) == known
