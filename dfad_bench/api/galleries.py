"""New generators enrolled in a finished run from a few faces, and faces named by what it knows then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfad_bench.api.manifests import open_manifest
from dfad_bench.api.runs import Run, folder_of
from dfad_bench.api.views import provide_views, views_of_run
from dfad_bench.core.errors import ConfigError, UnknownNameError, quoted
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_galleries import MOST_FACES, check_gallery_name, read_galleries, write_gallery
from dfad_bench.core.run_outputs import Outputs, read_outputs, require_outputs
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.config import read_config
from dfad_bench.engine.load import LoadedRun, trained_protocol
from dfad_bench.engine.loose_faces import EmbeddedFaces, embed_faces
from dfad_bench.report.open_world.gallery_table import Prototypes, enrolled_table, named_table
from dfad_bench.report.open_world.namer import CLASSIFIERS, Classifier
from dfad_bench.report.table import Table

Faces = Path | str | Manifest
EVERY = "all"  # enrolled generators


@dataclass(frozen=True)
class FacesOfRun:
    """What became of loose faces: a table, files that were refused and why, and what a reader must know."""

    table: Table = field(repr=False)
    refused: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    path: Path | None = None  # the gallery that was written


def enroll(
    run: Run, faces: Faces, name: str, *, classifier: Classifier = "prototype", device: str = "auto",
    views: Mapping[str, Mapping[str, Any]] | None = None, progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> FacesOfRun:  # fmt: skip
    """Enrol a generator in a finished run from a few of its faces, without training; `identify` knows it then.

    Args:
        run: its folder, or the loaded run.
        faces: a folder of pictures that are face crops, or a manifest (folder or open).
        name: of the generator; one that was enrolled by this name is replaced.
        classifier: by which the table says what enrolling did; what is kept serves both. "prototype": the nearest
            mean; "knn": most of the nearest faces.
        device: where to compute.
        views: settings of the views the model needs, where they are not those it was trained with.
        progress: shows predicting.

    Raises:
        ConfigError: no such run or faces, a name that cannot be one, or a run that kept no outputs.
    """
    folder = folder_of(run)
    check_gallery_name(name)
    _check_classifier(classifier)
    known = _outputs(folder, "training", required=True)
    assert known is not None
    made = _embedded(folder, faces, device, views, progress)
    if name in made.run.generators:
        raise ConfigError(f"--name {quoted(name)}: a class the run was trained on")
    path = write_gallery(RunFolder(folder), name, made.outputs, _checkpoint(made.run))
    table = enrolled_table(name, made.outputs, known, made.run.generators, _outputs(folder, "test"), classifier)
    return FacesOfRun(table, made.refused, made.warnings, path)


def identify(
    run: Run, faces: Faces, *, classifier: Classifier = "prototype", device: str = "auto",
    views: Mapping[str, Mapping[str, Any]] | None = None, progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> FacesOfRun:  # fmt: skip
    """Name faces by what a finished run knows: a seen class, an enrolled generator, or unseen.

    Arguments as of `enroll`.

    Raises:
        ConfigError: no such run or faces, or a run that kept no outputs.
        IntegrityError: a gallery that was changed, or made by other weights.
    """
    folder = folder_of(run)
    _check_classifier(classifier)
    known = _outputs(folder, "training", required=True)
    assert known is not None
    made = _embedded(folder, faces, device, views, progress)
    enrolled = read_galleries(RunFolder(folder), _checkpoint(made.run))
    table = named_table(
        made.outputs, made.names, known, made.run.generators, enrolled, _outputs(folder, "validation"), classifier
    )  # fmt: skip
    return FacesOfRun(table, made.refused, made.warnings)


def gallery_of_run(run: Run, checkpoint_sha256: str | None, names: Sequence[str]) -> Prototypes:
    """The classes of a run and generators enrolled in it, to name faces by.

    Args:
        run: its folder, or the loaded run.
        checkpoint_sha256: hash of its weights.
        names: of enrolled generators; `EVERY` for all.

    Raises:
        ConfigError: no such generator, or a run that kept no outputs.
        IntegrityError: a gallery that was changed, or made by other weights.
    """
    folder = folder_of(run)
    known = _outputs(folder, "training", required=True)
    assert known is not None
    enrolled = read_galleries(RunFolder(folder), checkpoint_sha256)
    if absent := [name for name in names if name not in enrolled and name != EVERY]:
        raise UnknownNameError("enrolled generator", absent[0], enrolled, f" `dfad enroll --run {folder}` adds one.")
    chosen = {name: one for name, one in enrolled.items() if EVERY in names or name in names}
    if not chosen:
        raise ConfigError(f"{folder}: no generator is enrolled; `dfad enroll --run {folder}` adds one")
    classes = sorted(trained_protocol(RunFolder(folder)).seen, key=lambda group: group.label)
    return Prototypes.of(known, [group.generator for group in classes], chosen)


def _check_classifier(name: str) -> None:
    if name not in CLASSIFIERS:
        raise ConfigError(f"no classifier {quoted(name)}; one of {', '.join(CLASSIFIERS)}")


def _embedded(
    folder: Path, faces: Faces, device: str, views: Mapping[str, Mapping[str, Any]] | None, progress: Progress
) -> EmbeddedFaces:
    """The faces by the run's weights; a folder with a `manifest.json` is a manifest."""
    is_manifest = isinstance(faces, Manifest) or (Path(faces) / "manifest.json").is_file()
    if not is_manifest:
        return embed_faces(folder, Path(str(faces)), device=device, most=MOST_FACES, progress=progress)
    opened = open_manifest(faces)
    asked = views_of_run(read_config(folder).views, views or {})
    provider = provide_views([opened], asked, device, progress)
    return embed_faces(folder, opened, device=device, views=provider, most=MOST_FACES, progress=progress)


def _outputs(folder: Path, part: str, *, required: bool = False) -> Outputs | None:
    """Outputs of a part of a run, None where it kept none."""
    from dfad_bench.core.run_facts import read_facts

    files = RunFolder(folder)
    stated = read_facts(files.facts)["run"].get("files", {})
    path = files.outputs(part)
    if not required and (path.name not in stated or not path.is_file()):
        return None
    require_outputs(path, stated, "enrolment")
    return read_outputs(path, stated[path.name])


def _checkpoint(run: LoadedRun) -> str | None:
    """The hash of the weights a run has."""
    from dfad_bench.engine.checkpoint import read_finished

    return str(read_finished(RunFolder(run.folder).checkpoint.path)["sha256"])
