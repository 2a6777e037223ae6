"""Output devices without a guard: they obey commands, and say what they then do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING

from edge_runtime.errors import ConfigError, EdgeError
from edge_runtime.host._voice import Voice
from edge_runtime.threads import in_thread

if TYPE_CHECKING:
    from edge_runtime.host.activity import Activity
    from edge_runtime.model import Message

_log = logging.getLogger(__name__)
_HUNG_S = 5.0


class Actuator:
    """Carries out the commands that wait for one output device, in order, and says what the device then does."""

    def __init__(self, voice: Voice, activity: Activity, *, patience_s: float = _HUNG_S) -> None:
        """`activity` is told what it does, for those that are interlocked with it.

        `patience_s` is how long the driver may take for a command until that is said.
        """
        self._patience_s = patience_s
        self._voice = voice
        self._activity = activity
        self._name = voice.device.name

    async def run(self) -> None:
        """Obey, for ever."""
        queue = self._voice.store.queue(self._voice.topic)
        self._activity.look(self._voice.device)
        while True:
            (message,) = await queue.get(1)
            try:
                await self._obey(message)
            except BaseException:
                queue.give_back([message])
                raise

    async def _obey(self, message: Message) -> None:
        voice = self._voice
        applying = in_thread(f"set[{voice.topic}]", partial(self._apply, message.event.payload))
        await asyncio.wait([applying], timeout=self._patience_s)
        if not applying.done():
            _log.warning("device %r: its driver has not come back within %g s", self._name, self._patience_s)
            self._activity.note(self._name, None)  # nobody knows what it does until the driver comes back
        try:
            value, active = await applying
        except EdgeError as error:
            _log.warning("%s", error)
            if not isinstance(error, ConfigError):
                self._activity.note(self._name, None)
            await voice.settle(message, None, str(error))
        else:
            self._activity.note(self._name, active)
            await voice.settle(message, voice.set(value, message))

    def _apply(self, payload: bytes) -> tuple[object, bool | None]:
        """Carry out a command, and return the value of the device and whether it is active then, if one asks."""
        from edge_runtime.devices import commands  # noqa: PLC0415 - imported when a device is open

        device = self._voice.device
        value, active = commands.apply(device, payload), None
        if self._name in self._activity:
            with contextlib.suppress(EdgeError):  # it has obeyed; what it does then is not known
                active = commands.is_active(device)
        return value, active
