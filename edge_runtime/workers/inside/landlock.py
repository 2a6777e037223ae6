"""Landlock: a process gives up what it may do with files, and signals to processes outside. No privilege needed.

Source: Documentation/userspace-api/landlock.rst and linux/landlock.h of Linux 6.12. The system calls have the same
numbers on every machine.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION = 1  # a flag of _CREATE
_BENEATH = 1  # a kind of rule
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL  # the others are of folders
_KNOWN = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF}  # of files, by version; from 5 on also _IOCTL
_ALL = 0xFFFF
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2
SCOPES_VERSION = 6
"""The first that keeps signals and abstract sockets inside."""

READ = _EXECUTE | _READ_FILE | _READ_DIR
USE = READ | _WRITE_FILE | _TRUNCATE | _IOCTL
"""What there is may be read and written, and nothing made."""
OWN = _ALL


def version(libc: ctypes.CDLL) -> int:
    """Return what the kernel offers, 0 when it has no Landlock or it is switched off."""
    return max(0, int(libc.syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION)))


def restrict(libc: ctypes.CDLL, abi: int, grants: Iterable[tuple[str, int]] | None) -> None:
    """Give up all access to files but what is granted, and signals to the outside where the kernel can.

    `grants` are paths with READ, USE or OWN, those that do not exist are left out; None: files are not restricted. The
    process must have no_new_privs.

    Raises: OSError.
    """
    handled = 0 if grants is None else _KNOWN.get(abi, _ALL)
    attributes = struct.pack("=Q", handled)
    if abi >= SCOPES_VERSION:
        attributes += struct.pack("=QQ", 0, _ABSTRACT_SOCKETS | _SIGNALS)
    rules = _checked(libc.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0))
    try:
        for path, access in grants or ():
            _grant(libc, rules, path, access & handled)
        _checked(libc.syscall(_RESTRICT, rules, 0))
    finally:
        os.close(rules)


def _grant(libc: ctypes.CDLL, rules: int, path: str, access: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(beneath).st_mode):
            access &= _OF_FILES
        rule = struct.pack("=Qi", access, beneath)
        _checked(libc.syscall(_ADD, rules, _BENEATH, rule, 0))
    finally:
        os.close(beneath)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code or errno.EINVAL, f"landlock: {os.strerror(code)}")
    return int(result)
