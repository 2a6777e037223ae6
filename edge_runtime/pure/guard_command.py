"""Commands to an output with a guard: any command of the device, and for how long it is to be on."""

from __future__ import annotations

import json
from dataclasses import dataclass

from edge_runtime.errors import ConfigError
from edge_runtime.pure.shadow_device import fulfils
from edge_runtime.pure.units import seconds


@dataclass(frozen=True, slots=True)
class Command:
    """What is wanted of an output."""

    asked: object
    """A verb of the device, a value, or a mapping that says more; without its time."""
    payload: bytes
    """The same as `devices.apply` takes it."""
    for_s: float = 0.0
    """How long it is to be on; 0: as long as the guard lets it."""

    @property
    def word(self) -> object:
        """What is asked for without further arguments: a verb or a value; else all of it."""
        if isinstance(self.asked, dict) and len(self.asked) == 1:
            return self.asked.get("do", self.asked.get("value", self.asked))
        return self.asked

    def is_plainly_safe(self, safe: object) -> bool:
        """Tell whether it is `off`, and that is the safe value: no device needs to be asked what that means."""
        return _is_off(safe) and self.word == "off"

    def is_on(self, safe: object, rest: object, *, turns_on: bool, wants_on: bool) -> bool:
        """Tell whether it is for anything else than the safe value.

        `safe` is that of the guard and `rest` what the output tells when it has it, `turns_on` whether the device would
        be on after the command, and `wants_on` whether it is to be at another value than the safe one as it is: this is
        what a toggle turns over.
        """
        if self.word == "toggle":
            return not wants_on
        return turns_on if _is_off(safe) else not fulfils(rest, self.word)


def _is_off(safe: object) -> bool:
    return safe is None or safe is False or safe == "off"


def read(device: str, payload: bytes) -> Command:
    """Return the command in a payload. Whether the device takes it is for the device to say.

    `{"value": 1, "for": 10}` or `{"do": "on", "for": "10s"}` says for how long; without that, it is any command that
    `devices.apply` takes.

    Raises: ConfigError when the time is wrong.
    """
    text = payload.decode(errors="replace").strip()
    try:
        body = json.loads(text)
        json.dumps(body, allow_nan=False)  # what is asked is told in events
    except (ValueError, RecursionError):
        return Command(text, payload)
    if not isinstance(body, dict) or "for" not in body:
        return Command(body, payload)
    time = body.pop("for")
    hint = 'as in {"value": 1, "for": 10} or {"do": "on", "for": "10s"}'
    try:
        for_s = seconds(time)
    except ValueError as error:
        raise ConfigError(f"device {device!r} cannot read the time of its command: {error}", hint=hint) from error
    if for_s <= 0:
        raise ConfigError(f"device {device!r} is to be on for {time!r}: that is no time", hint=hint)
    return Command(body, json.dumps(body).encode(), for_s)
