"""NMEA 0183 as satellite receivers speak it: sentences, and the position that the sentences of one moment make.

Source: NMEA 0183, sentences GGA, RMC, GSA and VTG, as in the protocol description of u-blox receivers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

_KNOT = 1852 / 3600
_KMH = 1 / 3.6
_CENTURY = 80
"""A year of two digits from here on is of the last century (GPS began in 1980)."""


class Sentence(NamedTuple):
    """One sentence: who speaks (`GP`, `GN`), what it is (`RMC`), and its fields."""

    talker: str
    kind: str
    fields: tuple[str, ...]


def sentence(text: str) -> Sentence | None:
    """Return the sentence that a text without `*` and checksum is; None for one of a maker's own (`$PUBX`).

    Raises: ValueError when it is none.
    """
    if not text.startswith(("$", "!")):
        raise ValueError(f"{text[:60]!r} is no NMEA sentence: it does not begin with $")
    head, *fields = text[1:].split(",")
    if re.fullmatch(r"P[A-Z0-9]+", head):
        return None
    if not re.fullmatch(r"[A-Z0-9]{5}", head):
        raise ValueError(f"{text[:60]!r} is no NMEA sentence")
    return Sentence(head[:2], head[2:], tuple(fields))


class Navigator:
    """Puts sentences together to positions, one for each moment that the receiver tells of.

    A position has `fix`: 0 for none, else the quality that GGA tells (1 GPS, 2 differential, 4 RTK, 5 RTK float, 6 dead
    reckoning), or 1. With a fix there are `latitude` and `longitude` in degrees, north and east positive, and, as far
    as told, `altitude` in m above the sea, `speed` in m/s and `course` in degrees from true north. Without one, too,
    there are `satellites` in use, `hdop`, and `time` in UTC.
    """

    def __init__(self) -> None:
        self._moment: str | None = None
        """The time of day of the sentences that are being gathered."""
        self._parts: dict[str, float | int | str] = {}
        self._valid: dict[str, bool] = {}
        self._date = ""
        self._kinds: set[str] = set()
        self._last = ""
        """The kind of the sentence that was the last one of the moment before: with it a position is whole."""
        self._before = ""
        self._told = True

    def take(self, told: Sentence) -> dict[str, object] | None:
        """Take a sentence, and return a position when it is whole. Raises: ValueError for a field that is wrong."""
        read = _READERS.get(told.kind)
        if read is None:
            return None
        parts = read(told.fields)
        whole = None
        moment = parts.pop("moment", None)
        # A receiver that does not know the time yet tells none; then a kind that comes again is a new moment.
        if moment is not None and (moment != self._moment or told.kind in self._kinds):
            if not self._told:
                whole = self._position()
            self._last = self._before
            self._begin(str(moment))
        self._date = str(parts.pop("date", self._date))
        if "valid" in parts:
            self._valid[told.kind] = bool(parts.pop("valid"))
        self._parts |= parts
        self._before = told.kind
        self._kinds.add(told.kind)
        if not self._told and told.kind == self._last:
            whole = self._position()
        return whole

    def _begin(self, moment: str) -> None:
        self._moment, self._told, self._date = moment, False, ""
        self._parts, self._valid = {}, {}
        self._kinds = set()

    def _position(self) -> dict[str, object]:
        self._told = True
        found = dict(self._parts)
        fix = found.pop("quality", None)
        if fix is None:
            fix = int(self._valid.get("RMC", False))
        if not all(self._valid.values()) or "latitude" not in found:
            fix = 0
        position: dict[str, object] = {"fix": fix}
        if fix:
            position |= {k: found[k] for k in ("latitude", "longitude", "altitude", "speed", "course") if k in found}
        position |= {k: found[k] for k in ("satellites", "hdop") if k in found}
        if self._date and self._moment:
            position["time"] = f"{self._date}T{self._moment}Z"
        return position


_Parts = dict[str, float | int | str]


def _gga(fields: tuple[str, ...]) -> _Parts:
    time, lat, north, lon, east, quality, count, hdop, high = _first(fields, 9)
    parts: _Parts = {"moment": _clock(time), "quality": _whole(quality or "0")}
    parts |= _place(lat, north, lon, east) | _maybe("satellites", count, _whole) | _maybe("hdop", hdop, _number)
    return parts | _maybe("altitude", high, _number)


def _rmc(fields: tuple[str, ...]) -> _Parts:
    time, status, lat, north, lon, east, speed, course, date = _first(fields, 9)
    parts: _Parts = {"moment": _clock(time), "valid": status == "A"}
    parts |= _place(lat, north, lon, east) | _maybe("speed", speed, lambda text: round(_number(text) * _KNOT, 3))
    return parts | _maybe("course", course, _number) | _maybe("date", date, _day)


def _gsa(fields: tuple[str, ...]) -> _Parts:
    return _maybe("hdop", _first(fields, 16)[15], _number)


def _vtg(fields: tuple[str, ...]) -> _Parts:
    course, _, _, _, knots, _, kmh = _first(fields, 7)
    parts = _maybe("course", course, _number)
    if kmh:
        return parts | _maybe("speed", kmh, lambda text: round(_number(text) * _KMH, 3))
    return parts | _maybe("speed", knots, lambda text: round(_number(text) * _KNOT, 3))


_READERS: dict[str, Callable[[tuple[str, ...]], _Parts]] = {"GGA": _gga, "RMC": _rmc, "GSA": _gsa, "VTG": _vtg}


def _first(fields: tuple[str, ...], count: int) -> tuple[str, ...]:
    if len(fields) < count:
        raise ValueError(f"an NMEA sentence has {len(fields)} fields and should have {count}")
    return fields[:count]


def _maybe(name: str, text: str, read: Callable[[str], float | int | str]) -> _Parts:
    return {name: read(text)} if text else {}


def _number(text: str) -> float:
    if not re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]*)?|-?\.[0-9]+", text, re.ASCII):
        raise ValueError(f"{text!r} in an NMEA sentence is no number")
    return float(text)


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII):
        raise ValueError(f"{text!r} in an NMEA sentence is no whole number")
    return int(text)


def _clock(text: str) -> str:
    """Return `hhmmss.ss` as `hh:mm:ss.ss`; empty when the receiver does not know the time."""
    if not text:
        return ""
    found = re.fullmatch(r"([01][0-9]|2[0-3])([0-5][0-9])([0-5][0-9]|60)(?:\.([0-9]+))?", text, re.ASCII)
    if not found:
        raise ValueError(f"{text!r} in an NMEA sentence is no time of day")
    hour, minute, second, part = found.groups()
    part = (part or "").rstrip("0")
    return f"{hour}:{minute}:{second}{'.' if part else ''}{part}"


def _day(text: str) -> str:
    """Return `ddmmyy` as `yyyy-mm-dd`."""
    found = re.fullmatch(r"(0[1-9]|[12][0-9]|3[01])(0[1-9]|1[0-2])([0-9]{2})", text, re.ASCII)
    if not found:
        raise ValueError(f"{text!r} in an NMEA sentence is no date")
    day, month, year = found.groups()
    return f"{1900 + int(year) if int(year) >= _CENTURY else 2000 + int(year)}-{month}-{day}"


def _place(lat: str, north: str, lon: str, east: str) -> _Parts:
    if not lat or not lon:
        return {}
    return {"latitude": _degrees(lat, north, "NS", 90), "longitude": _degrees(lon, east, "EW", 180)}


def _degrees(text: str, side: str, sides: str, most: int) -> float:
    """Return `ddmm.mmmm` (or `dddmm.mmmm`) as degrees; seven digits are 1 cm."""
    value = _number(text)
    whole, minutes = divmod(value, 100)
    degrees = whole + minutes / 60
    if value < 0 or minutes >= 60 or degrees > most or side not in tuple(sides):  # noqa: PLR2004 - minutes of a degree
        raise ValueError(f"{text!r} {side!r} in an NMEA sentence is no place on earth")
    return math.copysign(round(degrees, 7), -1.0 if side == sides[1] else 1.0)
