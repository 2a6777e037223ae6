"""Blocking calls side by side, each with a bound in time: a name server that never answers holds up nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import TypeVar

from edge_runtime.cli._finding import Finding

T = TypeVar("T")
Check = Callable[[], Iterable[Finding]]


def begin(name: str, call: Callable[[], T]) -> Future[T]:
    """Make a call on a thread of its own, which does not hold up the end of the process; return what will hold it."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - handed to whoever asks for the result
            future.set_exception(error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return future


class Together:
    """Checks that run side by side from now on. `findings` yields theirs in order, and gives each up in time."""

    def __init__(self, checks: Sequence[tuple[str, Check, float]]) -> None:
        """Each check is its name, the call, and the seconds that it may take."""
        self._begun_s = time.monotonic()
        self._running = [
            (name, begin(f"doctor.{name}", lambda call=call: list(call())), within_s)  # type: ignore[misc]  # bound here
            for name, call, within_s in checks
        ]

    def findings(self) -> Iterator[Finding]:
        """Yield what each check found. One that fails or takes too long is a finding itself, and hurts no other."""
        for name, future, within_s in self._running:
            left_s = max(0.0, self._begun_s + within_s - time.monotonic())
            try:
                yield from future.result(left_s)
            except Exception as error:  # noqa: BLE001 - a machine is strange in ways that nobody has thought of
                if future.done():
                    yield Finding(name, "skip", f"the check itself failed: {error!r}", "please report this")
                else:
                    yield Finding(name, "skip", f"it was given up after {within_s:g} s")
