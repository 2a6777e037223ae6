"""A few numbers as a line of blocks: ▁▂▃▄▅▆▇█."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
GAP = "·"
"""Where nothing was measured."""


def sparkline(values: Sequence[float | None]) -> str:
    """Return one sign for each value, the least the lowest. Values that are all the same stand in the middle."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return GAP * len(values)
    least, most = min(known), max(known)
    return "".join(_sign(value, least, most) for value in values)


def _sign(value: float | None, least: float, most: float) -> str:
    if value is None or not math.isfinite(value):
        return GAP
    if most == least:
        return BLOCKS[3]
    share = (value / 2 - least / 2) / (
        most / 2 - least / 2
    )  # halves: the distance of two large numbers may be no float
    return BLOCKS[min(len(BLOCKS) - 1, int(share * len(BLOCKS)))]
