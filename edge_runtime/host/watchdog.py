"""Outputs do not stay on because the host hangs: a thread beside the event loop sees to it.

It is asleep while every output is at its safe value. While one is on, it asks the loop for a sign of life every now
and then. When none has come for too long, or just none when the time of an output is over, it puts the outputs to their
safe values itself. Its time is the machine's: a loop that hangs does so in real time.

It shares the process with what it watches: it does not help when that is stopped or killed, or when a driver holds
Python's lock. That is for the service manager's watchdog, and `edge safe`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edge_runtime.app import Device
from edge_runtime.host._hand import Hand

_log = logging.getLogger(__name__)
MOST_S = 10.0
"""How long a loop may be silent, at most."""
_LEAST_S = 0.5
"""Every loop is silent for a moment now and then. The end of a shorter time is watched by itself."""
_SIGNS = 4
"""How often a sign of life is asked for within the time for which it may be silent."""
_GRACE_S = 0.1
"""When the time of an output is over, the loop must have shown itself within this: it deals with it then."""
_PAUSE_S = 0.05
"""After a sign of life none is asked for so soon."""
_RETRY_S = 1.0


def silence_of(devices: Iterable[Device]) -> float:
    """Return how long the loop may be silent while one of these outputs is on: their shortest time.

    It is from half a second to MOST_S.
    """
    guards = [device.guard for device in devices if device.guard is not None]
    spans = [span for guard in guards for span in (guard.lease_s, guard.max_on_s) if span > 0]
    return max(_LEAST_S, min([MOST_S, *spans]))


@dataclass(slots=True)
class _Watched:
    """One output that is on."""

    hand: Hand
    bitten: Callable[[], object]
    end_s: float | None
    """When its time is over; None: it has no end."""
    retry_s: float = 0.0
    is_moving: bool = False


class Watchdog:
    """Puts outputs to their safe values when the event loop does not. `close` it in the end."""

    def __init__(self, silence_s: float = MOST_S) -> None:
        """`silence_s` is how long the loop may be silent while an output is on."""
        self._silence_s = silence_s
        self._changed = threading.Condition()
        self._watched: dict[str, _Watched] = {}
        self._loop: asyncio.AbstractEventLoop
        self._heard_s = 0.0
        self._asked = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def arm(self, hand: Hand, within_s: float | None, bitten: Callable[[], object]) -> None:
        """Watch over an output that is about to be on, for `within_s` from now; None: as long as the loop lives.

        To be called on the loop. `bitten` is called on another thread, after the output was put to its safe value.
        """
        now_s = time.monotonic()
        with self._changed:
            end_s = None if within_s is None else now_s + within_s
            self._watched[hand.name] = _Watched(hand, bitten, end_s)
            self._loop = asyncio.get_running_loop()
            self._heard_s = now_s
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
            self._changed.notify()

    def disarm(self, hand: Hand) -> None:
        """Leave an output alone: it is at its safe value."""
        with self._changed:
            self._watched.pop(hand.name, None)

    def close(self) -> None:
        """Watch no more."""
        with self._changed:
            self._closed = True
            self._watched.clear()
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                self._changed.wait(self._look(time.monotonic()))

    def _look(self, now_s: float) -> float | None:
        """Do what is due now, and return how long there is nothing to do; None: for ever."""
        if not self._watched:
            return None
        silent_s = now_s - self._heard_s
        for one in list(self._watched.values()):
            if not one.is_moving and one.retry_s <= now_s and self._is_due(one, now_s, silent_s):
                self._bite(one, silent_s)
        if not self._asked and now_s >= self._next_ask_s():
            self._ask()
        times = [self._heard_s + self._silence_s if silent_s < self._silence_s else now_s + _RETRY_S]
        if not self._asked:
            times.append(self._next_ask_s())
        for one in self._watched.values():
            if one.end_s is not None:
                at_s = max(one.end_s, self._heard_s + _GRACE_S, one.retry_s)
                times.append(at_s if at_s > now_s else now_s + _RETRY_S)
        return max(0.0, min(times) - now_s)

    def _is_due(self, one: _Watched, now_s: float, silent_s: float) -> bool:
        if silent_s >= self._silence_s:
            return True
        return one.end_s is not None and one.end_s <= now_s and silent_s >= _GRACE_S

    def _next_ask_s(self) -> float:
        """Return when the next sign of life is to be asked for: every now and then, and just before a time is over."""
        ends = [one.end_s - _GRACE_S for one in self._watched.values() if one.end_s is not None]
        return max(min([self._heard_s + self._silence_s / _SIGNS, *ends]), self._heard_s + _PAUSE_S)

    def _ask(self) -> None:
        self._asked = True
        with contextlib.suppress(RuntimeError):  # it has ended with an output on, and so is silent for good
            self._loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        with self._changed:
            self._asked = False
            self._heard_s = time.monotonic()
            self._changed.notify()

    def _bite(self, one: _Watched, silent_s: float) -> None:
        one.is_moving = True
        # On a thread of its own: a driver that hangs must not keep the others on.
        name = f"watchdog[{one.hand.name}]"
        threading.Thread(target=self._move, args=(one, silent_s), name=name, daemon=True).start()

    def _move(self, one: _Watched, silent_s: float) -> None:
        try:
            one.hand.to_safe()
            _log.error("the event loop is silent for %.1f s: device %r was made safe", silent_s, one.hand.name)
        except Exception:  # noqa: BLE001 - whatever a driver raises: it is tried again
            _log.exception("the watchdog cannot put device %r to its safe value", one.hand.name)
            with self._changed:
                one.is_moving, one.retry_s = False, time.monotonic() + _RETRY_S
                self._changed.notify()
        else:
            with self._changed:
                if self._watched.get(one.hand.name) is one:
                    del self._watched[one.hand.name]
            one.bitten()
