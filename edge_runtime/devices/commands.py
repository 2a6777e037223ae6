"""Commands to output devices: what is published on `device/<name>/set`.

A command is a word or a value, or JSON that says more:

    on   off   toggle   stop   beep ...                 any verb of the device's class that needs no argument
    true   0.25   [1, 0, 0.5]   null   "12.5"           a value, in the scale of the driver's `value`
    {"value": 0.25}   {"value": {"red": 1}}             the same; of a board also by names of parts
    {"do": "blink", "on_time": 1, "off_time": 1, "n": 3}   a verb with the arguments of its method
    {"do": "on", "part": "red"}   {"value": 1, "part": 0}   for one part of a board, by name or number; `arms.left`
    {"angle": 45}                                       of an AngularServo
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from edge_runtime import plugin
from edge_runtime.devices import parts, settings, values, verbs
from edge_runtime.devices.opening import OpenDevice
from edge_runtime.errors import ConfigError, EdgeError
from edge_runtime.pure.nesting import levels

_MOST_SHOWN = 80
_MOST_LEVELS = 15
_HINT = 'send on, off, toggle, a number, {"value": 0.5} or {"do": "blink", "on_time": 1}'


def apply(opened: OpenDevice, payload: bytes) -> Any:  # noqa: ANN401 - whatever the driver's value is
    """Carry out one command and return the value that the device has then. What blinks goes on after that.

    A number is in the scale of the driver's `value`: 0 to 1 for a PWMLED, -1 to 1 for a Servo or Motor. `null` lets a
    Servo or TonalBuzzer go quiet. A value of a board is a list with one item for each part; what is said for parts
    that are no outputs does not count. Nothing changes when the command is malformed. A device that is told things (its
    driver has `send`, as a serial line) is told whatever the value is, and that is returned.

    Raises: ConfigError when the command is malformed or not one of this device; EdgeError when the device fails.
    """
    command = _understood(opened, payload)
    with _mapped(opened, command.shown):
        command.run()
        return command.shown if _is_told(opened) else opened.device.value


def turns_on(opened: OpenDevice, payload: bytes) -> bool:
    """Tell whether the device, or any part of it, will be on after a command, without carrying it out.

    A verb of a driver of one's own counts as one that switches on, unless it is `off`, `stop` or `detach`. What blinks
    counts as on, even if the command to one part should end it: gpiozero's RGBLED stops as a whole.

    Raises: as `apply`.
    """
    command = _understood(opened, payload)
    with _mapped(opened, command.shown):
        if command.is_on is None:
            return parts.is_on(opened.device)
        others = [leaf for leaf in parts.leaves(opened.device) if not any(leaf is one for one in command.leaves)]
        return command.is_on or any(parts.is_on(leaf) for leaf in others if leaf is not opened.device)


def is_active(opened: OpenDevice) -> bool:
    """Tell whether any part of the device differs from off; what blinks is active, and an input by its value.

    Raises: EdgeError when the device cannot be read.
    """
    with _mapped(opened, "is_active"):
        if opened.is_output:
            return parts.is_on(opened.device)
        told = getattr(opened.device, "is_active", None)
        return parts.differs(opened.device.value) if told is None else bool(told)


def put_safe(opened: OpenDevice, safe: object = None) -> Any:  # noqa: ANN401 - whatever the driver's value is
    """Give a device its safe value and return the value that it has then. A blink ends. Blocks no longer than `apply`.

    None is off, whatever the class calls that: `off`, `stop`, `detach`, or a value of zero; a device that has none of
    these, or that is told things (then None is returned), is left as it is. Anything else is a command as `apply` takes
    it: a value, a word, a mapping.

    Raises: ConfigError when the device does not take the value; EdgeError when it fails. As many parts as can be are
    off then.
    """
    if safe is not None and safe is not False and safe != "off":
        try:
            payload = json.dumps(safe).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"{_who(opened)} does not take {values.shown(safe)}: {error}") from error
        return apply(opened, payload)
    with _mapped(opened, "off"):
        if _is_told(opened):
            return None
        if opened.is_output:
            parts.turn_off(opened.device)
        return opened.device.value


def describe(opened: OpenDevice) -> list[str]:
    """Return what the device can be told, for people: `on`, `blink(on_time=1, off_time=1, n)`, `value: 0 to 1`.

    Empty for an input.
    """
    if not opened.is_output:
        return []
    if _is_told(opened):
        return ["value: whatever is to be said"]
    device = opened.device
    found = [verbs.words(name, verb) for name, verb in verbs.verbs(device, opened.driver).items()]
    found += [f"{name}: {kind.words}" for name, kind in settings.extras(device).items()]
    found.append(f"value: {settings.words(device)}")
    inner = parts.outputs(device)
    return [*found, f"part: {', '.join(inner)}"] if inner else found


# -- understanding -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Command:
    """A command that the device takes, checked."""

    shown: object
    run: Callable[[], None]
    is_on: bool | None
    """Whether what it is for is on then; None: as it was."""
    leaves: list[Any] = field(default_factory=list)
    """What it is for, down to single outputs."""


def _understood(opened: OpenDevice, payload: bytes) -> _Command:
    who = _who(opened)
    if not opened.is_output:
        raise ConfigError(f"{who} is an input and takes no commands")
    read = _read(who, payload)
    if getattr(opened.device, "closed", False) is True:
        raise EdgeError(f"{who} failed at the command {values.shown(read)}: it is closed")
    if _is_told(opened):
        return _said(opened.device, read)
    with _mapped(opened, read):
        given = dict(read) if isinstance(read, dict) else {"value": read}
        target = _addressed(who, opened, given)
        if "do" in given:
            return target.told(given.pop("do"), given, read)
        extras = settings.extras(target.device)
        if len(given) == 1:
            name, value = next(iter(given.items()))
            if name in extras:
                return target.turned(name, extras[name], value, read)
            if name == "value" and isinstance(value, str) and target.is_verb(value):
                return target.told(value, {}, read)
            if name == "value":
                return target.set_to(value, read)
        raise ConfigError(f"{who} cannot read the command {_text(payload)!r}", hint=target.hint())


def _said(device: Any, read: object) -> _Command:  # noqa: ANN401 - an object without types
    """Return the command of a device that is told things, and has no state: see `send` in `devices.driver`."""
    said = read["value"] if isinstance(read, dict) and set(read) == {"value"} else read
    return _Command(said, lambda: device.send(said), None)


@dataclass(frozen=True, slots=True)
class _Target:
    """The device, or the part of it, that a command is for."""

    who: str
    device: Any
    verbs: Mapping[str, verbs.Verb]

    def hint(self) -> str:
        """Return what could be sent."""
        short = [name for name, verb in self.verbs.items() if verbs.is_short(verb)]
        return f'send {", ".join([*short, "a value"])}, {{"value": ...}} or {{"do": ...}}'

    def is_verb(self, word: str) -> bool:
        """Tell whether a bare word is a verb, and not the text of a display."""
        return word in self.verbs or not settings.takes_text(self.device)

    def told(self, word: object, given: Mapping[str, object], read: object) -> _Command:
        """Return the command of a verb."""
        if not isinstance(word, str) or word not in self.verbs:
            near = plugin.nearest(word, self.verbs) if isinstance(word, str) else ""
            raise ConfigError(f"{self.who} knows no {values.shown(word)}{near}", hint=self.hint())
        arguments = verbs.prepare(self.who, self.device, word, self.verbs[word], given)

        def run() -> None:
            parts.settle(self.device)
            if word == "off":
                parts.turn_off(self.device)
            else:
                getattr(self.device, word)(**arguments)

        reach = [self.device, *parts.leaves(self.device)]
        return _Command(read, run, verbs.leads_on(self.device, word, arguments), reach)

    def turned(self, name: str, kind: values.Kind, value: object, read: object) -> _Command:
        """Return the command that sets another property than the value."""
        if not kind.fits(value):
            text = f"{self.who} does not take the {name} {values.shown(value)}"
            raise ConfigError(text, hint=f"it must be {kind.words}")
        return _Command(read, lambda: setattr(self.device, name, value), value is not None, [self.device])

    def set_to(self, value: object, read: object) -> _Command:
        """Return the command that sets the value."""
        plan = settings.plan(self.who, self.device, value)

        def run() -> None:
            for one in [leaf for leaf, _ in plan] if isinstance(value, dict) else [self.device]:
                parts.settle(one)
            settings.carry_out(plan)

        is_on = any(parts.differs(level) or (level is not None and parts.rests(leaf)) for leaf, level in plan)
        return _Command(read, run, is_on, [one for leaf, _ in plan for one in (leaf, *parts.leaves(leaf))])


def _addressed(who: str, opened: OpenDevice, command: dict[str, Any]) -> _Target:
    """Return what a command is for, and take the part out of the command."""
    if "part" not in command:
        return _Target(who, opened.device, verbs.verbs(opened.device, opened.driver))
    device, path = opened.device, command.pop("part")
    for key in path.split(".") if isinstance(path, str) else [path]:
        inner = parts.parts(device)
        names = list(inner)
        name = str(key) if isinstance(key, str) or values.is_number(key, whole=True) else ""
        if name not in inner and name.isdecimal() and int(name) < len(names):
            name = names[int(name)]
        if name not in inner:
            hint = f"its parts: {', '.join(parts.outputs(opened.device))}" if inner else "it has none"
            raise ConfigError(f"{who} has no part {values.shown(path)}{plugin.nearest(name, names)}", hint=hint)
        device = inner[name]
    if not parts.is_output(device):
        raise ConfigError(f"{who}: the part {values.shown(path)} is an input and takes no commands")
    return _Target(who, device, verbs.verbs(device))


def _read(who: str, payload: bytes) -> Any:  # noqa: ANN401 - any JSON
    text = payload.decode(errors="replace").strip()
    if text.isidentifier() and text not in ("true", "false", "null", "NaN", "Infinity"):
        return text
    try:
        command = json.loads(text)
    except (ValueError, RecursionError):
        command = ...
    if command is ... or levels(command) > _MOST_LEVELS:
        raise ConfigError(f"{who} cannot read the command {_text(payload)!r}", hint=_HINT)
    return command


def _text(payload: bytes) -> str:
    return payload[:_MOST_SHOWN].decode(errors="replace")


def _is_told(opened: OpenDevice) -> bool:
    """Tell whether values are said to the device, and it has no state that could be off (see `devices.driver`)."""
    return hasattr(opened.device, "send")


def _who(opened: OpenDevice) -> str:
    return f"device {opened.name!r} ({opened.spec.driver})"


@contextmanager
def _mapped(opened: OpenDevice, command: object) -> Iterator[None]:
    """Make every error one that names the device: a ConfigError where the command is to blame."""
    try:
        yield
    except EdgeError:
        raise
    except (ValueError, TypeError, LookupError) as error:
        raise ConfigError(f"{_who(opened)} does not take {values.shown(command)}: {error}") from error
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise EdgeError(f"{_who(opened)} failed at the command {values.shown(command)}: {reason}") from error
