from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
BEGAN = pytest.StashKey[float]()  # processor seconds when the phase of a test began
# test runners set it for their own workers; tables are to be as wide as without a terminal
os.environ.pop("COLUMNS", None)
# a shell starts jobs in its background deaf to Ctrl-C, and so would be every process that tests send one
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Examples of property tests: `make test-all` asks for the thorough profile with --hypothesis-profile.
settings.register_profile("fast", max_examples=25, deadline=None)
settings.register_profile("thorough", max_examples=150, deadline=None)
settings.load_profile("fast")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Modules and tests live to the end, a million objects: no garbage collection need look through them, now or later.

    It halves the time of collecting, and a test that makes much garbage pays for its own objects only.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        session.stash[BEGAN] = processor_seconds()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--dearest",
        type=int,
        default=0,
        metavar="N",
        help="list the N tests that took most processor time, with their fixtures and child processes",
    )


def processor_seconds() -> float:
    """Of this process and of its children that have ended; what else runs on the machine hardly counts."""
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.config.getoption("--dearest"):
        now = processor_seconds()
        began, item.session.stash[BEGAN] = item.session.stash.get(BEGAN, now), now
        report.user_properties.append(("processor_seconds", now - began))  # workers pass it on
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    spent: dict[str, float] = {}
    for report in (one for some in terminalreporter.stats.values() for one in some):
        for name, value in getattr(report, "user_properties", ()):
            if name == "processor_seconds":
                spent[report.nodeid] = spent.get(report.nodeid, 0.0) + value
    if count := config.getoption("--dearest"):
        terminalreporter.section(f"{count} dearest tests, {sum(spent.values()):.0f} processor seconds in all")
        for test in sorted(spent, key=spent.__getitem__, reverse=True)[:count]:
            terminalreporter.write_line(f"{spent[test]:6.2f} s {test}")


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The corpus of real images; never copied into the project."""
    folder = Path(os.environ.get("DFAD_CORPUS", ROOT.parent / "shared" / "corpus"))
    if not (folder / "SOURCES.csv").is_file():
        pytest.skip(f"no corpus at {folder}; set DFAD_CORPUS")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _made_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Faces and manifests that are made once lie in the temporary folder of the run, for all of its workers."""
    from helpers.synthetic import keep_in, shared_folder

    keep_in(shared_folder(tmp_path_factory.getbasetemp()))


@pytest.fixture(scope="session", autouse=True)
def _checks_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests check of records is not noted among the checks of whoever runs them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DFAD_CHECKS", str(tmp_path_factory.mktemp("checks")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """No test cuts the power: what this process writes need not be on the disk when it goes on."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session")
def tiny_manifests(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Manifests of a few synthetic faces: `synthetic` and `synthetic-outdoor`."""
    from helpers.synthetic import made_once, synthetic_tree

    from dfad_bench.ingest.build import build_manifest

    names = ("synthetic", "synthetic-outdoor")

    def build(out: Path) -> None:
        faces = synthetic_tree(out / "faces", per_group=6, seed=0)
        for name in names:
            build_manifest(name, faces, out / name, workers=0)

    folder = tmp_path_factory.mktemp("tiny") / "manifests"
    shutil.copytree(made_once("tiny-manifests", build), folder)  # a worker's own: tests store tables in it
    return folder / names[0], folder / names[1]


@pytest.fixture(scope="session")
def tiny_manifest(tiny_manifests: tuple[Path, Path]) -> Path:
    """The `synthetic` one of `tiny_manifests`."""
    return tiny_manifests[0]


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Hold torch to one thread, as builds do: sums in another order change the last bits of a box."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
