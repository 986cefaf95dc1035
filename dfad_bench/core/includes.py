"""Reading every file of the included folders at once, as the commands would one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dfad_bench.core.errors import DFADError
from dfad_bench.core.registry import resolve
from dfad_bench.core.resources import included

# what reads a file of the layout of `resources`: folders by name of the file, tables as a whole
READERS = {
    "taxonomy.yaml": "dfad_bench.core.taxonomy:taxonomy",
    "corruptions.yaml": "dfad_bench.data.corruptions.spec:corruptions",
    "weights.yaml": "dfad_bench.core.weights:weight_files",
    "crops": "dfad_bench.ingest.crop.cropper:load_crop_profile",
    "datasets": "dfad_bench.ingest.sources.spec:load_dataset_spec",
    "prompts": "dfad_bench.data.prompts:load_prompts",
    "protocols": "dfad_bench.core.protocol:load_protocol",
    "recipes": "dfad_bench.core.recipe:load_recipe",
    "reported": "dfad_bench.report.reported:load_table",
}


@dataclass(frozen=True)
class IncludedFile:
    """One file of an included folder; `problem` says what is wrong with it, and is empty where nothing is."""

    path: Path
    problem: str


def check_included() -> Iterator[IncludedFile]:
    """Read every included file with the checks its command makes.

    Raises:
        ConfigError: a folder is missing or not of the layout; nothing of it can be read then.
    """
    for folder in included():
        if folder.is_file():
            yield IncludedFile(folder, _problem("datasets", (folder.stem,)))
        for place in READERS:
            table = place.endswith(".yaml")
            for path in [folder / place] if table else sorted((folder / place).glob("*.yaml")):
                if path.is_file():
                    yield IncludedFile(path, _problem(place, () if table else (path.stem,)))


def _problem(place: str, arguments: tuple[str, ...]) -> str:
    try:
        resolve("place", place, READERS)(*arguments)
    except DFADError as error:
        return str(error)
    return ""
