"""Linux's inotify by its three system calls: who wants to know what changes in folders need not ask again and again.

Source: inotify(7).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
MOVE_SELF, OVERFLOW, IGNORED, IS_FOLDER = 0x800, 0x4000, 0x8000, 0x4000_0000
_ONLY_FOLDERS = 0x0100_0000
_WATCHED = CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | MOVE_SELF
_HEAD = struct.Struct("iIII")
_ROOM = 64 * 1024


class Change(NamedTuple):
    """Something that happened in a watched folder; the name is empty when it happened to the folder itself."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One instance; `fd` is readable when there are changes.

    Raises: OSError when the system has no inotify, or this user has no instance left.
    """

    def __init__(self) -> None:
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            make = self._libc.inotify_init1
        except (OSError, AttributeError) as error:
            raise OSError("this system has no inotify") from error
        self.fd = _checked(make(os.O_NONBLOCK | os.O_CLOEXEC))

    def add(self, folder: str) -> int:
        """Watch a folder, not what is below it; return the number of the watch, the same for the same folder.

        Raises: OSError, with ENOSPC when this user has no watch left.
        """
        return _checked(self._libc.inotify_add_watch(self.fd, os.fsencode(folder), _WATCHED | _ONLY_FOLDERS))

    def read(self) -> Iterator[Change]:
        """Yield what has changed since the last call; nothing when there is nothing."""
        while True:
            try:
                data = os.read(self.fd, _ROOM)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                watch, mask, _, size = _HEAD.unpack_from(data, at)
                at += _HEAD.size + size
                yield Change(watch, mask, os.fsdecode(data[at - size : at].rstrip(b"\0")))

    def close(self) -> None:
        """Watch nothing more."""
        os.close(self.fd)


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
