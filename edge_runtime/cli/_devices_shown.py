"""Devices as a table for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edge_runtime.cli._common import duration

_MOST_SHOWN = 72


def devices_shown(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, object]]:
    """Return the rows of the host's verb `devices` as columns that a person reads."""
    return [
        {
            "name": row["name"],
            "driver": row["driver"],
            "wiring": row.get("pin"),
            "value": _short(valued(row.get("value"), row.get("unit"))),
            "last event": _event(row),
            "heard by": row.get("listeners"),
            "simulated": row.get("simulated"),
            "fault": row.get("error"),
        }
        for row in rows
    ]


def valued(value: object, unit: object) -> object:
    """Return a value with its unit: `21.5 °C`, `humidity 51 %, temperature 21.5 °C`."""
    if isinstance(value, dict):
        units = unit if isinstance(unit, dict) else dict.fromkeys(value, unit)
        return ", ".join(f"{part} {valued(item, units.get(part))}" for part, item in value.items())
    if isinstance(value, list | tuple):
        text = ", ".join(str(number(item)) for item in value)
        return f"{text} {unit}" if isinstance(unit, str) and unit else text
    if value is None or not isinstance(unit, str) or not unit:
        return number(value)
    return f"{number(value)} {unit}"


def _short(value: object) -> object:
    """Return a text that leaves room for the other columns; `--json` has all of it."""
    return f"{value[: _MOST_SHOWN - 3]}..." if isinstance(value, str) and len(value) > _MOST_SHOWN else value


def number(value: object) -> object:
    """Return a number with as many digits as a person reads; anything else as it is."""
    return f"{value:.6g}" if isinstance(value, float) else value


def _event(row: Mapping[str, Any]) -> str:
    if not row.get("event"):
        return ""
    age = row.get("age_s")
    return f"{row['event']} {duration(age)} ago" if isinstance(age, int | float) else str(row["event"])
