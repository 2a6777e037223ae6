"""The payload of a device event, in EventBridge's envelope, so that `PutEvents` can test one handler in the cloud too.

An edge may come a thousand times a second on a small machine: what is the same in every event of a device is encoded
once, and the rest is put in between as text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import NamedTuple

from edge_runtime.model import Stamp
from edge_runtime.pure.events.iso import micros

_dump = json.JSONEncoder(separators=(",", ":")).encode
_dump_strictly = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_NOTHING: Mapping[str, object] = {}


class Moment(NamedTuple):
    """When and as which of its kind something happened."""

    id: str
    """The id of the event."""
    stamp: Stamp
    seq: int
    """Counts the events of the device since the host started: a gap is a refused event."""
    synced: bool
    """Whether the wall clock was known to be right."""


class DeviceEvents:
    """Builds the payloads of one device.

    `source` is who speaks (`gpio`, `sample`), `pin` is where the device is wired, empty for none.
    """

    def __init__(
        self, *, thing: str, device: str, class_name: str, source: str, pin: str = "", simulated: bool = False
    ) -> None:
        self._label = "GPIO" if source == "gpio" else "Sensor"
        self._device = device
        self._class = class_name
        self._source = f"edge.{source}"
        self._resource = _dump([f"thing/{thing}/device/{device}"])
        self._pin = _dump(pin or None)
        self.simulated = simulated
        """Whether the value is made up. It may change: a device without pins is real until somebody sets its value."""
        self._parts: dict[str, tuple[str, str]] = {}

    def build(
        self,
        event: str,
        value: object,
        moment: Moment,
        *,
        previous: object = None,
        held_s: float | None = None,
        reason: str = "",
        more: Mapping[str, object] = _NOTHING,
    ) -> bytes:
        """Return compact JSON. `value` and `previous` are what JSON can carry; `reason` belongs to a fault only.

        `more` are further keys of the detail, by names that are in no need of escaping: `raw` (a reading before it was
        calibrated), `unit`, `part` (of a device that has several), `threshold` (the level that was crossed),
        `asked_by` and `why` (of a command). They come last, in their order.

        Raises: ValueError for NaN or infinity, TypeError for what JSON has no form for.
        """
        start, middle = self._parts.get(event) or self._prepare(event)
        stamp = moment.stamp
        made_up = "true" if self.simulated else "false"
        rest = f',"reason":{_dump(reason)}' if reason else ""
        for key, part in more.items():
            rest += f',"{key}":{_json(part)}'
        return (
            f'{{"version":"0","id":"{moment.id}"{start}{micros(stamp.wall_ns)}{middle}{_json(value)}'
            f',"previous":{_json(previous)},"pin":{self._pin},"held_s":{_json(held_s)},"seq":{moment.seq}'
            f',"boot":"{stamp.boot}","mono_ns":{stamp.mono_ns}'
            f',"clock":"{"synced" if moment.synced else "unsynced"}","simulated":{made_up}{rest}}}}}'
        ).encode()

    def _prepare(self, event: str) -> tuple[str, str]:
        kind = _dump(f"{self._label} {self._class} {event.replace('_', ' ').title()}")
        start = f',"detail-type":{kind},"source":"{self._source}","account":"000000000000","time":"'
        middle = (
            f'","region":"local","resources":{self._resource},"detail":{{"device":{_dump(self._device)}'
            f',"class":{_dump(self._class)},"event":{_dump(event)},"value":'
        )
        self._parts[event] = start, middle
        return start, middle


def _json(value: object) -> str:
    if value is None:
        return "null"
    kind = type(value)
    if kind is int:
        return str(value)
    if kind is float and math.isfinite(value):  # type: ignore[arg-type]  # its type was just compared
        return repr(value)
    return _dump_strictly(value)
