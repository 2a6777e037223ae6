"""Users of this machine: as whom the host runs, by which service, and what they may open."""

from __future__ import annotations

import grp
import os
import pwd
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

UNITS = (Path("/etc/systemd/system"), Path("/lib/systemd/system"))
_RUNS = re.compile(r"^ExecStart=.*\bedge(?:_runtime)?\s+run\b", re.MULTILINE)
_USER = re.compile(r"^User=(\S+)", re.MULTILINE)
_GROUPS = re.compile(r"^(?:SupplementaryGroups|Group)=(.+)$", re.MULTILINE)
_DELEGATES = re.compile(r"^Delegate=(?:yes|true|on|1|.*\bmemory\b)", re.MULTILINE)
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


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd service that calls `edge run`."""

    name: str
    user: str
    groups: tuple[str, ...] = ()
    """What it adds to those of the user."""
    delegates: bool = False
    """Its control group is its own, so that it may bound the memory of workers."""


def service(state: Path, units: Sequence[Path] = UNITS) -> Account | None:
    """Return the user as whom the host runs here, when that is another one; None when nothing tells.

    A systemd unit that calls `edge run` tells, else the owner of the state folder.
    """
    for unit in _units(units, "root"):
        return _other(unit.user, unit.groups, unit.name)
    owner = owner_of(state)
    return _other(owner) if owner else None


def unit_of(state: Path, units: Sequence[Path] = UNITS, home: Path | None = None) -> Unit | None:
    """Return the service that runs the host of a state folder; None when there is none, or it is of somebody else.

    It runs as the owner of the folder, who may also have one of his own, which `systemctl --user` starts; `home` is his
    home folder, if it is not the one that he has by name.
    """
    if not (owner := owner_of(state)):
        return None
    mine = (home or Path(pwd.getpwnam(owner).pw_dir)) / ".config" / "systemd" / "user"
    found = (*_units(units, "root"), *_units([mine], owner))
    return next((unit for unit in found if unit.user == owner), None)


def owner_of(path: Path) -> str:
    """Return the name of who owns a file; empty when it is not there, or nobody owns it by name."""
    try:
        return _name(path.stat().st_uid)
    except OSError:
        return ""


def is_shared(path: Path) -> bool:
    """Tell whether others than its owner, and root, may look into a folder.

    A group that nobody else is in, as Debian makes one for each user, is no other.
    """
    found = path.stat()
    if found.st_mode & 0o007:
        return True
    if not found.st_mode & 0o070:
        return False
    try:
        members = set(grp.getgrgid(found.st_gid).gr_mem)
    except KeyError:
        members = set()
    members |= {user.pw_name for user in pwd.getpwall() if user.pw_gid == found.st_gid}
    return bool(members - {_name(found.st_uid), "root"})


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


def _units(folders: Sequence[Path], user: str) -> Iterator[Unit]:
    """Yield the services in some folders that call `edge run`; those that name no user run as this one."""
    for file in sorted(file for folder in folders for file in _services(folder)):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # a link to nowhere, or a mask
        if _RUNS.search(text):
            named = _USER.search(text)
            groups = tuple(name for line in _GROUPS.findall(text) for name in line.split())
            yield Unit(file.name, named[1] if named else user, groups, bool(_DELEGATES.search(text)))


def _services(folder: Path) -> list[Path]:
    try:
        return [file for file in folder.iterdir() if file.suffix == ".service"]
    except OSError:
        return []  # it is not there, or somebody else's


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


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
