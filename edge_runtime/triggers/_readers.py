"""The threads on which drivers are called: one that hangs or fails stops nobody else."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable
from functools import partial
from queue import SimpleQueue
from typing import Any

from edge_runtime.clock import Clock
from edge_runtime.errors import EdgeError
from edge_runtime.threads import in_thread
from edge_runtime.triggers._inbox import Inbox
from edge_runtime.triggers._sensor import CONNECTED, Answer, Sensor

_PATIENCE_S = 1.0
_log = logging.getLogger(__name__)


class Reader:
    """The thread that reads one device. It ends after `stop`; one that hangs ends with the process."""

    def __init__(self, sensor: Sensor, inbox: Inbox[Answer], clock: Clock) -> None:
        self.name = sensor.opened.name
        self._sensor = sensor
        self._inbox = inbox
        self._clock = clock
        self._asked: SimpleQueue[bool] = SimpleQueue()
        name = f"sample[{self.name}]"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def ask(self) -> None:
        """Have the device read once."""
        self._asked.put(True)

    def stop(self) -> None:
        """End the thread when it is idle."""
        self._asked.put(False)

    def _run(self) -> None:
        opened = self._sensor.opened
        while self._asked.get():
            value, error = None, ""
            try:
                with self._sensor.at_work:
                    value = opened.device.value  # which a simulation may replace
            except Exception as raised:  # noqa: BLE001 - whatever a driver raises is the reason that is reported
                error = _words(raised)
            self._inbox.put(Answer(self._sensor, self._clock.now(), value, error), always=True)


class Listener:
    """A device that hands over its readings, on whatever thread of its own."""

    def __init__(self, sensor: Sensor, inbox: Inbox[Answer], clock: Clock) -> None:
        self.name = sensor.opened.name
        self._sensor = sensor
        self._inbox = inbox
        self._clock = clock
        self._handler = self._take  # for a driver that keeps a weak reference only

    def ask(self) -> None:
        """Tell the device where to hand its readings over."""
        in_thread(f"when_read[{self.name}]", self._connect)

    def stop(self) -> asyncio.Future[None]:
        """Tell it to hand over no more."""
        return in_thread(f"when_read[{self.name}]", partial(self._set, None))

    def _set(self, handler: object) -> None:
        device: Any = self._sensor.opened.device
        device.when_read = handler

    def _connect(self) -> None:
        error = ""
        try:
            self._set(self._handler)
        except Exception as raised:  # noqa: BLE001 - as above
            error = _words(raised)
        self._inbox.put(Answer(self._sensor, self._clock.now(), CONNECTED, error), always=True)

    def _take(self, value: object) -> None:
        error = _words(value) if isinstance(value, BaseException) else ""
        if not self._inbox.put(Answer(self._sensor, self._clock.now(), None if error else value, error)):
            self._sensor.lost = True


async def stop_all(drivers: Iterable[Reader | Listener]) -> None:
    """Stop them, and wait for a moment at most. What a driver does not do by then is left to its threads."""
    telling = {driver: done for driver in drivers if (done := driver.stop()) is not None}
    if telling:
        await asyncio.wait(telling.values(), timeout=_PATIENCE_S)
    for driver, done in telling.items():
        if not done.done() or done.exception() is not None:
            why = done.exception() if done.done() else "it does not answer"
            _log.warning("device %r did not stop telling: %s", driver.name, why)


def _words(error: BaseException) -> str:
    if isinstance(error, EdgeError):  # it is written for people
        return f"{error} ({error.hint})" if error.hint else str(error)
    return f"{type(error).__name__}: {error}"
