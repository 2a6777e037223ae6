"""Drives a stand-in from outside its process: one JSON object a line in, one a line back.

    {"fault": "freeze"}                              -> {"ok": true}
    {"fault": "lose_pubacks", "count": 3}            -> {"ok": true}
    {"fault": "drop"}                                -> {"ok": true, "dropped": 2}
    {"fault": "clear"}                               -> {"ok": true}
    {"counts": true}                                 -> {"ok": true, "counts": {"recorded": 12, ...}, "refusals": [...]}
    {"wait": "recorded", "count": 12}                -> {"ok": true, "counts": {...}}, once there are as many
    {"stop": true}                                   -> {"ok": true}, and the stand-in ends
    {"shadow": "get", "thing": "edge-1"}             -> {"ok": true, "shadow": {...}}

The faults are the methods of `faults.Faults` with their arguments by name; everything else is in `services.control`,
where the first key is the noun. What cannot be done is answered with {"ok": false, "error": "..."}.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Final

from edge_runtime.errors import ConfigError, EdgeError
from edge_runtime.plugin import nearest
from edge_runtime.standin.server import Standin
from edge_runtime.standin.services import control as services

_FAULTS: Final = (
    "refuse",
    "freeze",
    "drop",
    "lose_pubacks",
    "late_acks",
    "wrong_acks",
    "repeat_acks",
    "fail_acks",
    "cut",
    "delay",
    "duplicate",
    "reject",
    "reject_filter",
    "break_credentials",
    "restart",
    "clear",
)
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "code": (int,),
    "count": (int,),
    "share": (int, float),
    "seed": (int,),
    "seconds": (int, float),
    "topic_filter": (str,),
    "keep_sessions": (bool,),
    "after": (int,),
    "acked": (bool,),
    "status": (int,),
    "down": (bool,),
}

Reply = dict[str, object]


class Control:
    """Carries out commands on one stand-in. `stop` is called for the command of that name."""

    def __init__(self, standin: Standin, stop: Callable[[], None]) -> None:
        self._standin = standin
        self._stop = stop

    async def line(self, line: bytes) -> bytes:
        """Carry out one line and return the line to answer with."""
        try:
            reply = {"ok": True, **await self._command(_parse(line))}
        except EdgeError as error:
            reply = {"ok": False, "error": str(error)}
        return json.dumps(reply, separators=(",", ":")).encode() + b"\n"

    async def _command(self, command: dict[str, object]) -> Reply:
        match command:
            case {"fault": str(name), **arguments}:
                return self._fault(name, arguments)
            case {"counts": True}:
                return {"counts": dict(self._standin.counts), "refusals": list(self._standin.refusals[-10:])}
            case {"wait": str(name), "count": int(count)}:
                await self._standin.until(lambda: self._standin.counts[name] >= count)
                return {"counts": dict(self._standin.counts)}
            case {"stop": True}:
                self._stop()
                return {}
            case _:
                return await self._serve(command)

    async def _serve(self, command: dict[str, object]) -> Reply:
        noun, verb = next(iter(command.items()), ("", None))
        nouns = sorted({name.partition(" ")[0] for name in services.commands(self._standin.account)})
        if noun in nouns and isinstance(verb, str):
            arguments = {key: value for key, value in command.items() if key != noun}
            return await services.carry_out(self._standin.account, noun, verb, arguments)
        raise ConfigError(
            f"{json.dumps(command)[:200]} is no command; known are fault, counts, wait with count, stop, and"
            f" {', '.join(nouns)} with a verb"
        )

    def _fault(self, name: str, arguments: dict[str, object]) -> Reply:
        if name not in _FAULTS:
            raise ConfigError(f"there is no fault {name!r}{nearest(name, _FAULTS)}; known: {', '.join(_FAULTS)}")
        method: Callable[..., object] = getattr(self._standin.faults, name)
        known = inspect.signature(method).parameters
        for key, value in arguments.items():
            if key not in known:
                raise ConfigError(f"fault {name!r} takes {', '.join(known) or 'no arguments'}, not {key!r}")
            if not isinstance(value, _KINDS[key]) or (isinstance(value, bool) and bool not in _KINDS[key]):
                raise ConfigError(f"fault {name!r}: {key} may not be {json.dumps(value)}")
        missing = [key for key, one in known.items() if one.default is one.empty and key not in arguments]
        if missing:
            raise ConfigError(f"fault {name!r} needs {', '.join(missing)}")
        outcome = method(**arguments)
        return {"dropped": outcome} if isinstance(outcome, int) else {}


def _parse(line: bytes) -> dict[str, object]:
    try:
        command = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"a command must be one JSON object on one line: {error}") from None
    if not isinstance(command, dict):
        raise ConfigError("a command must be one JSON object on one line")
    return command
