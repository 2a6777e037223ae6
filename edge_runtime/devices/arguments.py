"""The arguments of drivers, as a person writes them, checked: a mistake is a ConfigError that says what would do."""

from __future__ import annotations

from collections.abc import Collection

from edge_runtime.errors import ConfigError
from edge_runtime.plugin import nearest
from edge_runtime.pure import units


def whole(name: str, value: object, least: int, most: int) -> int:
    """Return a whole number within bounds. Raises: ConfigError."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise ConfigError(
        f"{name} {value!r} is no whole number from {least} to {most}",
        hint=f"write a number without quotes, as in {name}: {max(least, min(most, 1))}",
    )


def hex_number(name: str, value: object, least: int, most: int) -> int:
    """Return an argument of a driver that people write in hex.

    Raises: ConfigError when it is no whole number, or out of bounds.
    """
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    if number is not None and least <= number <= most:
        return number
    digits = len(f"{most:x}")
    start, end = f"0x{least:0{digits}x}", f"0x{most:0{digits}x}"
    given = f"0x{number:0{digits}x}" if number is not None and number >= 0 else repr(value)
    raise ConfigError(
        f"{name} {given} is no number from {start} to {end}", hint=f"write it without quotes, as in {name}: {start}"
    )


def one_of(name: str, value: object, allowed: Collection[int | str]) -> None:
    """Return if an argument of a driver is one of few numbers. Raises: ConfigError that lists them."""
    if isinstance(value, bool) or not isinstance(value, int | str) or value not in allowed:
        raise ConfigError(f"{name} {value!r} is none of {', '.join(map(str, allowed))}")


def word(name: str, value: object, allowed: Collection[str]) -> str:
    """Return one of some words. Raises: ConfigError that lists them."""
    if isinstance(value, str) and value in allowed:
        return value
    raise ConfigError(
        f"{name} {value!r} is not known{nearest(str(value), allowed)}", hint=f"allowed: {', '.join(allowed)}"
    )


def text(name: str, value: object, *, empty: bool = False) -> str:
    """Return a text. Raises: ConfigError when it is none, or is empty and may not be."""
    if isinstance(value, str) and (value or empty):
        return value
    raise ConfigError(f"{name} {value!r} is no text", hint=f'put it in quotes, as in {name}: "..."')


def switch(name: str, value: object) -> bool:
    """Return what is true or false. Raises: ConfigError."""
    if isinstance(value, bool):
        return value
    raise ConfigError(f"{name} {value!r} is neither true nor false", hint=f"write {name}: true, or leave it out")


def seconds(name: str, value: object, least: float = 0.0, most: float = 86_400.0) -> float:
    """Return a time in seconds: a number, or a text like `250ms`. Raises: ConfigError."""
    try:
        found = units.seconds(value)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error
    if not least <= found <= most:
        raise ConfigError(f"{name} {value!r} is not from {least:g} to {most:g} s")
    return found


def size(name: str, value: object, least: int = 0) -> int:
    """Return a number of bytes: a number, or a text like `100MB`. Raises: ConfigError."""
    try:
        found = units.size(value)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error
    if found < least:
        raise ConfigError(f"{name} {value!r} is too small; at least {least} bytes")
    return found
