"""Durations and sizes as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.units import seconds, size


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("10s", 10),
        ("5m", 300),
        ("1h30m", 5400),
        ("10min", 600),
        ("1h 30min 5s", 5405),
        ("1h 30m", 5400),
        ("30d", 2_592_000),
        ("2w", 1_209_600),
        ("250ms", 0.25),
        ("1s250ms", 1.25),
        ("1.5h", 5400),
        ("0s", 0),
        ("7", 7),
        ("0.5", 0.5),
        (7, 7),
        (0, 0),
        (0.25, 0.25),
    ],
)
def test_seconds(value: object, expected: float) -> None:
    assert seconds(value) == expected


BAD_TIMES = [
    "",
    " ",
    "s",
    "5x",
    "30m1h",
    "1m1m",
    "-1s",
    "5M",
    "1e3",
    "5 minutes",
    "٣s",
    True,
    None,
    -1,
    math.nan,
    math.inf,
]


@pytest.mark.parametrize("value", BAD_TIMES)
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(
        ValueError, match="is no duration: write a number of seconds, or numbers with the units w d h m s ms"
    ):
        seconds(value)


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_all_units_add_up(days: int, hours: int, minutes: int, secs: int, millis: int) -> None:
    expected = ((days * 24 + hours) * 60 + minutes) * 60 + secs + millis / 1000
    assert seconds(f"{days}d{hours}h{minutes}m{secs}s{millis}ms") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("256MB", 256_000_000),
        ("64KiB", 65_536),
        ("1 GiB", 1_073_741_824),
        ("12mb", 12_000_000),
        ("1.5GB", 1_500_000_000),
        ("0.5KiB", 512),
        ("1TB", 10**12),
        ("3B", 3),
        ("5", 5),
        (5, 5),
        (1e6, 1_000_000),
        (0, 0),
    ],
)
def test_size(value: object, expected: int) -> None:
    got = size(value)
    assert got == expected
    assert type(got) is int


@pytest.mark.parametrize(
    "value", ["", "MB", "5iB", "1.5B", "5M", "0.3KiB", "-1B", True, None, -1, 1.5, math.nan, math.inf, []]
)
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(
        ValueError, match="is no size: write a number of bytes, or a number with the unit B, KB, MB, GB"
    ):
        size(value)
