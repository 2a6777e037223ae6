"""The clock border: the machine's time, and a fake one for tests and simulation."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import os
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Protocol

from edge_runtime.model import NO_HEADERS, Event, Stamp

# CLOCK_BOOTTIME goes on while the machine sleeps; macOS has none, and there a laptop's sleep does not count.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> Stamp:
        """Return this moment."""

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


def wall_is_synced() -> bool:
    """Tell whether the wall clock is known to be right, by the rule of `timedatectl` (adjtimex: error below 16 s).

    Where the system call is not allowed, as under systemd's ProtectClock, by the mark that timesyncd leaves.
    """
    error_us = _adjtimex()()
    return error_us < _MOST_ERROR_US if error_us >= 0 else _SYNC_FILE.exists()


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self._boot = boot_id()

    def now(self) -> Stamp:
        """Return this moment."""
        return Stamp(time.time_ns(), time.clock_gettime_ns(_STEADY), self._boot)

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        await asyncio.sleep(seconds)


class FakeClock:
    """A clock that moves only when told to: `await clock.advance(5)`. For tests and simulation."""

    def __init__(self, wall_s: float = 1_700_000_000.0, boot: str = "boot-1") -> None:
        self._wall_ns = int(wall_s * 1e9)
        self._mono_ns = 1_000_000_000
        self._boot = boot
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def now(self) -> Stamp:
        """Return this moment."""
        return Stamp(self._wall_ns, self._mono_ns, self._boot)

    async def sleep(self, seconds: float) -> None:
        """Return once `advance` has passed that many seconds."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._mono_ns + int(seconds * 1e9), next(self._count), waiter))
        await waiter

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; steady time stands still, as when NTP sets the clock."""
        self._wall_ns += int(seconds * 1e9)

    def reboot(self, boot: str, *, off_s: float = 0.0) -> None:
        """Start a new boot: steady time begins again, the wall clock has gone on."""
        self._boot, self._mono_ns = boot, 1_000_000_000
        self.jump(off_s)

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking sleepers in order and giving each a chance to run before time goes on."""
        end = self._mono_ns + int(seconds * 1e9)
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
        self._wall_ns += max(0, mono_ns - self._mono_ns)
        self._mono_ns = max(self._mono_ns, mono_ns)

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
