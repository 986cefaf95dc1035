"""What there is to choose from."""

from __future__ import annotations


def list_models() -> list[str]:
    """Names of all models: ours and those of other distributions (entry points `dfad_bench.models`)."""
    from dfad_bench.core.registry import model_names

    return model_names()


def list_protocols() -> list[str]:
    """Names of all protocols."""
    from dfad_bench.core.protocol import protocol_names

    return protocol_names()


def list_datasets() -> list[str]:
    """Names of all datasets whose layout is known."""
    from dfad_bench.core.resources import yaml_names

    return yaml_names("manifests", "datasets")
