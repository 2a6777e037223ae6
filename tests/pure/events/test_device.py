"""The envelope of device events."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.model import Stamp
from edge_runtime.pure.events.device import DeviceEvents, Moment

MOMENT = Moment("an-id", Stamp(1_790_072_130_123_456_789, 88_123_456_789, "b3f"), 4182, synced=True)


def test_the_whole_envelope() -> None:
    door = DeviceEvents(thing="pi-7", device="door", class_name="Button", source="gpio", pin="GPIO17")
    assert json.loads(door.build("pressed", 1, MOMENT, previous=0)) == {
        "version": "0",
        "id": "an-id",
        "detail-type": "GPIO Button Pressed",
        "source": "edge.gpio",
        "account": "000000000000",
        "time": "2026-09-22T10:15:30.123456Z",
        "region": "local",
        "resources": ["thing/pi-7/device/door"],
        "detail": {
            "device": "door",
            "class": "Button",
            "event": "pressed",
            "value": 1,
            "previous": 0,
            "pin": "GPIO17",
            "held_s": None,
            "seq": 4182,
            "boot": "b3f",
            "mono_ns": 88123456789,
            "clock": "synced",
            "simulated": False,
        },
    }


def test_the_keys_are_in_the_order_of_the_page_and_the_json_is_compact() -> None:
    door = DeviceEvents(thing="pi-7", device="door", class_name="Button", source="gpio", pin="GPIO17")
    payload = door.build("pressed", 1, MOMENT, previous=0)
    assert payload == json.dumps(json.loads(payload), separators=(",", ":")).encode()


def test_a_sensor_a_release_and_a_fault() -> None:
    soil = DeviceEvents(thing="pi-7", device="soil", class_name="MCP3008", source="sample", simulated=True)
    unsynced = MOMENT._replace(synced=False)
    body = json.loads(soil.build("reading", 0.25, unsynced, previous=0.5))
    assert (body["detail-type"], body["source"]) == ("Sensor MCP3008 Reading", "edge.sample")
    detail = body["detail"]
    assert (detail["value"], detail["previous"], detail["pin"]) == (0.25, 0.5, None)
    assert (detail["clock"], detail["simulated"]) == ("unsynced", True)
    assert "reason" not in detail

    body = json.loads(soil.build("fault", None, MOMENT, reason='the "bus" is gone'))
    assert (body["detail-type"], body["detail"]["value"]) == ("Sensor MCP3008 Fault", None)
    assert body["detail"]["reason"] == 'the "bus" is gone'

    door = DeviceEvents(thing="pi-7", device="door", class_name="MotionSensor", source="gpio")
    body = json.loads(door.build("no_motion", 0, MOMENT, previous=1, held_s=1.5))
    assert (body["detail-type"], body["detail"]["held_s"]) == ("GPIO MotionSensor No Motion", 1.5)


JSON = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.text(), st.text(), JSON | st.tuples(JSON, JSON))
def test_whatever_the_names_and_values_it_is_json(thing: str, device: str, value: object) -> None:
    events = DeviceEvents(thing=thing, device=device, class_name="X", source="sample")
    body = json.loads(events.build("reading", value, MOMENT))
    assert body["resources"] == [f"thing/{thing}/device/{device}"]
    assert body["detail"]["device"] == device
    assert body["detail"]["value"] == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize("value", [math.nan, math.inf, (1, math.nan)])
def test_what_json_cannot_carry_is_refused(value: object) -> None:
    events = DeviceEvents(thing="t", device="d", class_name="X", source="sample")
    with pytest.raises(ValueError, match="not JSON compliant"):
        events.build("reading", value, MOMENT)


def test_further_keys_come_last_in_their_order() -> None:
    air = DeviceEvents(thing="pi-7", device="air", class_name="bme280", source="sample")
    more = {"raw": {"temperature": 20.04}, "unit": "°C", "threshold": 30.0, "part": "1", "asked_by": None}
    payload = air.build("too_hot", 31, MOMENT, reason="why", more=more)
    detail = json.loads(payload)["detail"]
    assert {key: detail[key] for key in more} == more
    assert list(detail)[-7:] == ["simulated", "reason", *more]
    assert payload == json.dumps(json.loads(payload), separators=(",", ":")).encode()
    assert air.build("too_hot", 31, MOMENT) == air.build("too_hot", 31, MOMENT, more={})


def test_a_further_key_that_json_cannot_carry_is_refused() -> None:
    air = DeviceEvents(thing="t", device="d", class_name="X", source="sample")
    with pytest.raises(ValueError, match="not JSON compliant"):
        air.build("reading", 1, MOMENT, more={"raw": math.nan})
    with pytest.raises(TypeError, match="not JSON serializable"):
        air.build("reading", 1, MOMENT, more={"raw": b"x"})
