"""What `edge devices watch` shows: events of devices, as lines or as a live picture."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from edge_runtime import control
from edge_runtime.cli._common import clean, say, say_json, when
from edge_runtime.cli._devices_shown import valued
from edge_runtime.cli._sparkline import sparkline

_KEPT = 48
"""How many values a line shows."""
_PAUSE_S = 0.1
"""Between two pictures: more a person does not see."""
_FILTER = "device/#"


class Seen(NamedTuple):
    """An event of a device."""

    device: str
    event: str
    """`reading`, `set`, `pressed`, `fault`."""
    value: object
    unit: object
    reason: str
    time: float
    """In seconds since the epoch."""


def seen(item: Mapping[str, Any]) -> Seen | None:
    """Return what an item of the verb `tail` tells of a device; None for a command, or what is none of a device."""
    parts = str(item["topic"]).split("/")
    if len(parts) < 2 or parts[0] != "device" or parts[2:] == ["set"]:  # noqa: PLR2004 - device/NAME
        return None
    try:
        detail = json.loads(control.unpack(item["payload"]))["detail"]
        event = str(detail["event"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None  # somebody else's event on a device's topic
    if len(parts) == 2 and event not in ("set", "fault"):  # noqa: PLR2004 - device/NAME
        event = "reading"
    return Seen(
        parts[1], event, detail.get("value"), detail.get("unit", ""), str(detail.get("reason", "")), item["time"]
    )


@dataclass(slots=True)
class Track:
    """What was seen of one device, or of one part of its readings."""

    name: str
    unit: str = ""
    values: deque[float | None] = field(default_factory=lambda: deque(maxlen=_KEPT))
    marks: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))
    least: float = math.inf
    most: float = -math.inf
    now: object = None
    last: str = ""

    def take(self, value: object, mark: str) -> None:
        """Add a value; `mark` is the sign under it."""
        number = float(value) if isinstance(value, int | float) else None
        if isinstance(value, int) and abs(value) > 1 << 53:
            number = None  # no float, and no reading of a sensor
        self.values.append(number)
        self.marks.append(mark)
        if value is not None:
            self.now = value
        if number is not None and math.isfinite(number):
            self.least, self.most = min(self.least, number), max(self.most, number)


class Picture:
    """The tracks of all devices, in the order of the host."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.tracks: dict[str, Track] = {}
        self._names = {str(row["name"]) for row in rows}
        for row in rows:
            name = str(row["name"])
            if row.get("error"):
                self._track(name, "").last = f"fault: {row['error']}"
            self._take(name, row.get("value"), row.get("unit"), " ")

    def add(self, event: Seen) -> bool:
        """Take notice of an event; False when it is of a device that is not shown."""
        if event.device not in self._names:
            return False
        mark = {"reading": " ", "fault": "!"}.get(event.event, "^")
        if event.event == "fault":
            for name in self._of(event.device):
                self.tracks[name].take(None, mark)
        else:
            self._take(event.device, event.value, event.unit, mark)
        if event.event != "reading":
            text = f"fault: {event.reason}" if event.event == "fault" else event.event
            for name in self._of(event.device):
                self.tracks[name].last = f"{text} {when(event.time)[11:19]}"
        return True

    def _of(self, device: str) -> list[str]:
        found = [name for name in self.tracks if name == device or name.startswith(f"{device}.")]
        if not found:
            self._track(device, "")
        return found or [device]

    def _take(self, name: str, value: object, unit: object, mark: str) -> None:
        """Add a value to the track of a device, or its parts to those of the parts."""
        parts = dict(enumerate(value)) if isinstance(value, list) else value
        if isinstance(parts, dict) and parts:
            whole = self.tracks.get(name)
            if whole is not None and not whole.values:
                del self.tracks[name]  # it had no value yet
            for part, item in parts.items():
                of_part = unit.get(str(part), "") if isinstance(unit, dict) else unit
                self._take(f"{name}.{part}", item, of_part, mark)
            return
        self._track(name, unit).take(value, mark)

    def _track(self, name: str, unit: object) -> Track:
        track = self.tracks.setdefault(name, Track(name))
        track.unit = str(unit or track.unit)
        return track


def watch(state: Path, rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Show what happens to the devices of `rows`, until the host ends or the user does.

    Raises: HostError when the host goes away.
    """
    if as_json or not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        names = {row["name"] for row in rows}
        for row in rows:
            if not as_json:
                fault = f"  fault: {row['error']}" if row.get("error") else ""
                value = "-" if row.get("value") is None else valued(row["value"], row.get("unit"))
                say(clean(f"{row['name']}  {value}{fault}"))
        for event in _events(state):
            if event.device in names:
                say_json(event._asdict(), indent=None) if as_json else say(_line(event))
        return
    _draw(state, Picture(rows))


def _events(state: Path) -> Iterator[Seen]:
    for item in control.ask(state, "tail", filter=_FILTER):
        event = seen(item)
        if event is not None:
            yield event


def _line(event: Seen) -> str:
    text = event.reason if event.event == "fault" else str(valued(event.value, event.unit))
    return clean(f"{when(event.time)}  {event.device}  {event.event}  {text}")


def _draw(state: Path, picture: Picture) -> None:
    """Draw the picture whenever something has happened. A thread listens, so that a burst becomes one picture."""
    from rich.live import Live  # noqa: PLC0415 - a fifth of a second

    from edge_runtime.cli._devices_picture import drawn  # noqa: PLC0415 - same

    inbox: SimpleQueue[Seen | BaseException | None] = SimpleQueue()

    def listen() -> None:
        try:
            for event in _events(state):
                inbox.put(event)
            inbox.put(None)
        except Exception as error:  # noqa: BLE001 - it is raised again where it can be told
            inbox.put(error)

    threading.Thread(target=listen, name="watch", daemon=True).start()
    with Live(drawn(picture), auto_refresh=False) as live:
        while True:
            item = inbox.get()
            while item is not None and not isinstance(item, BaseException):
                picture.add(item)
                if inbox.empty():
                    break
                item = inbox.get()
            live.update(drawn(picture), refresh=True)
            if isinstance(item, BaseException):
                raise item
            if item is None:
                return
            time.sleep(_PAUSE_S)


def cells(track: Track) -> tuple[str, str, str, str, str]:
    """Return what is shown of a track: its name, its line, the marks under it, its bounds and its value."""
    bounds = f"{track.least:.6g} to {track.most:.6g}" if track.least <= track.most else ""
    now = "-" if track.now is None else str(valued(track.now, track.unit))
    return clean(track.name), sparkline(track.values), "".join(track.marks), bounds, clean(now)
