"""Profiles kept in a file as they are made, so that a long table goes on where it was."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.core.files import content_hash, read_json, sha256_file, write_json
from dfad_bench.core.registry import model_class
from dfad_bench.engine.profile import Profile


class KeptProfiles:
    """A JSON file of profiles; those of other settings or of another source file of the model are made again.

    Args:
        path: the file; need not be there.
        settings: plain values under which profiles were, or are to be, made.

    Raises:
        ConfigError: the file holds something else.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self._path, self._settings = path, dict(settings)
        self._models: dict[str, dict[str, Any]] = {}
        if not path.exists():
            return
        try:
            found = read_json(path)
        except (DFADError, ValueError, OSError) as error:
            raise self._foreign_file(str(error).splitlines()[0]) from error
        if not isinstance(found, dict) or not isinstance(found.get("models"), dict) or "settings" not in found:
            raise self._foreign_file("no settings and models in it")
        if found["settings"] == self._settings:
            self._models = found["models"]

    def get(self, name: str) -> Profile | None:
        """The profile of a model, if it was made so.

        Raises:
            ConfigError: the file was changed by hand.
        """
        kept = self._models.get(name)
        if not isinstance(kept, dict) or kept.get("code") != _code_hash(name):
            return None
        if not isinstance(row := kept.get("profile"), dict):
            raise self._foreign_file(f"model {name} has no profile")
        return Profile.of_row(row, f"{self._path}: {name}")

    def add(self, profile: Profile) -> None:
        """Keep a profile, at once."""
        self._models[profile.model] = {"code": _code_hash(profile.model), "profile": profile.row()}
        write_json(self._path, {"settings": self._settings, "models": self._models})

    def _foreign_file(self, why: str) -> ConfigError:
        return ConfigError(f"{self._path}: not a file of profiles ({why}); give a new one to --out")


def _code_hash(name: str) -> str:
    """Of the model's name and the file it is defined in."""
    source = inspect.getsourcefile(model_class(name))
    return content_hash([name, sha256_file(Path(source)) if source else None])
