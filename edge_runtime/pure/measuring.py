"""What a raw reading becomes: calibrated numbers in declared units, or the reason why it is none.

A reading is a number, a text, a switch, or a dict or list of such parts. Only numbers are calibrated and checked: a
bool is a switch, and is left alone. A measure is found by the name of the part (`temperature`; `0` and `1` in a list);
the measure named `""` is for a single value and for all parts that have none of their own. What is nested deeper
belongs to the part that it is in.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from edge_runtime.app import Measure


class Measured(NamedTuple):
    """A good reading, or why there is none."""

    value: object
    """Calibrated; a dict or list of the caller's own, that no driver changes any more."""
    fault: str = ""
    """Why it is no reading (`the reading is 130 °C, out of -40 to 85 °C`), or empty."""


class Measurer:
    """The calibration of one device.

    One bad part makes the whole reading a fault that names the part: half a reading would look like a whole one to
    those who take averages of it. NaN and infinity are bad everywhere. None is bad as the whole reading and in a part
    that a measure or a threshold names, as is that part's absence; elsewhere it is a part that is off. What a
    threshold looks at must be a number.

    `unit` is what the driver says of its units: a text, or texts by part. What a measure declares comes before it.
    `watched` are the parts that thresholds look at, `""` for a single value.
    """

    def __init__(self, measures: Mapping[str, Measure], *, unit: object = "", watched: Iterable[str] = ()) -> None:
        self.calibrates = any(m.scale != 1 or m.offset != 0 or m.digits is not None for m in measures.values())
        """Whether a reading may become another one, so that the raw one is worth keeping."""
        self._measures = measures
        self._watched = tuple(watched)
        self._named = tuple(name for name in measures if name)
        self._common = measures.get("", Measure())
        self._by_part = {str(k): str(v) for k, v in unit.items()} if isinstance(unit, Mapping) else {}
        self._driver_unit = unit if isinstance(unit, str) else ""
        self._shape: tuple[object, ...] | None = None
        self._unit: object = ""

    def take(self, raw: object) -> Measured:
        """Return what a raw reading becomes."""
        if raw is None:
            return Measured(None, "the device gave no reading")
        try:
            value = self._walk(raw)
            self._check_parts(value)
        except ValueError as error:
            return Measured(None, str(error))
        except RuntimeError as error:  # a dict that holds itself, or one that its driver changes just now
            return Measured(None, f"the reading cannot be taken apart: {error}")
        return Measured(value)

    def unit_of(self, part: str) -> str:
        """Return the unit of a part, `""` for the whole of a single value; empty when nobody has said."""
        return self._measures.get(part, self._common).unit or self._by_part.get(part, "") or self._driver_unit

    def unit(self, value: object) -> object:
        """Return the unit of a reading: a text, or texts by part where parts have their own. Empty when unknown."""
        shape = _shape(value)
        if shape != self._shape:
            self._shape, self._unit = shape, self._units(shape)
        return self._unit

    def _units(self, shape: tuple[object, ...]) -> object:
        if not shape or not (self._by_part or self._named):
            return self.unit_of("")
        return {str(part): unit for part in shape if (unit := self.unit_of(str(part)))}

    def _walk(self, raw: object) -> object:
        if isinstance(raw, dict):
            return {_name(key): self._part(_name(key), part, _name(key)) for key, part in raw.items()}
        if isinstance(raw, tuple | list):
            return [self._part(str(n), part, str(n)) for n, part in enumerate(raw)]
        return self._part("", raw, "")

    def _part(self, name: str, raw: object, path: str) -> object:
        if isinstance(raw, int | float):
            return raw if isinstance(raw, bool) else self._number(name, raw, path)
        if isinstance(raw, dict):
            return {_name(key): self._part(name, part, f"{path}.{key}") for key, part in raw.items()}
        if isinstance(raw, tuple | list):
            return [self._part(name, part, f"{path}.{n}") for n, part in enumerate(raw)]
        if raw is None or isinstance(raw, str):
            return raw
        raise ValueError(f"{_which(path)} is {raw!r}, which has no form in JSON")

    def _number(self, name: str, raw: float, path: str) -> float:
        if not abs(raw) <= sys.float_info.max:
            raise ValueError(f"{_which(path)} is {raw if isinstance(raw, float) else 'greater than any measure'}")
        one = self._measures.get(name, self._common)
        value = raw
        if one.scale != 1 or one.offset != 0:
            value = raw * one.scale + one.offset
            if not math.isfinite(value):
                raise ValueError(f"{_which(path)} is {value} once it is calibrated; raw it is {raw}")
        if one.digits is not None:
            value = round(value, one.digits)
            value = value or abs(value)  # there is no minus zero degrees
        if not one.least <= value <= one.most:
            unit = f" {text}" if (text := self.unit_of(name)) else ""
            raise ValueError(f"{_which(path)} is {value:.12g}{unit}, out of {one.least:g} to {one.most:g}{unit}")
        return value

    def _check_parts(self, value: object) -> None:
        for name in self._named:
            if part_of(value, name) is None:
                if isinstance(value, dict) and name in value:
                    raise ValueError(f"{_which(name)} is null")
                raise ValueError(f"the reading has no part {name!r}; {_has(value)}")
        for name in self._watched:
            part = part_of(value, name)
            if isinstance(part, bool) or not isinstance(part, int | float):
                what = f"no part {name!r} that is a number" if name else "no single number"
                raise ValueError(f"the reading has {what} for a threshold; {_has(value)}")  # noqa: TRY004 - as below


def part_of(value: object, name: str) -> object:
    """Return a part of a reading by its name, the reading itself for `""`; None when there is no such part."""
    if not name:
        return value
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
        return value[int(name)]
    return None


def _name(key: object) -> str:
    if not isinstance(key, str | int):
        raise ValueError(f"the reading has a part whose name is {key!r}, which has no form in JSON")  # noqa: TRY004 - it says what is wrong with a value
    return str(key)


def _shape(value: object) -> tuple[object, ...]:
    if isinstance(value, dict):
        return tuple(value)
    return tuple(range(len(value))) if isinstance(value, list) else ()


def _which(path: str) -> str:
    return f"part {path!r} of the reading" if path else "the reading"


def _has(value: object) -> str:
    parts = ", ".join(map(str, _shape(value)))
    return f"its parts are {parts}" if parts else f"it is {value!r}"
