"""An I2C bus for tests: the kernel's side of i2c-dev below smbus2, and chips that behave as their data sheets say.

Only the system call is replaced. What is opened is a real file, so a missing or locked one fails as the real one does.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from pathlib import Path
from typing import Any, Protocol

import pytest
import smbus2
from smbus2.smbus2 import I2C_FUNCS, I2C_M_RD, I2C_RDWR

NO_ANSWER = errno.EREMOTEIO


class Chip(Protocol):
    """What is at an address."""

    def write(self, data: bytes) -> None:
        """Take what the master writes."""

    def read(self, count: int) -> bytes:
        """Return what the master reads."""


class Registers:
    """A chip with registers of one byte: a write sets where to read from, and the next ones come by themselves."""

    def __init__(self, **named: int) -> None:
        self.memory = bytearray(256)
        self.at = 0
        for name, number in named.items():
            self.memory[int(name.removeprefix("at_"), 16)] = number

    def write(self, data: bytes) -> None:
        """Set the pointer, and store what follows."""
        self.at = data[0]
        for number in data[1:]:
            self.store(self.at, number)
            self.at += 1

    def read(self, count: int) -> bytes:
        """Return bytes from the pointer on."""
        return bytes(self.memory[self.at : self.at + count])

    def store(self, register: int, number: int) -> None:
        """Store one byte."""
        self.memory[register] = number


class Words:
    """A chip with registers of two bytes, the high one first."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        self.at = 0

    def write(self, data: bytes) -> None:
        """Set the pointer, and store a word."""
        self.at = data[0]
        if len(data) > 1:
            self.store(self.at, int.from_bytes(data[1:3], "big"))

    def read(self, count: int) -> bytes:
        """Return the word of the pointer, or its beginning."""
        return (self.load(self.at) & 0xFFFF).to_bytes(2, "big")[:count]

    def store(self, register: int, word: int) -> None:
        """Store a word."""
        self.words[register] = word

    def load(self, register: int) -> int:
        """Return a word."""
        return self.words.get(register, 0)


class I2c:
    """A bus and the chips on it. `path` is what a device has as its `bus`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, chips: dict[int, Chip]) -> None:
        self.chips = chips
        self.path = str(folder / "i2c-test")
        Path(self.path).touch()
        self.opened = 0
        self.failing: int = 0
        """An errno that each transfer ends with."""
        self.busy = threading.Lock()
        monkeypatch.setattr(smbus2.smbus2, "ioctl", self._ioctl)

    def is_open(self) -> bool:
        """Tell whether this process has the bus open."""
        for link in Path("/proc/self/fd").iterdir():
            try:
                if str(link.readlink()) == self.path:
                    return True
            except FileNotFoundError:  # that of the listing
                continue
        return False

    def _ioctl(self, fd: int, request: int, argument: Any) -> int:  # noqa: ANN401 - what ctypes makes
        assert str(Path(f"/proc/self/fd/{fd}").readlink()) == self.path
        if request == I2C_FUNCS:
            self.opened += 1
            argument.value = int(smbus2.I2cFunc.I2C)
            return 0
        assert request == I2C_RDWR
        assert self.busy.acquire(blocking=False), "two transfers at once"
        try:
            if self.failing:
                raise OSError(self.failing, os.strerror(self.failing))
            for message in argument.msgs[: argument.nmsgs]:
                self._message(message)
        finally:
            self.busy.release()
        return 0

    def _message(self, message: Any) -> None:  # noqa: ANN401 - same
        chip = self.chips.get(message.addr)
        if chip is None:
            raise OSError(NO_ANSWER, os.strerror(NO_ANSWER))
        if message.flags & I2C_M_RD:
            data = chip.read(message.len)
            assert len(data) == message.len
            ctypes.memmove(message.buf, data, message.len)
        else:
            chip.write(ctypes.string_at(message.buf, message.len))
