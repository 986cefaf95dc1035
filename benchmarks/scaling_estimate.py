"""From measured costs of a face to hours, cores, bytes and what breaks first at 150,000, 2 and 100 million faces.

Reads the results of `scaling_measure.py` and `near_duplicates.py` and prints the tables of docs/scaling.md. Nothing
here is measured at those sizes: costs are multiplied.

Example: python benchmarks/scaling_estimate.py --results benchmarks/results
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dfad_bench.core.files import read_json
from dfad_bench.report.table import Column, Table, render

SCENARIOS = {"150,000 (the papers)": 150_000, "2 million (DeepfakeGenome)": 2_000_000, "100 million": 100_000_000}
ROWS_A_PART = 256
CORES = (2, 16, 64, 1024)
DIGEST_BYTES = 3 * 32  # of a row while sealing: gathered, copied, sorted
HOST_GB, OPEN_MB, FOLDER_FILES, SEAL_HOURS = 64, 100, 1_000_000, 24
RESULTS = Path(__file__).parent / "results"
Measured = Mapping[str, Any]


def load(results: Path = RESULTS) -> dict[str, Any]:
    """What was measured, from the JSON files of a folder."""
    near = read_json(results / "near_duplicates.json")["large"]["clustered"]
    return {**read_json(results / "scaling_measure.json"), "near": near}


def amount(value: float) -> str:
    """Two leading digits or whole numbers with commas.

    >>> amount(0.0123), amount(4.25), amount(1234.5)
    ('0.012', '4.2', '1,234')
    """
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def efficiency(measured: Measured) -> float:
    """Share of a core that is left when the others work, too."""
    return min(1.0, float(measured["mixed"]["efficiency_of_two_workers"]))


def costs(measured: Measured) -> dict[str, Callable[[int], float]]:
    """What grows with the number of faces, by the unit it is told in."""
    mixed, large, sizes, tree, near = (measured[key] for key in ("mixed", "large", "sizes", "listing", "near"))
    share = efficiency(measured)

    def hours(images: Measured, key: str = "core_seconds_an_image") -> Callable[[int], float]:
        each = images[key] if key in images else images["workers_1"][key]
        return lambda faces: faces * each / 3600

    def on(cores: int) -> Callable[[int], float]:
        return lambda faces: hours(mixed)(faces) / (cores * share)

    def parts(faces: int) -> float:
        return faces / ROWS_A_PART

    return {
        "core hours, corpus photographs": hours(mixed),
        "core hours, 1024-pixel JPEGs": hours(large),
        "core hours without looking for faces (floor)": hours(mixed, "floor_core_seconds_an_image"),
        **{f"hours on {cores:,} cores": on(cores) for cores in CORES},
        "source, TB": lambda faces: faces * mixed["source_bytes_an_image"] / 1e12,
        "source as 1024-pixel JPEGs, TB": lambda faces: faces * large["source_bytes_an_image"] / 1e12,
        "manifest, TB": lambda faces: faces * sizes["parquet_bytes_a_row"] / 1e12,
        "parts": parts,
        "files in the folder": lambda faces: 2 * parts(faces),
        "manifest.json, MB": lambda faces: parts(faces) * sizes["manifest_json_bytes_a_part"] / 1e6,
        "listing the source and dealing parts, core hours": lambda faces: faces * tree["core_seconds_a_file"] / 3600,
        "listing the source and dealing parts, GB of memory": lambda faces: faces * tree["memory_bytes_a_file"] / 1e9,
        "sealing, hours of one core": lambda faces: faces * sizes["seal_core_seconds_a_row"] / 3600,
        "sealing, GB of memory": lambda faces: faces * DIGEST_BYTES / 1e9,
        "all columns in memory, GB": lambda faces: faces * sizes["frame_bytes_a_row"] / 1e9,
        "near-duplicate search, hours of one core": lambda faces: faces * near["seconds"] / near["hashes"] / 3600,
        "near-duplicate search, GB of memory": lambda faces: faces * near["peak_mib_added"] / near["hashes"] / 953.7,
    }


def growth(measured: Measured) -> Table:
    """One row a cost, one column a number of faces."""
    columns = (Column("cost", "cost", "text"), *(Column(name, name, "text") for name in SCENARIOS))
    rows = [
        {"cost": name, **{scenario: amount(cost(faces)) for scenario, faces in SCENARIOS.items()}}
        for name, cost in costs(measured).items()
    ]
    return Table("What it costs", columns, rows)


def limits(measured: Measured) -> Table:
    """At how many faces each thing becomes too much, the first first."""
    known = costs(measured)
    limit = {
        "all columns in memory, GB": (HOST_GB, "a host of 64 GB"),
        "listing the source and dealing parts, GB of memory": (HOST_GB, "a host of 64 GB"),
        "sealing, GB of memory": (HOST_GB, "a host of 64 GB"),
        "near-duplicate search, GB of memory": (HOST_GB, "a host of 64 GB"),
        "manifest.json, MB": (OPEN_MB, "100 MB read by every command"),
        "files in the folder": (FOLDER_FILES, "a million files in one folder"),
        "sealing, hours of one core": (SEAL_HOURS, "a day on one core"),
        "listing the source and dealing parts, core hours": (SEAL_HOURS, "a day on one core"),
    }
    rows = [{"cost": name, "limit": why, "faces": most / known[name](1)} for name, (most, why) in limit.items()]
    rows.sort(key=lambda row: float(str(row["faces"])))
    shown = [{**row, "faces": f"{float(str(row['faces'])) / 1e6:,.0f} million"} for row in rows]
    columns = (Column("cost", "what", "text"), Column("limit", "too much is", "text"), Column("faces", "at", "text"))
    return Table("What breaks first", columns, shown)


def report(measured: Measured) -> str:
    """Both tables as Markdown."""
    return "\n".join(render(table, "markdown") for table in (growth(measured), limits(measured)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder with the measured JSON files")
    sys.stdout.write(report(load(parser.parse_args().results)))


if __name__ == "__main__":
    main()
