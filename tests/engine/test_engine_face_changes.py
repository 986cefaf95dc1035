"""Each change of a face against an independent computation, its settings, and how often what is drawn."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.engine.augment import AUGMENTATIONS, make_change
from dfad_bench.engine.face_changes import Draws

SIDE = 24


@pytest.fixture
def face() -> torch.Tensor:
    """A face of eight-bit values with some structure."""
    pixels = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    pixels[6:18, 6:18] //= 4
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def draws(seed: int = 0) -> Draws:
    return Draws(torch.Generator(), seed)


def same(found: torch.Tensor, expected: np.ndarray | torch.Tensor, within: float = 1e-5) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected).to(found), rtol=0, atol=within)


def compressed(face: torch.Tensor, format: str, quality: int) -> torch.Tensor:
    file = io.BytesIO()
    pixels = (face * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(file, format, quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_change_keeps_shape_and_range_and_follows_its_seed(name: str, face: torch.Tensor) -> None:
    change, before = make_change(name), face.clone()
    for image in (face, torch.zeros_like(face), torch.ones_like(face), face[..., :15], face[:, :9]):
        for seed in range(8):
            found = change(image, draws(seed))
            assert found.shape == image.shape
            assert found.dtype == image.dtype
            assert 0 <= float(found.min()) <= float(found.max()) <= 1
            assert torch.equal(found, change(image, draws(seed)))
    assert torch.equal(face, before)  # nothing is changed in place
    assert any(not torch.equal(change(face, draws(seed)), face) for seed in range(4))
    assert all(type(change).__doc__.splitlines()[0] for change in [change])


def test_flip_and_grayscale(face: torch.Tensor) -> None:
    same(make_change("horizontal_flip")(face, draws()), face.numpy()[:, :, ::-1].copy())
    gray = 0.2989 * face[0] + 0.587 * face[1] + 0.114 * face[2]
    same(make_change("grayscale")(face, draws()), torch.stack([gray] * 3), 1e-3)


@pytest.mark.parametrize(("name", "format"), [("jpeg", "JPEG"), ("webp", "WEBP")])
def test_compression_is_pillows(name: str, format: str, face: torch.Tensor) -> None:
    for quality in (10, 60, 95):
        found = make_change(name, {"quality": [quality, quality]})(face, draws())
        assert torch.equal(found, compressed(face, format, quality))
    drawn = {
        next(q for q in range(40, 45) if torch.equal(found, compressed(face, format, q)))
        for seed in range(40)
        for found in [make_change(name, {"quality": [40, 44]})(face, draws(seed))]
    }
    assert drawn == {40, 41, 42, 43, 44}  # both ends


def test_blur_is_a_gaussian(face: torch.Tensor) -> None:
    from scipy.ndimage import correlate1d

    def blurred(sigma: float, size: int) -> np.ndarray:
        taps = np.exp(-0.5 * ((np.arange(size) - size // 2) / sigma) ** 2)
        once = correlate1d(face.numpy(), taps / taps.sum(), axis=1, mode="mirror")
        return correlate1d(once, taps / taps.sum(), axis=2, mode="mirror")

    same(make_change("gaussian_blur", {"sigma": [1.3, 1.3]})(face, draws()), blurred(1.3, 2 * math.ceil(3.9) + 1))
    same(make_change("gaussian_blur", {"kernel": [5, 5]})(face, draws()), blurred(1.1, 5))  # OpenCV: 0.3 (2 - 1) + 0.8
    sizes = {float((make_change("gaussian_blur", {"kernel": [3, 7]})(face, draws(k)) - face).abs().sum())
             for k in range(30)}  # fmt: skip
    assert len(sizes) == 3  # 3, 5, 7


def test_noise_has_the_deviation_it_is_given() -> None:
    gray = torch.full((3, 200, 200), 0.5)
    noise = make_change("gaussian_noise", {"std": [0.05, 0.05]})(gray, draws()) - gray
    assert float(noise.std()) == pytest.approx(0.05, rel=0.02)
    assert abs(float(noise.mean())) < 0.001
    channels = torch.corrcoef(noise.reshape(3, -1))
    assert float((channels - torch.eye(3)).abs().max()) < 0.02
    assert not make_change("gaussian_noise", {"std": [0, 0]})(gray, draws()).ne(gray).any()


def test_jitter_multiplies_brightness_then_contrast_then_saturation(face: torch.Tensor) -> None:
    def jitter(**factors: float) -> torch.Tensor:
        ones = dict.fromkeys(("brightness", "contrast", "saturation"), 1.0)
        return make_change("color_jitter", {name: [v, v] for name, v in {**ones, **factors}.items()})(face, draws())

    weights = torch.tensor([0.2989, 0.587, 0.114]).view(3, 1, 1)
    gray = (face * weights).sum(0, keepdim=True)
    same(jitter(), face)
    same(jitter(brightness=0.7), 0.7 * face)
    same(jitter(contrast=0.6), 0.6 * face + 0.4 * gray.mean(), 1e-3)
    same(jitter(saturation=0.25), 0.25 * face + 0.75 * gray, 1e-3)
    dark = 0.5 * face
    same(jitter(brightness=0.5, contrast=0.8), 0.8 * dark + 0.2 * (dark * weights).sum(0).mean(), 1e-3)


def test_downscaling_loses_detail_and_keeps_the_mean(face: torch.Tensor) -> None:
    found = make_change("downscale", {"scale": [0.25, 0.25]})(face, draws())
    assert float(found.mean()) == pytest.approx(float(face.mean()), abs=0.01)
    assert float(found.var()) < 0.5 * float(face.var())
    ramp = torch.linspace(0, 1, SIDE).expand(3, SIDE, SIDE)
    assert float((make_change("downscale", {"scale": [0.5, 0.5]})(ramp, draws()) - ramp).abs().max()) < 0.05


def test_erasing_blanks_one_rectangle_of_the_share_it_is_given() -> None:
    white, shares = torch.ones(3, 60, 60), []
    for seed in range(60):
        found = make_change("random_erasing", {"area": [0.1, 0.2], "fill": 0.25})(white, draws(seed))
        erased = (found[0] == 0.25).nonzero()
        top, left = erased.min(0).values
        bottom, right = erased.max(0).values
        assert len(erased) == (bottom - top + 1) * (right - left + 1)
        assert torch.equal(found[0], found[2])
        shares.append(len(erased) / 3600)
    assert min(shares) > 0.09
    assert max(shares) < 0.21
    assert max(shares) - min(shares) > 0.05


def test_crop_shows_a_window_of_the_face() -> None:
    """On an image that says where each pixel was: the window has the share of the area and lies within the face."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    image = torch.stack([rows, columns, torch.zeros_like(rows)])
    change, corners = make_change("random_resized_crop", {"scale": [0.25, 0.36], "ratio": [1.0, 1.0]}), set()
    for seed in range(40):
        found = change(image, draws(seed))
        tall, wide = (float(found[k].max() - found[k].min()) for k in (0, 1))
        assert 0.44 < tall < 0.62
        assert tall == pytest.approx(wide, abs=0.04)
        corners.add((float(found[0].min()) > 0.25, float(found[1].min()) > 0.25))
    assert len(corners) == 4  # windows are everywhere
    same(make_change("random_resized_crop", {"scale": [1, 1], "ratio": [1, 1]})(image, draws()), image, 1e-4)


def test_rotation_turns_about_the_centre_both_ways() -> None:
    image = torch.zeros(3, 65, 65)
    image[:, 32, 56:61] = 1  # a mark to the right of the centre
    angles = []
    for seed in range(60):
        found = make_change("rotation", {"degrees": 30})(image, draws(seed))
        weight = found[0] / found[0].sum()
        down = float((weight * torch.arange(65).view(-1, 1)).sum()) - 32
        right = float((weight * torch.arange(65)).sum()) - 32
        assert math.hypot(down, right) == pytest.approx(26, abs=0.5)
        angles.append(math.degrees(math.atan2(-down, right)))
    assert min(angles) < -15
    assert max(angles) > 15
    assert max(map(abs, angles)) < 31


def test_some_of_applies_so_many_different_changes(face: torch.Tensor) -> None:
    names = ["grayscale", "horizontal_flip"]
    with pytest.raises(ConfigError, match="among takes changes that move no pixels"):
        make_change("some_of", {"among": names})
    gray = make_change("grayscale")(face, draws())
    only = {"among": ["grayscale", "random_erasing"], "count": 1}
    found = [make_change("some_of", only)(face, draws(seed)) for seed in range(40)]
    grays = sum(torch.equal(image, gray) for image in found)
    assert 8 < grays < 32
    both = make_change("some_of", {**only, "count": 2})(face, draws())
    assert torch.equal(both[0], both[1])  # gray, and erased
    assert (both == 0).all(dim=0).sum() > 3


def test_numbers_are_drawn_evenly_between_both_ends() -> None:
    stream = draws(5)
    numbers = [stream.whole_number((3, 7)) for _ in range(2000)]
    counts = np.bincount(numbers)[3:]
    assert set(numbers) == {3, 4, 5, 6, 7}
    assert counts.min() > 320  # 400 expected, standard deviation 18
    values = np.array([stream.uniform((-2.0, 4.0)) for _ in range(2000)])
    assert -2 <= values.min() < -1.9
    assert 3.9 < values.max() < 4
    assert values.mean() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("jpeg", {"qualty": [40, 100]}, "unknown key 'qualty'; did you mean 'quality'"),
        ("jpeg", {"quality": [100, 40]}, r"quality must be two rising numbers from 1 to 100, got \[100, 40\]"),
        ("jpeg", {"quality": [0, 40]}, "from 1 to 100"),
        ("webp", {"quality": [1.5, 40]}, r"quality\[0\] must be int, got 1.5"),
        ("jpeg", {"quality": 50}, "quality must be a list, got 50"),
        ("gaussian_blur", {"sigma": [0, 1]}, "sigma must be two rising numbers from 0.05"),
        ("gaussian_blur", {"kernel": [2, 7]}, "kernel must be two rising numbers from 3"),
        ("gaussian_blur", {"kernel": [3, 8]}, "kernel sizes must be odd"),
        ("gaussian_noise", {"std": [-0.1, 1]}, "std must be"),
        ("color_jitter", {"contrast": [-1, 1]}, "contrast must be"),
        ("random_resized_crop", {"scale": [0, 1]}, "scale must be"),
        ("random_resized_crop", {"ratio": [0, 1]}, "ratio must be"),
        ("rotation", {"degrees": 0}, r"degrees must lie in \(0, 180\], got 0"),
        ("downscale", {"scale": [0.5, 2]}, "scale must be"),
        ("random_erasing", {"area": [0, 2]}, "area must be"),
        ("random_erasing", {"fill": 2}, r"fill must lie in \[0, 1\], got 2"),
        ("some_of", {"count": 9}, "count must be 1 to 6"),
        ("some_of", {"among": ["jpeg", "jpeg"]}, "among lists a name twice"),
        ("some_of", {"among": ["some_of", "jpeg"], "count": 1}, "and not some_of"),
    ],
)
def test_settings_out_of_range_are_named(name: str, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=f"here: .*{message}"):
        make_change(name, settings, "here")


def test_an_unknown_change_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="no augmentation named 'jpg'. Did you mean jpeg"):
        make_change("jpg")
    with pytest.raises(UnknownNameError, match="no augmentation named 'blur'"):
        make_change("some_of", {"among": ["blur", "jpeg"]})
