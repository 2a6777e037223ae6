"""What raw readings become."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.app import Measure
from edge_runtime.pure.measuring import Measured, Measurer, part_of

NOTHING = Measurer({})
BME = Measurer(
    {"temperature": Measure(digits=1, least=-40, most=85), "humidity": Measure(unit="%", least=0, most=100)},
    unit={"temperature": "°C", "pressure": "hPa"},
)


@pytest.mark.parametrize(
    ("measure", "raw", "value"),
    [
        (Measure(), 3, 3),
        (Measure(), 0.1, 0.1),
        (Measure(scale=0.5), 3, 1.5),
        (Measure(scale=100, offset=-20, digits=1), 0.4567, 25.7),
        (Measure(offset=1), 0, 1),
        (Measure(digits=0), 2.6, 3),
        (Measure(digits=1), -0.04, 0),
        (Measure(scale=2), True, True),
        (Measure(scale=2, least=0, most=1), "high", "high"),
        (Measure(least=0, most=1), 1, 1),
    ],
)
def test_a_single_value(measure: Measure, raw: object, value: object) -> None:
    measured = Measurer({"": measure}).take(raw)
    assert measured == Measured(value)
    assert type(measured.value) is bool if isinstance(raw, bool) else True
    assert not str(measured.value).startswith("-0")


def test_parts_by_name_by_number_and_the_others() -> None:
    measurer = Measurer({"a": Measure(scale=10), "1": Measure(scale=100), "": Measure(offset=1)})
    assert measurer.take({"a": 1, "b": 1, "1": 1, "c": "x", "d": True, "e": None}).value == {
        "a": 10,
        "b": 2,
        "1": 100,
        "c": "x",
        "d": True,
        "e": None,
    }
    assert Measurer({"1": Measure(scale=100), "": Measure(offset=1)}).take((1, 1, 1)).value == [2, 100, 2]
    assert measurer.take({"a": [1, {"x": 2}], "1": 0}).value == {"a": [10, {"x": 20}], "1": 0}


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (None, "the device gave no reading"),
        (math.nan, "the reading is nan"),
        (math.inf, "the reading is inf"),
        ((1, math.nan), "part '1' of the reading is nan"),
        ([1, (2, -math.inf)], "part '1.1' of the reading is -inf"),
        ({"a": {"b": math.nan}}, "part 'a.b' of the reading is nan"),
        (10**400, "the reading is greater than any measure"),
        (b"x", "the reading is b'x', which has no form in JSON"),
        ({(1, 2): 1}, "the reading has a part whose name is (1, 2), which has no form in JSON"),
        (0, ""),
        (0.5, ""),
        (False, ""),
        ("", ""),
        ((1, None), ""),
        ({}, ""),
    ],
)
def test_what_is_no_reading(raw: object, why: str) -> None:
    assert NOTHING.take(raw).fault == why


def test_a_reading_that_holds_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert NOTHING.take(loop).fault.startswith("the reading cannot be taken apart: maximum recursion depth exceeded")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ({"temperature": 20.04, "humidity": 50, "pressure": 1000}, ""),
        (
            {"temperature": 130, "humidity": 50},
            "part 'temperature' of the reading is 130 °C, out of -40 to 85 °C",
        ),
        ({"temperature": 20, "humidity": -0.1}, "part 'humidity' of the reading is -0.1 %, out of 0 to 100 %"),
        ({"temperature": None, "humidity": 5}, "part 'temperature' of the reading is null"),
        ({"temperature": 5}, "the reading has no part 'humidity'; its parts are temperature"),
        (20, "the reading has no part 'temperature'; it is 20"),
        ({"temperature": math.nan, "humidity": 5}, "part 'temperature' of the reading is nan"),
    ],
)  # fmt: skip
def test_one_bad_part_makes_all_of_it_a_fault(raw: object, why: str) -> None:
    assert BME.take(raw).fault == why


def test_the_calibrated_value_is_what_must_be_in_range() -> None:
    measurer = Measurer({"": Measure(scale=0.1, least=0, most=10, unit="bar")})
    assert measurer.take(99) == Measured(9.9)
    assert measurer.take(101).fault == "the reading is 10.1 bar, out of 0 to 10 bar"
    assert Measurer({"": Measure(scale=1e300)}).take(1e300).fault == (
        "the reading is inf once it is calibrated; raw it is 1e+300"
    )


def test_what_a_threshold_looks_at_must_be_a_number() -> None:
    single = Measurer({}, watched=[""])
    assert single.take(5).fault == ""
    assert single.take("x").fault == "the reading has no single number for a threshold; it is 'x'"
    assert single.take({"a": 1, "b": 2}).fault == (
        "the reading has no single number for a threshold; its parts are a, b"
    )
    part = Measurer({}, watched=["a"])
    assert part.take({"a": 1}).fault == ""
    assert part.take({"a": True}).fault == (
        "the reading has no part 'a' that is a number for a threshold; its parts are a"
    )
    assert Measurer({}, watched=["1"]).take([1]).fault != ""


def test_units_of_the_driver_and_of_the_app() -> None:
    assert (BME.unit_of("temperature"), BME.unit_of("humidity"), BME.unit_of("dew")) == ("°C", "%", "")
    assert BME.unit({"temperature": 1, "humidity": 1, "dew": 1}) == {"temperature": "°C", "humidity": "%"}
    assert BME.unit({"temperature": 1}) == {"temperature": "°C"}
    assert Measurer({}, unit="V").unit(1) == "V"
    assert Measurer({"": Measure(unit="mV")}, unit="V").unit(1) == "mV"
    assert Measurer({}, unit="V").unit([1, 2]) == "V"
    assert Measurer({"1": Measure(unit="A")}, unit="V").unit([1, 2]) == {"0": "V", "1": "A"}
    assert Measurer({}).unit(1) == ""
    assert Measurer({}, unit=None).unit(1) == ""


def test_raw_is_worth_keeping_only_when_something_is_calibrated() -> None:
    assert not NOTHING.calibrates
    assert not Measurer({"a": Measure(unit="V", deadband=1, least=0)}).calibrates
    for measure in (Measure(scale=2), Measure(offset=1), Measure(digits=0)):
        assert Measurer({"a": measure}).calibrates


def test_the_value_is_no_longer_the_drivers() -> None:
    raw = {"a": [1]}
    value = NOTHING.take(raw).value
    raw["a"].append(2)
    assert value == {"a": [1]}


def test_part_of() -> None:
    assert [part_of({"a": 1}, "a"), part_of([5, 6], "1"), part_of(7, "")] == [1, 6, 7]
    assert [part_of({"a": 1}, "b"), part_of([5], "1"), part_of([5], "-1"), part_of("ab", "0")] == [None] * 4


NUMBERS = st.integers() | st.floats()
LEAVES = st.none() | st.booleans() | st.text(max_size=3) | NUMBERS
READINGS = st.recursive(LEAVES, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=2), x, max_size=3))
MEASURES = st.builds(
    Measure,
    scale=st.floats(-1e3, 1e3).filter(bool),
    offset=st.floats(-1e3, 1e3),
    digits=st.none() | st.integers(0, 6),
    least=st.floats(-1e6, 0) | st.just(-math.inf),
    most=st.floats(1, 1e6) | st.just(math.inf),
)


@given(READINGS, st.dictionaries(st.sampled_from(["", "a", "0"]), MEASURES))
def test_whatever_is_read_it_is_json_or_a_fault(raw: object, measures: dict[str, Measure]) -> None:
    measurer = Measurer(measures)
    value, fault = measurer.take(raw)
    assert (value is None) is bool(fault)
    json.dumps(value, allow_nan=False)
    measurer.unit(value)


@given(NUMBERS, MEASURES)
def test_a_number_is_calibrated_and_in_range_or_a_fault(raw: float, measure: Measure) -> None:
    value, fault = Measurer({"": measure}).take(raw)
    if fault:
        assert value is None
        return
    assert isinstance(value, int | float)
    assert measure.least <= value <= measure.most
    exact = raw * measure.scale + measure.offset
    assert value == (exact if measure.digits is None else round(exact, measure.digits))
