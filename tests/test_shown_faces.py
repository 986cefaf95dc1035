"""Whose faces may be shown."""

from __future__ import annotations

from pathlib import Path

from dfad_bench.api.manifests import open_manifest
from dfad_bench.api.shown_faces import shows_faces
from dfad_bench.core.resources import include
from dfad_bench.ingest.sources.spec import dataset_names, load_dataset_spec


def test_only_drawn_faces_are_shown_among_the_shipped_datasets() -> None:
    shown = {name for name in dataset_names() if load_dataset_spec(name).show_faces}
    assert shown == {"synthetic", "synthetic-outdoor", "synthetic-unseen"}


def test_a_manifest_follows_the_file_it_was_built_by(tiny_manifests: tuple[Path, Path], tmp_path: Path) -> None:
    manifest = open_manifest(tiny_manifests[0])
    assert shows_faces(manifest)
    manifest.info["dataset"]["sha256"] = "0" * 64  # another file of that name
    assert not shows_faces(manifest)
    manifest.info["dataset"]["name"] = "not-known-here"
    assert not shows_faces(manifest)


def test_what_may_be_shown_does_not_change_which_rows_there_are(tmp_path: Path) -> None:
    text = "name: mine\nversion: 1\ntitle: Mine\nlicence: own\nlayout: folders\n"
    text += 'entries: [{path: "{generator}/{identity}.{ext}"}]\ngenerators: {real: real}\n'
    hashes = set()
    for shown in (False, True):
        folder = tmp_path / str(shown) / "datasets"
        folder.mkdir(parents=True)
        (folder / "mine.yaml").write_text(text + f"show_faces: {str(shown).lower()}\n")
        with include(folder.parent):
            hashes.add(load_dataset_spec("mine").sha256)
    assert len(hashes) == 1
