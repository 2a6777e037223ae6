"""Times as texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""What is reckoned from here has no end in 2038, as the functions of a 32-bit system have."""


@lru_cache(maxsize=8)
def seconds(epoch_s: int) -> str:
    """Return `2026-09-21T10:15:30`, in UTC and without a zone mark. Kept: many events fall into one second."""
    return (_EPOCH + timedelta(seconds=epoch_s)).strftime("%Y-%m-%dT%H:%M:%S")


def micros(wall_ns: int) -> str:
    """Return `2026-09-21T10:15:30.123456Z` for nanoseconds since the epoch."""
    whole, rest = divmod(wall_ns, 1_000_000_000)
    return f"{seconds(whole)}.{rest // 1000:06d}Z"
