"""Generators enrolled in a run: embeddings of a few faces each, made by its weights, under a name.

    RUN/galleries/NAME.parquet   logits and embeddings, as `core.run_outputs` keeps them
    RUN/galleries/NAME.json      the hash of that file, of the weights that made it, and how many faces there are

Read as from outside: names, numbers of files and of faces are bounded, and other weights are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dfad_bench.core.errors import ConfigError, IntegrityError, quoted
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_outputs import Outputs, read_outputs, write_outputs
from dfad_bench.core.strict import from_mapping

MOST_FACES = 10_000  # of a generator
MOST_GALLERIES = 1_000  # of a run
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class GalleryFacts:
    """What is stated of an enrolled generator."""

    name: str
    sha256: str
    checkpoint_sha256: str | None
    faces: int


def check_gallery_name(name: str) -> str:
    """A name that a generator may be enrolled by.

    Raises:
        ConfigError: not one.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--name {quoted(name)}: 1 to 64 letters, digits, dots, dashes and underscores")
    return name


def write_gallery(files: RunFolder, name: str, outputs: Outputs, checkpoint_sha256: str | None) -> Path:
    """Enrol a generator; one of that name that was there is replaced. Returns the file of embeddings.

    Raises:
        ConfigError: no such name, or more faces than a gallery holds.
    """
    if not 1 <= len(outputs) <= MOST_FACES:
        raise ConfigError(f"{len(outputs)} faces to enrol; 1 to {MOST_FACES:,} can be")
    path = files.gallery(check_gallery_name(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"name": name, "checkpoint_sha256": checkpoint_sha256, "faces": len(outputs)}
    write_json(path.with_suffix(".json"), {**facts, "sha256": write_outputs(path, outputs)})
    return path


def read_galleries(files: RunFolder, checkpoint_sha256: str | None) -> dict[str, Outputs]:
    """Every generator enrolled in a run, by name.

    Args:
        files: of the run.
        checkpoint_sha256: hash of its weights; embeddings of others cannot be compared.

    Raises:
        IntegrityError: damaged, changed, or made by other weights; too many or too large.
    """
    found: dict[str, Outputs] = {}
    paths = files.galleries()
    if len(paths) > MOST_GALLERIES:
        raise IntegrityError(
            f"{paths[0].parent}: {len(paths)} generators are enrolled, at most {MOST_GALLERIES} can be"
        )
    for path in paths:
        facts = from_mapping(GalleryFacts, read_json(path), str(path))
        if not _NAME.fullmatch(facts.name) or path.stem != facts.name:
            raise IntegrityError(f"{path}: not the gallery of {quoted(facts.name)}")
        if facts.checkpoint_sha256 != checkpoint_sha256:
            raise IntegrityError(f"{path}: made by other weights than the run has now; enrol {facts.name} again")
        outputs = read_outputs(files.gallery(facts.name), facts.sha256)
        if not 1 <= len(outputs) <= MOST_FACES or len(outputs) != facts.faces:
            raise IntegrityError(f"{path}: states {facts.faces} faces, and {len(outputs)} are there")
        found[facts.name] = outputs
    return found
