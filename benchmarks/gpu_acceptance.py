"""Everything that only a GPU can tell, by one command: is the code right there, and how fast is it?

Items are measured one after the other, the most telling first, until the minutes are over; after each the JSON file of
the device is written whole. The same command goes on: items that are done, with the same code, faces and device, are
left as they are. An item that fails is noted with one line; the others are still measured, and the exit code is 1.
Nothing is downloaded: faces are drawn, or those of `--manifest`. With `--device cpu` the same runs with sizes cut.
`--render` puts the tables into docs/performance.md.

Example: python benchmarks/gpu_acceptance.py --minutes 8 --out benchmarks/results/gpu/
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_items.item import Bench, Item
from gpu_items.journal import Journal, run_items
from gpu_items.page import report, write_page

from dfad_bench.core.device import find_device
from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.core.files import content_hash, sha256_file

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "gpu", ROOT / "docs" / "performance.md"
CODE = ("dfad_bench", "baselines", "gazeclip", "manifests", "benchmarks/gpu_items")
SCRIPTS = ("gpu_acceptance", "zoo_throughput", "gazeclip_speed", "gaze_networks")


def code_hash() -> str:
    """Hash of all code and data files that an item may run."""
    files = [path for folder in CODE for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml")]
    files += [ROOT / "benchmarks" / f"{name}.py" for name in SCRIPTS]
    return content_hash([[path.relative_to(ROOT).as_posix(), sha256_file(path)] for path in sorted(files)])


def device_facts(bench: Bench) -> dict[str, Any]:
    """What the JSON file says before its items."""
    where = bench.place()
    named = [f"{folder.name} {sha256_file(folder / 'manifest.json')[:12]}" for folder in bench.manifests]
    faces = f"of the manifests {', '.join(named)}" if named else "drawn"
    return {"device": where.name, "on_gpu": bench.on_gpu, "faces": faces, "code": code_hash()}


def item_key(facts: dict[str, Any]) -> str:
    """What a result depends on beside the item's name."""
    return hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()[:16]


def chosen_items(items: Sequence[Item], only: Sequence[str]) -> list[Item]:
    """The items asked for, by name or kind.

    Raises:
        ConfigError: there is none of a name.
    """
    for name in only:
        if not any(name in (item.name, item.kind) for item in items):
            raise ConfigError(
                f"--only {name}: no such item; known kinds: {', '.join(dict.fromkeys(i.kind for i in items))}"
            )
    return [item for item in items if not only or item.name in only or item.kind in only]


def measure(options: argparse.Namespace, items: Sequence[Item]) -> list[str]:
    """Measure within the budget; the names of items that failed."""
    for folder in options.manifest:
        if not (folder / "manifest.json").is_file():
            raise ConfigError(f"{folder}: no manifest there; give a folder that `dfad build-manifest` made")
    device = find_device(options.device)
    with tempfile.TemporaryDirectory(prefix="gpu_acceptance_") as scratch:
        bench = Bench(device, Path(scratch), tuple(options.manifest))
        facts = device_facts(bench)
        name = re.sub(r"[^a-z0-9]+", "-", facts["device"].lower()).strip("-") or "device"
        journal = Journal(options.out / f"{name}.json", facts, item_key(facts))
        journal.keep_only(items)
        wanted = chosen_items(items, options.only)
        failed = run_items(wanted, bench, journal, 60 * options.minutes, lambda line: print(line, file=sys.stderr))
        journal.keep_only(items)
        journal.write()
    print(journal.path)
    return failed


def parsed_options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="no item is begun that would end later")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file, named after the device")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--manifest", type=Path, action="append", default=[], help="faces to use; default: drawn ones")
    parser.add_argument("--only", nargs="+", default=[], metavar="ITEM", help="kinds or items; default: all")
    parser.add_argument("--render", action="store_true", help="measure nothing; write the tables of --out into --page")
    parser.add_argument("--page", type=Path, default=PAGE)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit code."""
    options = parsed_options(words)
    from gpu_items.plan import KINDS, all_items

    try:
        if options.render:
            write_page(options.page, report(options.out, KINDS))
            return 0
        failed = measure(options, all_items())
    except DFADError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on with what is left", file=sys.stderr)
        return 130
    if failed:
        print(f"Error: {len(failed)} items failed, see their lines: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
