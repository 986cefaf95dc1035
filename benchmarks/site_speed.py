"""How long does a site of many records take to render, and how large are its pages?

Records are made of drawn predictions under a protocol of 30 unseen generators, for models of several seeds. Timed are
the board (the table that every format shares), the pages (`site_files`) and writing them, each apart; sizes are of the
files. Processor time of rendering stands beside its wall time, which on a busy machine is longer. Where Chromium and
Playwright are installed, sorting a table of 1,000 rows is timed in it, too.

    python benchmarks/site_speed.py --records 200 --out benchmarks/results/site_speed.json
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from board_speed import protocol_of, seconds
from helpers.browsing import chromium, lacking_browser, opened_browser, sorting_times
from helpers.runs import write_run
from helpers.toy import toy_predictions

from dfad_bench.api.runs import BoardInputs
from dfad_bench.api.site import site_facts
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.board_columns import board_columns, default_columns, known_columns
from dfad_bench.report.leaderboard import board
from dfad_bench.report.site.facts import SiteBoard, SiteFacts
from dfad_bench.report.site.folder import write_site
from dfad_bench.report.site.render import site_files

RECORD = Path(__file__).parents[1] / "tests/fixtures/earlier_run/record.json"  # its settings are of a usual length
FIRST_KB, WHOLE_MB, RENDER_S, SORT_MS = 500, 3.0, 2.0, 50  # what is asked for


def records_of(protocol: Protocol, count: int, seeds: int, distinct: int, folder: Path) -> list[ResultRecord]:
    """Records of several seeds a model."""
    made = [
        write_run(folder / str(k), protocol, toy_predictions(protocol, 20, seed=k), resamples=200)
        for k in range(distinct)
    ]
    usual = read_json(RECORD)["run"]["config"]
    found = []
    for k in range(count):
        one, name, digest = made[k % distinct], f"model_{k // seeds}", f"{k:016x}" * 4
        model = replace(one.model, name=name, display=f"Model {k // seeds}", registry_sha256=f"{k // seeds:064x}")
        config = {**usual, "model": name, "seed": k % seeds}
        run = replace(one.run, config_sha256=digest, seed=k % seeds, config=config)
        found.append(replace(one, record_id=digest, model=model, run=run))
    return found


def facts_of(protocol: Protocol, records: list[ResultRecord]) -> SiteFacts:
    """The facts of a site of one board."""
    table = board(protocol, records, columns=list(dict.fromkeys([*default_columns(protocol), *known_columns()])))
    shown = frozenset(column.key for column in board_columns(protocol, printed=False, per_group=False))
    return site_facts([SiteBoard(protocol, table, shown)], BoardInputs([protocol], records, [], {}), "2026-01-01")


def in_browser(folder: Path) -> dict[str, Any] | None:
    """Milliseconds of sorting 1,000 rows: the first click, and the median of the others; None without a browser."""
    if lacking_browser():
        return None
    with opened_browser(str(chromium())) as browser:
        times = sorting_times(browser.new_page(), folder / "protocol-synthetic.html", rows=1000)
    return {"first": round(times[0], 1), "median": round(statistics.median(times[1:]), 1)}


def measure(records: int, seeds: int, generators: int, distinct: int, turns: int, keep: Path | None) -> dict[str, Any]:
    """Times and sizes; the first turn is left out."""
    protocol = protocol_of(generators)
    with tempfile.TemporaryDirectory() as name:
        made = records_of(protocol, records, seeds, distinct, Path(name))
        facts = facts_of(protocol, made)
        boards = [seconds(lambda: facts_of(protocol, made)) for _ in range(2)]
        pages, processor = [], []
        for _ in range(turns + 1):
            began = time.process_time()
            pages.append(seconds(lambda: site_files(facts)))
            processor.append(time.process_time() - began)
        files = site_files(facts)
        folder = keep or Path(name) / "site"
        writing = seconds(lambda: write_site(folder, files))
        sorting = in_browser(folder)
    sizes = {file: len(text.encode()) for file, text in files.items()}
    of_pages = [size for file, size in sizes.items() if file.endswith(".html")]
    return {
        "question": "a site of many records and groups: render time and size",
        "records": records, "seeds_a_model": seeds, "unseen_generators": generators, "turns": turns,
        "board_s": round(boards[-1], 3), "render_s": round(statistics.median(pages[1:]), 3),
        "render_processor_s": round(statistics.median(processor[1:]), 3),
        "write_s": round(writing, 3), "files": len(files), "pages": len(of_pages),
        "front_page_kb": round(sizes["index.html"] / 1000, 1), "largest_page_kb": round(max(of_pages) / 1000, 1),
        "whole_mb": round(sum(sizes.values()) / 1e6, 3),
        "sort_1000_rows_ms": sorting,
        "asked": {"sort_1000_rows_ms": SORT_MS, "first_page_kb": FIRST_KB, "whole_mb": WHOLE_MB, "render_s": RENDER_S},
    }  # fmt: skip


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--generators", type=int, default=30)
    parser.add_argument("--distinct", type=int, default=6)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="leave the site in this folder")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    found = measure(options.records, options.seeds, options.generators, options.distinct, options.turns, options.keep)
    print(
        f"{found['pages']} pages of {found['records']} records: board {found['board_s']} s, pages {found['render_s']} s"
    )
    print(
        f"largest page {found['largest_page_kb']} kB, whole site {found['whole_mb']} MB, writing {found['write_s']} s"
    )
    print(f"sorting 1,000 rows: {found['sort_1000_rows_ms']} ms")
    if options.out:
        write_json(options.out, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
