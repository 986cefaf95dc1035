"""What runs are called side by side, in legends and tables: by their model, not by their folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dfad_bench.core.record import ResultRecord


def run_labels(records: Sequence[ResultRecord], folders: Sequence[Path]) -> list[str]:
    """A label for each run, all different: the model's name, its seed where that is needed, its folder where that is.

    Args:
        records: of the runs.
        folders: of the same runs.
    """
    names = [record.model.display or record.model.name for record in records]
    seeded = [f"{name}, seed {record.run.seed_text}" for name, record in zip(names, records, strict=True)]
    with_folder_name = [f"{label} ({folder.resolve().name})" for label, folder in zip(seeded, folders, strict=True)]
    labels = []
    for place, folder in enumerate(folders):
        choices = (names, seeded, with_folder_name)
        own = next((some[place] for some in choices if some.count(some[place]) == 1), f"{seeded[place]} ({folder})")
        labels.append(own)
    return labels


def mean_label(records: Sequence[ResultRecord], used_labels: Sequence[str] = ()) -> str:
    """A label for the mean of several seeds; it names them where another mean is called so already."""
    name = records[0].model.display or records[0].model.name
    label = f"{name}, mean of {len(records)} seeds"
    if label not in used_labels:
        return label
    return f"{name}, mean of seeds {', '.join(record.run.seed_text for record in records)}"
