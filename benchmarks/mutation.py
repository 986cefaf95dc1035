"""Mutation testing of the metrics and of scoring: how many small faults in the code do its tests notice?

A seeded sample of mutants (an operator, a comparison, a number, a branch changed by cosmic-ray) of `metrics/` and of
the scoring part of `report/`; for each, the tests that reach the changed lines are run. Mutants that nothing notices
are listed; a survivor that changes no result has its reason in `mutation_equivalent.yaml`. Needs Linux and the extra
`mutation`; some minutes on two cores. Ends with exit code 1 where fewer than 90 % are noticed.

After tests were added, `--again RESULT` runs only the survivors of a result of the same sample and the same code.

Example: python benchmarks/mutation.py --sample 300 --seed 0 --out benchmarks/results/mutation.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers.mutants import (  # noqa: E402
    Mutant,
    Reach,
    every_place,
    in_function,
    mutants,
    outcomes,
    run_tests,
    statement_lines,
    tests_by_line,
)

SCORING = (
    "aggregate", "attribution", "board_columns", "compare", "detection", "face_set", "headline", "leaderboard",
    "paired_numbers", "ranks", "record_diff", "run_record", "run_tables", "score", "scored_faces", "set_numbers",
    "trivial", "robustness/scores",
)  # fmt: skip
TESTS = (
    "tests/metrics", "tests/report", "tests/gaze/test_gaze_metric_table.py", "tests/cli/test_cli_compare.py",
    "dfad_bench/metrics", "dfad_bench/report", "--deselect=tests/report/test_report_gaze_figures.py",
    "--deselect=tests/report/test_report_gaze_panels.py",
)  # fmt: skip
LIBRARIES = (
    "numpy", "pandas", "torch", "torchvision", "sklearn.metrics", "scipy.stats", "scipy.sparse.csgraph", "hypothesis",
    "pyarrow.parquet", "click", "rich.console", "rich.table", "yaml", "matplotlib.figure", "PIL.Image", "cv2",
    "dfad_bench.core.contract", "dfad_bench.core.record", "dfad_bench.data.manifest",
)  # fmt: skip
GOAL, BUDGET_S, LEAST_S = 0.90, 25.0, 60.0  # seconds of a processor; of a clock
Key = tuple[str, int, str, str]
FIRST = 12  # tests of the second stage
SIGNATURES = "tests/report/test_report_signatures.py"  # of signatures and decorators
REASONS = Path(__file__).with_name("mutation_equivalent.yaml")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=300, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--workers", type=int, default=2, help="mutants tested at once")
    parser.add_argument("--only", default="", help="mutants of files with this in their path")
    parser.add_argument("--again", type=Path, help="an earlier result; only its survivors are run")
    parser.add_argument("--out", type=Path, help="write the result here")
    given = parser.parse_args()
    files = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "dfad_bench/metrics").glob("*.py"))]
    files += [f"dfad_bench/report/{name}.py" for name in SCORING]
    every = every_place(ROOT, [file for file in files if given.only in file], given.seed)
    chosen = list(islice(mutants(ROOT, every), given.sample))
    digest = sources_hash(files)
    settled = settled_before(given, digest, chosen) if given.again else set()
    for name in LIBRARIES:
        __import__(name)
    with tempfile.TemporaryDirectory() as folder:
        reach, seconds = measured(files, Path(folder))
        start = time.monotonic()
        rows = tested(chosen, reach, seconds, Path(folder), given.workers, settled)
    result = {**report(rows, given, len(every), time.monotonic() - start), "sources_sha256": digest}
    if given.out:
        from dfad_bench.core.files import write_json

        write_json(given.out, result)
    share = (result["killed"] + result["timeouts"]) / len(chosen)  # equivalent mutants count against it, too
    sys.exit(0 if share >= GOAL else 1)


def measured(files: Sequence[str], folder: Path) -> tuple[dict[str, dict], dict[str, float]]:
    """Run all tests once without a mutant: the tests by file and line, and the seconds of each."""

    def run() -> int:
        import coverage

        cover = coverage.Coverage(data_file=str(folder / "coverage"), include=[str(ROOT / file) for file in files])
        plugin = Reach(cover)
        cover.start()
        code = run_tests(ROOT, None, [TESTS], folder / "first", [plugin])
        cover.stop()
        cover.save()
        (folder / "seconds.json").write_text(json.dumps(plugin.seconds), encoding="utf-8")
        return code

    ((_, outcome, duration_s),) = outcomes([(run, 1200.0)], 1)
    if outcome != "survived":
        sys.exit(f"the tests fail without a mutant ({outcome}): mend them first")
    import coverage

    data = coverage.CoverageData(str(folder / "coverage"))
    data.read()
    seconds = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))
    print(f"{len(seconds)} tests pass in {duration_s:.0f} s", flush=True)
    return tests_by_line(data, ROOT, files, seconds), seconds


def tested(
    sample: Sequence[Mutant],
    reach: Mapping[str, Mapping[int, set[str]]],
    seconds: Mapping[str, float],
    folder: Path,
    workers: int,
    settled: Container[Key],
) -> list[dict[str, Any]]:
    """A row for each mutant: what was changed, the number of tests that were run, and the outcome.

    Mutants of `settled` were killed before and are not run.
    """
    plans = [reaching(mutant, reach[mutant.file], seconds) for mutant in sample]
    jobs = [
        (
            partial(run_tests, ROOT, mutant, stages(mutant, tests), folder / str(place)),
            LEAST_S + 10 * sum(seconds[t] for t in tests),
        )
        for place, (mutant, tests) in enumerate(zip(sample, plans, strict=True))
        if tests and key_of(mutant) not in settled
    ]
    places = [n for n, (m, tests) in enumerate(zip(sample, plans, strict=True)) if tests and key_of(m) not in settled]
    rows = [
        {"file": m.file, "line": m.line, "operator": m.operator, "before": m.before, "after": m.after}
        | {"tests": len(tests), "outcome": "killed" if key_of(m) in settled else "survived"}
        for m, tests in zip(sample, plans, strict=True)
    ]
    for done, (place, outcome, _) in enumerate(outcomes(jobs, workers), start=1):
        row = rows[places[place]] | {"outcome": outcome}
        rows[places[place]] = row
        if outcome != "killed":
            print(f"{done}/{len(jobs)} {outcome}: {row['file']}:{row['line']} {row['after']}", flush=True)
    return rows


def reaching(mutant: Mutant, lines: Mapping[int, set[str]], seconds: Mapping[str, float]) -> list[str]:
    """The tests that reach a mutant's statement, as many as the budget of seconds allows.

    Those named after the file come first, then the fastest. What is run only on import (a constant, a default) may
    matter to every test that reaches the file, and to those of signatures.
    """
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    found = set[str]().union(*(lines.get(line, set()) for line in statement_lines(text, mutant.line)))
    if not found or not in_function(text, mutant.line):
        found = set[str]().union(*lines.values()) or set(seconds)
        found |= {test for test in seconds if test.startswith(SIGNATURES)}
    name = own_name(mutant)
    chosen, total = [], 0.0
    for test in sorted(found, key=lambda test: (name not in test.split("::")[0], seconds[test], test)):
        total += seconds[test]
        if chosen and total > BUDGET_S:
            break
        chosen.append(test)
    return chosen


def own_name(mutant: Mutant) -> str:
    """What the files of the tests of a mutant's file are named after; the table of metrics has tests of its own."""
    table = mutant.module in ("dfad_bench.metrics", "dfad_bench.metrics.entry")
    return "metrics_table" if table else Path(mutant.file).stem


def key_of(mutant: Mutant) -> Key:
    """What a mutant is known by in a result."""
    return mutant.file, mutant.line, mutant.before, mutant.after


def sources_hash(files: Sequence[str]) -> str:
    """The hash of the mutated files."""
    from dfad_bench.core.files import content_hash, sha256_file

    return content_hash([[file, sha256_file(ROOT / file)] for file in files])


def settled_before(given: Any, digest: str, sample: Sequence[Mutant]) -> set[Key]:
    """The mutants of the sample that an earlier result says are noticed; ends where it is of other code."""
    before = json.loads(given.again.read_text(encoding="utf-8"))
    if (before["seed"], before["sample"], before["sources_sha256"]) != (given.seed, len(sample), digest):
        sys.exit(f"{given.again}: another seed, sample or code than this; run without --again")
    survivors = {(row["file"], row["line"], row["before"], row["after"]) for row in before["survivors"]}
    return {key_of(mutant) for mutant in sample} - survivors


def stages(mutant: Mutant, tests: Sequence[str]) -> list[list[str]]:
    """The tests of a mutant in the order in which they are run: those named after its file, few others, the rest."""
    own = [test for test in tests if own_name(mutant) in test.split("::")[0]]
    other_tests = [test for test in tests if test not in own]
    return [own, other_tests[:FIRST], other_tests[FIRST:]]


def report(rows: Sequence[Mapping[str, Any]], given: Any, available: int, duration_s: float) -> dict[str, Any]:
    """The result as it is written, and printed in short."""
    from importlib.metadata import version

    from dfad_bench.core.strict import read_yaml

    known = {(row["file"], row["before"], row["after"]): row["reason"] for row in read_yaml(REASONS)["equivalent"]}
    survivors = []
    for row in rows:
        if row["outcome"] == "survived":
            reason = known.get((row["file"], row["before"], row["after"]))
            survivors.append({**row, "reason": reason or "a test is missing"})
    counts = Counter(row["outcome"] for row in rows)
    equivalent = sum(row["reason"] != "a test is missing" for row in survivors)
    print(
        f"{len(rows)} of {available} mutants: {counts['killed']} killed, {counts['timeout']} timeouts,"
        f" {counts['survived']} survived, {equivalent} of them equivalent; {duration_s / 60:.1f} minutes"
    )
    return {
        "tool": f"cosmic-ray {version('cosmic-ray')}", "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "numpy": version("numpy"), "seed": given.seed, "sample": len(rows), "available": available,
        "killed": counts["killed"], "timeouts": counts["timeout"], "survived": counts["survived"],
        "equivalent": equivalent, "files": dict(sorted(Counter(row["file"] for row in rows).items())),
        "survivors": sorted(survivors, key=lambda row: (row["file"], row["line"], row["after"])),
    }  # fmt: skip


if __name__ == "__main__":
    main()
