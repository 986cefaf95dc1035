"""Manifests without pictures: written, built again by whoever has the release, and compared face by face."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.api.manifests import open_manifest
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.manifest import Manifest
from dfad_bench.sharing.hash_manifest import (
    GOOD,
    MEANING,
    HashComparison,
    HashList,
    asked_build,
    compare_hashes,
    read_hashes,
    write_hashes,
)  # fmt: skip

if TYPE_CHECKING:
    from dfad_bench.report.table import Table

_PACKAGES = ("facenet-pytorch", "numpy", "opencv-python", "pillow", "torch", "torchvision", "av")  # decide pixels
_EXAMPLES = 10


@dataclass(frozen=True)
class Rebuilt:
    """A manifest beside the list it was built from: a table of verdicts by generator, and every face's finding."""

    folder: Path
    table: Table
    comparison: HashComparison


def share_manifest(manifest: Path | str | Manifest, out: Path | str) -> HashList:
    """Write which faces a manifest holds, with labels and hashes and without pictures.

    Args:
        manifest: its folder, or the open manifest.
        out: new, empty, or such a list that is replaced.

    Raises:
        ManifestError: no such manifest.
        ConfigError: `out` holds something else, or a row tells of this machine.
    """
    return write_hashes(open_manifest(manifest), Path(out), _versions())


def rebuild_manifest(
    hashes: Path | str, out: Path | str, root: Path | str | None = None, *, workers: int | None = None,
    device: str = "cpu", progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> Rebuilt:  # fmt: skip
    """Build the manifest of a list from the release, unless it is there, and compare it face by face.

    Args:
        hashes: the folder of the list.
        out: the manifest; one that is there is compared only where `root` is None.
        root: the folder with the release.
        workers: processes, as of `build_manifest`.
        device: of the face detector.
        progress: shows the build.

    Raises:
        ConfigError: no such list, settings no build could have, or a dataset or crop profile that is not here.
        IntegrityError: the list is damaged, or `out` holds a build with other settings.
    """
    about, rows = read_hashes(Path(hashes))
    if root is not None:
        _build(about, Path(hashes), Path(root), Path(out), {"workers": workers, "device": device}, progress)
    manifest = open_manifest(out)
    if manifest.name != about.dataset["name"]:
        raise ConfigError(f"{out}: is of dataset {manifest.name}, the list of {about.dataset['name']}")
    found = compare_hashes(about, rows, manifest)
    return Rebuilt(manifest.folder, _comparison_table(found, about, manifest), found)


def _build(about: HashList, hashes: Path, root: Path, out: Path, how: dict[str, Any], progress: Progress) -> None:
    from dfad_bench.ingest.build import build_manifest
    from dfad_bench.ingest.settings import BuildSettings

    asked = asdict(asked_build(about, f"{hashes}: settings"))
    if asked["stride"] is not None:
        asked["frames"] = None
    build_manifest(str(about.dataset["name"]), root, out, BuildSettings(**asked, **how), progress=progress)


def _comparison_table(found: HashComparison, about: HashList, manifest: Manifest) -> Table:
    from dfad_bench.report.table import Column, Table

    verdicts = list(found.counts)
    columns = (Column("generator", "generator", "text"), *(Column(name, name, "count") for name in verdicts))
    by_generator: dict[str, dict[str, int]] = {}
    for finding in found.findings:
        counts = by_generator.setdefault(finding.generator, dict.fromkeys(verdicts, 0))
        counts[finding.verdict] += 1
    rows = [{"generator": name, **counts} for name, counts in sorted(by_generator.items())]
    bad = [each for each in found.findings if each.verdict not in GOOD]
    notes = [f"{name}: {MEANING[name]}" for name in verdicts if name != "same"]
    notes += [f"{each.where}: {each.verdict}" + (f" ({each.why})" if each.why else "") for each in bad[:_EXAMPLES]]
    notes += [f"... and {len(bad) - _EXAMPLES:,} more that differ"] if len(bad) > _EXAMPLES else []
    notes += found.notes
    mine = _versions()
    other = [f"{name} {mine.get(name)}, listed {theirs}" for name, theirs in about.packages.items()
             if mine.get(name) != theirs]  # fmt: skip
    notes += [f"other versions: {'; '.join(other)}"] if other and found.counts.keys() - {"same"} else []
    return Table(f"{manifest.name} ({manifest.folder}) beside the list", columns, rows, tuple(notes))


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
