"""A program: every command that is to run without torch, on a table and on the run of an earlier version.

    python light_commands.py FOLDER FIXTURES [--refuse]

Writes to FOLDER. With --refuse, all packages that a light installation lacks cannot be imported; without, they must not
be there. Ends with an error where a command fails, or where one of them was imported.
"""

from __future__ import annotations

import csv
import os
import random
import shutil
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

LACKING = (
    "PIL", "av", "cv2", "facenet_pytorch", "filelock", "huggingface_hub", "jinja2", "matplotlib", "open_clip",
    "pytorch_fid", "safetensors", "sklearn", "tensorboard", "timm", "torch", "torchvision",
)  # fmt: skip


class Refusal:
    """An import hook: packages of the full installation are not to be found."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.partition(".")[0] in LACKING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def write_table(path: Path, seed: int) -> None:
    """A table of 198 faces: real ones, two seen generators and eight unseen ones."""
    rng = random.Random(seed)
    generators = ["", "stylegan2", "flux", "sdxl", "midjourney", "dalle3", "mine", "yours", "theirs", "gan1", "gan2"]
    with path.open("w", newline="", encoding="utf-8") as handle:
        rows = csv.writer(handle)
        rows.writerow(["file", "label", "generator", "source_key", "p_fake", "p_real", "p_stylegan2", "p_flux"])
        for place in range(198):
            name = generators[place % 11]
            weights = [rng.random() + (place % 11 == k) for k in range(3)]
            probs = [w / sum(weights) for w in weights]
            row = [f"{place}.png", "fake" if name else "real", name, f"id{place % 60}", f"{rng.random():.3f}"]
            rows.writerow([*row, *probs])


def copy_entry(folder: Path, fixtures: Path) -> None:
    """One of the committed entries, with the files that it shares; all of them take minutes."""
    records = fixtures.resolve().parents[1] / "leaderboards" / "records" / "synthetic"
    entry = next(iter(sorted(records.glob("gazeclip/*/seed-0"))))
    shutil.copytree(entry, folder / "synthetic" / entry.relative_to(records))
    shutil.copytree(records / "shared", folder / "synthetic" / "shared")


def commands(folder: Path, fixtures: Path) -> list[list[str]]:
    """What is run, in order."""
    run, earlier = str(folder / "runs" / "0"), str(fixtures / "earlier_run")
    made = [["import-predictions", str(folder / f"{k}.csv"), "--out", str(folder / "runs" / str(k))] for k in range(2)]
    match = ["import-predictions", str(fixtures / "earlier_run" / "predictions.parquet"), "--out", str(folder / "none")]
    return [
        *made,
        ["scores", "--run", run], ["scores", "--run", run, "--table", "groups", "--format", "csv"],
        ["compare", "--run", run, "--run", str(folder / "runs" / "1"), "--resamples", "100"],
        ["leaderboard", "--runs", str(folder / "runs"), "--format", "markdown"],
        ["verify-record", "--run", run, "--strict"],
        ["scores", "--run", earlier], ["verify-record", "--run", earlier], ["leaderboard", "--runs", earlier],
        ["leaderboard", "--verify", "--records", str(folder / "records")],
        # these two end with 1 and one line: it has none of the faces, and it needs torch
        [*match, "--protocol", "synthetic", "--manifest", str(fixtures / "earlier_manifest")],
        ["check-model", "xception"],
    ]  # fmt: skip


def main(folder: Path, fixtures: Path, refuse: bool) -> None:
    """Run every command in this process."""
    if refuse:
        sys.meta_path.insert(0, Refusal())
    elif there := [name for name in LACKING if name not in sys.modules and find_spec(name)]:
        sys.exit(f"no light installation: {', '.join(there)} can be imported")
    os.environ["DFAD_CHECKS"] = str(folder / "checks")
    from click.testing import CliRunner

    from dfad_bench.cli.main import dfad

    for seed in range(2):
        write_table(folder / f"{seed}.csv", seed)
    copy_entry(folder / "records", fixtures)
    asked = commands(folder, fixtures)
    for place, words in enumerate(asked):
        found = CliRunner().invoke(dfad, words)
        fails = place >= len(asked) - 2
        shown = found.output.strip().splitlines()
        print("dfad", *words, "->", found.exit_code, shown[-1][:120] if shown else "")
        if found.exit_code != int(fails) or (fails and (len(shown) != 1 or not shown[0].startswith("Error: "))):
            sys.exit(
                f"dfad {' '.join(words)}: ended with {found.exit_code}: {found.output[-1500:]} {found.exception!r}"
            )
    if loaded := sorted(name for name in LACKING if name in sys.modules):
        sys.exit(f"imported: {', '.join(loaded)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), "--refuse" in sys.argv)
