"""What a weight file holds, read without running code; or one line that says which of many other things it is."""

from __future__ import annotations

import json
import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import WeightsError, cut, listed, quoted
from dfad_bench.core.torchscript import TorchScriptError, read_tensors, root_of

_HEAD = 1024  # bytes that show what a file is
_SLACK = 1 << 28  # what members of a zip file may hold beyond the file's size: code is compressed, tensors are not
_LARGEST_HEADER = 100 << 20  # of safetensors, by its specification
_LFS = b"version https://git-lfs.github.com/"
_HTML = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<(?:!doctype\s+html|html|head|body|script|!--)", flags=re.IGNORECASE)
_ARCHIVES = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR"}
_GLOBAL = re.compile(r"GLOBAL ([^\s\x1b]+)")
_AGAIN = "get the file again"
_CUT = ("unexpected eof", "ran out of input", "truncated", "index out of range", "unpack requires")  # torch's words


def read_content(path: Path) -> Any:
    """What is in a safetensors file, a PyTorch file or a TorchScript archive (its parameters and buffers).

    Nothing of PyTorch's is printed.

    Raises:
        WeightsError: no such file, or what it is instead: a folder, a Git LFS pointer, a web page, a text, an archive,
            a file that was cut short or damaged, or one that needs code to be run, with the name of that code.
    """
    head = refuse_stand_ins(path)
    if cause := _other_cause(head):
        raise _unreadable(path, cause)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".safetensors" or head[8:10] == b'{"':
            return _safetensors(path)
        return _zip_file(path) if head.startswith(b"PK\x03\x04") else _pickles(path)


def refuse_stand_ins(path: Path) -> bytes:
    """The first bytes of a file, of whatever format, that is not what people often have in its place.

    Raises:
        WeightsError: no such file; a folder, a Git LFS pointer or a web page, and what to do.
    """
    try:
        if path.is_dir():
            raise _unreadable(path, f"it is a folder{_files_to_name(path)}")
        if path.exists() and not path.is_file():
            raise _unreadable(path, "it is no regular file")
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such weight file") from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, f"it cannot be opened ({getattr(error, 'strerror', error)})") from error
    if head.startswith(_LFS):
        size = re.search(rb"^size (\d{1,15})$", head, flags=re.MULTILINE)
        whole = f" of {int(size[1]):,} bytes" if size else ""
        cause = f"it is a Git LFS pointer, not the file{whole} itself; run `git lfs pull` in its repository"
        raise _unreadable(path, cause)
    if _HTML.match(head):
        cause = "it is a web page, not the file; its link asks for a log-in or a confirmation: save it from a browser"
        raise _unreadable(path, cause)
    return head


def _other_cause(head: bytes) -> str | None:
    """What a file is that begins like this; None where it may hold weights."""
    if not head:
        return f"it is empty; {_AGAIN}"
    kind = next((kind for start, kind in _ARCHIVES.items() if head.startswith(start)), None)
    if kind is None and head[257:262] == b"ustar":
        kind = "tar"
    if kind is not None:
        return f"it is a {kind} archive; unpack it and give the file inside"
    if head.startswith(b"\x89HDF"):
        return "it is an HDF5 file (Keras); a PyTorch or safetensors file is needed"
    text = head.decode(errors="ignore")
    if len(text.encode()) >= len(head) - 3 and all(char.isprintable() or char in "\t\r\n" for char in text):
        first = next((line.strip() for line in text.splitlines() if line.strip()), "")
        return f"it is a text, which begins with {first[:60]!r}; {_AGAIN}"
    return None


def _files_to_name(folder: Path) -> str:
    """Which files of a folder to name instead, as the end of a sentence."""
    if (folder / "data.pkl").is_file():
        return ", a PyTorch file that was unpacked like a zip archive; get the file again and leave it packed"
    endings = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
    names = sorted(entry.name for entry in folder.iterdir() if entry.suffix in endings and entry.is_file())
    return f"; name a file in it ({listed(names, 3)})" if names else " without weight files"


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # also of tensors that torch cannot make
        size, whole = path.stat().st_size, _safetensors_size(path)
        if whole is not None and size < whole:
            raise _unreadable(path, f"it was cut short, {size:,} of {whole:,} bytes are there; {_AGAIN}") from error
        kind = "not a safetensors file, or damaged" if isinstance(error, SafetensorError) else type(error).__name__
        raise _unreadable(path, f"it is {kind}; {_AGAIN}") from error


def _safetensors_size(path: Path) -> int | None:
    """How many bytes a safetensors file should have by its header; None where it does not say."""
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            return 8
        (length,) = struct.unpack("<Q", start)
        if length > _LARGEST_HEADER:
            return None
        header = file.read(length)
    if len(header) < length:
        return 8 + int(length)
    try:
        ends = [entry["data_offsets"][1] for name, entry in json.loads(header).items() if name != "__metadata__"]
        return 8 + int(length) + max(map(int, ends), default=0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _zip_file(path: Path) -> Any:
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if not any(name.endswith("/data.pkl") for name in names):
                raise _unreadable(path, "it is a zip archive of other files; unpack it and give the file inside")
            if sum(info.file_size for info in archive.infolist()) > size + _SLACK:
                raise _unreadable(path, f"it is damaged (it claims to hold more than its own size); {_AGAIN}")
            if broken := archive.testzip():  # PyTorch does not look at the checksums
                raise _unreadable(path, f"it is damaged (the checksum of {quoted(broken)} differs); {_AGAIN}")
            if (root := root_of(names)) is not None:
                return _torchscript(path, archive, root)
    except zipfile.BadZipFile as error:
        raise _unreadable(path, f"it was cut short after {size:,} bytes, or damaged; {_AGAIN}") from error
    except WeightsError:
        raise
    except Exception as error:  # zipfile raises what its parts do: zlib.error, UnicodeDecodeError of a name, ...
        raise _unreadable(path, f"it is damaged ({type(error).__name__}); {_AGAIN}") from error
    return _pickles(path)


def _torchscript(path: Path, archive: zipfile.ZipFile, root: str) -> Any:
    safe = "take the same weights as safetensors or as a plain state dict"
    try:
        return read_tensors(archive, root)
    except TorchScriptError as error:
        raise _unreadable(path, f"it is a TorchScript archive that {cut(str(error))}; {safe}") from error
    except Exception as error:  # a damaged or hostile pickle raises anything
        kind = type(error).__name__
        raise _unreadable(path, f"it is a TorchScript archive of an unknown form ({kind}); {safe}") from error


def _pickles(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        text, size = str(error), path.stat().st_size
        named = _GLOBAL.search(text)
        if named and not _ends_with(path, named[1]):
            code = cut(named[1].rstrip("."))
            cause = f"it needs {code}, code that is not run here; where you trust it, save its state dict alone"
        elif "unsupported persistent id" in text.lower() or "unsafe class" in text.lower():
            cause = "it holds objects, not tensors alone; where you trust it, save its state dict alone"
        elif (
            named
            or isinstance(error, EOFError)
            or (not isinstance(error, pickle.UnpicklingError) and any(word in text.lower() for word in _CUT))
        ):
            cause = f"it was cut short after {size:,} bytes, or damaged; {_AGAIN}"
        else:
            cause = f"it is neither a PyTorch nor a safetensors file, or damaged ({type(error).__name__}); {_AGAIN}"
        raise _unreadable(path, cause) from error


def _ends_with(path: Path, name: str) -> bool:
    """Whether a file ends within a global's name, which a whole pickle never does.

    torch takes the last byte of a line for its end, so a name that ends with the file lacks its last character.
    """
    start = name.encode().rstrip(b".")
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(start) - 2))
        end = file.read().replace(b"\n", b".").rstrip(b".")
    return end.endswith(start) or end[:-1].rstrip(b".").endswith(start)


def _unreadable(path: Path, cause: str) -> WeightsError:
    return WeightsError(f"{path}: not readable as weights: {cause}")
