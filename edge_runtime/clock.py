"""The clock border: the machine's time, and a fake one for tests and simulation."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Protocol

from edge_runtime.model import NO_HEADERS, Event, Stamp
from edge_runtime.threads import in_thread

# CLOCK_BOOTTIME goes on while the machine sleeps; macOS has none, and there a laptop's sleep does not count.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_LEAST = -(1 << 63)


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> Stamp:
        """Return this moment; its wall time is never before what `hold` was told."""

    def machine(self) -> Stamp:
        """Return this moment with what the machine's wall clock says, however wrong."""

    def hold(self, ahead_ns: int) -> None:
        """Let `now` tell no wall time that is less than this ahead of steady time: before it is known to be wrong."""

    async def is_right(self) -> bool:
        """Tell whether the machine's wall clock is known to be right."""

    def steps(self) -> AsyncGenerator[None, None]:
        """Yield once at first, and from then on whenever somebody has set the machine's wall clock.

        Where the system does not tell of that, there is no second time.
        """

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds of steady time."""


@cache
def boot_id() -> str:
    """Return the first 48 bits of the kernel's boot id in hex, or an id of this process where the kernel has none.

    It is stored with every event, and one machine never boots often enough to repeat 48 random bits.
    """
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").replace("-", "")[:12]
    return os.urandom(6).hex()


_SYNC_FILE = Path("/run/systemd/timesync/synchronized")
_MOST_ERROR_US = 16_000_000
_TIMEDATECTL = ("timedatectl", "show", "--property=NTPSynchronized", "--value")


@cache
def _adjtimex() -> Callable[[], int]:
    """Return a function that gives the kernel's estimate of the wall clock's error in microseconds, -1 for none."""
    import ctypes  # noqa: PLC0415 - only where somebody asks

    class Timex(ctypes.Structure):
        """`struct timex` of adjtimex(2) up to what is read here, and room for the rest."""

        _fields_ = [
            ("modes", ctypes.c_uint),
            ("offset", ctypes.c_long),
            ("freq", ctypes.c_long),
            ("maxerror", ctypes.c_long),
            ("rest", ctypes.c_byte * 512),
        ]

    call = getattr(ctypes.CDLL(None), "adjtimex", None)

    def error_us() -> int:
        answer = Timex()
        return -1 if call is None or call(ctypes.byref(answer)) < 0 else int(answer.maxerror)

    return error_us


def _known_to_be_synced() -> bool | None:
    """Return what the kernel or the mark of timesyncd says; None when neither says anything."""
    error_us = _adjtimex()()
    if error_us >= 0:
        return error_us < _MOST_ERROR_US
    return _SYNC_FILE.exists() if _SYNC_FILE.parent.exists() else None


def _timedated() -> bool:
    """Ask systemd, which may ask the kernel. Takes its time."""
    import subprocess  # noqa: PLC0415 - only where nobody else says

    try:
        ran = subprocess.run(_TIMEDATECTL, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ran.stdout.strip() == b"yes"


def wall_is_synced() -> bool:
    """Tell whether the wall clock is known to be right, by the rule of `timedatectl` (adjtimex: error below 16 s).

    That holds for timesyncd, chrony and ntpd alike. Where the system call is not allowed, as under systemd's
    ProtectClock, the mark that timesyncd leaves tells; where there is neither, `timedatectl` is asked, which takes up
    to seconds.
    """
    known = _known_to_be_synced()
    return _timedated() if known is None else known


_CREATE_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_CANCEL_ON_SET = 0b11
"""TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET."""


def _alarm_of_steps() -> int:
    """Return a file descriptor that becomes readable when somebody sets the wall clock; -1 where there is none.

    It is a timer for the last second there is, which the kernel cancels at each such step (timerfd_create(2)); it need
    not be set again. Python has the calls from 3.13 on only.
    """
    import ctypes  # noqa: PLC0415 - as above

    libc = ctypes.CDLL(None, use_errno=True)
    try:
        create, settime = libc.timerfd_create, libc.timerfd_settime
    except AttributeError:
        return -1
    # The interval, then the time: two `struct timespec`. Where long has 32 bits, so has the time of these calls.
    far = (ctypes.c_long * 4)(0, 0, (1 << (8 * ctypes.sizeof(ctypes.c_long) - 1)) - 1, 0)
    descriptor = int(create(time.CLOCK_REALTIME, _CREATE_FLAGS))
    if descriptor >= 0 and settime(descriptor, _CANCEL_ON_SET, far, None) < 0:
        os.close(descriptor)
        return -1
    return descriptor


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self._boot = boot_id()
        self._ahead_ns = _LEAST

    def now(self) -> Stamp:
        """Return this moment."""
        mono_ns = time.clock_gettime_ns(_STEADY)
        return Stamp(max(time.time_ns(), mono_ns + self._ahead_ns), mono_ns, self._boot)

    def machine(self) -> Stamp:
        """Return this moment, the wall clock as it is."""
        return Stamp(time.time_ns(), time.clock_gettime_ns(_STEADY), self._boot)

    def hold(self, ahead_ns: int) -> None:
        """Let `now` tell no wall time that is less than this ahead of steady time."""
        self._ahead_ns = ahead_ns

    async def is_right(self) -> bool:
        """Tell whether the wall clock is known to be right, as `wall_is_synced`."""
        known = _known_to_be_synced()
        return await in_thread("clock.timedated", _timedated) if known is None else known

    async def steps(self) -> AsyncGenerator[None, None]:
        """Yield at first, and whenever somebody has set the wall clock."""
        loop, alarm = asyncio.get_running_loop(), _alarm_of_steps()
        rung = asyncio.Event()

        def ring() -> None:
            with contextlib.suppress(OSError):  # ECANCELED is the message
                os.read(alarm, 8)
            rung.set()

        try:
            yield
            if alarm >= 0:
                loop.add_reader(alarm, ring)
            while True:
                await rung.wait()
                rung.clear()
                yield
        finally:
            if alarm >= 0:
                loop.remove_reader(alarm)
                os.close(alarm)

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        await asyncio.sleep(seconds)


class MadeClock:
    """What clocks have in common whose time is made. `now` may be asked on any thread."""

    def __init__(self, wall_s: float, boot: str, *, right: bool = True) -> None:
        self.right = right
        """Whether the wall clock is known to be right. As with a kernel, nobody is told when this changes."""
        self._boot = boot
        self._at = round(wall_s * 1e9), 1_000_000_000
        """The wall clock and steady time, in nanoseconds: one object, so that no thread sees half a move."""
        self._ahead_ns = _LEAST
        self._steps: set[asyncio.Event] = set()

    def now(self) -> Stamp:
        """Return this moment."""
        wall_ns, mono_ns = self._at
        return Stamp(max(wall_ns, mono_ns + self._ahead_ns), mono_ns, self._boot)

    def machine(self) -> Stamp:
        """Return this moment, the wall clock as it is."""
        return Stamp(*self._at, self._boot)

    def hold(self, ahead_ns: int) -> None:
        """Let `now` tell no wall time that is less than this ahead of steady time."""
        self._ahead_ns = ahead_ns

    async def is_right(self) -> bool:
        """Tell what `right` says."""
        return self.right

    async def steps(self) -> AsyncGenerator[None, None]:
        """Yield at first, and after each `jump`."""
        stepped = asyncio.Event()
        self._steps.add(stepped)
        try:
            yield
            while True:
                await stepped.wait()
                stepped.clear()
                yield
        finally:
            self._steps.discard(stepped)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; steady time stands still, as when NTP sets the clock."""
        wall_ns, mono_ns = self._at
        self._at = wall_ns + round(seconds * 1e9), mono_ns
        for stepped in self._steps:
            stepped.set()


class FakeClock(MadeClock):
    """A clock that moves only when told to: `await clock.advance(5)`. For tests and simulation."""

    def __init__(self, wall_s: float = 1_700_000_000.0, boot: str = "boot-1") -> None:
        super().__init__(wall_s, boot)
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    async def sleep(self, seconds: float) -> None:
        """Return once `advance` has passed that many seconds."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._at[1] + int(seconds * 1e9), next(self._count), waiter))
        await waiter

    def reboot(self, boot: str, *, off_s: float = 0.0) -> None:
        """Start a new boot: steady time begins again, the wall clock has gone on. What was held is forgotten."""
        self._boot, self._at, self._ahead_ns = boot, (self._at[0], 1_000_000_000), _LEAST
        self.jump(off_s)

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking sleepers in order and giving each a chance to run before time goes on."""
        end = self._at[1] + int(seconds * 1e9)
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, waiter = heapq.heappop(self._sleepers)
            self._move(due)
            if not waiter.done():
                waiter.set_result(None)
            await self._settle()
        self._move(end)
        await self._settle()

    def _move(self, mono_ns: int) -> None:
        gone_ns = max(0, mono_ns - self._at[1])
        self._at = self._at[0] + gone_ns, self._at[1] + gone_ns

    @staticmethod
    async def _settle() -> None:
        # What was woken may wake others: a few turns of the loop let a chain of awaits come to rest.
        for _ in range(10):
            await asyncio.sleep(0)


# RFC 9562, version 7: 48 bits of time, then 74 bits that are random here per process, and count.
_RANDOM = os.urandom(4).hex()
_MIDDLE = f"-7{_RANDOM[:3]}-{0x8 | int(_RANDOM[3], 16) & 0x3:x}{_RANDOM[4:7]}-"
_serial = itertools.count(int.from_bytes(os.urandom(5), "big"))


def new_id(now: Stamp) -> str:
    """Return an id for an event of this moment: a UUID of version 7, never given before."""
    ms = now.wall_ns // 1_000_000 & 0xFFFF_FFFF_FFFF
    serial = next(_serial) & 0xFFFF_FFFF_FFFF
    return f"{ms >> 16:08x}-{ms & 0xFFFF:04x}{_MIDDLE}{serial:012x}"


def make_event(clock: Clock, topic: str, payload: bytes, source: str, headers: Mapping[str, str] = NO_HEADERS) -> Event:
    """Return an event that happens now, with an id of its own: a UUID of version 7."""
    now = clock.now()
    return Event(topic, payload, source, now, new_id(now), headers)
