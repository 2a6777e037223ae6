"""Parameters of Greengrass V1 connectors: texts in the cloud, and texts or plain values in `edge.yaml`.

And the JSON of requests to them, whose fields are read in the same way.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping

from edge_runtime.errors import ConfigError
from edge_runtime.pure.nesting import levels

_MOST_LEVELS = 15


def known(given: Mapping[str, object], keys: Collection[str]) -> None:
    """Return if all parameters are among the keys. Raises: ConfigError with the nearest one."""
    for key in given:
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, n=1)
            raise ConfigError(
                f"there is no parameter {key!r}{f'; did you mean {near[0]!r}?' if near else ''}",
                hint=f"known: {', '.join(keys)}",
            )


def whole(given: Mapping[str, object], key: str, least: int, most: int) -> int | None:
    """Return a whole number within bounds, None when it is not given. Raises: ConfigError."""
    value = given.get(key, "")
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if text == "":
        return None
    if isinstance(text, str) and re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) and least <= int(text) <= most:
        return int(text)
    raise ConfigError(f"{key} {value!r} is no whole number from {least} to {most}")


def switch(given: Mapping[str, object], key: str) -> bool | None:
    """Return true or false, None when it is not given. Raises: ConfigError."""
    value = given.get(key, "")
    if isinstance(value, bool):
        return value
    if value == "":
        return None
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ConfigError(f"{key} {value!r} is neither true nor false")


def word(given: Mapping[str, object], key: str, allowed: Collection[str]) -> str:
    """Return one of some words in lower case, empty when it is not given. Raises: ConfigError."""
    value = given.get(key, "")
    if isinstance(value, str) and (not value or value.lower() in allowed):
        return value.lower()
    raise ConfigError(f"{key} {value!r} is not one of {', '.join(allowed)}")


def needed(given: Mapping[str, object], *keys: str) -> None:
    """Return if all keys are given. Raises: ConfigError."""
    for key in keys:
        if given.get(key, "") == "":
            raise ConfigError(f"the parameter {key} is missing")


def request(payload: bytes) -> object:
    """Return the JSON of a request. Raises: ConfigError when it is none, or is too deep to be told of in an answer."""
    try:
        found: object = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the request is no JSON: {error}") from error
    if levels(found) > _MOST_LEVELS:
        raise ConfigError(f"the request is nested deeper than {_MOST_LEVELS} levels")
    return found


def port(given: Mapping[str, object], key: str) -> str:
    """Return the path of a device file. Raises: ConfigError."""
    value = given.get(key, "")
    if isinstance(value, str) and re.fullmatch(r"/[/a-zA-Z0-9._:-]+", value, re.ASCII):
        return value
    raise ConfigError(f"{key} {value!r} is no device file", hint="write its whole path, as in /dev/ttyUSB0")
