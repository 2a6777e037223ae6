"""What values the arguments of a driver may have: those of gpiozero's classes by name, those of others by annotation.

gpiozero itself checks them too late, when the hardware is there, and many not at all: a pin called "yes" is a surprise,
a text where a switch belongs is taken for true.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import time
from typing import Any, Literal, NamedTuple, Union

SPI_PINS = ("clock_pin", "mosi_pin", "miso_pin", "select_pin")
_WIDTH = 60
_TONE = re.compile("[A-G][♭b♮♯#]?[0-9]")


class Kind(NamedTuple):
    """What a value must be."""

    words: str
    """In words, after `it must be`."""
    fits: Callable[[Any], bool]


def is_number(value: object, *, whole: bool = False) -> bool:
    """Tell whether a value is a number that is finite and no switch; `whole`: without a fraction."""
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def number(least: float = -math.inf, most: float = math.inf, *, whole: bool = False, above: bool = False) -> Kind:
    """Return the kind of the numbers from `least`, or `above` it, to `most`."""
    start = f"above {least:g}" if above else f"at least {least:g}"
    ends = ((start, least > -math.inf), (f"at most {most:g}", most < math.inf))
    words = " and ".join(word for word, is_end in ends if is_end)
    if not above and all(is_end for _, is_end in ends):
        words = f"from {least:g} to {most:g}"
    what = "a whole number" if whole else "a number"

    def fits(value: Any) -> bool:  # noqa: ANN401 - any value
        return is_number(value, whole=whole) and (least < value if above else least <= value) and bool(value <= most)

    return Kind(f"{what} {words}".strip(), fits)


def one_of(*values: object) -> Kind:
    """Return the kind of a few values."""
    return Kind(f"one of {', '.join(map(str, values))}", lambda v: any(v == w and type(v) is type(w) for w in values))


def or_nothing(kind: Kind) -> Kind:
    """Return the kind that takes null too."""
    return Kind(f"{kind.words}, or null", lambda value: value is None or kind.fits(value))


def several(kind: Kind, count: int = 0) -> Kind:
    """Return the kind of lists of a kind; of `count`, if that is not 0."""

    def fits(value: Any) -> bool:  # noqa: ANN401 - any value
        return isinstance(value, list | tuple) and count in (0, len(value)) and all(map(kind.fits, value))

    return Kind(f"a list of {count or 'values'}, each {kind.words}", fits)


SWITCH = Kind("true or false", lambda value: isinstance(value, bool) or (is_number(value) and value in (0, 1)))
TEXT = Kind("a text", lambda value: isinstance(value, str) and value != "")
PIN = Kind(
    "a pin: its number, as in 17, or a name with one, as in GPIO17 or BOARD11",
    lambda v: (is_number(v, whole=True) and v >= 0) or (isinstance(v, str) and bool(re.fullmatch(r"[\w:./-]*\d+", v))),
)
TONE = Kind(
    "a note, as in A4, or a number of Hz up to 20000",
    lambda v: bool(_TONE.fullmatch(v)) if isinstance(v, str) else is_number(v) and 0 < v <= 20_000,  # noqa: PLR2004 - gpiozero's bound
)
TIME = Kind('a time of day, as in "08:00"', lambda value: clock_time(value) is not None)
FONT = Kind(
    "a mapping of characters to lists of 0 and 1",
    lambda v: (
        isinstance(v, Mapping) and all(len(str(key)) == 1 and several(SWITCH).fits(item) for key, item in v.items())
    ),
)
UNIT = number(0, 1)
AROUND = number(-1, 1)
POSITIVE = number(0, above=True)
COLOR = several(UNIT, 3)


def shown(value: object) -> str:
    """Return a value in as many characters as fit into a message."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except RecursionError:
        text = "what is nested too deep"
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."


def clock_time(value: object) -> time | None:
    """Read `08:00`; None when it is no time. YAML reads an unquoted `18:30` as 18 * 60 + 30, `18:30:00` as seconds."""
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            seconds = value * 60 if value < 24 * 60 else value
            return time(seconds // 3600, seconds // 60 % 60, seconds % 60)
        text = str(value)
        return time.fromisoformat(f"0{text}" if text[1:2] == ":" else text)
    except (ValueError, OverflowError):
        return None


_BY_NAME: Mapping[str, Kind] = {
    **dict.fromkeys(("pin", "echo", "trigger", "a", "b", "forward", "backward", "phase", "enable"), PIN),
    **dict.fromkeys(("red", "green", "blue", "amber", "yellow", "dp"), PIN),
    **dict.fromkeys(SPI_PINS, PIN),
    **dict.fromkeys(("active_high", "pwm", "hold_repeat", "partial", "wrap", "utc", "differential"), SWITCH),
    **dict.fromkeys(("pull_up", "active_state", "initial_value"), or_nothing(SWITCH)),
    **dict.fromkeys(("sample_rate", "max_distance", "threshold_distance", "charge_time_limit", "frequency"), POSITIVE),
    **dict.fromkeys(("min_pulse_width", "max_pulse_width", "frame_width", "max_voltage"), POSITIVE),
    **dict.fromkeys(("min_angle", "max_angle", "min_temp", "max_temp", "threshold"), number()),
    **dict.fromkeys(("min_load_average", "max_load_average"), number()),
    **dict.fromkeys(("host", "sensor_file", "load_average_file", "filesystem"), TEXT),
    **dict.fromkeys(("start_time", "end_time"), TIME),
    **dict.fromkeys(("port", "device", "max_steps"), number(0, whole=True)),
    "channel": number(0, 7, whole=True),
    "event_delay": number(0.01),
    "font": FONT,
    "hold_time": number(0),
    "initial_angle": or_nothing(number()),
    "location": one_of("A", "A+", "B", "B+", "C", "D"),
    "mid_tone": TONE,
    "minutes": one_of(1, 5, 15),
    "octaves": number(0, 9, above=True),
    "queue_len": number(1, 100_000, whole=True),
    "socket": number(1, 4, whole=True),
    "threshold_steps": several(number(whole=True), 2),
}
_SHARE = Kind("a number between 0 and 1", lambda value: is_number(value) and 0 < value < 1)
_BY_CLASS: Mapping[tuple[str, str], Kind] = {
    **{(name, "channel"): number(0, 1, whole=True) for name in ("MCP3002", "MCP3202")},
    **{(name, "channel"): number(0, 3, whole=True) for name in ("MCP3004", "MCP3204", "MCP3302")},
    **{(name, "threshold"): _SHARE for name in ("LightSensor", "LineSensor", "MotionSensor")},
    **{(name, "initial_value"): or_nothing(AROUND) for name in ("Servo", "TonalBuzzer")},
    ("LEDBarGraph", "initial_value"): AROUND,
    ("LEDCharDisplay", "initial_value"): or_nothing(TEXT),
    ("LEDMultiCharDisplay", "initial_value"): Kind(
        "a text, or a list of texts", lambda value: TEXT.fits(value) or several(TEXT).fits(value)
    ),
    ("PWMOutputDevice", "initial_value"): UNIT,
    ("PiLiterBarGraph", "initial_value"): AROUND,
    ("RGBLED", "initial_value"): COLOR,
}
_LABEL = Kind("a name", lambda value: isinstance(value, str) and value.isidentifier())


def kind_of(cls: type, name: str, options: Mapping[str, object]) -> Kind | None:
    """Return what an argument of a class of gpiozero's must be, beside its default; None: nothing is known of it."""
    for base in cls.__mro__:
        kind = _BY_CLASS.get((base.__name__, name))
        if kind is not None:
            return kind
    if name == "initial_value" and options.get("pwm") in (True, 1):
        return UNIT
    return _BY_NAME.get(name)


def kind_of_many(many: str) -> Kind:
    """Return what each item of a `*pins` or `*labels` must be."""
    return _LABEL if many == "labels" else PIN


# -- annotations ---------------------------------------------------------------------------------------------------


_PLAIN: Mapping[object, Kind] = {
    bool: Kind("true or false", lambda value: isinstance(value, bool)),
    int: number(whole=True),
    float: number(),
    str: Kind("a text", lambda value: isinstance(value, str)),
    None: Kind("null", lambda value: value is None),
    type(None): Kind("null", lambda value: value is None),
}


def kind_of_hint(hint: Any) -> Kind | None:  # noqa: ANN401 - any annotation
    """Return what an annotation says that a value must be; None when it says nothing of plain values."""
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is typing.Annotated:
        return kind_of_hint(inner[0])
    if origin is Literal:
        return one_of(*inner)
    if origin in (Union, types.UnionType):
        kinds = [kind_of_hint(part) for part in inner]
        return None if None in kinds else _any_of([kind for kind in kinds if kind is not None])
    if origin in (list, tuple, Sequence, Iterable):
        item = kind_of_hint(inner[0]) if inner and len(set(inner) - {...}) == 1 else None
        return several(item) if item else Kind("a list", lambda value: isinstance(value, list | tuple))
    return _PLAIN.get(hint) or (Kind("a mapping", _is_mapping) if origin in (dict, Mapping) else None)


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _any_of(kinds: Sequence[Kind]) -> Kind:
    return Kind(" or ".join(kind.words for kind in kinds), lambda value: any(kind.fits(value) for kind in kinds))
