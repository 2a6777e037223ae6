"""The checks of `edge doctor`. Each yields findings and changes nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_runtime import __version__, control
from edge_runtime.app import App
from edge_runtime.cli._certificates import certificates
from edge_runtime.cli._common import DATABASE, duration, size
from edge_runtime.clock import wall_is_synced
from edge_runtime.devices import drivers, factories
from edge_runtime.errors import ConfigError, EdgeError, HostError
from edge_runtime.loaders import read_app
from edge_runtime.store.connection import is_sound

_PYTHON = (3, 11)
_SQLITE = (3, 37, 0)
"""The first with STRICT tables (https://sqlite.org/stricttables.html)."""
_TIGHT_BYTES = 200_000_000
_BUSES = {"gpio": "gpiochip*", "i2c": "i2c-*", "spi": "spidev*"}
"""The group that owns the device files in /dev, and their names (udev rules of Raspberry Pi OS)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `fix` is a command or what to write, empty when all is well."""

    what: str
    level: Literal["ok", "warn", "fail"]
    text: str
    fix: str = ""


def everything(path: Path, state: Path) -> Iterator[Finding]:
    """Yield what all checks find, for the app file `path` and the state folder `state`."""
    yield versions()
    yield from folder(state)
    yield from database(state)
    yield host(state)
    yield clock()
    yield from isolation(os.environ)
    yield from buses(Path("/dev"))
    app = None
    try:
        app = read_app(path)
    except ConfigError as error:
        for line in str(error).splitlines():
            yield Finding("app", "fail", line, error.hint)
    if app is not None:
        yield Finding("app", "ok", f"{path} declares the thing {app.thing}")
        yield from pins(app)
        for what, level, text, fix in certificates(app, time.time()):
            yield Finding(what, level, text, fix)


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
        if mode & 0o077:
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


def host(state: Path) -> Finding:
    """Check whether a host runs and answers."""
    try:
        if not control.is_running(state):
            return Finding("host", "ok", "not running")
        answer = control.call(state, "status", within_s=5)
    except HostError as error:
        return Finding("host", "fail", str(error), error.hint or "edge run")
    return Finding("host", "ok", f"running for {duration(answer.get('uptime_s', 0))}")


def clock() -> Finding:
    """Check that the wall clock is set."""
    if wall_is_synced():
        return Finding("clock", "ok", "synchronized")
    return Finding(
        "clock",
        "warn",
        "not synchronized: time stamps may be wrong, and TLS fails when it is far off",
        "sudo timedatectl set-ntp true",
    )


def isolation(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Check what would keep functions apart from each other and from the device."""
    from edge_runtime.workers.isolation import probe, wanted  # noqa: PLC0415 - only doctor needs it

    try:
        found = probe(wanted(environment).level)
    except ConfigError as error:
        yield Finding("isolation", "fail", str(error), error.hint)
        return
    except OSError as error:
        yield Finding("isolation", "fail", f"workers cannot be started: {error}", "python3 -m venv --clear, reinstall")
        return
    missing = [layer for layer in found.layers if not layer.active]
    yield Finding("isolation", "ok", f"{found.level}: {', '.join(one.name for one in found.layers if one.active)}")
    for layer in missing:
        yield Finding("isolation", "warn", f"{layer.name} is missing: {layer.note}", layer.fix)


def buses(dev: Path) -> Iterator[Finding]:
    """Check that this user may use the GPIO, I2C and SPI devices there are."""
    for group, pattern in _BUSES.items():
        files = sorted(dev.glob(pattern))
        closed = [file for file in files if not os.access(file, os.R_OK | os.W_OK)]
        if closed:
            text = f"{closed[0]} cannot be opened by this user"
            yield Finding(group, "warn", text, f"sudo usermod -aG {group} $USER, then log in again")
        elif files:
            yield Finding(group, "ok", ", ".join(str(file) for file in files))


def pins(app: App) -> Iterator[Finding]:
    """Check that the pins can be driven, when the app has devices with pins."""
    import gpiozero  # noqa: PLC0415 - only where there are devices

    wired = [d.name for d in app.devices if not issubclass(drivers.find(d), gpiozero.InternalDevice)]
    if not wired:
        return
    if factories.wants_mock():
        yield Finding("pins", "warn", "GPIOZERO_PIN_FACTORY=mock: every pin is simulated", "unset GPIOZERO_PIN_FACTORY")
        return
    try:
        factory = factories.real_factory()
    except EdgeError as error:
        yield Finding("pins", "fail", f"{', '.join(wired)}: {error}", error.hint)
        return
    factory.close()
    yield Finding("pins", "ok", f"driven by {type(factory).__name__}")
