"""The verbs of an output: the public methods of its class, and what each takes. `{"do": "blink", "on_time": 1}`."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from edge_runtime import plugin
from edge_runtime.devices import values
from edge_runtime.devices.parts import is_on, leaves
from edge_runtime.devices.values import Kind
from edge_runtime.errors import ConfigError

_NEVER = frozenset({"close", "simulate", "simulated", "wires", "ensure_pin_factory"})
"""Public methods that are for the host, or for a test."""
_DAY_S, _LONGEST_FADE_S, _MOST_TIMES = 86_400, 600, 1_000_000_000
_SHORTEST_S = 0.01
"""Blinking with no time in it would keep a core busy."""
_TIME, _FADE, _SPEED = values.number(0, _DAY_S), values.number(0, _LONGEST_FADE_S), values.UNIT
_KINDS: Mapping[str, Kind] = {
    "on_time": _TIME,
    "off_time": _TIME,
    "fade_in_time": _FADE,
    "fade_out_time": _FADE,
    "n": values.or_nothing(values.number(1, _MOST_TIMES, whole=True)),
    "on_color": values.COLOR,
    "off_color": values.COLOR,
    "speed": _SPEED,
    "curve_left": _SPEED,
    "curve_right": _SPEED,
    "tone": values.TONE,
}
"""What the arguments of gpiozero's methods must be."""
_TIMES = ("on_time", "off_time", "fade_in_time", "fade_out_time")
_OFF = frozenset({"off", "stop", "detach"})

Verb = Mapping[str, inspect.Parameter]
"""What a verb takes, by name."""


def verbs(device: Any, driver: type | None = None) -> dict[str, Verb]:  # noqa: ANN401 - an object without types
    """Return the verbs of an output. `driver` is its class, when another one stands in for it in a simulation."""
    import gpiozero  # noqa: PLC0415 - imported late

    found = dict(_of_class(device.__class__))
    if _is_stand_in(device):
        found = {name: verb for name, verb in found.items() if callable(getattr(driver, name, None))}
    if isinstance(device, gpiozero.LEDMultiCharDisplay):
        return {"off": {}}  # the others are undone by the thread that shows the digits
    if not all(isinstance(leaf, gpiozero.PWMOutputDevice) for leaf in leaves(device)):
        found.pop("pulse", None)  # there is no fading without PWM
    return found


@lru_cache(maxsize=256)
def _of_class(cls: type) -> Mapping[str, Verb]:
    """Return the public methods of a class, in the order of their names, with what each takes."""
    found = {}
    for name in dir(cls):
        if name.startswith(("_", "wait_for_", "when_")) or name in _NEVER:
            continue
        method = inspect.getattr_static(cls, name)
        if inspect.isfunction(method) and not inspect.iscoroutinefunction(method):
            takes = _takes(method)
            if takes is not None:
                found[name] = takes
    return found


def _is_stand_in(device: Any) -> bool:  # noqa: ANN401 - an object without types
    return bool(getattr(type(device), "is_stand_in", False))


def _takes(method: Callable[..., object]) -> Verb | None:
    """Return what a method takes by name; None when it takes something that has no name."""
    found = {}
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
            return None
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            found[parameter.name] = parameter
    return found


def words(name: str, verb: Verb) -> str:
    """Return a verb with its arguments: `blink(on_time=1, off_time=1, n)`."""
    shown = [
        name if p.default in (p.empty, None) else f"{name}={p.default!r}" for name, p in verb.items() if _is_ours(name)
    ]
    return f"{name}({', '.join(shown)})" if shown else name


def _is_ours(name: str) -> bool:
    """Tell whether an argument is the sender's to give. `background` is not: nobody waits for a blink to end."""
    return name != "background"


def is_short(verb: Verb) -> bool:
    """Tell whether the word alone is a command: it needs no argument."""
    return all(p.default is not p.empty for p in verb.values())


def prepare(who: str, device: Any, name: str, verb: Verb, given: Mapping[str, object]) -> dict[str, object]:  # noqa: ANN401 - an object without types
    """Return the arguments to call a verb with.

    Raises: ConfigError that says what the verb takes.
    """
    ours = [key for key in verb if _is_ours(key)]
    hint = f"it takes: {words(name, verb)}"
    method = inspect.getattr_static(type(device), name)
    for key in given:
        if key not in ours:
            raise ConfigError(f"{who}: {name!r} takes no {key!r}{plugin.nearest(key, ours)}", hint=hint)
        kind = _kind(method, key)
        if kind is not None and not kind.fits(given[key]):
            raise ConfigError(
                f"{who}: {name!r} does not take {key} {values.shown(given[key])}", hint=f"it must be {kind.words}"
            )
    for key in ours:
        if verb[key].default is inspect.Parameter.empty and key not in given:
            raise ConfigError(f"{who}: {name!r} needs {key!r}", hint=hint)
    arguments = dict(given)
    if "background" in verb:
        arguments["background"] = True
    times: list[Any] = [arguments.get(key, verb[key].default) for key in _TIMES if key in verb]
    if times and _is_theirs(method) and sum(times) < _SHORTEST_S:
        raise ConfigError(f"{who}: {name!r} takes no time at all", hint=f"all times together: at least {_SHORTEST_S} s")
    if "tone" in arguments and values.is_number(arguments["tone"]) and _is_theirs(method):
        import gpiozero.tones  # noqa: PLC0415 - imported late

        arguments["tone"] = gpiozero.tones.Tone.from_frequency(arguments["tone"])  # else it might be one of MIDI
    return arguments


def _kind(method: Callable[..., object], key: str) -> Kind | None:
    if _is_theirs(method):
        return _KINDS.get(key)
    try:
        hints = typing.get_type_hints(method)
    except (NameError, AttributeError, TypeError, SyntaxError):
        return None
    return values.kind_of_hint(hints[key]) if key in hints else None


def _is_theirs(method: Callable[..., object]) -> bool:
    return method.__module__.partition(".")[0] == "gpiozero"


def leads_on(device: Any, name: str, arguments: Mapping[str, object]) -> bool | None:  # noqa: ANN401 - an object without types
    """Tell whether a device is on after a verb; None: as it was. One that nothing is known of switches on."""
    if name in _OFF:
        return False
    if name == "reverse":
        return None
    if name == "toggle":
        # That of a board passes over what has none.
        return any(leaf.value != 1 if hasattr(leaf, "toggle") else is_on(leaf) for leaf in leaves(device))
    return arguments.get("speed", 1) != 0
