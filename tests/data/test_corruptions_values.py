"""Each severity of each corruption against a plain computation of its formula, with other calls than the code's."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from dfad_bench.data.corruptions.codec import CLIP, encode_frames
from dfad_bench.data.corruptions.spec import Corruption, corrupt, corruptions

KNOWN = corruptions()
SEVERITIES = (1, 2, 3, 4, 5)
EXACT = ("saturation", "contrast", "block_wise", "gaussian_noise", "blur", "pixelation")
# facts of DeeperForensics-1.0, typed here once more
PUBLISHED = {
    "saturation": (0.4, 0.3, 0.2, 0.1, 0.0),
    "contrast": (0.85, 0.725, 0.6, 0.475, 0.35),
    "block_wise": (16, 32, 48, 64, 80),
    "gaussian_noise": (0.001, 0.002, 0.005, 0.01, 0.05),
    "blur": (7, 9, 13, 17, 21),
    "pixelation": (2, 3, 4, 5, 6),
    "video_compression": (30, 32, 35, 38, 40),
}
SHAPES = [(256, 256), (224, 224), (250, 190)]


def picture(height: int, width: int) -> np.ndarray:
    """Smooth colours with drawn edges and a little grain, black and white included."""
    rng = np.random.default_rng(7)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    image = coarse.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    draw.ellipse((width // 4, height // 4, width // 2, height // 2), fill=(255, 255, 255), outline=(0, 0, 0))
    draw.rectangle((width // 2, height // 2, width - 20, height - 30), fill=(0, 0, 0), outline=(255, 0, 0))
    grain = rng.integers(-6, 7, (height, width, 3))
    return (np.asarray(image).astype(int) + grain).clip(0, 255).astype(np.uint8)


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a.astype(float) - b.astype(float))


def one(name: str, severity: int, image: np.ndarray, sample_id: str = "face") -> np.ndarray:
    return corrupt(image, KNOWN[name], severity, sample_id=sample_id)


def test_the_seven_of_the_papers_have_the_published_values_and_six_of_them_the_effect() -> None:
    assert {name: row.values for name, row in KNOWN.items() if name in PUBLISHED} == PUBLISHED
    assert KNOWN["video_compression_clip"].values == PUBLISHED["video_compression"]
    assert {name for name, row in KNOWN.items() if row.paper_exact} == set(EXACT)
    assert all(KNOWN[name].compared for name in (*PUBLISHED, "video_compression_clip"))
    # cells made before are found by this
    assert KNOWN["video_compression"].definition(3) == {"operator": "video_compression", "value": 35.0}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_saturation_keeps_luma_and_scales_colour_differences(severity: int, shape: tuple[int, int]) -> None:
    image = picture(*shape)
    share = PUBLISHED["saturation"][severity - 1]
    # with Cb = (B - Y) / 1.772 and Cr = (R - Y) / 1.402, scaling chroma moves every pixel towards its own grey
    exact = np.empty(image.shape)
    red, green, blue = (image[..., k].astype(float) for k in range(3))
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    for k, channel in enumerate((red, green, blue)):
        exact[..., k] = np.clip(grey + share * (channel - grey), 0, 255)
    assert (exact - one("saturation", severity, image)).max() <= 1
    assert (exact - one("saturation", severity, image)).min() >= -1e-3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_contrast_is_a_product_without_its_fraction(severity: int, shape: tuple[int, int]) -> None:
    image = picture(*shape)
    per_mille = round(1000 * PUBLISHED["contrast"][severity - 1])
    expected = Image.fromarray(image).point(lambda value: value * per_mille // 1000)
    assert np.array_equal(one("contrast", severity, image), np.asarray(expected))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_block_wise_covers_so_many_grey_squares_of_eight(severity: int) -> None:
    image = np.zeros((256, 300, 3), np.uint8)
    result = one("block_wise", severity, image)
    covered = (result == 128).all(axis=2)
    assert set(np.unique(result)) == {0, 128}
    assert np.array_equal(covered, ndimage.binary_opening(covered, np.ones((8, 8))))  # squares of eight, nothing else
    wanted = PUBLISHED["block_wise"][severity - 1]
    assert 64 * wanted * 0.8 < covered.sum() <= 64 * wanted  # a few overlap
    twice = one("block_wise", severity, np.zeros((520, 600, 3), np.uint8))
    assert 64 * 2 * wanted * 0.8 < (twice == 128).all(axis=2).sum() <= 64 * 2 * wanted


def test_block_wise_changes_nothing_below_256_pixels() -> None:
    for shape in ((224, 224), (255, 400)):
        image = picture(*shape)
        assert np.array_equal(one("block_wise", 5, image), image)
    assert not np.array_equal(one("block_wise", 1, picture(256, 256)), picture(256, 256))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_the_deviation_of_its_formula(severity: int, shape: tuple[int, int]) -> None:
    variance = PUBLISHED["gaussian_noise"][severity - 1]
    grey = np.full((*shape, 3), 128, np.uint8)
    faces = [one("gaussian_noise", severity, grey, f"face{k}").reshape(-1, 3) for k in range(4)]
    noise = np.concatenate(faces).astype(float)
    kept = (noise > 0) & (noise < 255)
    sigma = math.sqrt(variance)
    luma, chroma = 255 * 255 / 219 * sigma, 255 * 255 / 224 * sigma
    expected = {0: math.hypot(luma, 1.402 * chroma), 2: math.hypot(luma, 1.772 * chroma)}
    if severity <= 3:  # stronger noise is clipped
        for channel, deviation in expected.items():
            assert noise[:, channel].std() == pytest.approx(math.hypot(deviation, math.sqrt(1 / 12)), rel=0.015)
        y = noise @ [0.299, 0.587, 0.114]
        assert y.std() == pytest.approx(luma, rel=0.02)
        assert abs(np.corrcoef(noise[:, 0] - y, y)[0, 1]) < 0.02
    else:  # compare shares beyond the range with the normal distribution's
        for channel, deviation in expected.items():
            below = 0.5 * math.erfc((127 / deviation) / math.sqrt(2))
            assert (noise[:, channel] == 0).mean() == pytest.approx(below, abs=0.01)
    assert noise.mean() == pytest.approx(127.5, abs=0.6)
    assert kept.any()


def reflected_blur(image: np.ndarray, size: int) -> np.ndarray:
    """Weights of the normal density at whole pixels, image mirrored at its edge pixels, in float64."""
    offsets = np.arange(size) - size // 2
    weights = np.array([math.exp(-(x * x) / (2 * (size / 6) ** 2)) for x in offsets])
    weights /= weights.sum()
    height, width = image.shape[:2]
    padded = np.pad(image.astype(float), ((size // 2,) * 2, (size // 2,) * 2, (0, 0)), mode="reflect")
    rows = sum(w * padded[k : k + height] for k, w in enumerate(weights))
    return sum(w * rows[:, k : k + width] for k, w in enumerate(weights))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_blur_is_a_normal_kernel_of_its_size(severity: int, shape: tuple[int, int]) -> None:
    image = picture(*shape)
    difference = apart(one("blur", severity, image), reflected_blur(image, PUBLISHED["blur"][severity - 1]))
    assert difference.max() <= 2  # OpenCV's weights for 8-bit images have 8 bits
    assert difference.mean() < 0.5


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Samples at pixel centres, straight lines between pixels, edge pixels repeated."""

    def axis(values: np.ndarray, size: int) -> np.ndarray:
        place = ((np.arange(size) + 0.5) * len(values) / size - 0.5).clip(0, len(values) - 1)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, len(values) - 1)
        share = (place - low)[:, None, None]
        return values[low] * (1 - share) + values[high] * share

    down = axis(image.astype(float), height)
    return axis(down.transpose(1, 0, 2), width).transpose(1, 0, 2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_pixelation_is_bilinear_down_and_up(severity: int, shape: tuple[int, int]) -> None:
    image, factor = picture(*shape), PUBLISHED["pixelation"][severity - 1]
    small = np.round(bilinear(image, shape[0] // factor, shape[1] // factor))
    difference = apart(one("pixelation", severity, image), bilinear(small, *shape))
    assert difference.max() <= 2
    assert difference.mean() < 0.5


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_video_compression_is_one_x264_frame_at_that_rate_factor(severity: int, shape: tuple[int, int]) -> None:
    import av

    image, crf = picture(*shape), PUBLISHED["video_compression"][severity - 1]
    stream = b"".join(encode_frames(image, crf))  # all of SHAPES are even
    assert f"crf={crf:.1f}".encode() in stream  # x264 writes its settings into the stream
    assert b"rc=crf" in stream
    with av.open(io.BytesIO(stream), format="h264") as container:  # a demuxer and a decoder of its own
        frames = list(container.decode(video=0))
    assert len(frames) == 1
    assert frames[0].format.name == "yuv420p"
    y, u, v = (np.asarray(plane, dtype=np.uint8) for plane in frames[0].planes)
    planes = []
    for plane, scale in ((y, 1), (u, 2), (v, 2)):
        line = frames[0].planes[0 if scale == 1 else 1].line_size
        planes.append(plane.reshape(-1, line)[: shape[0] // scale, : shape[1] // scale].astype(float))
    luma = (planes[0] - 16) * 255 / 219
    cb, cr = (np.kron(plane - 128, np.ones((2, 2))) * 255 / 224 for plane in planes[1:])
    red, blue = luma + 1.402 * cr, luma + 1.772 * cb
    green = luma - 0.344136 * cb - 0.714136 * cr
    expected = np.stack([red, green, blue], axis=-1).clip(0, 255)
    assert np.percentile(apart(one("video_compression", severity, image), expected), 99) <= 4


@pytest.mark.parametrize("severity", SEVERITIES)
def test_video_compression_of_a_clip_takes_the_middle_of_a_repeated_still(severity: int) -> None:
    import av

    image, crf = picture(256, 256), PUBLISHED["video_compression"][severity - 1]
    stream = b"".join(encode_frames(image, crf, CLIP))
    assert f"crf={crf:.1f}".encode() in stream
    with av.open(io.BytesIO(stream), format="h264") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == CLIP
    clip = one("video_compression_clip", severity, image)
    assert np.array_equal(clip, frames[CLIP // 2])
    still = one("video_compression", severity, image)
    assert apart(clip, image).mean() < apart(still, image).mean()  # other frames refer to it, so it gets more bits


def test_video_compression_takes_odd_sides_and_grows_with_severity() -> None:
    image = picture(255, 201)
    for name in ("video_compression", "video_compression_clip"):
        losses = [apart(one(name, severity, image), image).mean() for severity in SEVERITIES]
        assert losses == sorted(losses)
        assert losses[0] > 0.5


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_toolkits_own_follow_their_formulas(severity: int) -> None:
    image = picture(256, 256)
    own = ("brightness", "gamma", "defocus_blur", "motion_blur", "jpeg")
    values = {name: KNOWN[name].values[severity - 1] for name in own}
    added = np.minimum(image.astype(int) + int(255 * values["brightness"] + 1e-6), 255)
    assert apart(one("brightness", severity, image), added).max() <= 1
    table = [int(255 * (v / 255) ** values["gamma"] + 1e-6) for v in range(256)] * 3
    assert apart(one("gamma", severity, image), np.asarray(Image.fromarray(image).point(table))).max() <= 1
    yy, xx = np.mgrid[-8:9, -8:9]
    disc = (yy**2 + xx**2 <= values["defocus_blur"] ** 2).astype(float)
    blurred = ndimage.convolve(image.astype(float), disc[..., None] / disc.sum(), mode="mirror")
    assert apart(one("defocus_blur", severity, image), blurred).max() <= 1
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    lit = np.argwhere(one("motion_blur", severity, point)[..., 0] > 0)
    reach = np.ptp(lit, axis=0)
    assert values["motion_blur"] - 1.5 <= math.hypot(*reach) <= values["motion_blur"] + 0.5
    spread = np.linalg.svd((lit - lit.mean(axis=0)).astype(float), compute_uv=False)
    assert spread[1] < 0.35 * spread[0]  # a line
    coded = Image.open(io.BytesIO(_jpeg(image, int(values["jpeg"]))))
    assert np.array_equal(one("jpeg", severity, image), np.asarray(coded))


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


@pytest.mark.parametrize("row", KNOWN.values(), ids=lambda row: row.name)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_corruption_is_safe_and_repeatable(row: Corruption, shape: tuple[int, int]) -> None:
    for image in (picture(*shape), np.zeros((*shape, 3), np.uint8), np.full((*shape, 3), 255, np.uint8)):
        before = image.copy()
        image.flags.writeable = False
        for severity in (1, len(row.values)):
            result = corrupt(image, row, severity, sample_id="a", seed=3)
            assert (result.dtype, result.shape) == (np.uint8, image.shape)
            assert result.flags.writeable
            assert not np.shares_memory(result, image)
            assert np.array_equal(result, corrupt(image, row, severity, sample_id="a", seed=3))
        assert np.array_equal(image, before)
        assert np.array_equal(corrupt(image, row, 0, sample_id="a"), image)


def test_what_is_drawn_depends_on_seed_sample_and_severity() -> None:
    image, noise = picture(256, 256), KNOWN["gaussian_noise"]
    results = [
        corrupt(image, noise, severity, sample_id=sample, seed=seed)
        for severity in (1, 2)
        for sample in ("a", "b")
        for seed in (0, 1)
    ]
    assert len({result.tobytes() for result in results}) == len(results)


@pytest.mark.parametrize("name", KNOWN)
def test_severity_grows_with_its_number(name: str) -> None:
    image = picture(256, 256)
    losses = [apart(one(name, severity, image), image).mean() for severity in range(len(KNOWN[name].values) + 1)]
    if name == "pixelation":  # bilinear shrinking averages at even factors and skips pixels at odd ones
        assert losses[:1] + losses[1::2] == sorted(losses[:1] + losses[1::2])
        assert losses[:1] + losses[2::2] == sorted(losses[:1] + losses[2::2])
    else:
        assert losses == sorted(losses)
