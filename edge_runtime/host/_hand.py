"""Moves a guarded output, from any thread: a move to the safe value wins over whatever was begun before it."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from edge_runtime.errors import EdgeError

if TYPE_CHECKING:
    from edge_runtime.devices import OpenDevice


class Hand:
    """What moves one output.

    A driver may hang in a move and come back from it long after the output was put to its safe value: then it is put
    there once more, by the same thread.
    """

    def __init__(self, device: OpenDevice, safe: object) -> None:
        self.name = device.name
        self._device = device
        self._safe = safe
        self._lock = threading.Lock()
        self._moves = 0

    def begin(self) -> int:
        """Return the number of a move that is begun now: it overrules those before."""
        with self._lock:
            self._moves += 1
            return self._moves

    def switch(self, number: int, payload: bytes, *, undo: bool) -> object:
        """Carry out a command and return the value that the output has then; blocks.

        With `undo` the output is at its safe value before, and is put there again if it does not take the command: one
        that has several parts may have taken half of it.

        Raises: ConfigError when it does not take the command, and else is as it was; EdgeError when it fails.
        """
        from edge_runtime.devices.commands import apply  # noqa: PLC0415 - imported when a device is open

        try:
            value = apply(self._device, payload)
        except Exception as error:
            if undo or self._is_over(number):
                self._put(f"it failed ({error}), and then at its safe value too")
            raise
        if self._is_over(number):
            self._put("it came back from a move that was given up, and does not go to its safe value")
        return value

    def to_safe(self) -> object:
        """Put the safe value and return what the output tells then; blocks. Raises: EdgeError when it fails."""
        self.begin()
        return self._put("it does not go to its safe value")

    def _is_over(self, number: int) -> bool:
        with self._lock:
            return number != self._moves

    def _put(self, words: str) -> object:
        from edge_runtime.devices.commands import put_safe  # noqa: PLC0415 - imported when a device is open

        try:
            value: object = put_safe(self._device, self._safe)
        except Exception as error:
            raise EdgeError(f"device {self.name!r}: {words}: {str(error) or type(error).__name__}") from error
        return value


def make_safe(device: OpenDevice) -> None:
    """Put a device that was just opened to its safe value, and close it again if that fails; blocks.

    Raises: EdgeError when it fails.
    """
    if device.spec.guard is None:
        return
    try:
        Hand(device, device.spec.guard.safe).to_safe()
    except EdgeError:
        with contextlib.suppress(Exception):  # why it cannot be made safe is what is to be known
            device.device.close()
        raise
