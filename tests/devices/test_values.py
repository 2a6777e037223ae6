"""What values arguments may have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import time
from typing import Annotated, Any, Literal

import gpiozero
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.devices import values

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(JSON)
def test_no_value_is_too_odd_to_be_looked_at(value: object) -> None:
    for kind in (values.SWITCH, values.PIN, values.TONE, values.TIME, values.FONT, values.COLOR, values.TEXT):
        assert kind.fits(value) in (True, False)
    assert len(values.shown(value)) <= 63


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (values.number(0, 1), [0, 1, 0.5], [-0.1, 1.1, True, "1", None, math.nan, 10**400]),
        (values.number(0, above=True), [0.1, 9], [0, -1, math.inf]),
        (values.number(1, 4, whole=True), [1, 4], [0, 5, 1.0, True]),
        (values.PIN, [0, 17, "17", "GPIO17", "BOARD11", "J8:11"], [-1, 1.5, True, "", "abc", "GPIO 17", "17\n", [17]]),
        (values.SWITCH, [True, False, 0, 1], [2, "on", None, 0.5]),
        (values.TONE, ["A4", "C#5", "B♭3", 440, 20_000, 0.5], ["A", "A44", "H4", "a4", 0, -1, 20_001, True]),
        (values.one_of(1, 5, "A"), [1, 5, "A"], [1.0, True, "B", [1]]),
        (values.or_nothing(values.UNIT), [None, 0.5], [2]),
        (values.COLOR, [[0, 0.5, 1], (1, 1, 1)], [[1, 1], [1, 1, 2], "abc", 1]),
        (
            values.TIME,
            ["08:00", "8:00", 1110, "18:30:15"],
            ["noon", 999_999, True, None, "25:00", -1, 10**400, -(10**12)],
        ),
    ],
)
def test_kinds(kind: values.Kind, good: list[object], bad: list[object]) -> None:
    assert [value for value in good if not kind.fits(value)] == []
    assert [value for value in bad if kind.fits(value)] == []


def test_words_of_numbers() -> None:
    words = [values.number(0, 1), values.number(0, above=True), values.number(), values.number(1, whole=True)]
    assert [kind.words for kind in words] == [
        "a number from 0 to 1",
        "a number above 0",
        "a number",
        "a whole number at least 1",
    ]


def test_times_that_yaml_reads_as_numbers() -> None:
    assert values.clock_time(1110) == time(18, 30)
    assert values.clock_time(66_615) == time(18, 30, 15)
    assert values.clock_time("7:05") == time(7, 5)


def test_an_argument_of_the_same_name_differs_by_class() -> None:
    def fits(cls: type, value: object, **options: object) -> bool:
        kind = values.kind_of(cls, "initial_value", options)
        assert kind is not None
        return kind.fits(value)

    assert [fits(cls, 0.5) for cls in (gpiozero.LED, gpiozero.PWMLED, gpiozero.Servo)] == [False, True, True]
    assert [fits(cls, -1) for cls in (gpiozero.LED, gpiozero.PWMLED, gpiozero.Servo)] == [False, False, True]
    assert fits(gpiozero.LEDBoard, 0.5, pwm=True)
    assert not fits(gpiozero.LEDBoard, 0.5, pwm=False)
    assert values.kind_of(gpiozero.LED, "nothing_known", {}) is None


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, 5, 5.0),
        (float, 5, "5"),
        (bool, True, 1),
        (str, "", 1),
        (int | None, None, "x"),
        (Literal["ascii", "hex"], "hex", "bin"),
        (list[int], [1], [1.5]),
        (tuple[float, ...], [1.5], ["x"]),
        (Sequence[str], ["a"], "a"),
        (list, [1], 1),
        (Mapping[str, int], {}, []),
        (Annotated[int, "seconds"], 1, "x"),
        (None, None, 0),
    ],
)
def test_annotations(hint: object, good: object, bad: object) -> None:
    kind = values.kind_of_hint(hint)
    assert kind is not None
    assert (kind.fits(good), kind.fits(bad)) == (True, False)
    assert kind.words


def test_annotations_that_say_nothing_of_plain_values() -> None:
    for hint in (object, Any, gpiozero.LED, int | gpiozero.LED, bytes):
        assert values.kind_of_hint(hint) is None


def test_values_in_messages() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert [values.shown(v) for v in (None, True, "a", deep)] == ["null", "true", "'a'", "what is nested too deep"]
    assert values.shown("x" * 100) == f"'{'x' * 59}..."
