"""Tensors of a TorchScript archive, as its `state_dict()` has them, without running or compiling anything in it.

An archive is a zip file: `data.pkl` pickles the root module (attributes, no code), `data/N` are the storages of its
tensors, `code/` is the text of its methods. The pickle is read by an interpreter in Python that knows tensors and
plain modules only; of the text only the lists of parameters and buffers are looked at.
"""

from __future__ import annotations

import pickle
import re
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_LARGEST_PICKLE = 1 << 26
_LARGEST_CODE = 1 << 24
_DEEPEST, _MOST_NAMES = 64, 100_000
_CLASS = re.compile(r"^class (\w+)\(Module\):\n((?:  __\w+__ = .*\n)*)", flags=re.MULTILINE)
_STATE = re.compile(r"__(?:parameters|buffers)__ = \[(.*)\]")
_QUOTED = re.compile(r'"([^"]*)"')


class TorchScriptError(Exception):
    """The archive holds something else than modules and tensors; the text says what."""


def root_of(names: list[str]) -> str | None:
    """The folder inside a zip file that makes it a TorchScript archive; None where it is none."""
    pickles = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
    return next(
        (root for root in pickles if any(n.startswith(f"{root}code/") or n == f"{root}constants.pkl" for n in names)),
        None,
    )


def read_tensors(archive: zipfile.ZipFile, root: str) -> dict[str, torch.Tensor]:
    """Parameters and buffers of the module in an archive, by their dotted names.

    Args:
        archive: the open zip file.
        root: the folder in it, see `root_of`.

    Raises:
        TorchScriptError: what else the archive holds.
        Exception: whatever a damaged pickle or member leads to.
    """
    byte_order = f"{root}byteorder"
    if byte_order in archive.namelist() and archive.read(byte_order).decode() != sys.byteorder:
        raise TorchScriptError("was written on a machine of another byte order")
    member = archive.getinfo(f"{root}data.pkl")
    if member.file_size > _LARGEST_PICKLE:
        raise TorchScriptError(f"has a module description of {member.file_size >> 20} MB")
    module = _Reader(archive, root).load()
    if not isinstance(module, _Module):
        raise TorchScriptError("does not hold a module")
    return dict(_named_tensors(module, _declared_names(archive, root)))


class _Module:
    """A module's attributes; what class it was of is a name."""

    origin = ""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise TorchScriptError(f"has a state of its own form in {self.origin}")
        self.state = state


class _Reader(pickle._Unpickler):
    """The unpickler written in Python (the one in C reserves memory as the pickle says), with these globals only."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(BytesIO(archive.read(f"{root}data.pkl")))
        self.archive, self.root = archive, root
        self.storages: dict[str, torch.Tensor] = {}
        self.allowed_globals = _globals()

    def find_class(self, module: str, name: str) -> Any:
        """Stand-ins for the classes of the archive, tensors, lists; anything else is refused."""
        if module == "__torch__" or module.startswith("__torch__."):
            return type("Module", (_Module,), {"origin": f"{module}.{name}"})
        if (module, name) not in self.allowed_globals:
            raise TorchScriptError(f"refers to {module}.{name}")
        return self.allowed_globals[module, name]

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """A storage as a tensor of one dimension."""
        import torch

        _, dtype, key, _, count = pid
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or type(count) is not int:
            raise TorchScriptError("has a storage of an unknown form")
        if key not in self.storages:
            raw = bytearray(self.archive.read(f"{self.root}data/{key}"))
            if len(raw) != count * dtype.itemsize:
                raise TorchScriptError(f"has {len(raw)} bytes in data/{key}, not {count * dtype.itemsize}")
            self.storages[key] = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        return self.storages[key]


def _globals() -> dict[tuple[str, str], Any]:
    import torch

    dtypes = {
        "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
        "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
        "Bool": torch.bool,
    }  # fmt: skip
    found: dict[tuple[str, str], Any] = {("torch", f"{name}Storage"): dtype for name, dtype in dtypes.items()}
    lists = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")
    found |= {("torch.jit._pickle", name): list for name in lists}
    found["torch.jit._pickle", "restore_type_tag"] = _first_argument
    found["torch", "device"] = str
    found["collections", "OrderedDict"] = OrderedDict
    found["torch._utils", "_rebuild_tensor_v2"] = _tensor
    return found


def _first_argument(value: Any, *ignored: Any) -> Any:
    return value


def _tensor(storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *ignored: Any) -> Any:
    """A view of a storage, never larger than it."""
    view = storage.as_strided(size, stride, offset)  # refuses what lies outside of the storage
    if view.numel() > storage.numel():
        raise TorchScriptError("has a tensor that is larger than its storage")
    return view


def _declared_names(archive: zipfile.ZipFile, root: str) -> Callable[[str], set[str] | None]:
    """For a class, the names its text lists as parameters and buffers; None where there is no such text."""
    found: dict[str, set[str]] = {}
    left = _LARGEST_CODE
    for info in archive.infolist():
        if info.filename.startswith(f"{root}code/") and info.filename.endswith(".py"):
            left -= info.file_size
            if left < 0:
                raise TorchScriptError(f"has more than {_LARGEST_CODE >> 20} MB of code")
            module = info.filename.removeprefix(f"{root}code/").removesuffix(".py").replace("/", ".")
            for match in _CLASS.finditer(archive.read(info).decode(errors="replace")):
                listed = " ".join(_STATE.findall(match[2]))
                found[f"{module}.{match[1]}"] = set(_QUOTED.findall(listed))
    return found.get


def _named_tensors(module: _Module, declared: Callable[[str], set[str] | None]) -> Iterator[tuple[str, torch.Tensor]]:
    import torch

    waiting, count = [("", module, 0)], 0
    while waiting:
        prefix, part, depth = waiting.pop()
        own = declared(part.origin)
        for name, value in getattr(part, "state", {}).items():
            count += 1
            if count > _MOST_NAMES or depth > _DEEPEST:  # also of modules that hold themselves
                raise TorchScriptError(f"has more than {_MOST_NAMES} names, or {_DEEPEST} modules inside each other")
            if isinstance(value, _Module):
                waiting.append((f"{prefix}{name}.", value, depth + 1))
            elif isinstance(value, torch.Tensor) and (own is None or name in own):
                yield f"{prefix}{name}", value
