"""Reading large shipped tables four times as fast, by libyaml where PyYAML has it.

Files of others are read by `core.strict` alone, whose parser is the one that its tests attack. A test reads every
shipped file both ways.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.strict import StrictRules, read_yaml


def read_shipped_yaml(path: Path) -> Any:
    """The plain data of a shipped YAML file, equal to what `read_yaml` returns.

    Raises:
        ConfigError: not readable (a broken installation).
    """
    if not yaml.__with_libyaml__:
        return read_yaml(path, unicode_only=True)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_quick_loader())  # built on a SafeConstructor
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({' '.join(str(error).split())[:300]}); reinstall dfad-bench"
        ) from error


def _quick_loader() -> Any:
    from yaml._yaml import CParser

    class QuickLoader(StrictRules, CParser):
        """libyaml's events under the rules of `core.strict`."""

        def __init__(self, stream: str | bytes | IO[Any]) -> None:
            CParser.__init__(self, stream)
            StrictRules.__init__(self)  # of the composer
            SafeConstructor.__init__(self)
            Resolver.__init__(self)

    return QuickLoader
