"""A folder of pictures that a call writes, one by one and each whole; it takes no folder that holds other files."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.core.files import atomic_path, read_json, sweep_temporaries, write_json

if TYPE_CHECKING:
    from PIL import Image

MARKER = "dfad-predict.json"  # says that the folder is of such a call
_LONGEST = 60  # letters of a name
_QUALITY = 90  # of JPEG


@dataclass(frozen=True)
class PictureFolder:
    """An open folder; make it by `open_folder`."""

    path: Path

    def target(self, number: int, name: str, frame: int | None, suffix: str) -> Path:
        """Where the picture of an input goes: by its number, which is its own, and letters of its name."""
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(name).stem)[:_LONGEST].strip("_") or "picture"
        end = "" if frame is None else f"-frame{frame:06d}"
        return self.path / f"{number:07d}-{stem}{end}.{suffix}"

    def write(self, picture: Image.Image, number: int, name: str, frame: int | None = None) -> Path:
        """Write a picture: PNG where its input is one, else JPEG; neither holds metadata of the input.

        Raises:
            DFADError: it cannot be written.
        """
        lossless = name.lower().endswith((".png", ".bmp", ".tif", ".tiff"))
        path = self.target(number, name, frame, "png" if lossless else "jpg")
        try:
            with atomic_path(path) as temporary:
                if lossless:
                    picture.save(temporary, "PNG", optimize=True)
                else:
                    picture.save(temporary, "JPEG", quality=_QUALITY)
        except OSError as error:
            raise DFADError(f"{path}: cannot be written ({error.strerror or error})") from error
        return path


def open_folder(path: Path, what: str) -> PictureFolder:
    """A new or empty folder, or one that an earlier call made for the same.

    Args:
        path: of the folder.
        what: is written there, one word.

    Raises:
        ConfigError: it holds other files, or cannot be made.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        begun = f".{Path(MARKER).stem}."  # the marker another call is writing at this moment
        names = {entry.name for entry in path.iterdir() if not entry.name.startswith(begun)}
        if not names:
            write_json(path / MARKER, {"holds": what})
            return PictureFolder(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written to ({error.strerror or error})") from error
    stated = read_json(path / MARKER) if MARKER in names else None
    if not isinstance(stated, dict) or stated.get("holds") != what:
        raise ConfigError(f"{path}: holds other files; name a new or empty folder for {what} pictures")
    with suppress(OSError):  # a folder that cannot be changed says so at the first picture
        sweep_temporaries(path)  # of calls that were killed
    return PictureFolder(path)
