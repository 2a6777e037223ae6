"""The events of this runtime's own devices, in EventBridge's envelope."""

from __future__ import annotations

import json
from typing import Any, Literal

from edge_runtime.model import Stamp
from edge_runtime.pure.events.device import DeviceEvents, Moment
from edge_runtime.pure.events.samples._parts import EPOCH_S, some_id

_MOMENT = Moment(
    some_id("device"), Stamp(EPOCH_S * 1_000_000_000 + 123_456_000, 88_123_456_789, "b3f0c1d2e4a5"), 1, True
)


def button(
    event: Literal["pressed", "released", "held"] = "pressed",
    *,
    device: str = "button",
    pin: str = "GPIO17",
    thing: str = "my-thing",
) -> dict[str, Any]:
    """Return the event of a Button: pressed, released or held."""
    say = DeviceEvents(thing=thing, device=device, class_name="Button", source="gpio", pin=pin)
    value, previous, held_s = {"pressed": (1, 0, None), "released": (0, 1, 0.21), "held": (1, 1, 1.0)}[event]
    return _read(say.build(event, value, _MOMENT, previous=previous, held_s=held_s))


def motion(
    event: Literal["motion", "no_motion"] = "motion",
    *,
    device: str = "motion",
    pin: str = "GPIO4",
    thing: str = "my-thing",
) -> dict[str, Any]:
    """Return the event of a MotionSensor: motion or no_motion."""
    say = DeviceEvents(thing=thing, device=device, class_name="MotionSensor", source="gpio", pin=pin)
    value = int(event == "motion")
    return _read(say.build(event, value, _MOMENT, previous=1 - value, held_s=None if value else 4.5))


def rotated(
    *, device: str = "knob", steps: int = 1, previous: int = 0, pin: str = "GPIO5,GPIO6", thing: str = "my-thing"
) -> dict[str, Any]:
    """Return the event of a RotaryEncoder that was turned."""
    say = DeviceEvents(thing=thing, device=device, class_name="RotaryEncoder", source="gpio", pin=pin)
    return _read(say.build("rotated", steps, _MOMENT, previous=previous))


def sample(
    *,
    device: str = "soil",
    value: float = 0.42,
    previous: float = 0.45,
    driver: str = "MCP3008",
    pin: str = "SPI0.0 channel 0",
    thing: str = "my-thing",
) -> dict[str, Any]:
    """Return a reading of a device that is read at intervals.

    Raises: ValueError for a value that is no finite number.
    """
    say = DeviceEvents(thing=thing, device=device, class_name=driver, source="sample", pin=pin)
    return _read(say.build("reading", value, _MOMENT, previous=previous))


def fault(
    *,
    device: str = "soil",
    reason: str = "OSError: [Errno 5] Input/output error",
    driver: str = "MCP3008",
    pin: str = "SPI0.0 channel 0",
    thing: str = "my-thing",
) -> dict[str, Any]:
    """Return the event of a device that could not be read."""
    say = DeviceEvents(thing=thing, device=device, class_name=driver, source="sample", pin=pin)
    return _read(say.build("fault", None, _MOMENT, previous=0.45, reason=reason))


def _read(payload: bytes) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(payload)
    return event
