"""Times as texts."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.events.iso import micros, seconds


def test_both_forms() -> None:
    assert seconds(1_790_072_130) == "2026-09-22T10:15:30"
    assert micros(1_790_072_130_123_456_789) == "2026-09-22T10:15:30.123456Z"
    assert micros(0) == "1970-01-01T00:00:00.000000Z"
    assert micros(-1) == "1969-12-31T23:59:59.999999Z"


@given(st.integers(0, 4_000_000_000), st.integers(0, 999_999))
def test_agrees_with_datetime(whole: int, micro: int) -> None:
    expected = datetime.fromtimestamp(whole, UTC).replace(microsecond=micro)
    assert datetime.fromisoformat(micros(whole * 10**9 + micro * 1000)) == expected
