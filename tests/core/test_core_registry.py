"""Names point at "module:attribute"; a wrong name, a double name and a hiding package are told apart."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from dfad_bench.core import registry
from dfad_bench.core.errors import (
    DFADError,
    MissingDependencyError,
    ShadowedPackageError,
    UnknownNameError,
    need,
)


@pytest.fixture(autouse=True)
def fresh_table() -> object:
    registry.model_table.cache_clear()
    yield
    registry.model_table.cache_clear()


def test_every_entry_names_a_module_and_a_class() -> None:
    for name, where in registry.model_table().items():
        assert name == name.lower()
        module, _, attribute = where.partition(":")
        assert module.split(".")[0] in ("baselines", "gazeclip")
        assert attribute.isidentifier()


def test_resolve_imports_on_use() -> None:
    assert registry.resolve("thing", "join", {"join": "posixpath:join"}).__name__ == "join"


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no model named 'xcepton'\. Did you mean xception\?"):
        registry.model_class("xcepton")
    with pytest.raises(UnknownNameError, match=r"no thing named 'q'\. Known: a, b\."):
        registry.resolve("thing", "q", {"b": "", "a": ""})


def test_package_without_a_table_is_an_impostor(monkeypatch: pytest.MonkeyPatch) -> None:
    impostor = ModuleType("baselines")
    impostor.__file__ = "/elsewhere/baselines/__init__.py"
    monkeypatch.setitem(sys.modules, "baselines", impostor)
    with pytest.raises(
        ShadowedPackageError, match="'baselines' at /elsewhere/baselines/__init__.py is not dfad_bench's"
    ):
        registry.model_table()


def test_folder_of_the_same_name_is_an_impostor(tmp_path: Path) -> None:
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "__init__.py").touch()
    code = "import sys; sys.path.insert(0, '.'); from dfad_bench.core.registry import model_names; model_names()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "ShadowedPackageError" in done.stderr
    assert str(tmp_path / "baselines") in done.stderr


def test_models_of_other_distributions_join(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = EntryPoint("my_model", "my_package:Model", "dfad_bench.models")
    monkeypatch.setattr(registry, "entry_points", lambda group: [mine])
    assert registry.model_table()["my_model"] == "my_package:Model"
    assert "my_model" in registry.model_names()


def test_a_name_registered_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    second = EntryPoint("xception", "my_package:Xception", "dfad_bench.models")
    monkeypatch.setattr(registry, "entry_points", lambda group: [second])
    with pytest.raises(DFADError, match="'xception' is registered twice"):
        registry.model_table()


def test_other_tables_take_entry_points_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def found(group: str) -> list[EntryPoint]:
        asked.append(group)
        return [EntryPoint("own", "my_package:Own", group)]

    monkeypatch.setattr(registry, "entry_points", found)
    assert registry.with_entry_points("thing", {"a": "b:c"}, "some.group") == {"a": "b:c", "own": "my_package:Own"}
    assert asked == ["some.group"]
    with pytest.raises(DFADError, match="thing 'own' is registered twice: d:e and my_package:Own"):
        registry.with_entry_points("thing", {"own": "d:e"}, "some.group")


def test_missing_package_says_what_to_install() -> None:
    with pytest.raises(MissingDependencyError, match="drawing needs nothing-there: pip install nothing-there"):
        need("no_such_module", "nothing-there", "drawing")
    assert need("json", "json", "tests").__name__ == "json"
