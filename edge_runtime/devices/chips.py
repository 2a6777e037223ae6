"""The gpiochips of this machine: which there are, by what label, and who holds a line.

A chip's number changes with the kernel (a Pi 5's header was gpiochip4 and became gpiochip0), its label does not. The
kernel tells both through the character device, by the calls of linux/gpio.h.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_CHIP_INFO, _CHIP = 0x8044B401, struct.Struct("32s32sI")
_LINE_INFO, _LINE = 0xC100B405, struct.Struct("32s32sIIQ160s16s")
"""GPIO_GET_CHIPINFO_IOCTL and GPIO_V2_GET_LINEINFO_IOCTL, with gpiochip_info and gpio_v2_line_info."""
_USED = 1


@dataclass(frozen=True, slots=True)
class Chip:
    """One gpiochip. `label` is empty, and `fault` says why, when it cannot be asked."""

    number: int
    path: Path
    label: str = ""
    lines: int = 0
    fault: str = ""


class Ask(Protocol):
    """Asks the kernel of a chip: `ioctl` of the file at `path`."""

    def __call__(self, path: Path, request: int, data: bytes) -> bytes:
        """Return what the kernel made of the data. Raises: OSError."""


def ask_kernel(path: Path, request: int, data: bytes) -> bytes:
    """Return what an ioctl of the device file makes of the data.

    Raises: OSError.
    """
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return bytes(fcntl.ioctl(file, request, data))
    finally:
        os.close(file)


def chips(root: Path = Path("/"), ask: Ask = ask_kernel) -> list[Chip]:
    """Return the gpiochips in `root`/dev by their numbers; those that may not be opened tell why."""
    found = []
    for path in (root / "dev").glob("gpiochip*"):
        number = re.fullmatch("gpiochip([0-9]+)", path.name)
        if number is not None and not path.is_symlink():
            found.append(_chip(int(number[1]), path, ask))
    return sorted(found, key=lambda chip: chip.number)


def _chip(number: int, path: Path, ask: Ask) -> Chip:
    try:
        _, label, lines = _CHIP.unpack(ask(path, _CHIP_INFO, bytes(_CHIP.size)))
    except PermissionError:
        return Chip(number, path, fault=f"{path} may not be opened by this user")
    except OSError as error:
        return Chip(number, path, fault=f"{path} cannot be opened: {error.strerror or error}")
    return Chip(number, path, _text(label), lines)


def with_label(found: Iterable[Chip], labels: Iterable[str]) -> Chip | None:
    """Return the chip that has one of the labels."""
    known = tuple(labels)
    return next((chip for chip in found if chip.label in known), None)


def holder(path: Path, line: int, ask: Ask = ask_kernel) -> str | None:
    """Return what holds a line calls itself, `?` when it has no name; None when nobody holds it or cannot be told."""
    try:
        answer = ask(path, _LINE_INFO, _LINE.pack(b"", b"", line, 0, 0, b"", b""))
    except OSError:
        return None  # it only makes an error message better
    _, consumer, _, _, flags, _, _ = _LINE.unpack(answer)
    return (_text(consumer) or "?") if flags & _USED else None


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode(errors="replace")
