"""The largest values of numbers from outside: far above any use, and low enough that no machine is brought down.

Where only the data can say what is too much (a batch of more faces than there are, or than fit into memory), the check
stands where the data are known: `engine.stage_batches`, `engine.memory`.
"""

from __future__ import annotations

WHOLE = 2**63 - 1  # any integer of a data file, either side of 0
SEED = WHOLE
SEEDS = 100  # runs of one call
BATCH = 65_536  # rows
EPOCHS = 1_000_000
STEPS = 1_000_000_000
MINUTES = 525_600  # a year
SIDE = 4_096  # pixels
PROCESSES = 1_024
FACES = 1_000_000_000  # faces, images or frames
RESAMPLES = 100_000
LEVELS = 1_000  # thresholds, severities
OPTION = 65_536  # a model's width, depth, side ...


def check_bounds(name: str, value: int | None, least: int, most: int, *, null: bool = False) -> None:
    """Refuse a number outside its bounds; the reader of the file names the place.

    Raises:
        ValueError: says the bound.

    >>> check_bounds("epochs", 10**9, 1, EPOCHS)
    Traceback (most recent call last):
    ValueError: epochs must be 1,000,000 or less, got 1,000,000,000
    """
    if value is None and null:
        return
    if value is None or value < least:
        raise ValueError(f"{name} must be {least} or more{' or null' if null else ''}, got {value}")
    if value > most:
        raise ValueError(f"{name} must be {most:,} or less, got {value:,}")
