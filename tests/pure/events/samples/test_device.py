"""Events of this runtime's own devices."""

from __future__ import annotations

from typing import Literal

import pytest

from edge_runtime.pure.events.samples import device
from tests.pure.events.samples.reading import read


def test_a_button_whole() -> None:
    assert read(device.button(device="door", pin="GPIO5", thing="pi-7")) == {
        "version": "0",
        "id": device.button()["id"],
        "detail-type": "GPIO Button Pressed",
        "source": "edge.gpio",
        "account": "000000000000",
        "time": "2026-09-21T10:15:30.123456Z",
        "region": "local",
        "resources": ["thing/pi-7/device/door"],
        "detail": {
            "device": "door",
            "class": "Button",
            "event": "pressed",
            "value": 1,
            "previous": 0,
            "pin": "GPIO5",
            "held_s": None,
            "seq": 1,
            "boot": "b3f0c1d2e4a5",
            "mono_ns": 88_123_456_789,
            "clock": "synced",
            "simulated": False,
        },
    }


@pytest.mark.parametrize(
    ("event", "values"), [("pressed", (1, 0, None)), ("released", (0, 1, 0.21)), ("held", (1, 1, 1.0))]
)
def test_what_a_button_does(
    event: Literal["pressed", "released", "held"], values: tuple[int, int, float | None]
) -> None:
    made = read(device.button(event))
    assert made["detail-type"] == f"GPIO Button {event.title()}"
    assert (made["detail"]["value"], made["detail"]["previous"], made["detail"]["held_s"]) == values


def test_other_devices() -> None:
    assert read(device.motion())["detail"]["value"] == 1
    still = read(device.motion("no_motion"))
    assert (still["detail-type"], still["detail"]["value"]) == ("GPIO MotionSensor No Motion", 0)
    turned = read(device.rotated(steps=-2))["detail"]
    assert (turned["event"], turned["value"], turned["previous"]) == ("rotated", -2, 0)


def test_readings() -> None:
    made = read(device.sample(device="soil", value=0.25, driver="moisture"))
    assert (made["detail-type"], made["source"]) == ("Sensor moisture Reading", "edge.sample")
    assert (made["detail"]["device"], made["detail"]["value"]) == ("soil", 0.25)
    fault = read(device.fault(reason="it is gone"))["detail"]
    assert (fault["event"], fault["value"], fault["reason"]) == ("fault", None, "it is gone")
    with pytest.raises(ValueError, match="JSON"):
        device.sample(value=float("nan"))
