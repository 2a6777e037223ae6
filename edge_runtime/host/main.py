"""`edge run`: a host in the foreground until it is told to end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.app import App
from edge_runtime.errors import ConfigError, EdgeError
from edge_runtime.host.configuration import Configuration, dial, is_component
from edge_runtime.host.host import Host
from edge_runtime.host.notify import Notifier
from edge_runtime.loaders import load_app

if TYPE_CHECKING:
    from edge_runtime.host.installer import BundleInstaller
    from edge_runtime.releases import Releases

_log = logging.getLogger(__name__)
_M_ARENA_MAX = -8
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def run(app_path: Path, state: Path, *, simulate: bool = False, watch: bool = False) -> int:
    """Run the app until SIGTERM, SIGINT or the verb `stop`. Return the exit status.

    With `watch` the workers of a function are replaced when its code is saved, and the host when the app file is. As a
    component of Greengrass, it follows the component's configuration in the same way. A folder in place of an app file
    holds releases: see `edge_runtime.releases`.

    The environment variable EDGE_LOG is the least level that is logged: DEBUG, INFO, WARNING or ERROR. A service
    manager that asks for it is told how things are: see `edge_runtime.host.notify`.

    Raises: ConfigError for a faulty app file or EDGE_LOG, HostError when the state folder or the releases are taken,
    StoreError.
    """
    level = os.environ.get("EDGE_LOG", "INFO").upper()
    if level not in _LEVELS:
        raise ConfigError(f"EDGE_LOG is {level!r}, which is no level", hint=f"known: {', '.join(_LEVELS)}")
    logging.basicConfig(
        level=level,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    if not app_path.is_dir():
        return asyncio.run(_run(app_path, state, None, simulate=simulate, watch=watch))
    from edge_runtime.releases import APP_FILE, CURRENT, Releases  # noqa: PLC0415 - an app file needs none of it

    releases = Releases(app_path)
    with releases.held():
        return asyncio.run(_run(releases.root / CURRENT / APP_FILE, state, releases, simulate=simulate, watch=watch))


async def _run(app_path: Path, state: Path, releases: Releases | None, *, simulate: bool, watch: bool) -> int:
    notifier = Notifier()
    notifier.begin()
    configuration = None
    if is_component(os.environ):
        configuration = Configuration(app_path, state, dial)
        await configuration.fetch()
    installer = _installer(releases, state) if releases is not None else None
    app = load_app(app_path, state) if installer is None else installer.deployed()
    if configuration is not None and app.link is not None and app.link.driver == "greengrass":
        configuration = Configuration(app_path, state, partial(dial, str(app.link.options.get("component") or "")))
    make = partial(
        Host,
        state=state,
        simulate=simulate,
        watch=app_path if watch and releases is None else None,
        configuration=configuration,
        installer=installer,
    )
    try:
        return await serve(app, make, installer, notifier)
    finally:
        notifier.close()


def _installer(releases: Releases, state: Path) -> BundleInstaller:
    from edge_runtime.host.installer import BundleInstaller  # noqa: PLC0415 - an app file needs none of it

    return BundleInstaller(releases, state)


async def serve(
    app: App,
    make: Callable[[App], Host],
    installer: BundleInstaller | None = None,
    notifier: Notifier | None = None,
) -> int:
    """Run a host for an app, and then for its successors, until a signal or the end of one. Return the exit status.

    When a host cannot start with a new app, the process goes on with the one before. `installer` is told of each host,
    `notifier` of what becomes of them.

    Raises: what `Host.start` raises for the first one.
    """
    ended = asyncio.Event()
    before: App | None = None
    while True:
        host = make(app)
        _end_by_signals(ended, host)
        try:
            await host.start()
        except EdgeError as error:
            if before is None:
                raise
            _log.error("the host cannot start with the new app, the one before goes on: %s", error)
            if installer is not None:
                await installer.refused(error, before)
            app, before = before, None
            continue
        try:
            _log.info("thing %s accepts events; state in %s", app.thing, host.state)
            _share_one_heap()
            if notifier is not None:
                notifier.ready(f"thing {app.thing} accepts events")
            if installer is not None:
                installer.begun(host)
            await host.stopping.wait()
            _log.info("stopping")
            if notifier is not None and (host.successor is None or ended.is_set()):
                notifier.stopping()
        finally:
            if installer is not None:
                await installer.ended()
            await host.stop()
        if host.successor is None or ended.is_set():
            _log.info("stopped; nothing that was accepted is lost")
            return host.status
        _log.info("another host begins with the new app")
        app, before = host.successor, app


def _end_by_signals(ended: asyncio.Event, host: Host) -> None:
    def end() -> None:
        ended.set()
        host.stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    if ended.is_set():
        host.stopping.set()


def _share_one_heap() -> None:
    """Have all threads allocate from one arena, where the C library is glibc (mallopt(3), M_ARENA_MAX).

    Otherwise each thread that dials or talks to a broker may get one of its own, and what it leaves is never given
    back: over days of a link that comes and goes the process grows.
    """
    import ctypes  # noqa: PLC0415 - after the start, which may take 250 ms

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
