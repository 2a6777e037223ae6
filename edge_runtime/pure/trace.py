"""Traces: what happens to a device and around it, line by line, recorded or written by hand.

As JSON lines, each line is one object. `t` is when: seconds or a duration (`90`, `1d2h`) from the start, or an ISO 8601
time. Lines are in the order of time. Lines that are empty or begin with `#` are left out.

    {"start": "2026-06-01T06:00:00Z"}                              the time at t 0; without, the first ISO time, or now
    {"loop": "1d", "times": 7}                                     all that follows, again each day, on 7 days
    {"t": 0, "device": "soil", "value": 0.4}                       what a simulated device measures from now on
    {"t": 0, "device": "soil", "wave": {"from": 0.2, "to": 0.6, "period": "1d"}, "every": "10m"}    a sine, from `from`
    {"t": 0, "device": "door", "cycle": [1, 0], "every": "6h", "for": "2d"}                         these, one by one
    {"t": "1d", "outage": "4d"}                                    the link is cut for so long
    {"t": "2d", "power_cut": "2h"}                                 no power for so long; with "unknown": see clock
    {"t": "3d", "clock": "-1h"}                                    the wall clock is set; with "unknown": "30m" nobody
                                                                   knows whether it is right, and then it is set right
    {"t": "4d", "fault": "soil", "how": "throws", "for": "10m"}    or "hangs", or "nan"
    {"t": "4d", "publish": "cmd/pump", "payload": {"on": true}}    from the cloud
    {"t": "5d", "command": "pump", "value": "on"}                  here, on device/pump/set

As CSV, there is a header line `t,device,value`, and each line is what a device measures: JSON, or else a text.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from edge_runtime.errors import ConfigError
from edge_runtime.pure import units
from edge_runtime.pure.events.iso import micros

COLUMNS = ("t", "device", "value")


class Kind(StrEnum):
    """What a step is."""

    VALUE = "device"
    OUTAGE = "outage"
    POWER_CUT = "power_cut"
    CLOCK = "clock"
    FAULT = "fault"
    PUBLISH = "publish"
    COMMAND = "command"


HOWS = ("throws", "hangs", "nan")
"""How a device can fail."""
_KEYS: Mapping[Kind, tuple[set[str], set[str]]] = {
    Kind.VALUE: (set(), {"value", "wave", "cycle", "every", "for"}),
    Kind.OUTAGE: (set(), set()),
    Kind.POWER_CUT: (set(), {"unknown"}),
    Kind.CLOCK: (set(), {"unknown"}),
    Kind.FAULT: ({"how"}, {"for"}),
    Kind.PUBLISH: ({"payload"}, set()),
    Kind.COMMAND: ({"value"}, set()),
}
"""The keys that a line needs and those that it may have, beside `t` and the one that names its kind."""


@dataclass(frozen=True, slots=True)
class Wave:
    """A sine between two values, which begins at `first`."""

    first: float
    other: float
    period_s: float

    def at(self, seconds: float) -> float:
        """Return the value so long after the begin."""
        middle, half = (self.first + self.other) / 2, (self.first - self.other) / 2
        return round(middle + half * math.cos(2 * math.pi * seconds / self.period_s), 6)


@dataclass(frozen=True, slots=True)
class Step:
    """One line. Times are seconds from the start."""

    at_s: float
    kind: Kind
    name: str = ""
    """The device, or the topic."""
    value: Any = None
    """What is measured, published or commanded; how a device fails; the seconds by which the wall clock is set."""
    for_s: float = 0.0
    """How long: an outage, a power cut, a fault (0: for ever), a series of values (0: for ever), a clock of which it is
    not known whether it is right (0: it is)."""
    every_s: float = 0.0
    series: Wave | tuple[Any, ...] = ()
    """Of values, one `every_s`; empty: it is `value`."""
    is_end: bool = False
    """Whether it is the end of what such a step began."""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """What holds for all of a trace. A loop of 0 s is none."""

    start: datetime | None = None
    loop_s: float = 0.0
    times: int = 1


Open = Callable[[], Iterable[str]]
"""Opens a trace: returns its lines, from the first on."""


class Trace:
    """A trace that is read line by line, as often as it is asked for.

    `name` names it in errors; one that ends in `.csv` is CSV.
    """

    def __init__(self, name: str, lines: Open) -> None:
        self.name = name
        self._open = lines
        self._is_csv = name.lower().endswith(".csv")

    def head(self) -> Head:
        """Return what holds for all of it. Raises: ConfigError that names file and line."""
        reader = _Reader(self.name)
        next(self._read(reader), None)
        return reader.head

    def declared(self) -> Iterator[Step]:
        """Yield each line once, a series or a loop as it is written. Raises: as `head`."""
        return self._read(_Reader(self.name))

    def again(self, offset_s: float) -> Iterator[Step]:
        """Yield each line once, that much later."""
        return (replace(step, at_s=step.at_s + offset_s) for step in self.declared())

    def _read(self, reader: _Reader) -> Iterator[Step]:
        lines = self._open()
        return reader.csv(lines) if self._is_csv else reader.jsonl(lines)


class _Reader:
    """Reads one trace from its first line on."""

    def __init__(self, name: str) -> None:
        self.head = Head()
        self._name = name
        self._line = 0
        self._last_s = 0.0
        self._begun = False

    def jsonl(self, lines: Iterable[str]) -> Iterator[Step]:
        """Yield the steps of JSON lines."""
        for self._line, text in enumerate(lines, 1):
            if not text.strip() or text.lstrip().startswith("#"):
                continue
            try:
                found = json.loads(text, parse_constant=_refuse)
            except (ValueError, RecursionError) as error:
                raise self._error(f"no JSON: {error}") from error
            if not isinstance(found, dict):
                raise self._error("a line is one JSON object")
            if {"start", "loop"} & found.keys():
                self._take_head(found)
            else:
                yield self._step(found)

    def csv(self, lines: Iterable[str]) -> Iterator[Step]:
        """Yield the steps of CSV."""
        rows = csv.reader(lines)
        try:
            names = [name.strip().lower() for name in next(rows, [])]
            if sorted(names) != sorted(COLUMNS):
                self._line = 1
                raise self._error(f"the first line names the columns: {','.join(COLUMNS)}")
            for row in rows:
                self._line = rows.line_num
                if not row:
                    continue
                if len(row) != len(names):
                    raise self._error(f"{len(row)} columns in place of {len(names)}")
                found: dict[str, Any] = dict(zip(names, row, strict=True))
                yield self._step({**found, "value": _cell(found["value"])})
        except csv.Error as error:
            raise self._error(f"no CSV: {error}") from error

    def _take_head(self, found: Mapping[str, Any]) -> None:
        if self._begun:
            raise self._error("`start` and `loop` come before all that has a `t`")
        if unknown := found.keys() - {"start", "loop", "times"}:
            raise self._error(f"unknown key {min(unknown)!r}", "write a line for `start` and one for `loop`")
        if "start" in found:
            self.head = replace(self.head, start=self._moment(found["start"]))
        if "loop" in found:
            times = found.get("times", 1)
            if not isinstance(times, int) or isinstance(times, bool) or times < 1:
                raise self._error(f"`times` is {times!r}: write a number from 1 on")
            self.head = replace(self.head, loop_s=self._seconds(found, "loop", least=1.0), times=times)

    def _step(self, found: Mapping[str, Any]) -> Step:
        kinds = [kind for kind in Kind if kind in found and not (kind is Kind.VALUE and "fault" in found)]
        if len(kinds) != 1:
            raise self._error("a line has `t` and one of: " + ", ".join(Kind))
        kind = kinds[0]
        needed, allowed = _KEYS[kind]
        for key in sorted(found.keys() - needed - allowed - {"t", kind}):
            raise self._error(f"unknown key {key!r} of {kind}", f"known: {', '.join(sorted(needed | allowed))}")
        for key in sorted(needed - found.keys()):
            raise self._error(f"{kind} needs `{key}`")
        at_s = self._time(found.get("t"))
        self._begun = True
        if at_s < self._last_s:
            raise self._error("it is before the line above it", "lines are in the order of time")
        if self.head.loop_s and at_s >= self.head.loop_s:
            raise self._error(f"it is not within the loop of {self.head.loop_s:g} s")
        self._last_s = at_s
        return self._fill(found, Step(at_s, kind, line=self._line))

    def _fill(self, found: Mapping[str, Any], step: Step) -> Step:
        unknown_s = self._seconds(found, "unknown") if "unknown" in found else 0.0
        if step.kind in (Kind.OUTAGE, Kind.POWER_CUT):
            return replace(step, for_s=self._seconds(found, step.kind, least=1e-3), value=unknown_s)
        if step.kind is Kind.CLOCK:
            return replace(step, value=self._signed(found["clock"]), for_s=unknown_s)
        name = found[step.kind]
        if not isinstance(name, str) or not name:
            raise self._error(f"`{step.kind}` is {name!r}, and must be a name")
        step = replace(step, name=name, for_s=self._seconds(found, "for", least=1e-3) if "for" in found else 0.0)
        if step.kind is Kind.FAULT:
            if found["how"] not in HOWS:
                raise self._error(f"`how` is {found['how']!r}", f"known: {', '.join(HOWS)}")
            return replace(step, value=found["how"])
        if step.kind is Kind.VALUE:
            return self._series(found, step)
        return replace(step, value=found["payload" if step.kind is Kind.PUBLISH else "value"])

    def _series(self, found: Mapping[str, Any], step: Step) -> Step:
        ways = [key for key in ("value", "wave", "cycle") if key in found]
        if len(ways) != 1:
            raise self._error("a device has one of: value, wave, cycle")
        if ways == ["value"]:
            for key in ("every", "for"):
                if key in found:
                    raise self._error(f"`{key}` is for a wave or a cycle")
            if found["value"] is None or found["value"] == "":
                raise self._error("there is no value")
            return replace(step, value=found["value"])
        step = replace(step, every_s=self._seconds(found, "every", least=1e-3))
        if ways == ["cycle"]:
            if not isinstance(found["cycle"], list) or not found["cycle"]:
                raise self._error("`cycle` is a list of values")
            return replace(step, series=tuple(found["cycle"]))
        wave = found["wave"]
        if not isinstance(wave, dict) or wave.keys() != {"from", "to", "period"}:
            raise self._error("`wave` has the keys from, to, period")
        if not all(isinstance(wave[key], int | float) and not isinstance(wave[key], bool) for key in ("from", "to")):
            raise self._error("a wave goes from a number to a number")
        return replace(step, series=Wave(wave["from"], wave["to"], self._seconds(wave, "period", least=1e-3)))

    # -- times ---------------------------------------------------------------------------------------------------

    def _time(self, value: object) -> float:
        if value is None or value == "":
            raise self._error("there is no `t`")
        try:
            return units.seconds(value)
        except ValueError:
            pass
        moment = self._moment(value)
        if self.head.start is None:
            if self._begun:
                raise self._error("a time of day, and nobody says when t is 0", 'begin with {"start": "2026-..."}')
            self.head = replace(self.head, start=moment)
        since_s = (moment - (self.head.start or moment)).total_seconds()
        if since_s < 0:
            raise self._error("it is before the start")
        return since_s

    def _moment(self, value: object) -> datetime:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            raise self._error(f"{value!r} is no time", "write 90, 1h30m or 2026-06-01T06:00:00Z") from None
        if moment.tzinfo is None:
            raise self._error(f"the time {value!r} has no time zone", f"write {value}Z for UTC")
        return moment.astimezone(UTC)

    def _seconds(self, found: Mapping[str, Any], key: str, least: float = 0.0) -> float:
        if key not in found:
            raise self._error(f"there is no `{key}`")
        try:
            seconds = units.seconds(found[key])
        except ValueError as error:
            raise self._error(f"`{key}`: {error}") from error
        if seconds < least:
            raise self._error(f"`{key}` is {found[key]!r}, which is too short")
        return seconds

    def _signed(self, value: object) -> float:
        sign, rest = (-1.0, value[1:]) if isinstance(value, str) and value.startswith("-") else (1.0, value)
        if isinstance(rest, int | float) and not isinstance(rest, bool) and rest < 0:
            sign, rest = -1.0, -rest
        return sign * self._seconds({"clock": rest}, "clock")

    def _error(self, what: str, hint: str = "") -> ConfigError:
        return ConfigError(f"{self._name}:{self._line}: {what}", hint=hint)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _cell(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


class Recorder:
    """Writes what devices measure as a trace: `head()`, then a `line` a reading."""

    def __init__(self, name: str) -> None:
        self._is_csv = name.lower().endswith(".csv")
        self._start_s: float | None = None
        self._last_s = 0.0

    def head(self) -> str:
        """Return what the file begins with."""
        return f"{','.join(COLUMNS)}\n" if self._is_csv else ""

    def line(self, wall_s: float, device: str, value: object) -> str:
        """Return the line, or lines, of a reading; `wall_s` is in seconds since the epoch.

        When the clock is set back, time stands still in the trace until it is as late again.
        """
        text, wall_s = json.dumps(value), max(wall_s, self._last_s)
        self._last_s = wall_s
        if self._is_csv:
            return _row(_iso(wall_s), device, value if isinstance(value, str) and _cell(value) == value else text)
        begin = ""
        if self._start_s is None:
            self._start_s = math.floor(wall_s * 1000) / 1000
            begin = json.dumps({"start": _iso(self._start_s)}) + "\n"
        since_s = round(wall_s - self._start_s, 3)
        return f'{begin}{{"t": {since_s!r}, "device": {json.dumps(device)}, "value": {text}}}\n'


def _iso(wall_s: float) -> str:
    return micros(round(wall_s * 1e6) * 1000)


def _row(*cells: str) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
