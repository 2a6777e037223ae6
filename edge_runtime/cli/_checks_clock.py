"""What time it is here, and how that is known."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_runtime.cli._finding import Finding
from edge_runtime.clock import Clock, SystemClock
from edge_runtime.host.timekeeper import Floor, Timekeeper, floor_of_files

_RTC = Path("/dev/rtc0")

Which = Callable[[str], str | None]
"""`shutil.which`."""


def clock(state: Path, machine: Clock | None = None, floor: Floor | None = None) -> Iterator[Finding]:
    """Check that the wall clock is set: somebody who knows has done so, or at least it is not behind what has been."""
    keeper = Timekeeper(machine or SystemClock(), state)
    keeper.open(floor if floor is not None else floor_of_files(state))
    asyncio.run(keeper.look())
    if keeper.fault:
        yield Finding("clock", "fail", f"{keeper.fault}; TLS and the times of events depend on it", mend())
    elif keeper.is_right:
        yield Finding("clock", "ok", "synchronized")
    else:
        text = "not synchronized: time stamps may be wrong, and TLS fails when it is far off"
        yield Finding("clock", "warn", text, mend())


def mend(which: Which = shutil.which, rtc: Path = _RTC) -> str:
    """Return the command that sets the clock, by what there is on this machine."""
    if which("chronyc"):
        return "chronyc tracking; sudo chronyc makestep"
    if which("timedatectl"):
        kept = "; then keep it over power cuts: sudo hwclock --systohc" if rtc.exists() else ""
        return f"sudo timedatectl set-ntp true{kept}"
    return "sudo apt install systemd-timesyncd" + ("; or from the hardware: sudo hwclock -s" if rtc.exists() else "")
