"""Users of this machine: as whom the host runs, and what they may open."""

from __future__ import annotations

import grp
import os
import pwd
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

UNITS = (Path("/etc/systemd/system"), Path("/lib/systemd/system"))
_RUNS = re.compile(r"^ExecStart=.*\bedge(?:_runtime)?\s+run\b", re.MULTILINE)
_USER = re.compile(r"^User=(\S+)", re.MULTILINE)
_GROUPS = re.compile(r"^(?:SupplementaryGroups|Group)=(.+)$", re.MULTILINE)
_READ, _WRITE, _PASS = 4, 2, 1


@dataclass(frozen=True, slots=True)
class Account:
    """A user, with the groups that the process has."""

    name: str
    uid: int
    groups: frozenset[int]
    is_other: bool = False
    """It is not the one who asks."""
    unit: str = ""
    """The systemd service that runs the host as this user."""

    def may(self, path: Path, rights: int) -> bool:
        """Tell whether the modes of a file and its folders allow it so much: 4 to read, 2 to write, as chmod counts."""
        try:
            whole = path.resolve(strict=True)
            return all(self._may(part, _PASS) for part in whole.parents) and self._may(whole, rights)
        except OSError:
            return False

    def _may(self, path: Path, rights: int) -> bool:
        if self.uid == 0:
            return True
        found = path.stat()
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid in self.groups else 0
        return found.st_mode >> shift & rights == rights


READ, READ_WRITE = _READ, _READ | _WRITE


def service(state: Path, units: Sequence[Path] = UNITS) -> Account | None:
    """Return the user as whom the host runs here, when that is another one; None when nothing tells.

    A systemd unit that calls `edge run` tells, else the owner of the state folder.
    """
    for file in sorted(file for folder in units if folder.is_dir() for file in folder.glob("*.service")):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # a link to nowhere, or a mask
        if _RUNS.search(text):
            user = _USER.search(text)
            groups = [name for line in _GROUPS.findall(text) for name in line.split()]
            return _other(user[1] if user else "root", groups, file.name)
    try:
        return _other(pwd.getpwuid(state.stat().st_uid).pw_name)
    except (OSError, KeyError):
        return None  # there is no folder yet, or nobody owns it by name


def group_of(path: Path) -> str:
    """Return the name of the group that owns a file, its number when it has none."""
    number = path.stat().st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def is_entered(group: str) -> bool:
    """Tell whether this user is in a group by now, and this session has begun before that."""
    try:
        found = grp.getgrnam(group)
        return pwd.getpwuid(os.getuid()).pw_name in found.gr_mem and found.gr_gid not in os.getgroups()
    except KeyError:
        return False


def _other(name: str, groups: Sequence[str] = (), unit: str = "") -> Account | None:
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        return None
    if user.pw_uid == os.getuid():
        return None
    known = {one.gr_name: one.gr_gid for one in grp.getgrall()}
    more = {known[group] for group in groups if group in known}
    return Account(name, user.pw_uid, frozenset({*os.getgrouplist(name, user.pw_gid), *more}), True, unit)
