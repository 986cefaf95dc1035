"""Every command ends well on streams that are not UTF-8, with names that their code pages lack."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from dfad_bench.api import quickstart
from dfad_bench.cli import main as main_module
from dfad_bench.cli.main import COMMANDS
from dfad_bench.report.table import FORMATS

FOLDER = "é名 – \u202e[red]"  # in every path that is printed
# They take most of the time and print as the others do: in the heavy tier on the narrowest streams alone.
WIDER = ("cp1252", "latin-1")
LONG = ("build-manifest", "merge-manifests", "gaze-fid", "parsing-fid", "quickstart")


@pytest.fixture(scope="module")
def world(tiny_manifests: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with faces, manifests and two trained constants."""
    folder = tmp_path_factory.mktemp("world") / FOLDER
    folder.mkdir()
    for manifest in tiny_manifests:
        (folder / manifest.name).symlink_to(manifest)
    (folder / "faces").symlink_to(Path(tiny_manifests[0]).parent / "faces")
    rows = [f"名{k}.png,{'fake' if k % 2 else 'real'},{'é' if k % 2 else ''},{k / 20}" for k in range(20)]
    (folder / "table.csv").write_text("\n".join(["file,label,generator,p_fake", *rows]), encoding="utf-8")
    return folder


def lines(world: Path, encoding: str) -> dict[str, list[list[str]]]:
    """Command lines, by command, that leave what later ones read."""
    both = ["--manifest", str(world / "synthetic"), "--manifest", str(world / "synthetic-outdoor")]
    own = world / encoding
    first, second = own / "–a", own / "b名"
    train = ["train", "--protocol", "synthetic@1", "--recipe", "quick", "--size", "tiny", "--device", "cpu", *both]
    build = [
        "build-manifest",
        "--dataset",
        "synthetic",
        "--root",
        str(world / "faces"),
        "--out",
        str(own / "m"),
        "--limit",
        "12",
    ]
    found = {
        "synthesize": [["synthesize", "--out", str(own / "faces"), "--per-group", "2"]],
        "doctor": [["doctor", "--long"], ["doctor", "--dataset", "synthetic", "--root", str(world / "faces")]],
        "build-manifest": [build, [*build, "--json"]],
        "check-manifest": [["check-manifest", *both, "--protocol", "synthetic@1", "--audit"]],
        "merge-manifests": [["merge-manifests", "--out", str(own / "m")]],
        "share-manifest": [["share-manifest", "--manifest", str(world / "synthetic"), "--out", str(own / "hashes")]],
        "rebuild-manifest": [
            ["rebuild-manifest", "--hashes", str(own / "hashes"), "--out", str(world / "synthetic")]
        ],
        "infer-pairs": [["infer-pairs", "--manifest", str(world / "synthetic"), "--dataset", "synthetic"]],
        "gaze-extract": [["gaze-extract", *both]],
        "gaze-fid": [["gaze-fid", *both, "--out", str(own / "gaze")]],
        "parsing-fid": [["parsing-fid", *both, "--view", "parsing.parser=stand-in", "--out", str(own / "parsing")]],
        "train": [
            [*train, "--model", "majority", "--out", str(first)],
            [*train, "--model", "always_fake", "--out", str(second)],
        ],
        "evaluate": [["evaluate", "--run", str(first), "--rescore"], ["evaluate", "--run", str(first), *both]],
        "sensitivity": [["sensitivity", "--run", str(first), *both, "--corruptions", "jpeg"]],
        "report": [["report", "--run", str(first), "--figure", "confusion", "--out", str(own / "–report")]],
        "compare": [["compare", "--run", str(first), "--run", str(second), "--resamples", "100"]],
        "claim": [],  # needs trained pairs: tests/cli/test_cli_claim.py
        "verify-record": [["verify-record", "--run", str(first)]],
        "import-predictions": [["import-predictions", str(world / "table.csv"), "--out", str(own / "imported–b名")]],
        "enroll": [],  # needs a trained run with outputs: tests/api/test_api_galleries.py
        "identify": [],  # likewise
        "predict": [],  # needs a trained model that says how its faces were cropped: tests/api/test_api_predict.py
        "export": [["export", "--run", str(first), "--format", "torchscript", "--out", str(own / "名.pt")]],
        "scores": [["scores", "--run", str(first), "--format", name] for name in FORMATS],
        "reproduce": [["reproduce", "I", *both], ["reproduce", "bmrl-8", "--plan", "--no-measure"]],
        "profile": [["profile", "--model", "xception"]],
        "leaderboard": [
            ["leaderboard", "--protocol", "synthetic", "--runs", str(own)],
            ["leaderboard", "--protocol", "gazeclip-df40", "--out", str(own / "board.md"), "--format", "markdown"],
        ],
        "push": [],  # needs a trained run with weights: tests/sharing/test_sharing_push.py
        "weights": [["weights", "list"], ["weights", "check"]],
        "submit": [],  # needs a run that is no constant: tests/cli/test_cli_submit.py
        "list": [["list", "protocols", "--long"], ["list", "recipes", "--json"]],
        "schema": [["schema", "entry"]],
        "new": [["new", "protocol", "mine", "--out", str(own / "mine")]],
        "check-model": [["check-model", "majority"]],
        "quickstart": [["quickstart", "--small", "--out", str(own / "quick")]],
    }  # fmt: skip
    assert set(found) == set(COMMANDS), "a new command is tried here, too"
    return found


@pytest.mark.parametrize(
    ("encoding", "left_out"),
    [
        pytest.param("ascii", (), marks=pytest.mark.heavy),
        *(pytest.param(name, LONG, marks=pytest.mark.heavy, id=f"{name} of short ones") for name in WIDER),
        *(pytest.param(name, (), marks=pytest.mark.slow) for name in WIDER),
    ],
)
def test_every_command_ends_well(
    world: Path, encoding: str, left_out: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quickstart, "SMALL", quickstart.Scale(per_group=4, unseen=1, epochs=1, models=("majority",)))
    asked = {name: found for name, found in lines(world, encoding).items() if name not in left_out}
    for line in (line for of_command in asked.values() for line in of_command):
        streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
        with monkeypatch.context() as patched:
            for name, value in {**streams, "argv": ["dfad", *line]}.items():
                patched.setattr(sys, name, value)
            with pytest.raises(SystemExit) as ended:
                main_module.main()
        texts = []
        for stream in streams.values():
            stream.flush()
            texts.append(stream.buffer.getvalue().decode(encoding))  # type: ignore[attr-defined]
        assert ended.value.code == 0, f"{line}: {texts}"
        assert "\x1b" not in "".join(texts)
        assert any(texts), line
    board = (world / encoding / "board.md").read_bytes()
    assert "–" in board.decode("utf-8")  # a file is UTF-8, whatever the streams are
