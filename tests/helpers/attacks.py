"""What somebody who means harm could send: signals, damaged archives, lists that lie, hostile values. Used by
`benchmarks/attacks.py`; each kind also has a small test beside the code it attacks."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
import signal
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from helpers.dataset_trees import draw, pack
from helpers.faults import MUTATIONS, kill_group, mutant, start_build, wait_for_parts
from helpers.misbehaving import behave

from dfad_bench.cli.main import dfad
from dfad_bench.data.images import ImageRefused
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.crop.cropper import FaceCropper, load_crop_profile
from dfad_bench.ingest.media.archive import members, read_member
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.shard import ShardTask, crop_sample
from dfad_bench.ingest.sources.archives import list_all_files
from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.workers.processes import run_in_processes

CHECKED_STREAMS = (".tar.gz", ".tar.bz2", ".tar.xz", ".zip")  # archives whose content has a checksum
GAPS = (0.0, 0.005, 0.01, 0.02, 0.05)  # seconds between two signals


def interrupt_twice(root: Path, out: Path, number: int, seed: int = 0) -> int:
    """Builds that get two signals shortly one after the other; how many did not end at once with 130 and one line."""
    rng = random.Random(seed)
    wrong = 0
    for turn in range(number):
        how = (signal.SIGINT, signal.SIGTERM)[turn % 2]
        process = start_build(root, out)
        if turn % 4 == 3:
            time.sleep(rng.uniform(1.0, 3.0))  # imports, listing, start of the workers
        else:
            wait_for_parts(process, out, len(list(out.glob("part-*.json"))) + 1 + rng.randrange(3))
        for _ in range(2):
            process.send_signal(how)
            time.sleep(GAPS[turn // 2 % len(GAPS)])
        wrong += not _ended_as_interrupted(process)
        kill_group(process)
        if (out / "manifest.json").is_file():
            shutil.rmtree(out)
    return wrong


def _ended_as_interrupted(process: object) -> bool:
    try:
        _, error = process.communicate(timeout=30)  # type: ignore[attr-defined]
    except Exception:  # a hang, whatever its name
        return False
    if process.returncode == 0:  # type: ignore[attr-defined]  # it was ready before the signal
        return True
    codes = (130, -signal.SIGINT)  # the same to a shell; Python chooses the second where it was running `eval`
    return process.returncode in codes and error.strip() == "Interrupted."  # type: ignore[attr-defined]


def stop_workers(folder: Path, number: int) -> int:
    """Workers that are stopped, their own watchdog with them; how many cost more than the item they were at."""
    folder.mkdir(parents=True)
    profile = load_crop_profile("raw-256")
    wrong = 0
    for turn in range(number):
        names = ["a", "b", "c"]
        names[turn % 3] = "stop"
        samples = tuple(RawSample("extra", "flux", None, name, folder / name) for name in names)
        task = ShardTask(folder / f"part-{turn:05d}.parquet", samples, profile, "config", 0.3)
        [result] = run_in_processes(behave, [task], 1)
        wrong += result["done"] != ["timeout" if name == "stop" else "ok" for name in names]
    return wrong


def flip_stream_bits(folder: Path, number: int, seed: int = 1) -> int:
    """One bit flipped in an archive that has checksums; how many members came out with other bytes than before."""
    rng = random.Random(seed)
    wrong = 0
    for turn, kind in enumerate(CHECKED_STREAMS):
        for index in range(3):
            draw(folder / f"in{turn}" / f"{index}.png", index)
        path = pack(folder / f"in{turn}", folder / f"data{turn}" / f"a{kind}")
        count = 8 * path.stat().st_size
        wrong += len(changed_members(path, [rng.randrange(count) for _ in range(number // len(CHECKED_STREAMS))]))
    return wrong


def changed_members(path: Path, bits: Iterable[int]) -> list[tuple[int, str]]:
    """Each of the bits flipped in an archive alone in its folder: (bit, member) that came out with other bytes."""
    expected = {m.name: read_member(path, m.name, m.position) for m in members(path)}
    whole, changed = path.read_bytes(), []
    for bit in bits:
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(content))
        for file in list_all_files(path.parent, Listing(), lambda place: False):
            with suppress(ImageRefused):
                if file.member is not None and not file.damaged:
                    data = read_member(file.path, file.member, file.position)
                    if data != expected.get(file.member, data):
                        changed.append((bit, file.member))
    return changed


def damage_archives(folder: Path, number: int, seed: int = 2) -> tuple[int, float]:
    """Damaged archives; how many raised anything but a refusal, and the longest time one took in seconds."""
    rng = np.random.default_rng(seed)
    kinds = (".tar", *CHECKED_STREAMS)
    whole = {}
    for kind in kinds:
        for index in range(3):
            draw(folder / "in" / f"{index}.png", index)
        whole[kind] = pack(folder / "in", folder / f"whole{kind}").read_bytes()
    crashes, longest = 0, 0.0
    for turn in range(number):
        kind = kinds[turn % len(kinds)]
        path = folder / f"damaged{kind}"
        path.write_bytes(mutant(whole[kind], MUTATIONS[turn // len(kinds) % len(MUTATIONS)], rng))
        began = time.perf_counter()
        try:
            with suppress(ImageRefused):
                for member in members(path):
                    with suppress(ImageRefused):
                        read_member(path, member.name, member.position)
        except Exception:  # whatever it is, it is not a refusal
            crashes += 1
        longest = max(longest, time.perf_counter() - began)
    return crashes, longest


def empty_archives(folder: Path) -> dict[str, bytes]:
    """Archives that hold nothing, or say that a member has a negative size."""
    header = tarfile.TarInfo("a.png").tobuf()
    size = b"\xff" * 11 + b"\x00"
    negative = bytearray(header)
    negative[124:136] = size
    negative[148:156] = b" " * 8
    negative[148:156] = b"%06o\0 " % sum(negative[:512])
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w"):
        pass
    return {
        "zeros.tar": bytes(10240), "hole.tar": bytes(5 << 20), "none.tar": stream.getvalue(),
        "negative.tar": bytes(negative) + bytes(1024), "empty.tar": b"", "empty.zip": b"", "empty.tar.gz": b"",
    }  # fmt: skip


# Values a JSON or YAML file may hold that nothing can use
HOSTILE_VALUES = (
    *("1" + "0" * 400, "9" * 5000, "-" + "9" * 400, "1e400", "NaN", "-Infinity", "-1", "0.5", "true", "null"),
    *('"\\ud800"', '"a\\u0000b"', '"\\u001b[2Jx"', '""', '"' + "x" * 70000 + '"', '"../../etc/passwd"'),
    *("[]", "{}", "[" * 3000, '{"a": 1, "a": 2}'),
)
HOSTILE_YAML = (
    *("!!int ''", "!!float ''", "!!bool maybe", "!!timestamp x", "!!binary x", "!!set x", "&a [*a]"),
    *("!!python/object/apply:os.system [id]", "2026-01-01", "0x" + "f" * 400, "1:" * 40 + "1", "~"),
)


def hostile_documents(text: str, *, yaml: bool, seed: int = 3) -> Iterator[str]:
    """A document with one value after another replaced by each hostile one; endless, in a seeded order."""
    rng = random.Random(seed)
    values = [*HOSTILE_VALUES, *(HOSTILE_YAML if yaml else ())]
    pattern = r"(?m)(?<=: )[^\n{\[]+$" if yaml else r'(?<=: )("(?:[^"\\]|\\.)*"|-?[0-9.e+-]+|true|false|null)'
    places = [match.span() for match in re.finditer(pattern, text)]
    assert places, "nothing to replace"
    while True:
        begin, end = rng.choice(places)
        yield text[:begin] + rng.choice(values) + text[end:]


def answers(arguments: list[str]) -> str | None:
    """Run one command; what is wrong with how it ended, or None. Right: an exit code of ours, and one line of error."""
    began = time.monotonic()
    result = CliRunner().invoke(dfad, arguments, color=True)  # as to a terminal: nothing is taken out
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"{type(result.exception).__name__}: {str(result.exception)[:80]}"
    if result.exit_code not in (0, 1, 2, 3, 4):
        return f"exit code {result.exit_code}"
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    if result.exit_code in (1, 4) and (len(errors) != 1 or result.stderr.count("\n") > 3):
        return f"{result.stderr.count(chr(10))} lines of error"
    if len(result.stderr) > 2000:
        return f"{len(result.stderr)} characters of error"
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", result.stderr):
        return "control characters"
    return "took over 30 s" if time.monotonic() - began > 30 else None


def doubled_lists(folder: Path) -> tuple[dict[str, Callable[[], int]], dict[str, Callable[[], int]]]:
    """Ways to name one file twice in a list, and ways to name it once.

    Each function builds a manifest and returns how many rows it then has: at most one, and one of a file named once.
    """
    spellings = ("a/0.png", "a//0.png", "a/./0.png", "./a/0.png")

    def rows(*arguments: str) -> int:
        out = folder / f"m{len(list(folder.glob('m*')))}"
        options = ["--out", str(out), "--crop", "raw-256", "--workers", "0", "--quiet", "--json"]
        result = CliRunner().invoke(dfad, ["build-manifest", "--root", str(folder / "root"), *options, *arguments])
        if result.exit_code not in (0, 3):
            return 0
        return len(Manifest.open(out).frame())

    def frames(split: str, *names: str) -> dict[str, object]:
        return {split: {"video": {"label": "FF-DF", "frames": list(names)}}}

    def listed(*others: str) -> Callable[[], int]:
        def build() -> int:
            named = frames("train", spellings[0]) | {k: v for other in others for k, v in frames("test", other).items()}
            (folder / "list.json").write_text(json.dumps({"FF": {"FF-DF": named}}))
            return rows("--from-deepfakebench", str(folder / "list.json"))

        return build

    def described(*others: str) -> Callable[[], int]:
        def build() -> int:
            named = [(spellings[0], "flux"), *((other, "real") for other in others)]
            lines = [{"file_name": name, "generator": who} for name, who in named]
            path = folder / "root" / "metadata.jsonl"
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
            try:
                return rows("--dataset", "image_folder")
            finally:
                path.unlink()

        return build

    draw(folder / "root" / "a" / "0.png", 1)
    twice = {
        **{f"list {other}": listed(other) for other in spellings},
        **{f"metadata {other}": described(other) for other in spellings},
    }
    return twice, {"list": listed(), "metadata": described()}


def swap_after_listing(folder: Path, number: int) -> int:
    """Files replaced by links to outside between listing and reading; how many were followed."""
    secret = draw(folder / "secret.png", 7)
    followed = 0
    for turn in range(number):
        path = draw(folder / f"root{turn}" / "flux" / "0.png", turn)
        [file] = list(list_all_files(path.parents[1], Listing(), lambda place: False))
        path.unlink()
        path.symlink_to(secret)
        sample = RawSample("extra", "flux", None, "flux/0.png", file.path)
        [row] = crop_sample(sample, FaceCropper(load_crop_profile("raw-256")), 60)
        followed += row["status"] == "ok"
    return followed
