"""`edge run`: a host in the foreground until it is told to end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from edge_runtime.app import App
from edge_runtime.errors import ConfigError
from edge_runtime.host.host import Host
from edge_runtime.loaders import load_app

_log = logging.getLogger(__name__)
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def run(app_path: Path, state: Path, *, simulate: bool = False, watch: bool = False) -> int:
    """Run the app until SIGTERM, SIGINT or the verb `stop`. Return the exit status.

    With `watch` the workers of a function are replaced when its code is saved.

    The environment variable EDGE_LOG is the least level that is logged: DEBUG, INFO, WARNING or ERROR.

    Raises: ConfigError for a faulty app file or EDGE_LOG, HostError when the state folder is taken, StoreError.
    """
    level = os.environ.get("EDGE_LOG", "INFO").upper()
    if level not in _LEVELS:
        raise ConfigError(f"EDGE_LOG is {level!r}, which is no level", hint=f"known: {', '.join(_LEVELS)}")
    logging.basicConfig(
        level=level,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    app = load_app(app_path, state)
    return asyncio.run(_serve(app, state, simulate=simulate, watch=app_path if watch else None))


async def _serve(app: App, state: Path, *, simulate: bool, watch: Path | None = None) -> int:
    host = Host(app, state, simulate=simulate, watch=watch)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, host.stopping.set)
    try:
        await host.start()
        _log.info("thing %s accepts events; state in %s", app.thing, state)
        await host.stopping.wait()
        _log.info("stopping")
    finally:
        await host.stop()
    _log.info("stopped; nothing that was accepted is lost")
    return 0
