"""The detector against facenet-pytorch's own loop, and batches against single pictures."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.trees import picture
from PIL import Image

from dfad_bench.engine.fake_gpu import CUDA, FakeGPU, GPUError
from dfad_bench.ingest.crop.cropper import FaceCropper, load_crop_profile
from dfad_bench.ingest.crop.detector import (
    FaceDetector,
    _Candidates,
    _integral_images,
    _Sums,
    _suppress,
    _suppress_nested,
)
from dfad_bench.synthetic.faces import draw_face

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    drawn = [Image.fromarray(draw_face(2, f"train/real-studio/id{n:04d}_00.png")[0]) for n in range(5)]
    scene = Image.new("RGB", (200, 200), (120, 120, 120))
    scene.paste(drawn[0].resize((90, 90)), (5, 5))
    scene.paste(drawn[1].resize((100, 100)), (98, 98))
    return np.stack([np.asarray(image.resize((200, 200))) for image in (*drawn, scene, Image.new("RGB", (200, 200)))])


@pytest.mark.parametrize("min_face", [20, 40.5])
def test_boxes_are_those_of_the_published_loop(detector: FaceDetector, faces: np.ndarray, min_face: float):
    from facenet_pytorch import MTCNN

    oracle = MTCNN(keep_all=True, min_face_size=min_face, select_largest=False)
    for image in faces[:-1]:
        boxes, scores = oracle.detect(Image.fromarray(image))
        found = detector.detect(image[None], min_face)[0]
        order = np.argsort(-np.asarray(scores, dtype=float), kind="stable")
        np.testing.assert_allclose(found.boxes, np.asarray(boxes.tolist())[order], atol=1e-3)
        np.testing.assert_allclose(found.scores, np.asarray(scores, dtype=float)[order], atol=1e-5)


def test_a_batch_gives_what_single_pictures_give(detector: FaceDetector, faces: np.ndarray):
    together = detector.detect(faces, 30)
    alone = [detector.detect(image[None], 30)[0] for image in faces]
    assert [len(f.boxes) for f in together[-2:]] == [2, 0]
    for one, many in zip(alone, together, strict=True):
        np.testing.assert_allclose(many.boxes, one.boxes, atol=1e-3)
        np.testing.assert_allclose(many.scores, one.scores, atol=1e-5)


@pytest.mark.heavy
def test_images_of_many_sizes_are_found_together(monkeypatch: pytest.MonkeyPatch):
    cropper = FaceCropper(load_crop_profile("face-256-1.3"))
    images = [Image.fromarray(draw_face(3, f"train/real-studio/id{n:04d}_00.png")[0]) for n in range(4)]
    small = Image.new("RGB", (1500, 1000), (120, 120, 120))
    small.paste(images[0].resize((140, 140)), (900, 500))  # found by the second pass only
    images += [images[0].resize((300, 400)), images[1].resize((300, 400)), small, Image.new("RGB", (31, 31)), small]
    alone = [cropper.find([image])[0] for image in images]
    monkeypatch.setattr(FaceCropper, "batch", 3)
    calls = []
    detect = FaceDetector.detect
    monkeypatch.setattr(FaceDetector, "detect", lambda self, p, m: calls.append(len(p)) or detect(self, p, m))
    together = cropper.find(images)
    assert max(calls) == 3
    for image, one, many in zip(images, alone, together, strict=True):
        np.testing.assert_allclose(many.boxes, one.boxes, atol=1e-3)
        if len(one.boxes):
            given, own = cropper.crop(image, found=many), cropper.crop(image)
            np.testing.assert_allclose(given.landmarks, own.landmarks, atol=0.05)
    assert [len(f.boxes) for f in together] == [1, 1, 1, 1, 1, 1, 1, 0, 1]


@pytest.mark.parametrize(("height", "width"), [(24, 24), (48, 48), (7, 31), (61, 90)])
def test_patches_are_area_interpolation(height: int, width: int):
    import torch
    from torch.nn.functional import interpolate

    pixels = picture(0, 90, 61)
    table = _Sums(pixels[None], "cpu")
    windows = torch.tensor([[0, 0, 90, 61], [3, 5, 4, 6], [10, 20, 47, 31], [80, 0, 90, 61]])
    found = table.patches(torch.zeros(4, dtype=torch.long), windows, height, width)
    for (x0, y0, x1, y1), patch in zip(windows.tolist(), found, strict=True):
        cut = torch.from_numpy(pixels[y0:y1, x0:x1].copy()).permute(2, 0, 1)[None].float()
        torch.testing.assert_close(patch.permute(2, 0, 1), interpolate(cut, (height, width), mode="area")[0])


def test_suppression_stays_within_a_group():
    import torch

    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [0, 0, 10, 10], [2, 2, 5, 5]])
    scores = torch.tensor([0.8, 0.9, 0.7, 0.6])
    groups = torch.tensor([0, 0, 1, 0])
    assert _suppress(boxes, scores, groups, 0.5).tolist() == [1, 2, 3]
    assert _suppress_nested(_Candidates(boxes, scores, groups)) == [1, 2]


def test_pictures_too_small_for_a_face_have_none(detector: FaceDetector):
    for shape in ((2, 19, 50, 3), (1, 50, 50, 3)):
        assert all(len(f.boxes) == 0 for f in detector.detect(np.zeros(shape, np.uint8), 60))
    with pytest.raises(ValueError, match=r"expected uint8 \(n, H, W, 3\)"):
        detector.detect(np.zeros((50, 50, 3), np.uint8), 20)


def test_all_lies_on_the_gpu_until_p_net_has_its_candidates() -> None:
    """Their number decides what comes next, so that no GPU without values goes further."""
    found = FaceDetector()
    with FakeGPU() as gpu:
        for net in found._nets.values():
            gpu.take(net)
        found.device = CUDA
        with pytest.raises(GPUError, match=r"a shape depends on values \(nonzero\w*\), detector.py"):
            found.detect(np.zeros((2, 60, 50, 3), np.uint8), 30)


def test_sums_of_both_devices_are_cumulative_sums():
    pixels = np.stack([picture(n, 33, 21) for n in range(2)])
    expected = np.pad(pixels.astype(np.int64).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0), (0, 0)))
    np.testing.assert_array_equal(_integral_images(pixels, "cpu").numpy(), expected)
    np.testing.assert_array_equal(
        _integral_images(pixels, "meta").shape, expected.shape
    )  # the other path, without a GPU
    blocks = pixels[:, :20, :32].reshape(2, 10, 2, 16, 2, 3).mean((2, 4))
    np.testing.assert_allclose(_Sums(pixels[:, :20, :32].copy(), "cpu").reduced_pictures(10, 16), blocks, rtol=1e-6)
    assert _Sums(pixels, "cpu").reduced_pictures(7, 9).shape == (2, 7, 9, 3)
    with pytest.raises(ValueError, match="more than 8000000 pixels"):
        _Sums(np.zeros((1, 1, 8_000_001, 3), np.uint8), "cpu")
