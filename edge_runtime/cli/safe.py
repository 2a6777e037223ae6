"""`edge safe`: what the host does at its end, when it could not do it."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli._common import (
    app_argument,
    app_file,
    app_state_option,
    clean,
    complain,
    is_releases,
    say,
    state_of,
)
from edge_runtime.errors import ConfigError, EdgeError, HostError

if TYPE_CHECKING:
    from edge_runtime.app import App, Device

_PATIENCE_S = 3.0
"""How long the others wait for a device whose driver does not come back."""


@click.command()
@app_argument
@app_state_option
@click.option("--force", is_flag=True, help="Also while a host is running, which holds the pins.")
@click.option("--simulate", is_flag=True, help="Touch no hardware: devices are simulated.")
@click.pass_context
def safe(ctx: click.Context, app: Path | None, state: Path | None, *, force: bool, simulate: bool) -> None:
    """Put every output that has a guard to its safe value, after a host that was killed.

    APP is the app file, or the folder with its edge.yaml or with releases; left out, it is edge.yaml in this folder.
    The outputs of the app that ran last are made safe too, as it was then.

    This is for the service's ExecStopPost= and ExecStartPre=. The exit status is 0 when all are safe, else 1: one that
    fails does not keep the others from being made safe.
    """
    logging.basicConfig(format="%(levelname).1s %(name)s: %(message)s")
    path = app_file(app)
    folder = state_of(app if app is not None and is_releases(app) else path, state)  # as edge run has it
    if not force and _is_taken(folder):
        raise HostError(
            f"a host is running with the state folder {folder}, and guards its outputs",
            hint="stop it, and they are safe; or edge safe --force",
        )
    done: list[Device] = []
    failed = 0
    waits = app is not None and is_releases(app) and not path.exists()  # for its first release
    for one in _apps(path, folder, may_be_none=waits):
        for device in one.devices:
            if device.guard is not None and device not in done:
                done.append(device)
                failed += not _within(device.name, partial(_make_safe, device, one, simulate=simulate))
    if not done:
        say("no output has a guard")
    ctx.exit(1 if failed else 0)


def _is_taken(state: Path) -> bool:
    """Tell whether a host has the state folder. Makes no folder and no file."""
    try:
        lock = os.open(state / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # nobody was ever there, or it is somebody else's
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _apps(path: Path, state: Path, *, may_be_none: bool) -> Sequence[App]:
    """Return the app that ran last, if it is known, and the one in the file; none when that is one without a guard.

    Raises: ConfigError when there is neither, unless there may be none.
    """
    from edge_runtime import loaders  # noqa: PLC0415 - as above

    try:
        if loaders.is_unguarded(path, state):
            return []
        now = loaders.load_app(path, state, keep=False)
    except ConfigError as error:
        last = loaders.last_app(state)
        if last is None and may_be_none:
            return []
        if last is None:
            raise
        complain(error)
        say("the app that ran last is made safe")
        return [last]
    last = loaders.last_app(state)
    return [now] if last is None or last == now else [last, now]


def _within(name: str, call: Callable[[], str]) -> bool:
    """Do something for a device that may never end, say what came of it, and tell whether it was well."""
    said: list[str | EdgeError] = []

    def work() -> None:
        try:
            said.append(call())
        except EdgeError as error:
            said.append(error)
        except Exception as error:  # noqa: BLE001 - a driver may raise anything; it is said
            said.append(EdgeError(f"device {name!r}: {str(error) or type(error).__name__}"))

    thread = threading.Thread(target=work, name=f"safe[{name}]", daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    outcome = said[0] if said else EdgeError(f"device {name!r}: its driver does not come back in {_PATIENCE_S:g} s")
    if isinstance(outcome, EdgeError):
        complain(outcome)
        return False
    say(clean(outcome))
    return True


def _make_safe(device: Device, app: App, *, simulate: bool) -> str:
    from edge_runtime.devices import Opener, close  # noqa: PLC0415 - imports gpiozero; the help does without
    from edge_runtime.devices.commands import put_safe  # noqa: PLC0415 - same

    # One for each device: one that hangs while it is opened keeps nobody from opening another.
    opened = Opener(simulate=simulate, extra=app.base, board=app.board).open(device)
    try:
        value = put_safe(opened, None if device.guard is None else device.guard.safe)
    finally:
        close([opened])
    return f"{device.name} is safe: {value}"
