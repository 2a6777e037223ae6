"""What readings become: calibrated, in a range, beyond a level; and what they are when they are none."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from edge_runtime.app import Device, Measure, Threshold
from edge_runtime.clock import FakeClock
from edge_runtime.devices import OpenDevice
from edge_runtime.errors import DeviceError, LimitError
from edge_runtime.model import NO_HEADERS, Event
from tests.triggers.recorder import Recorder, running
from tests.triggers.sensors import Sensor, answered, device, trigger


async def told(sensor: Sensor, count: int, **spec: Any) -> Recorder:  # noqa: ANN401 - fields of Device
    """Return what a sensor's readings become, one a second."""
    clock, recorder = FakeClock(), Recorder()
    sample = trigger(clock, device(sensor, **spec))
    async with running(sample, recorder):
        while True:
            await answered(sample)
            if sensor.reads == count:
                return recorder
            await clock.advance(1)


def said(recorder: Recorder, *keys: str) -> list[tuple[object, ...]]:
    """Return the ends of the topics, with these keys of each detail; `-` for a key that is not there."""
    ends = [topic.removeprefix("device/soil") for topic in recorder.topics]
    rows = [[detail.get(key, "-") for key in keys] for detail in recorder.details]
    return [(end, *row) for end, row in zip(ends, rows, strict=True)]


async def test_a_calibrated_reading_keeps_the_raw_one() -> None:
    measure = Measure(scale=100, offset=-20, digits=1, unit="°C")
    recorder = await told(Sensor(0.4567, 0.5), 2, measures={"": measure})
    assert said(recorder, "value", "previous", "raw", "unit") == [
        ("", 25.7, None, 0.4567, "°C"),
        ("", 30.0, 25.7, 0.5, "°C"),
    ]
    assert list(recorder.details[0])[-2:] == ["raw", "unit"]


async def test_without_calibration_there_is_no_raw_and_without_unit_no_unit() -> None:
    recorder = await told(Sensor(1), 1, measures={"": Measure(least=0, deadband=1)})
    assert said(recorder, "value", "raw", "unit") == [("", 1, "-", "-")]


async def test_parts_have_measures_and_the_driver_knows_units() -> None:
    class Air(Sensor):
        """A sensor of several parts."""

        unit = {"temperature": "°C", "pressure": "hPa"}  # noqa: RUF012 - as a driver writes it

    measures = {"temperature": Measure(digits=1), "humidity": Measure(unit="%")}
    raw = {"temperature": 20.04, "humidity": 50, "pressure": 1013.25}
    recorder = await told(Air(raw), 1, measures=measures)
    units = {"temperature": "°C", "humidity": "%", "pressure": "hPa"}
    assert said(recorder, "value", "raw", "unit") == [("", {**raw, "temperature": 20.0}, raw, units)]


@pytest.mark.parametrize(
    ("measures", "bad", "reason"),
    [
        ({"": Measure(most=85, unit="°C")}, 850.0, "the reading is 850 °C, out of -inf to 85 °C"),
        ({"": Measure(scale=10, least=0, most=50)}, -0.1, "the reading is -1, out of 0 to 50"),
        ({}, math.inf, "the reading is inf"),
        ({}, 10**400, "the reading is greater than any measure"),
        ({}, b"\x01", "the reading is b'\\x01', which has no form in JSON"),
        ({}, {"a": math.nan}, "part 'a' of the reading is nan"),
        ({}, DeviceError("no sensor at 0x76", hint="check the wiring"), "no sensor at 0x76 (check the wiring)"),
        ({}, ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
async def test_what_is_no_reading_is_a_fault_with_its_reason(
    measures: dict[str, Measure], bad: object, reason: str
) -> None:
    recorder = await told(Sensor(1, bad, bad, 2), 4, measures=measures)
    scale = measures[""].scale if measures else 1
    assert said(recorder, "value", "previous", "reason") == [
        ("", 1 * scale, None, "-"),
        ("/fault", None, 1 * scale, reason),
        ("/recovered", 2 * scale, 1 * scale, "-"),
        ("", 2 * scale, 1 * scale, "-"),
    ]


async def test_a_bad_part_is_a_fault_and_no_half_reading() -> None:
    good, bad = {"a": 1, "b": 2}, {"a": 1, "b": 300}
    recorder = await told(Sensor(good, bad, good), 3, measures={"b": Measure(least=0, most=100, unit="%")})
    assert said(recorder, "value", "reason") == [
        ("", good, "-"),
        ("/fault", None, "part 'b' of the reading is 300 %, out of 0 to 100 %"),
        ("/recovered", good, "-"),
        ("", good, "-"),
    ]


async def test_a_sensor_out_of_its_range_stops_no_other() -> None:
    clock, recorder = FakeClock(), Recorder()
    bad, good = Sensor(500, 500, 500), Sensor(1, 2, 3)
    sample = trigger(clock, device(bad, "bad", measures={"": Measure(most=85)}), device(good, "good"))
    async with running(sample, recorder):
        for _ in range(2):
            await answered(sample)
            await clock.advance(1)
        await answered(sample)
    assert sorted(recorder.topics) == ["device/bad/fault", *["device/good"] * 3]


async def test_crossings_are_told_with_the_level() -> None:
    readings = [25, 31, 29.5, 32, 28.9, 28]
    spec = Threshold("too_hot", above=30, hysteresis=1)
    recorder = await told(Sensor(*readings), 6, measures={"": Measure(unit="°C")}, thresholds=(spec,))
    assert said(recorder, "event", "value", "previous", "threshold", "unit") == [
        ("", "reading", 25, None, "-", "°C"),
        ("", "reading", 31, 25, "-", "°C"),
        ("/too_hot", "too_hot", 31, 25, 30, "°C"),
        ("", "reading", 29.5, 31, "-", "°C"),
        ("", "reading", 32, 29.5, "-", "°C"),
        ("", "reading", 28.9, 32, "-", "°C"),
        ("/no_too_hot", "no_too_hot", 28.9, 32, 30, "°C"),
        ("", "reading", 28, 28.9, "-", "°C"),
    ]
    assert json.loads(recorder.events[2].payload)["detail-type"] == "Sensor moisture Too Hot"
    assert [detail["seq"] for detail in recorder.details] == list(range(1, 9))


async def test_crossings_of_readings_that_the_deadband_keeps_back() -> None:
    spec = Threshold("dry", below=20, part="soil")
    values = [{"soil": n} for n in (20.5, 19.5, 20.5)]
    recorder = await told(Sensor(*values), 3, measures={"soil": Measure(deadband=5)}, thresholds=(spec,))
    assert said(recorder, "value", "previous") == [
        ("", {"soil": 20.5}, None),
        ("/dry", 19.5, 20.5),
        ("/no_dry", 20.5, 19.5),
    ]


async def test_a_hot_start_is_told_and_a_fault_changes_no_state() -> None:
    spec = Threshold("too_hot", above=30)
    recorder = await told(Sensor(35, math.nan, 36, 20, math.nan, 21), 6, thresholds=(spec,))
    ends = ["", "/too_hot", "/fault", "/recovered", "", "", "/no_too_hot", "/fault", "/recovered", ""]
    assert [row[0] for row in said(recorder)] == ends


async def test_a_threshold_on_what_is_no_number_is_a_fault_that_says_so() -> None:
    recorder = await told(Sensor({"a": 1, "b": 2}), 1, thresholds=(Threshold("x", above=1),))
    reason = "the reading has no single number for a threshold; its parts are a, b"
    assert said(recorder, "reason") == [("/fault", reason)]


async def test_parts_are_emitted_by_their_deadbands() -> None:
    measures = {"a": Measure(deadband=1), "b": Measure(deadband_share=0.1)}
    rows = [{"a": 0, "b": 100}, {"a": 0.9, "b": 109}, {"a": 0.9, "b": 110}, {"a": 1.9, "b": 110}]
    recorder = await told(Sensor(*rows), 4, measures=measures)
    assert [detail["value"] for detail in recorder.details] == [rows[0], rows[2], rows[3]]


class Line:
    """A device that hands over its readings: a test plays its thread."""

    def __init__(self) -> None:
        self.taker: Any = None
        self.refuse: Exception | None = None
        self.reads = 0

    @property
    def value(self) -> object:
        """What a device that is asked would say."""
        self.reads += 1
        return 42

    @property
    def when_read(self) -> Any:  # noqa: ANN401 - a function or None
        """Who takes the readings."""
        return self.taker

    @when_read.setter
    def when_read(self, taker: object) -> None:
        if self.refuse is not None and taker is not None:
            raise self.refuse
        self.taker = taker


def pushing(line: Line, **spec: Any) -> OpenDevice:  # noqa: ANN401 - fields of Device
    """Wrap a device that hands over its readings."""
    return OpenDevice("soil", Device("soil", "line", **spec), line, simulated=False, pin="")


async def test_what_is_handed_over_goes_the_same_way() -> None:
    clock, recorder, line = FakeClock(), Recorder(), Line()
    spec = {
        "measures": {"": Measure(scale=2, most=100, deadband=5)},
        "thresholds": (Threshold("full", above=50),),
        "heartbeat_s": 60.0,
    }
    sample = trigger(clock, pushing(line, **spec))
    async with running(sample, recorder):
        await answered(sample)
        for value in (10, 11, 26, OSError("cable"), OSError("cable"), 60, 26):
            line.taker(value)
        await recorder.until(6)
        line.taker(26)
        await clock.advance(60)
        line.taker(27)
        await recorder.until(7)
    assert said(recorder, "value", "raw", "reason") == [
        ("", 20, 10, "-"),
        ("", 52, 26, "-"),
        ("/full", 52, "-", "-"),
        ("/fault", None, "-", "OSError: cable"),
        ("/recovered", 52, 26, "-"),
        ("", 52, 26, "-"),
        ("", 54, 27, "-"),
    ]
    assert (line.taker, line.reads) == (None, 0)


async def test_readings_are_handed_over_from_a_thread_of_the_drivers() -> None:
    clock, recorder, line = FakeClock(), Recorder(), Line()
    sample = trigger(clock, pushing(line))
    async with running(sample, recorder):
        await answered(sample)
        thread = threading.Thread(target=lambda: [line.taker(n) for n in range(900)])
        thread.start()
        await recorder.until(900)
        thread.join()
    assert [detail["value"] for detail in recorder.details] == list(range(900))


async def test_what_is_handed_over_faster_than_it_can_be_taken_in_is_counted() -> None:
    clock, recorder, line = FakeClock(), Recorder(), Line()
    sample = trigger(clock, pushing(line), most=3)
    async with running(sample, recorder):
        await answered(sample)
        for n in range(5):
            line.taker(n)
        await recorder.until(3)
    assert [detail["value"] for detail in recorder.details] == [0, 1, 2]
    assert sample.refused == {"soil": 1}  # that some were lost, which is all that is known


async def test_a_device_that_does_both_is_read_when_every_is_written() -> None:
    clock, recorder, line = FakeClock(), Recorder(), Line()
    sample = trigger(clock, pushing(line, every_s=1.0))
    async with running(sample, recorder):
        await recorder.until(1)
        assert line.taker is None
    assert (line.reads, [detail["value"] for detail in recorder.details]) == (1, [42])


async def test_a_device_that_will_not_begin_is_tried_again() -> None:
    clock, recorder, line = FakeClock(), Recorder(), Line()
    line.refuse = OSError("no such port")
    sample = trigger(clock, pushing(line))
    async with running(sample, recorder):
        await recorder.until(1)
        line.refuse = None
        await clock.advance(1)
        await answered(sample)
        line.taker(5)
        await recorder.until(3)
    assert said(recorder, "value", "reason") == [
        ("/fault", None, "OSError: no such port"),
        ("/recovered", 5, "-"),
        ("", 5, "-"),
    ]


async def test_a_device_that_does_not_let_go_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(Line):
        """A device that fails to stop."""

        @property
        def when_read(self) -> Any:  # noqa: ANN401 - a function or None
            """Who takes the readings."""
            return self.taker

        @when_read.setter
        def when_read(self, taker: object) -> None:
            if taker is None:
                raise OSError("stuck")
            self.taker = taker

    sample = trigger(FakeClock(), pushing(Stubborn()))
    async with running(sample, Recorder()):
        await answered(sample)
    assert [record.getMessage() for record in caplog.records] == ["device 'soil' did not stop telling: stuck"]


async def test_a_reading_that_no_queue_can_take_keeps_no_other() -> None:
    clock, recorder = FakeClock(), Recorder()

    async def emit(*events: Event, memo: Mapping[str, str] = NO_HEADERS) -> None:
        if any(len(event.payload) > 1000 for event in events):
            raise LimitError("too big")
        await recorder(*events, memo=memo)

    sample = trigger(clock, device(Sensor("x" * 2000), "picture"), device(Sensor(1), "small"))
    task = asyncio.ensure_future(sample.run(emit))
    await recorder.until(1)
    task.cancel()
    await asyncio.wait([task])
    assert recorder.topics == ["device/small"]
    assert sample.refused == {"picture": 1}
