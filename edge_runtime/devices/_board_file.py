"""What may stand in a board file, and what is said about one that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge_runtime import plugin
from edge_runtime.errors import ConfigError

_Check = Callable[[str, Any], str]
"""Takes the name of a key and its value; returns what is wrong, or an empty text."""
_MOST_VOLTS = 60
FACTORIES = ("lgpio", "rpigpio", "native", "gpiod")


def _text(key: str, value: object) -> str:
    return "" if isinstance(value, str) and value else f"{key} must be a text"


def _volts(key: str, value: object) -> str:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _MOST_VOLTS
    return "" if good else f"{key} must be a number, as in 3.3"


def _texts(key: str, value: object) -> str:
    good = isinstance(value, list) and all(isinstance(item, str) and item for item in value)
    return "" if good else f'{key} must be a list of texts, as in ["a", "b"]'


def _line(key: str, value: object) -> str:
    good = (isinstance(value, int) and not isinstance(value, bool) and value >= 0) or (isinstance(value, str) and value)
    return "" if good else f"{key} must be the offset or the name of a line, as in 12 or gpiochip1:12"


def _table(inner: _Check) -> _Check:
    def check(key: str, value: object) -> str:
        if not isinstance(value, dict):
            return f"{key} must be a table, as in [{key}]"
        return next((wrong for name, item in value.items() if (wrong := inner(f"{key}.{name}", item))), "")

    return check


def _bus(key: str, value: object) -> str:
    if not isinstance(value, dict):
        return f"{key} must be a table with files and lines"
    for name, item in value.items():
        check = {"files": _texts, "lines": _table(_text)}.get(name)
        if check is None:
            return f"{key}.{name} is no key{plugin.nearest(name, ['files', 'lines'])} known: files, lines"
        if wrong := check(f"{key}.{name}", item):
            return wrong
    return ""


_SHAPES: Mapping[str, _Check] = {
    "title": _text,
    "like": _text,
    "compatible": _texts,
    "models": _texts,
    "chips": _texts,
    "volts": _volts,
    "factories": _texts,
    "header": _text,
    "pulled_up": _texts,
    "kept": _texts,
    "refused": _table(_text),
    "headers": _table(_texts),
    "lines": _table(_line),
    "buses": _table(_bus),
    "functions": _table(_texts),
    "names": _table(_text),
}


def check_shape(path: Path, keys: Mapping[str, Any]) -> None:
    """Return if every key is one that is known and holds what it should.

    Raises: ConfigError that names the file and the key.
    """
    for key, value in keys.items():
        if key not in _SHAPES:
            known = ", ".join(_SHAPES)
            raise ConfigError(
                f"the board file {path}: unknown key {key!r}{plugin.nearest(key, _SHAPES)}", hint=f"known: {known}"
            )
        if wrong := _SHAPES[key](key, value):
            raise ConfigError(f"the board file {path}: {wrong}")


def check_sense(path: Path, keys: Mapping[str, Any]) -> None:
    """Return if what a board file says, with all that it is like, fits together.

    Raises: ConfigError that names the file and the key.
    """
    for wrong in _senseless(keys):
        raise ConfigError(f"the board file {path}: {wrong}")


def _senseless(keys: Mapping[str, Any]) -> list[str]:
    headers: Mapping[str, list[str]] = keys.get("headers", {})
    pins = {pin for header in headers.values() for pin in header}
    wrong = [
        f"factories: {name!r} is none{plugin.nearest(name, FACTORIES)} known: {', '.join(FACTORIES)}"
        for name in keys.get("factories", ())
        if name not in FACTORIES
    ]
    if keys.get("header") is not None and keys["header"] not in headers:
        wrong.append(f"header: there is no header {keys['header']!r}; known: {', '.join(headers) or 'none'}")
    if not headers:
        return wrong  # it takes any line: names cannot be checked
    uses = [(f"{key}", pin) for key in ("pulled_up", "kept") for pin in keys.get(key, ())]
    uses += [(key, pin) for key in ("functions", "lines") for pin in keys.get(key, {})]
    uses += [(f"names.{name}", pin) for name, pin in keys.get("names", {}).items()]
    for bus, of in keys.get("buses", {}).items():
        uses += [(f"buses.{bus}.lines.{role}", pin) for role, pin in of.get("lines", {}).items()]
    wrong += [
        f"{where}: no header has a pin {pin!r}{plugin.nearest(pin, pins)}" for where, pin in uses if pin not in pins
    ]
    return wrong
