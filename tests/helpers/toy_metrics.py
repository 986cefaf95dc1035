"""Metrics that are in no table: one for each set they may be computed on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from helpers.toy import toy_protocol

from dfad_bench.core.protocol import Group
from dfad_bench.metrics import Metric

PROTOCOL = toy_protocol()
PROTOCOL = replace(PROTOCOL, unseen=(*PROTOCOL.unseen, Group("gfpgan", "synthetic")))  # processed real faces


def brightness(probs: np.ndarray) -> float:
    return float(probs[:, 0].mean())


def below_half(probs: np.ndarray, threshold: float) -> float:
    return float((probs.max(axis=1) < threshold / 2).mean())


def gap(seen_probs: np.ndarray, unseen_probs: np.ndarray) -> float:
    return float(seen_probs.max(axis=1).mean() - unseen_probs.max(axis=1).mean())


def known_share(registered: np.ndarray) -> float:
    return float(registered.mean())


def brier(labels: np.ndarray, p_fake: np.ndarray) -> float:
    return float(((p_fake - labels) ** 2).mean())


def suspicion(p_fake: np.ndarray) -> float:
    return float(p_fake.mean())


TOYS = {
    "seen": brightness, "unseen": below_half, "ranking": gap, "retrieval": known_share, "detection": brier,
    "processed": suspicion,
}  # fmt: skip


def toy(on: Any, *averaging: Any, **changes: Any) -> Metric:
    return Metric(f"{__name__}:{TOYS[on].__name__}", False, "share", on=on, averaging=averaging, **changes)
