"""The machine itself: versions, the state folder, its disk and database, what keeps functions apart."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime import __version__
from edge_runtime.cli._accounts import Unit, is_shared
from edge_runtime.cli._checks_status import Status
from edge_runtime.cli._common import DATABASE, size
from edge_runtime.cli._finding import Finding
from edge_runtime.errors import ConfigError
from edge_runtime.store.connection import is_sound

if TYPE_CHECKING:
    from edge_runtime.workers.isolation import Layer

_PYTHON = (3, 11)
_SQLITE = (3, 37, 0)
"""The first with STRICT tables (https://sqlite.org/stricttables.html)."""
_TIGHT_BYTES = 200_000_000


def versions() -> Finding:
    """Check Python and SQLite."""
    python = ".".join(str(n) for n in sys.version_info[:3])
    text = f"edge {__version__}, Python {python}, SQLite {sqlite3.sqlite_version}"
    if sys.version_info < _PYTHON:
        return Finding("versions", "fail", f"{text}: Python 3.11 or newer is needed", "use a newer system")
    if sqlite3.sqlite_version_info < _SQLITE:
        return Finding("versions", "fail", f"{text}: SQLite 3.37 or newer is needed", "use a newer system")
    return Finding("versions", "ok", text)


def folder(state: Path) -> Iterator[Finding]:
    """Check that the state folder can be written, is private, and has room."""
    there = state if state.exists() else next((p for p in state.absolute().parents if p.exists()), Path("/"))
    if not there.is_dir():
        yield Finding("state", "fail", f"{there} is a file and no folder", "choose another with --state DIR")
        return
    if not os.access(there, os.W_OK | os.X_OK):
        yield Finding("state", "fail", f"{there} cannot be written by this user", f"sudo chown $USER {there}")
        return
    if there is state:
        mode = state.stat().st_mode & 0o777
        if is_shared(state):
            yield Finding("state", "warn", f"{state} is open to other users ({mode:03o})", f"chmod 700 {state}")
        else:
            yield Finding("state", "ok", f"{state} can be written")
    else:
        yield Finding("state", "ok", f"{state} will be made")
    disk = shutil.disk_usage(there)
    text = f"{size(disk.free)} free of {size(disk.total)}"
    if disk.free < disk.total * 0.05:  # what the store never uses, by default
        yield Finding("disk", "fail", f"{text}: the store keeps 5 % free and would accept nothing", "free some space")
    elif disk.free < _TIGHT_BYTES:
        yield Finding("disk", "warn", text, "free some space, or bound the store with queue: {limit: ...}")
    else:
        yield Finding("disk", "ok", text)


def database(state: Path) -> Iterator[Finding]:
    """Check the database, when there is one. Reads the whole file."""
    path = (state / DATABASE).absolute()
    if not path.exists():
        return
    if not os.access(path, os.R_OK | os.W_OK):
        yield Finding("database", "fail", f"{path} belongs to another user", "run the command as that user")
    elif is_sound(path):
        yield Finding("database", "ok", f"{path} is sound, {size(path.stat().st_size)}")
    else:
        yield Finding(
            "database", "fail", f"{path} is damaged", "edge run: it saves what can be read and keeps the damaged file"
        )


def isolation(
    environment: Mapping[str, str], status: Status | None = None, unit: Unit | None = None
) -> Iterator[Finding]:
    """Check what keeps functions apart from each other and from the device: as the host says, or what there would be.

    `unit` is the service that runs the host, if one does.
    """
    from edge_runtime.workers.isolation import Layer, probe, wanted  # noqa: PLC0415 - only doctor needs it

    told = (status or {}).get("isolation")
    try:
        if told:
            level, layers = str(told["level"]), tuple(Layer(**layer) for layer in told["layers"])
        else:
            found = probe(wanted(environment).level)
            level, layers = found.level, found.layers
    except ConfigError as error:
        yield Finding("isolation", "fail", str(error), error.hint)
        return
    except OSError as error:
        yield Finding("isolation", "fail", f"workers cannot be started: {error}", "python3 -m venv --clear, reinstall")
        return
    yield Finding("isolation", "ok", f"{level}: {', '.join(one.name for one in layers if one.active)}")
    for layer in layers:
        if not layer.active:
            yield _missing(layer, unit, is_seen=bool(told))


def _missing(layer: Layer, unit: Unit | None, *, is_seen: bool) -> Finding:
    """Return what there is to say of a layer that is missing. `is_seen`: the host itself says so."""
    text, fix = f"{layer.name} is missing: {layer.note}", layer.fix
    if unit is not None and layer.name == "users" and unit.user != "root":
        return Finding("isolation", "ok", f"{unit.name} runs the host as {unit.user}, and so each function")
    if unit is not None and layer.name == "memory" and not is_seen:
        text = f"a bound on memory is seen in the control group of {unit.name} only, and that host does not answer"
        return Finding("isolation", "skip", text, f"systemctl status {unit.name}")
    if unit is not None and layer.name == "memory" and unit.delegates:
        fix = "boot with the memory controller; on a Raspberry Pi: cgroup_enable=memory in /boot/firmware/cmdline.txt"
    return Finding("isolation", "warn", text, fix)
