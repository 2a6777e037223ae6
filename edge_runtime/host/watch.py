"""Hot reload: the workers of a function are replaced when somebody saves its code. For `edge run --watch`.

Nothing asks the disk again and again: the kernel tells (inotify). Where it cannot, because there is no inotify or this
user has no watch left, the files are compared twice a second instead, and the log says so.

When the app file is saved and right, the host ends and another one begins with it, in the same process: devices, queues
and links are not exchanged under a running host.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import monotonic, time
from typing import Protocol

from edge_runtime.app import App
from edge_runtime.errors import ConfigError, EdgeError
from edge_runtime.host._changes import Places, bursts, watch
from edge_runtime.loaders import overlay_in, read_app
from edge_runtime.model import Result
from edge_runtime.threads import in_thread

_log = logging.getLogger(__name__)
_FRESH_S = 60.0
"""More than it takes to read an app file and start a host."""


class Pool(Protocol):
    """What replaces workers."""

    async def refresh(self, name: str) -> Result:
        """Replace the workers of a function; return a result with the error of its new code, if any."""


class Reloader:
    """Replaces the workers of functions whose code has changed, and the host when its app file has."""

    def __init__(self, app: App, path: Path, state: Path, pool: Pool, succeed: Callable[[App], None]) -> None:
        """`path` is the app file, `state` the folder that the host writes to; `succeed` gets an app file's new app."""
        self._app = app
        self._pool = pool
        self._succeed = succeed
        self._state = state
        self._app_file = path.absolute()
        self._functions: dict[Path, list[str]] = {}
        for function in app.functions:
            for place in (function.code, *function.layers):
                self._functions.setdefault(place.absolute(), []).append(function.name)
        self._places = Places([self._app_file, *self._functions], without=state)

    async def run(self) -> None:
        """Reload, for ever."""
        watched = await in_thread("watch.begin", partial(watch, self._places), undo=lambda late: late.close())
        _log.info("watching the code of %s", _listed(self._functions))
        try:
            if _is_fresh(self._app_file):
                await self._check_app()
            async for roots in bursts(watched):
                if self._app_file in roots:
                    await self._check_app()
                names = dict.fromkeys(name for root in sorted(roots) for name in self._functions.get(root, ()))
                await asyncio.gather(*(self._reload(name) for name in names))
        finally:
            watched.close()

    async def _reload(self, name: str) -> None:
        began = monotonic()
        try:
            result = await self._pool.refresh(name)
        except EdgeError as error:
            _log.error("%s has changed and was not reloaded: %s", name, error)
            return
        if result.error:
            _log.error("%s has changed and does not start: %s", name, why_not(result))
        else:
            _log.info("%s has changed and was reloaded in %.0f ms", name, (monotonic() - began) * 1e3)

    async def _check_app(self) -> None:
        try:
            app = await in_thread("watch.check", partial(read_app, self._app_file, overlay_in(self._state)))
        except ConfigError as error:
            for line in str(error).splitlines():
                _log.error("%s", line)
        else:
            if app != self._app:
                _log.info("%s has changed and is right", self._app_file.name)
            self._succeed(app)


def _is_fresh(path: Path) -> bool:
    """Tell whether a file was saved so recently that this may have been after it was read for this host."""
    try:
        return abs(time() - path.stat().st_mtime) < _FRESH_S
    except OSError:
        return False


def _listed(functions: Mapping[Path, Sequence[str]]) -> str:
    return ", ".join(dict.fromkeys(name for names in functions.values() for name in names)) or "no function"


def why_not(result: Result) -> str:
    """Return `type: message` of the error object of a worker that did not start."""
    try:
        return f"{result.error}: {json.loads(result.payload)['errorMessage']}"
    except (ValueError, LookupError, TypeError, RecursionError):
        return result.error
