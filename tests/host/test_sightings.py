"""What was last seen of each device, and who listens to it."""

from __future__ import annotations

import json
from pathlib import Path

import gpiozero
import pytest

from edge_runtime.app import App, Device, LinkSpec, Measure, Rule, Threshold, Uplink
from edge_runtime.host.sightings import Sightings, listeners, measured
from edge_runtime.model import Event, Stamp

NOW = Stamp(5_000_000_000, 5_000_000_000, "boot")


def event(topic: str, detail: object = None, mono_ns: int = 2_000_000_000) -> Event:
    payload = json.dumps({"detail": detail}).encode() if detail is not None else b"no JSON"
    return Event(topic, payload, "gpio", Stamp(0, mono_ns, "boot"), "id")


@pytest.mark.parametrize(
    ("topic", "detail", "row"),
    [
        ("device/door/pressed", {"event": "pressed"}, {"event": "pressed", "age_s": 3.0}),
        ("device/door", {"event": "set", "value": 1}, {"event": "set", "age_s": 3.0}),
        ("device/door", {"event": "sample", "value": 1}, {"event": "sample", "age_s": 3.0}),
        ("device/door", None, {"event": "reading", "age_s": 3.0}),
        ("device/door", [1], {"event": "reading", "age_s": 3.0}),
        ("device/door", {"event": 3}, {"event": "reading", "age_s": 3.0}),
        ("device/door/fault", {"event": "fault"}, {"event": "fault", "age_s": 3.0}),
        ("device/door/set", {"event": "x"}, {"event": "", "age_s": None}),
        ("device/other/pressed", {"event": "pressed"}, {"event": "", "age_s": None}),
        ("devices/door", {"event": "pressed"}, {"event": "", "age_s": None}),
        ("device", {"event": "pressed"}, {"event": "", "age_s": None}),
    ],
)
def test_the_last_event(topic: str, detail: object, row: dict[str, object]) -> None:
    seen = Sightings()
    seen.show((event(topic, detail), ()))
    assert seen.row("door", NOW) == row


def test_a_later_event_takes_the_place_and_an_age_is_never_negative() -> None:
    seen = Sightings()
    seen.show((event("device/door/pressed"), ()))
    seen.show((event("device/door/released", mono_ns=5_000_000_001), ()))
    assert seen.row("door", NOW) == {"event": "released", "age_s": 0}


class Air:
    """A driver that tells its units."""

    unit = {"temperature": "C", "humidity": "%"}  # noqa: RUF012 - as a user writes it


def test_a_reading_is_shown_as_it_would_be_emitted() -> None:
    spec = Device("soil", "x", measures={"": Measure(scale=100, offset=1, digits=1, unit="%", most=60)})
    assert measured(spec, None, {"value": 0.5, "error": ""}) == {"value": 51.0, "unit": "%", "error": ""}
    bad = measured(spec, None, {"value": 0.9, "error": ""})
    assert bad["value"] is None
    assert str(bad["error"]).startswith("the reading is 91")
    assert measured(spec, None, {"value": None, "error": "gone"}) == {"value": None, "unit": "", "error": "gone"}
    air = Device("air", "air")
    value = {"temperature": 21.0, "humidity": 50}
    assert measured(air, Air, {"value": value, "error": ""}) == {
        "value": value,
        "unit": {"temperature": "C", "humidity": "%"},
        "error": "",
    }
    assert measured(air, None, {"value": None, "error": ""}) == {"value": None, "unit": "", "error": ""}


def test_who_listens() -> None:
    soil = Device("soil", "MCP3008", every_s=1.0, thresholds=(Threshold("dry", below=0.2),))
    door = Device("door", "Button")
    app = App(
        "t",
        Path("/"),
        devices=(soil, door),
        rules=(
            Rule("device/soil", ("function/water",)),
            Rule("device/+/no_dry", ("function/stop",)),
            Rule("device/door/held", ("function/alarm",)),
            Rule("device/door/set", ("device/door",)),
            Rule("device/+", ("function/water", "function/log")),
        ),
        link=LinkSpec("memory", uplink=Uplink(up=(Rule("device/+/fault", ("uplink",)),))),
    )
    assert listeners(app, soil, gpiozero.MCP3008) == ["function/water", "function/stop", "function/log", "uplink"]
    assert listeners(app, door, gpiozero.Button) == ["function/alarm", "function/water", "function/log", "uplink"]
    assert listeners(app, door, None) == ["function/water", "function/log", "uplink"]
    assert listeners(App("t", Path("/")), door, gpiozero.Button) == []
