"""Views by name: ours, those of other distributions, and nothing outside the room that names one of them."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.toy import SIDE, toy_manifests, toy_protocol
from helpers.train_faults import Forked
from helpers.training import run_training
from helpers.views import ToyLevel, ToyMap, toy_views_registered
from PIL import Image

from dfad_bench.core.errors import ConfigError, DFADError, UnknownNameError
from dfad_bench.core.recipe import Augmentation
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.dataset import FaceDataset
from dfad_bench.data.select import select
from dfad_bench.data.view_source import ViewValues
from dfad_bench.engine.augment import Augmenter
from dfad_bench.engine.contract_checks.building import check_views
from dfad_bench.engine.contract_checks.subject import Subject
from dfad_bench.views import VIEWS
from dfad_bench.views.base import Faces, View
from dfad_bench.views.identity import check_same, kept_identity, read_identity
from dfad_bench.views.provider import ViewProvider
from dfad_bench.views.registry import view_class, view_names
from dfad_bench.views.sources import MappedView
from dfad_bench.views.store import StoredImages

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    with toy_views_registered():
        yield


def test_no_code_outside_the_room_names_a_view() -> None:
    """Rooms between a manifest and a loss treat every view alike; what is called gaze elsewhere is no view."""
    others = {
        "core/record.py": "a task of records",
        "api/quickstart.py": "a folder",
        "api/parsing.py": "the study of one view",
        "engine/job.py": "the trivial predictor that sees gaze alone",
        "api/table_runs.py": "the papers' own settings of two views",
        "report/table_check.py": "how a table says that its gaze was estimated otherwise",
    }
    found = {}
    for path in sorted((ROOT / "dfad_bench").rglob("*.py")):
        name = path.relative_to(ROOT / "dfad_bench").as_posix()
        if name.split("/")[0] in ("views", "gaze", "parsing"):
            continue
        text, wanted = path.read_text(encoding="utf-8"), {"gaze", "parsing", "captions"}
        if not any(word in text for word in wanted):
            continue
        words = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
        if named := words & wanted:
            found[name] = named
    assert found.keys() == others.keys(), found


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_every_view_says_what_it_is(name: str) -> None:
    kind = view_class(name)
    assert kind.name == name
    assert kind.meaning
    assert (kind.__doc__ or "").strip()
    assert kind.stand_in().shape(64) == kind.stand_in().shape(64)
    page = (ROOT / "dfad_bench" / "views" / "README.md").read_text(encoding="utf-8")
    assert f"`{name}`" in page


def packaged(folder: Path, module: str, text: str, entry: str) -> None:
    """A distribution as pip leaves it: a module and a dist-info folder with an entry point."""
    (folder / f"{module}.py").write_text(text, encoding="utf-8")
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entry, encoding="utf-8")


def guide() -> str:
    """The file of the guide "A view" in CONTRIBUTING.md, as it stands there."""
    page = ROOT / "CONTRIBUTING.md"
    if not page.is_file():
        pytest.skip("not a checkout: CONTRIBUTING.md is not shipped in the wheel")
    section = page.read_text(encoding="utf-8").partition("\n### A view\n")[2]
    return re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)[0]


def test_the_file_of_the_guide_and_one_line_make_a_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an entry point of a distribution, and as a line in `VIEWS`; a model that needs it trains."""
    packaged(tmp_path, "face_brightness", guide(), "[dfad_bench.views]\nbrightness = face_brightness:Brightness\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "brightness" in view_names()
    manifests = toy_manifests(tmp_path / "m", identities=4)
    result = run_training(
        "brightness_toy", toy_protocol(), manifests, tmp_path / "run", recipe="quick", epochs=1, device="cpu",
        views=ViewProvider(manifests),
    )  # fmt: skip
    assert result.status == "complete"
    (tmp_path / "face_brightness-1.0.dist-info" / "entry_points.txt").unlink()
    with pytest.raises(UnknownNameError, match="no view named 'brightness'"):
        view_class("brightness")
    monkeypatch.setitem(VIEWS, "brightness", "face_brightness:Brightness")
    assert view_class("brightness").name == "brightness"


def test_a_name_registered_twice_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged(tmp_path, "impostor", "", "[dfad_bench.views]\ngaze = impostor:Gaze\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DFADError, match="view 'gaze' is registered twice: dfad_bench.views.gaze:Gaze and impostor"):
        view_names()


def test_what_is_registered_must_be_a_view_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for target in ("helpers.views:ToyMap", "helpers.toy:Toy"):
        monkeypatch.setitem(VIEWS, "other", target)
        with pytest.raises(ConfigError, match="is not a `View` whose name is 'other'"):
            view_class("other")


def test_a_view_for_training_only_never_reaches_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from helpers.views import ViewToy

    monkeypatch.setattr(ViewToy, "needs", ("toy_map", "toy_text", "toy_level", "toy_mask"))
    manifests = toy_manifests(tmp_path / "m", identities=4)
    with pytest.raises(ConfigError, match="the view 'toy_mask' may be seen in training only"):
        run_training(
            "view_toy", toy_protocol(), manifests, tmp_path / "run", device="cpu", views=ViewProvider(manifests)
        )
    assert "toy_mask" in check_views(Subject("view_toy"))
    monkeypatch.setattr(ViewToy, "needs", ("toy_mapp",))
    assert "'toy_mapp', which nothing makes" in check_views(Subject("view_toy"))


class Wrong(View):
    """A view whose `make` does not keep its word."""

    name, meaning, kind, dtype = "wrong", "nothing", "vector", "float32"
    given: ViewValues

    def shape(self, side: int) -> tuple[int, ...]:
        return (2,)

    def make(self, faces: Faces) -> ViewValues:
        return self.given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (ViewValues(np.zeros((3, 3), np.float32), np.ones(3, bool)), r"float32 \(3, 3\), not float32 \(3, 2\)"),
        (ViewValues(np.zeros((3, 2)), np.ones(3, bool)), r"float64 \(3, 2\), not float32"),
        (ViewValues(np.zeros((2, 2), np.float32), np.ones(2, bool)), r"2 values and a mask \(2,\) for 3 faces"),
        (ViewValues(np.zeros((3, 2), np.float32), np.ones(3)), "a mask"),
        (ViewValues(np.full((3, 2), np.nan, np.float32), np.ones(3, bool)), "NaN or inf for a face that it says has"),
        (ViewValues([[0.0, 1.0]] * 3, np.ones(3, bool)), "ViewValues of list, not ViewValues of a NumPy array"),
        (None, "None, not ViewValues of a NumPy array or a tuple"),
        (ViewValues(("a", "b", "c"), np.ones(3, bool)), "a tuple that is not of texts, or is of a view of kind vector"),
    ],
)
def test_what_make_gives_is_checked(given: ViewValues | None, message: str) -> None:
    with pytest.raises(ConfigError, match=f"view 'wrong': `make` gave .*{message}"):
        Wrong().checked(given, 3, SIDE)


def test_a_view_that_every_face_has_is_held_to_it() -> None:
    class Every(Wrong):
        every_face = True

    class Live(Wrong):
        stored = False

    values = ViewValues(np.zeros((3, 2), np.float32), np.array([True, False, True]))
    assert Wrong.may_lack()
    assert not Every.may_lack()
    assert not Live.may_lack()
    Wrong().checked(values, 3, SIDE)
    with pytest.raises(ConfigError, match="no value for a face, and the view says that every face has one"):
        Every().checked(values, 3, SIDE)


def test_absent_faces_get_zeros_whatever_was_given() -> None:
    values = np.array([[1, 2], [np.nan, 3], [4, 5]], np.float32)
    made = Wrong().checked(ViewValues(values, np.array([True, False, True])), 3, SIDE)
    assert made.values.tolist() == [[1, 2], [0, 0], [4, 5]]
    assert np.isnan(values[1, 0]), "the given array is left as it was"


def test_a_kind_and_dtype_that_do_not_fit_are_refused() -> None:
    class Odd(Wrong):
        dtype = "uint8"

    with pytest.raises(ConfigError, match="a view of kind vector cannot be uint8"):
        Odd()

    class Late(Wrong):
        stored, asks = False, ("crops", "targets")

    with pytest.raises(ConfigError, match="only tensors made of crops can be computed in the batch"):
        Late()


def test_runs_with_gaze_alone_keep_the_form_and_the_hash_they_had() -> None:
    alone = {"estimator": "geometric", "weights": None}
    assert kept_identity({"gaze": alone}) == alone
    assert read_identity(alone) == {"gaze": alone}
    both = {"gaze": alone, "parsing": {"classes": 19}}
    assert read_identity(kept_identity(both)) == both
    assert read_identity(kept_identity({"parsing": {"classes": 19}})) == {"parsing": {"classes": 19}}
    assert read_identity({}) == {}
    check_same(Path("run"), alone, both)
    with pytest.raises(ConfigError, match="run: trained on gaze from .*geometric.*, not .*l2cs"):
        check_same(Path("run"), alone, {"estimator": "l2cs", "weights": None})


def test_files_of_other_faces_may_be_others_and_settings_may_not() -> None:
    trained, now = ({"parsing": {"classes": 19, "fingerprint": digit * 64}} for digit in "ab")
    assert check_same(Path("run"), trained, trained, other_files=["parsing"]) == []
    (line,) = check_same(Path("run"), trained, now, other_files=["parsing"])
    assert line == "view parsing: read from other files than in training (fingerprint bbbbbbbb)"
    for wanted, files in ((now, []), ({"parsing": {"classes": 11, "fingerprint": "b" * 64}}, ["parsing"])):
        with pytest.raises(ConfigError, match="run: trained on parsing from"):
            check_same(Path("run"), trained, wanted, other_files=files)


def test_flips_follow_the_settings_of_the_run(tmp_path: Path) -> None:
    """A label map's pairs of left and right labels are those of `--view parsing.swapped`, not the default ones."""
    manifests = toy_manifests(tmp_path, identities=4)
    rows = select(toy_protocol(), manifests).train
    (tmp_path / "labels").mkdir()
    for name in rows["sample_id"]:
        Image.fromarray(np.tile(np.arange(SIDE, dtype=np.uint8) % 5, (SIDE, 1))).save(tmp_path / f"labels/{name}.png")
    settings = {"folder": str(tmp_path / "labels"), "classes": 5, "swapped": [[1, 4]]}
    source = ViewProvider(manifests, {"parsing": settings}).source("parsing", rows["sample_id"].tolist(), SIDE)
    store = CropStore.open(rows, manifests, SIDE)
    dataset = FaceDataset(rows, store, toy_protocol(), views={"parsing": source})
    flip = Augmenter((Augmentation("horizontal_flip", 1.0),), views=("parsing",), mirrors=dataset.mirrors)
    batch = dataset.batch(np.arange(3))
    found = flip(batch, seed=0, rows=range(3)).inputs.views["parsing"][0, 0, 0].tolist()
    exchanged = {0: 0, 1: 4, 2: 2, 3: 3, 4: 1}
    assert found == [exchanged[k % 5] for k in reversed(range(SIDE))]


def test_a_view_computed_in_the_batch_is_stored_nowhere(tmp_path: Path) -> None:
    manifests = toy_manifests(tmp_path, identities=4)
    rows = select(toy_protocol(), manifests).train
    store = CropStore.open(rows, manifests, SIDE)
    source = ViewProvider(manifests).source("toy_level", rows["sample_id"].tolist(), SIDE)
    dataset = FaceDataset(rows, store, toy_protocol(), views={"toy_level": source})
    inputs = dataset.inputs(np.array([4, 1]))
    assert torch.allclose(inputs.views["toy_level"], inputs.images.mean(dim=(2, 3)), atol=1e-6)
    assert not list(tmp_path.rglob("toy_level*"))

    class Gaps(ToyLevel):
        def make(self, faces: Faces) -> ViewValues:
            return ViewValues(np.zeros((len(faces), 3), np.float32), np.zeros(len(faces), bool))

    source = ViewProvider(manifests, views={"toy_level": Gaps()}).source("toy_level", rows["sample_id"].tolist(), SIDE)
    dataset = FaceDataset(rows, store, toy_protocol(), views={"toy_level": source})
    with pytest.raises(DFADError, match="a view that some faces lack must be a stored one"):
        dataset.inputs(np.array([0]))


@pytest.mark.heavy
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_gathering_an_image_view_never_loads_it_whole(tmp_path: Path, one_thread: None) -> None:
    """192 MiB on disk, which are 768 MiB as floats: every batch is read with 128 MiB to spare."""
    import resource

    faces, shape = 1024, (3, 256, 256)
    array = np.lib.format.open_memmap(tmp_path / "view.npy", "w+", np.uint8, (faces, *shape))  # sparse
    array[7] = 255
    array.flush()
    del array
    ids = [str(number) for number in range(faces)]

    class Floats(ToyMap):
        dtype = "float32"

        def shape(self, side: int) -> tuple[int, ...]:
            return shape

    def act() -> None:
        mapped = np.load(tmp_path / "view.npy", mmap_mode="r")
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        limit = pages * resource.getpagesize() + 128 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        source = MappedView(Floats(), [StoredImages(mapped, ids, frozenset())], ids)
        for begin in range(0, faces, 64):
            batch = source.gather(np.arange(begin, begin + 64), lambda: torch.zeros(0))
            assert isinstance(batch, torch.Tensor)
            assert float(batch.sum()) == (np.prod(shape) if begin == 0 else 0)

    assert Forked(act).wait(120) == 0
    shutil.rmtree(tmp_path)
