"""What was last seen of each device, and who listens to it: for people who ask."""

from __future__ import annotations

import json
from collections.abc import Mapping

from edge_runtime.app import App, Device
from edge_runtime.host.bus import Watcher
from edge_runtime.model import Event, Stamp
from edge_runtime.pure.measuring import Measurer
from edge_runtime.pure.topics import matches
from edge_runtime.store.jobs import Entry

_START = "device/"
_COMMAND = "set"


class Sightings(Watcher):
    """Remembers the last event of each device. Nothing waits in it, and nobody is woken."""

    def __init__(self) -> None:
        super().__init__(f"{_START}#")
        self._last: dict[str, Event] = {}

    def show(self, entry: Entry) -> None:
        """Take notice of an event; a command is none of the device's."""
        topic = entry[0].topic
        if topic.startswith(_START):  # this is called for every event there is
            name, _, kind = topic[len(_START) :].partition("/")
            if kind != _COMMAND:
                self._last[name] = entry[0]

    def row(self, name: str, now: Stamp) -> dict[str, object]:
        """Return the `event` (`pressed`, `fault`, `reading`, empty for none yet), and `age_s` or None."""
        event = self._last.get(name)
        if event is None:
            return {"event": "", "age_s": None}
        kind = event.topic.removeprefix(f"device/{name}").removeprefix("/") or _said(event) or "reading"
        return {"event": kind, "age_s": round(max(0, now.mono_ns - event.time.mono_ns) / 1e9, 1)}


def _said(event: Event) -> str:
    """Return what an event on a device's own topic says that it is: `set` of an output; empty for a reading."""
    try:
        detail = json.loads(event.payload).get("detail", {})
        kind = detail.get("event", "")
    except (ValueError, AttributeError, RecursionError):
        return ""  # somebody else's event on that topic
    return kind if isinstance(kind, str) else ""


def measured(device: Device, driver: object, answer: Mapping[str, object]) -> dict[str, object]:
    """Return a reading as it would be emitted, with its unit; `answer` has the raw `value` and the `error`."""
    measurer = Measurer(device.measures, unit=getattr(driver, "unit", ""))
    value, error = answer["value"], answer["error"]
    if not error and device.measures:
        value, error = measurer.take(value)
    return {"value": value, "unit": measurer.unit(value) if value is not None else "", "error": error}


def listeners(app: App, device: Device, driver: type | None) -> list[str]:
    """Return the targets whose rules match what a device emits, the uplink too. `driver` is its class, if known."""
    events = [name for level in device.thresholds for name in (level.name, f"no_{level.name}")]
    if driver is not None and device.every_s <= 0 and hasattr(driver, "when_activated"):
        from edge_runtime.devices.naming import event_names  # noqa: PLC0415 - there are devices, so it is imported

        events += event_names(driver)
    topics = [f"device/{device.name}", *(f"device/{device.name}/{event}" for event in (*events, "fault"))]
    up = app.link.uplink.up if app.link is not None else ()
    found = (
        target for rule in (*app.rules, *up) if any(matches(rule.filter, t) for t in topics) for target in rule.targets
    )
    return list(dict.fromkeys(found))
