"""Which readings are emitted."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.app import Measure
from edge_runtime.pure.sampling import Sampler


def emitted(sampler: Sampler, values: list[object], every_s: float = 1.0) -> list[object]:
    """Return the readings that the sampler lets through."""
    return [value for n, value in enumerate(values) if sampler.reading(value, n * every_s)]


def banded(deadband: float = 0.0, share: float = 0.0) -> Sampler:
    """Return a sampler of a single value with a deadband."""
    return Sampler(every_s=1, measures={"": Measure(deadband=deadband, deadband_share=share)})


def test_every_reading_by_default() -> None:
    assert emitted(Sampler(every_s=1), [1, 1, 1]) == [1, 1, 1]
    assert emitted(Sampler(every_s=1, measures={"": Measure(scale=2)}), [1, 1, {"a": 1}]) == [1, 1, {"a": 1}]


def test_on_change() -> None:
    assert emitted(Sampler(every_s=1, on_change=True), [0, 0, 1, 1.0, True, 0]) == [0, 1, 0]
    parts: list[object] = [{"a": 1}, {"a": 1.0}, {"a": 1, "b": None}, {"a": 1, "b": "x"}, [1], (1,), [1, 2]]
    assert emitted(Sampler(every_s=1, on_change=True), parts) == [parts[n] for n in (0, 2, 3, 4, 6)]


def test_deadband_counts_from_the_last_one_emitted() -> None:
    assert emitted(banded(0.1), [0.2, 0.25, 0.29, 0.3, 0.39, 0.21]) == [0.2, 0.3]
    assert emitted(banded(1), [0, 0.5, 1.0, 1.5, 2.0]) == [0, 1.0, 2.0]
    assert emitted(banded(0.1), [1_000_000.2, 1_000_000.3]) == [1_000_000.2, 1_000_000.3]
    assert emitted(banded(1e-12), [1e-12, 1.5e-12, 2e-12]) == [1e-12, 2e-12]


def test_deadband_as_a_share_of_the_last_one_emitted() -> None:
    assert emitted(banded(share=0.1), [100, 109, 110, 120, 121, -121, -110, -108]) == [100, 110, 121, -121, -108]
    assert emitted(banded(share=0.1), [0, 0, 0.001, 0.0011, 0]) == [0, 0.001, 0.0011, 0]


def test_either_deadband_is_enough() -> None:
    assert emitted(banded(5, 0.01), [100, 100.5, 101, 10, 14, 15]) == [100, 101, 10, 14, 15]


def test_deadband_of_readings_with_parts_and_of_texts() -> None:
    assert emitted(banded(0.5), [(0, 0), (0.4, 0.4), (0, 0.5)]) == [(0, 0), (0, 0.5)]
    assert emitted(banded(0.5), ["a", "a", "b", 1]) == ["a", "b", 1]
    assert emitted(banded(0.5), [(0, None), (0, None), (0, 0.1), (0,)]) == [(0, None), (0, 0.1), (0,)]
    assert emitted(banded(0.5), [False, False, True]) == [False, True]
    nested: list[object] = [{"a": [1, {"b": 2}]}, {"a": [1.4, {"b": 2}]}, {"a": [1, {"b": 2.5}]}, {"a": [1]}]
    assert emitted(banded(0.5), nested) == [nested[n] for n in (0, 2, 3)]


def air(temperature: float, humidity: float, state: str = "ok") -> dict[str, object]:
    """Return a reading of several parts."""
    return {"temperature": temperature, "humidity": humidity, "state": state}


def test_each_part_has_its_own_deadband_and_a_number_without_one_does_not_count() -> None:
    measures = {"temperature": Measure(deadband=0.5), "humidity": Measure(unit="%")}
    values: list[object] = [air(20, 50), air(20.4, 90), air(20.5, 50), air(20.5, 50, "low")]
    assert emitted(Sampler(every_s=1, measures=measures), values) == [values[n] for n in (0, 2, 3)]
    assert emitted(Sampler(every_s=1, on_change=True, measures=measures), values) == values


def test_what_is_declared_for_no_part_is_for_the_others() -> None:
    measures = {"0": Measure(deadband=10), "": Measure(deadband=1)}
    values: list[object] = [[0, 0, 0], [9, 0.9, 0.9], [9, 0, 1], [19, 0, 1]]
    assert emitted(Sampler(every_s=1, measures=measures), values) == [values[n] for n in (0, 2, 3)]


def test_heartbeat_comes_before_the_pause_would_be_too_long() -> None:
    sampler = Sampler(every_s=1, on_change=True, heartbeat_s=3)
    assert [n for n in range(10) if sampler.reading(7, float(n))] == [0, 3, 6, 9]
    sampler = Sampler(every_s=1, on_change=True, heartbeat_s=2.5)
    assert [n for n in range(7) if sampler.reading(7, float(n))] == [0, 2, 4, 6]
    sampler = Sampler(every_s=0.1, on_change=True, heartbeat_s=0.3)
    assert [n for n in range(10) if sampler.reading({"a": 7}, n * 0.1)] == [0, 3, 6, 9]


def test_heartbeat_of_what_comes_by_itself() -> None:
    sampler = Sampler(on_change=True, heartbeat_s=3)
    assert [at for at in (0, 1, 2.9, 3, 4, 9, 11.9, 12) if sampler.reading(7, at)] == [0, 3, 9, 12]


def test_a_fault_is_news_once_and_the_reading_after_it_is_emitted() -> None:
    sampler = Sampler(every_s=1, on_change=True)
    assert sampler.reading(5, 0.0)
    assert [sampler.fault(), sampler.fault()] == [True, False]
    assert [sampler.reading(5, 3.0), sampler.reading(5, 4.0)] == [True, False]
    assert sampler.fault()


VALUES = st.lists(st.floats(-10, 10), min_size=1, max_size=50)


@given(VALUES, st.floats(0.001, 5))
def test_what_was_emitted_is_never_off_by_the_deadband(values: list[float], deadband: float) -> None:
    sampler, last = banded(deadband), 0.0
    for n, value in enumerate(values):
        if sampler.reading(value, float(n)):
            last = value
        assert abs(value - last) < deadband + 1e-9


@given(VALUES, st.floats(0.001, 1))
def test_what_was_emitted_is_never_off_by_its_share(values: list[float], share: float) -> None:
    sampler, last = banded(share=share), 0.0
    for n, value in enumerate(values):
        if sampler.reading(value, float(n)):
            assert n == 0 or value != last
            last = value
        assert value == last or abs(value - last) < share * abs(last) + 1e-9


@given(st.lists(st.lists(st.floats(-10, 10), min_size=3, max_size=3), min_size=1, max_size=40), st.floats(0.001, 5))
def test_parts_are_judged_as_single_values_are(rows: list[list[float]], deadband: float) -> None:
    # A reading of parts is emitted when that of any part alone would be, counted from the same last one.
    together = Sampler(every_s=1, measures={"": Measure(deadband=deadband)})
    named = Sampler(every_s=1, measures={name: Measure(deadband=deadband) for name in "abc"})
    last: list[float] | None = None
    for n, row in enumerate(rows):
        wanted = last is None
        for before, value in zip(last or [], row, strict=False):
            single = banded(deadband)
            single.reading(before, 0)
            wanted = wanted or single.reading(value, 1)
        assert together.reading(row, float(n)) is wanted
        assert named.reading(dict(zip("abc", row, strict=True)), float(n)) is wanted
        last = row if wanted else last


@given(VALUES, st.integers(1, 9))
def test_the_pause_is_never_longer_than_the_heartbeat(values: list[float], heartbeat: int) -> None:
    sampler = Sampler(every_s=1, measures={"": Measure(deadband=5)}, heartbeat_s=heartbeat)
    times = [n for n, value in enumerate(values) if sampler.reading(value, float(n))]
    assert all(b - a <= heartbeat for a, b in pairwise(times))
