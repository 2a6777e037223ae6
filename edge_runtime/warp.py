"""Time that is made, not measured: as fast as the machine keeps up, for simulation and for tests of apps.

A `WarpClock` passes from one thing that is due to the next. It moves only when its `WarpLoop` has nothing left to do
and nobody works: no thread, no worker, no disk. So what a handler or a disk takes costs no time of that world, a slow
machine makes the whole slow and not late, and what waits for the machine goes on by real time.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_runtime.clock import MadeClock
from edge_runtime.threads import PATIENCE_S

_LEAST_NS = 1000
"""Of a sleep: less is lost in what floats can tell of a time."""
_LAG_S = 0.25
"""What a busy machine is behind by more than this is not caught up with."""
_MOST_DONE = 10_000


@dataclass(slots=True, eq=False)
class _Hold:
    busy: Callable[[], bool]
    patience_s: float
    is_hung: bool = False


class WarpClock(MadeClock):
    """A `Clock` whose time stands still until `run` or `let` is called. For one `WarpLoop`; `now` is for any thread.

    `speed` is how many times faster than real time it goes at most. `wall_s` is the wall clock at the begin, in seconds
    since the epoch; `boot` names this boot.
    """

    def __init__(self, wall_s: float, *, boot: str = "boot-1", speed: float = math.inf, right: bool = True) -> None:
        super().__init__(wall_s, boot, right=right)
        self._speed = speed
        self._limit_ns: int | None = self._at[1]
        self._anchor: tuple[float, int] | None = None
        """A real time, and the time that belongs to it."""
        self._quiet_s: float | None = None
        """Since when the loop has had nothing to do, in real time."""
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = itertools.count()
        self._waiting: list[asyncio.Future[None]] = []
        self._holds: dict[int, _Hold] = {}

    # -- Clock ---------------------------------------------------------------------------------------------------

    async def sleep(self, seconds: float) -> None:
        """Return once that many seconds have been made."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter = asyncio.get_running_loop().create_future()
        due_ns = self._at[1] + max(_LEAST_NS, math.ceil(seconds * 1e9))
        if len(self._sleepers) > _MOST_DONE:
            self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[2].done()]
            heapq.heapify(self._sleepers)
        heapq.heappush(self._sleepers, (due_ns, next(self._count), waiter))
        await waiter

    # -- whoever makes the time ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Let time pass from here on."""
        self._limit_ns = None

    def stand(self) -> None:
        """Let no more time pass."""
        self._limit_ns = self._at[1]

    def let(self, seconds: float) -> asyncio.Future[None]:
        """Let so much time pass and no more; done when it has, and all that was to be done by then is at rest."""
        self._limit_ns = self._at[1] + round(seconds * 1e9)
        rest: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(rest)
        return rest

    # -- the loop ------------------------------------------------------------------------------------------------

    def add_hold(self, busy: Callable[[], bool], patience_s: float) -> Callable[[], None]:
        """Stand still while `busy()`, see `threads.hold`; return what ends that.

        Who is busy while nothing at all has happened for `patience_s` of real time hangs, and holds no time up until it
        was not busy for once.
        """
        number = next(self._count)
        self._holds[number] = _Hold(busy, patience_s)

        def release() -> None:
            self._holds.pop(number, None)

        return release

    def stir(self) -> None:
        """Take notice that something happens."""
        self._quiet_s = None

    def catch_up(self) -> None:
        """Take notice that something has come while the loop waited: it comes at a time between what is due."""
        self._quiet_s = None
        if self._anchor is None:
            return
        target_ns, reckoned_ns = self._target(), self._reckoned(time.monotonic())
        self._move(reckoned_ns if target_ns is None else min(target_ns, reckoned_ns))

    def idle(self) -> float | None:
        """Take notice that the loop has nothing to do. Return when to ask again, in real seconds; None: after an event.

        After 0 there is something to do.
        """
        now_s = time.monotonic()
        if self._quiet_s is None:
            self._quiet_s = now_s
        held_s = self._held(now_s - self._quiet_s)
        if held_s > 0:
            self._anchor = None
            return held_s
        target_ns = self._target()
        if target_ns is None:
            self._pace(now_s, self._at[1] + 1)
            return None
        left_s = self._pace(now_s, target_ns)
        if left_s > 0:
            return left_s
        self._move(target_ns)
        return 0.0 if self._wake() or self._tell() else None

    def _held(self, quiet_s: float) -> float:
        """Return for how long to wait yet for those who work; 0: nobody does."""
        held_s = 0.0
        for hold in self._holds.values():
            if not hold.busy():
                hold.is_hung = False
            elif not hold.is_hung:
                held_s = max(held_s, hold.patience_s - quiet_s)
                hold.is_hung = hold.patience_s <= quiet_s
        return held_s

    def _target(self) -> int | None:
        """Return up to when time may pass before something is to be done; None: for ever."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        due_ns = self._sleepers[0][0] if self._sleepers else None
        if self._limit_ns is None or (due_ns is not None and due_ns < self._limit_ns):
            return due_ns
        return max(self._limit_ns, self._at[1])

    def _pace(self, now_s: float, target_ns: int) -> float:
        """Return how many real seconds it is too early for a time."""
        if math.isinf(self._speed) or target_ns <= self._at[1]:
            return 0.0
        if self._anchor is None or self._reckoned(now_s) > target_ns + _LAG_S * self._speed * 1e9:
            self._anchor = now_s, self._at[1]
        return (target_ns - self._reckoned(now_s)) / 1e9 / self._speed

    def _reckoned(self, now_s: float) -> int:
        if self._anchor is None:
            return self._at[1]
        return self._anchor[1] + int((now_s - self._anchor[0]) * self._speed * 1e9)

    def _move(self, mono_ns: int) -> None:
        wall_ns, before_ns = self._at
        if mono_ns > before_ns:
            self._at = wall_ns + mono_ns - before_ns, mono_ns

    def _wake(self) -> bool:
        woken = False
        while self._sleepers and self._sleepers[0][0] <= self._at[1]:
            waiter = heapq.heappop(self._sleepers)[2]
            if not waiter.done():
                waiter.set_result(None)
                woken = True
        return woken

    def _tell(self) -> bool:
        """Tell those who wait that the time has come, and that all is at rest."""
        waiting, self._waiting = self._waiting, []
        for rest in waiting:
            if not rest.done():
                rest.set_result(None)
        return bool(waiting)


class _Selector(selectors.DefaultSelector):
    """Knows when a loop has nothing to do: it asks for events and is ready to wait for them."""

    def __init__(self, clock: WarpClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what has happened, as the base class, and let time pass when nothing has."""
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            self._clock.stir()
            return found
        wait_s = self._clock.idle()
        if wait_s is not None:
            if wait_s <= 0:
                return []
            timeout = wait_s if timeout is None else min(timeout, wait_s)
        found = super().select(timeout)
        if found:
            self._clock.catch_up()
        return found


class WarpLoop(asyncio.SelectorEventLoop):
    """The event loop of a `WarpClock`: `asyncio.Runner(loop_factory=partial(WarpLoop, clock))`."""

    def __init__(self, clock: WarpClock) -> None:
        super().__init__(_Selector(clock))
        self._clock = clock

    def hold(self, busy: Callable[[], bool], patience_s: float) -> Callable[[], None]:
        """Let time stand still while `busy()`, as `WarpClock.add_hold`."""
        return self._clock.add_hold(busy, patience_s)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # noqa: ANN401 - the signature is the base's, whose variadic generics mypy does not match
        """Call a function on a thread, as the base class; time stands still meanwhile."""
        future: asyncio.Future[Any] = super().run_in_executor(executor, func, *args)
        release = self.hold(lambda: not future.done(), PATIENCE_S)
        future.add_done_callback(lambda _: release())
        return future
