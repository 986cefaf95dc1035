"""Weight files of gaze networks: recognising the network by the keys of a file, and loading it into a module.

Only tensors are unpickled (`core.weights.load_state_dict`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from dfad_bench.core.errors import WeightsError, listed
from dfad_bench.core.weights import load_state_dict, other_kinds

State = Mapping[str, Tensor]
_MOST_SHOWN = 4  # keys listed in an error


def _shape(state: State, key: str) -> tuple[int, ...]:
    return tuple(state[key].shape) if key in state else ()


def _has_prefix(state: State, prefix: str) -> bool:
    return any(key.startswith(prefix) for key in state)


# Family: its name in errors, and the test that recognises its published files. The first that fits counts.
FAMILIES: dict[str, tuple[str, Callable[[State], bool]]] = {
    "eth_xgaze": ("ETH-XGaze ResNet-50", lambda s: "gaze_fc.0.weight" in s and _has_prefix(s, "gaze_network.")),
    "puregaze": ("PureGaze", lambda s: "gazeEs.fc.weight" in s),
    "l2cs": ("L2CS-Net", lambda s: "fc_yaw_gaze.weight" in s),
    "mobilegaze": ("MobileGaze", lambda s: _has_prefix(s, "fc_yaw.")),
    "unigaze": ("UniGaze", lambda s: "gaze_fc.weight" in s and _has_prefix(s, "vit.")),
    "faze": ("FAZE", lambda s: _has_prefix(s, "encoder.initial") and _has_prefix(s, "gaze1.")),
    "faze_maml": ("FAZE's few-shot gaze layers", lambda s: "layer01.weights" in s and "layer02.weights" in s),
    "gazetr": ("GazeTR", lambda s: "cls_token" in s and _shape(s, "feed.weight") == (2, 32)),
    "gaze360": ("Gaze360", lambda s: _has_prefix(s, "lstm.") and _shape(s, "last_layer.weight")[:1] == (3,)),
    "eth_xgaze_resnet": (
        "ptgaze ResNet (ETH-XGaze)",
        lambda s: "layer1.0.conv1.weight" in s and _shape(s, "fc.weight") in ((2, 512), (2, 2048)),
    ),
    "imagenet_resnet": ("an ImageNet ResNet", lambda s: _shape(s, "fc.weight") in ((1000, 512), (1000, 2048))),
}


def family_of(state: State) -> str | None:
    """The family of `FAMILIES` whose keys these are; None where none fits.

    >>> import torch
    >>> family_of({"gazeEs.fc.weight": torch.zeros(2, 2048)})
    'puregaze'
    """
    return next((name for name, (_, fits) in FAMILIES.items() if fits(state)), None)


def read_family(path: Path, *expected: str) -> tuple[str, dict[str, Tensor]]:
    """Family and tensors of a weight file that must be of one of the `expected` families.

    Wrappers and prefixes are taken off (see `load_state_dict`).

    Raises:
        WeightsError: not readable, or of another family; says what was expected and what was found.
    """
    state = load_state_dict(path, lambda state: family_of(state) in expected)
    found = family_of(state)
    if found in expected:
        return str(found), state
    wanted = " or ".join(FAMILIES[name][0] for name in expected)
    inside = f"looks like {FAMILIES[found][0]}" if found else f"has {len(state)} tensors: {list_names(state)}"
    raise WeightsError(f"{path}: expected weights of {wanted}, but the file {inside}")


def tensors_without(state: State, *prefixes: str) -> dict[str, Tensor]:
    """The tensors whose keys begin with none of `prefixes`."""
    return {key: value for key, value in state.items() if not key.startswith(prefixes)}


def fill_module(module: nn.Module, state: State, path: Path, family: str) -> None:
    """Load `state` into `module`, every key of both used, in the module's own precision.

    The module uses the file's memory where the precision is the same, so it may be built on the device "meta".

    Raises:
        WeightsError: keys, shapes or kinds of numbers do not fit; names a few.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    extra = [key for key in state if key not in own]
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    problems = [
        f"{what}: {list_names(keys)}"
        for what, keys in (
            ("missing", missing),
            ("not known", extra),
            ("other shape", shapes),
            ("other numbers", other_kinds(state, own)),
        )
        if keys
    ]
    if problems:
        raise WeightsError(f"{path}: does not fit {FAMILIES[family][0]}; {'; '.join(problems)}")
    counters = {key: torch.zeros((), dtype=torch.int64) for key in own if key not in state}
    values = {key: value.to(own[key].dtype) for key, value in state.items()}
    module.load_state_dict({**counters, **values}, assign=True)  # assigned: the module may be on "meta"


def resnet_trunk(state: State) -> nn.Module:
    """The ResNet-18, 34 or 50 that `state` (keys `conv1.weight`, `layer1.0.conv1.weight`, ...) belongs to.

    Without its classifier, and on the device "meta": `fill_module` loads the values.
    """
    from torchvision import models

    deep = "layer3.5.conv1.weight" in state
    kind = "resnet50" if "layer1.0.conv3.weight" in state else "resnet34" if deep else "resnet18"
    with torch.device("meta"):
        trunk = models.get_model(kind, weights=None)
    trunk.fc = nn.Identity()
    return trunk


def resnet_features(state: State) -> int:
    """How many features `resnet_trunk(state)` gives."""
    return 2048 if "layer1.0.conv3.weight" in state else 512


def tensors_under(state: State, prefix: str) -> dict[str, Tensor]:
    """The tensors whose keys begin with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def list_names(keys: Mapping[str, object] | list[str]) -> str:
    """A few of `keys` for an error message, and the number of the others.

    >>> list_names(["a", "b", "c", "d", "e", "f"])
    'a, b, c, d and 2 more'
    """
    return listed(keys, _MOST_SHOWN) or "none"
