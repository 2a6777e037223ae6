"""Change one value deep inside an event, by a path such as `Records[0].s3.object.size`."""

from __future__ import annotations

import json
import re
from typing import Any

from edge_runtime.errors import ConfigError

_STEP = re.compile(r"\[(\d{1,6})\]|([^.\[\]]+)")


def put(event: Any, path: str, text: str) -> Any:  # noqa: ANN401 - any JSON
    """Set the value at a path and return the event, which is changed in place.

    A path is keys with dots in between and indexes in brackets. `text` is JSON, or else stands for itself. All of the
    path but its end must exist: the end may be a new key, or the index after the last one.

    Raises: ConfigError when the path is wrong or leads nowhere.
    """
    steps = _steps(path)
    place, seen = event, ""
    for step in steps[:-1]:
        place, seen = _enter(place, step, seen, path), seen + _shown(step, seen)
    last = steps[-1]
    value = _value(text)
    if isinstance(place, dict) and isinstance(last, str):
        place[last] = value
    elif isinstance(place, list) and isinstance(last, int) and last == len(place):
        place.append(value)
    else:
        _enter(place, last, seen, path)
        place[last] = value
    return event


def _steps(path: str) -> list[str | int]:
    found: list[str | int] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at + (path[at] == "." and at > 0))
        if match is None or (match[2] is not None and at > 0 and path[at] != "."):
            break
        found.append(int(match[1]) if match[1] is not None else match[2])
        at = match.end()
    if at < len(path) or not found:
        raise ConfigError(f"{path!r} is no path", hint="write one as in Records[0].s3.object.size")
    return found


def _enter(place: Any, step: str | int, seen: str, path: str) -> Any:  # noqa: ANN401 - any JSON
    where = f"{path!r} leads nowhere: {seen or 'the event'}"
    if isinstance(place, dict) and isinstance(step, str):
        if step in place:
            return place[step]
        raise ConfigError(f"{where} has no {step!r}", hint=f"it has: {', '.join(map(str, place)) or 'nothing'}")
    if isinstance(place, list) and isinstance(step, int):
        if step < len(place):
            return place[step]
        raise ConfigError(f"{where} has {len(place)} items, counted from 0")
    kind = "an object" if isinstance(place, dict) else "a list" if isinstance(place, list) else "no object and no list"
    raise ConfigError(f"{where} is {kind}", hint="a key goes into an object, an index such as [0] into a list")


def _shown(step: str | int, seen: str) -> str:
    return f"[{step}]" if isinstance(step, int) else f".{step}" if seen else step


def _value(text: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
