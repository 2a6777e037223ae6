"""What the constructor of a driver class takes, read from its signature."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

_SPI = ("port", "device", "clock_pin", "mosi_pin", "miso_pin", "select_pin")
# gpiozero gives these a default of None and then refuses it.
_ALWAYS_NEEDED = frozenset({"pin", "echo", "trigger", "red", "green", "blue", "socket", "location"})
# Where `**named_pins`, or the parts of a board by name, end up.
_NAMED = frozenset({"named_pins", "kwargs"})
_WITH_PARTS = frozenset({"ButtonBoard", "LEDBoard", "LEDCollection", "CompositeDevice"})
"""Where gpiozero's own `**` takes names of one's choice, and is not just handed on."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a driver's constructor takes."""

    names: tuple[str, ...]
    needed: tuple[str, ...]
    many: str = ""
    """The name of its `*pins`, given as a list; empty: it has none."""
    parts_of: str = ""
    """The class of gpiozero's that takes any further name for a pin (`LEDBoard(red=5)`) or a part
    (`CompositeDevice(red=LED(5))`); empty: there are no further names."""
    takes_factory: bool = False
    first: tuple[str, ...] = ()
    """Those that stand before `*pins`, and so cannot be given by name (`LEDMultiCharDisplay(char, *pins)`)."""
    defaults: Mapping[str, object] = field(default_factory=dict)
    hints: Mapping[str, object] = field(default_factory=dict)
    """The annotations, of a class that has any."""
    theirs: frozenset[str] = frozenset()
    """Those that a class of gpiozero's declares itself."""

    @property
    def open_ended(self) -> bool:
        """Whether it takes names of one's choice."""
        return self.parts_of != ""

    @property
    def allowed(self) -> list[str]:
        """The keys that may be written, but for those of `open_ended`. `bounce_time` is not for us."""
        return [name for name in (*self.names, self.many) if name and name != "bounce_time"]


@lru_cache(maxsize=256)
def arguments(cls: type) -> Arguments:
    """Return what the constructor of a driver class takes."""
    found: dict[str, inspect.Parameter] = {}
    hints: dict[str, object] = {}
    theirs: set[str] = set()
    first: tuple[str, ...] = ()
    many, parts_of, takes_factory = "", "", False
    for base in cls.__mro__:
        if "__init__" not in vars(base) or base is object:
            continue
        own, star, forwards = _split(base)
        if star and not many:
            many, first = star, tuple(n for n, p in own.items() if p.kind is p.POSITIONAL_OR_KEYWORD)
        known = _hints(base)
        for name, parameter in own.items():
            if found.setdefault(name, parameter) is parameter:
                hints |= {name: known[name]} if name in known else {}
                theirs |= {name} if _is_theirs(base) else set()
        takes_factory = takes_factory or "pin_factory" in found or forwards == "spi_args"
        if forwards == "spi_args":
            found |= {n: inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=None) for n in _SPI}
            theirs |= set(_SPI)
        if forwards in _NAMED and base.__name__ in _WITH_PARTS and _is_theirs(base):
            parts_of = base.__name__
        if not forwards or forwards == "spi_args" or parts_of:
            break
    public = {n: p for n, p in found.items() if not n.startswith("_") and n != "pin_factory"}
    needed = tuple(n for n, p in public.items() if p.default is p.empty or _is_refused(p, theirs))
    defaults = {n: p.default for n, p in public.items() if p.default is not p.empty}
    return Arguments(tuple(public), needed, many, parts_of, takes_factory, first, defaults, hints, frozenset(theirs))


def _split(base: type) -> tuple[dict[str, inspect.Parameter], str, str]:
    """Return the named parameters of the `__init__` of a class, and the names of its `*` and `**`."""
    named, star, stars = {}, "", ""
    # The metaclass of gpiozero hides the signature of the class itself.
    for parameter in list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            star = parameter.name
        elif parameter.kind is parameter.VAR_KEYWORD:
            stars = parameter.name
        else:
            named[parameter.name] = parameter
    return named, star, stars


def _hints(base: type) -> dict[str, Any]:
    """Return the annotations of the `__init__` of a class; none when one names what cannot be found."""
    try:
        return typing.get_type_hints(vars(base)["__init__"])
    except (NameError, AttributeError, TypeError, SyntaxError):
        return {}


def _is_theirs(base: type) -> bool:
    return base.__module__.partition(".")[0] == "gpiozero"


def _is_refused(parameter: inspect.Parameter, theirs: set[str]) -> bool:
    """Tell whether the default of an argument of gpiozero's is one that it then refuses."""
    return parameter.default is None and parameter.name in _ALWAYS_NEEDED and parameter.name in theirs
