"""The threads behind lines of libgpiod: one that waits for edges, and one for each line that is dimmed."""

from __future__ import annotations

import logging
import os
import selectors
import threading
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)


class EdgeReader:
    """The thread that waits for the edges of all lines. It begins with the first and sleeps until there is one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._selector: selectors.BaseSelector | None = None
        self._wake = -1
        self._thread: threading.Thread | None = None
        self._asked: list[tuple[int, Callable[[], None] | None]] = []
        self._ended = False

    def add(self, fd: int, ready: Callable[[], None]) -> None:
        """Call `ready` on the thread whenever the file can be read."""
        self._ask(fd, ready)

    def remove(self, fd: int) -> None:
        """Call it no more."""
        self._ask(fd, None)

    def _ask(self, fd: int, ready: Callable[[], None] | None) -> None:
        with self._lock:
            if self._thread is None and ready is None:
                return
            if self._thread is None:
                self._selector, self._wake = selectors.DefaultSelector(), os.eventfd(0, os.EFD_CLOEXEC)
                self._selector.register(self._wake, selectors.EVENT_READ)
                self._ended = False
                self._thread = threading.Thread(target=self._run, args=(self._selector,), name="gpiod", daemon=True)
                self._thread.start()
            self._asked.append((fd, ready))
            os.eventfd_write(self._wake, 1)

    def _run(self, selector: selectors.BaseSelector) -> None:
        while True:
            for key, _ in selector.select():
                if key.fd == self._wake:
                    os.eventfd_read(self._wake)
                elif key.fd in selector.get_map():
                    self._hand_on(selector, key.fd, key.data)
            with self._lock:
                asked, self._asked = self._asked, []
                ended = self._ended
            for fd, ready in asked:
                if fd in selector.get_map():
                    selector.unregister(fd)
                if ready is not None:
                    selector.register(fd, selectors.EVENT_READ, ready)
            if ended:
                return

    def _hand_on(self, selector: selectors.BaseSelector, fd: int, ready: Callable[[], None]) -> None:
        try:
            ready()
        except OSError:
            selector.unregister(fd)  # else it would be ready again at once, and for ever
            _log.exception("a line gives no more edges: its chip is gone")
        except Exception:  # noqa: BLE001 - a foreign handler may raise anything, and the other lines are to go on
            _log.exception("who waits for the edges of a line has failed")

    def close(self) -> None:
        """End the thread. Not from that thread. Safe to call twice."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._ended = True
            if thread is not None:
                os.eventfd_write(self._wake, 1)
        if thread is not None and self._selector is not None:
            thread.join()
            self._selector.close()
            os.close(self._wake)


class SoftPwm:
    """Switches a line on and off by a thread: good enough to dim an LED or to slow a motor, not to place a servo.

    The system may come late by a tenth of a millisecond and, under load, by several; up to 1000 Hz are accepted. With
    a duty of 0 or 1 nothing is switched and the thread sleeps.
    """

    def __init__(self, put: Callable[[bool], None], hz: float) -> None:
        self.hz = hz
        self.duty = 0.0
        self._put = put
        self._changed = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="pwm", daemon=True)
        self._thread.start()

    def set(self, *, hz: float | None = None, duty: float | None = None) -> None:
        """Take another frequency or share of the time."""
        self.hz = self.hz if hz is None else hz
        self.duty = self.duty if duty is None else duty
        self._changed.set()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended:
            duty, period = self.duty, 1 / self.hz
            self._put(duty > 0)
            if 0 < duty < 1:
                self._changed.wait(max(0.0, due + duty * period - time.monotonic()))
                self._put(False)
                due = max(due + period, time.monotonic() - period)
                self._changed.clear()
                if not self._ended:
                    self._changed.wait(max(0.0, due - time.monotonic()))
            else:
                self._changed.wait()
                due = time.monotonic()
            self._changed.clear()

    def close(self) -> None:
        """End it; the line is left as it is."""
        self._ended = True
        self._changed.set()
        self._thread.join()
