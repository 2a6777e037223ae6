"""Times and sizes as people write them: `10s`, `1h30m`, `256MB`."""

from __future__ import annotations

import math
import re

_TIMES = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_TIME = re.compile("".join(rf"(?:(\d+(?:\.\d+)?){unit}(?![a-z]))?" for unit in _TIMES), re.ASCII)
_MINUTES = re.compile(r"(?<=\d)min(?![a-z])", re.ASCII)
"""`10min` is as good as `10m`."""
_TIME_HELP = (
    "write a number of seconds, or numbers with the units w d h m s ms, the largest first, as in 250ms, 10s, 1h30m"
)

_PREFIXES = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(?:([KMGT]?)(I?)B)?", re.IGNORECASE | re.ASCII)
_SIZE_HELP = (
    "write a number of bytes, or a number with the unit B, KB, MB, GB (thousands) or KiB, MiB, GiB (1024), as in 256MB"
)


def seconds(value: object) -> float:
    """Return a duration in seconds: a number is seconds already, a text is like `10s`, `1h30m`, `30d` or `250ms`.

    Raises: ValueError that says what is allowed.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if math.isfinite(value) and value >= 0:
            return float(value)
    elif isinstance(value, str):
        text = _MINUTES.sub("m", value.replace(" ", ""))
        if re.fullmatch(r"\d+(?:\.\d+)?", text, re.ASCII):
            return float(text)
        if text and (found := _TIME.fullmatch(text)):
            # By division where the unit is less than a second: 250 * 0.001 is not exactly 0.25.
            parts = zip(found.groups(), _TIMES.values(), strict=True)
            return sum(float(n) * unit if unit >= 1 else float(n) / 1000 for n, unit in parts if n)
    raise ValueError(f"{value!r} is no duration: {_TIME_HELP}")


def size(value: object) -> int:
    """Return a number of bytes: a whole number is bytes already, a text is like `256MB`, `64KiB` or `1.5GB`.

    Raises: ValueError that says what is allowed.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, float) and value >= 0 and value.is_integer():
        return int(value)
    if isinstance(value, str) and (found := _SIZE.fullmatch(value.replace(" ", ""))):
        number, prefix, binary = found.groups()
        # "64iB" has a binary mark without a prefix to mark.
        if not (binary and not prefix):
            count = float(number) * (1024 if binary else 1000) ** _PREFIXES[(prefix or "").upper()]
            if count.is_integer():
                return int(count)
    raise ValueError(f"{value!r} is no size: {_SIZE_HELP}")
