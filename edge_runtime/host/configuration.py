"""The configuration of the Greengrass component that this host is: laid over its app file, and taken on while it runs.

Key `app` of the component's configuration has the shape of `edge.yaml`, or of a part of it:

    {"app": {"functions": {"irrigate": {"environment": {"THRESHOLD": "0.4"}}}}}

It is kept in the state folder, so that the host starts the same without a nucleus. What is wrong with it is logged, and
the one before stays in use. When the token of this process is void, as after a restart of the nucleus, the process ends
with status `RESTART`: started anew, it gets another one.

Source: AWS IoT Greengrass developer guide, "Interact with component configuration".
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.app import App
from edge_runtime.clock import Clock
from edge_runtime.errors import ConfigError, LinkError, NotFoundError
from edge_runtime.loaders import OVERLAY, read_app
from edge_runtime.pure.backoff import Backoff
from edge_runtime.threads import in_thread

if TYPE_CHECKING:
    from edge_runtime.links._ipc import Ipc

_log = logging.getLogger(__name__)
KEY = "app"
THING = "EDGE_THING"
"""The variable by which the recipe of a component says what the thing is called: as the core device."""
RESTART = 75
"""The exit status that asks whoever started the process to start it again (`EX_TEMPFAIL` of sysexits.h)."""
_FIRST_S = 5.0
"""So long a start waits for the nucleus; after that, what is kept has to do."""
_MOST_REFUSALS = 3
_NONE: Mapping[str, Any] = {}

Dial = Callable[[], Awaitable["Ipc"]]


def is_component(environment: Mapping[str, str]) -> bool:
    """Tell whether a nucleus of Greengrass has started this process."""
    return "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT" in environment


async def dial(component: str = "") -> Ipc:
    """Connect to the nucleus. Raises: LinkError."""
    from edge_runtime.links.greengrass import dial_nucleus  # noqa: PLC0415 - only components need it

    return await dial_nucleus(component=component)


class Configuration:
    """What is laid over one app file."""

    def __init__(self, app_file: Path, state: Path, dial: Dial, *, patience_s: float = _FIRST_S) -> None:
        """`patience_s` is how long `fetch` waits for the nucleus."""
        self._app_file = app_file
        self._patience_s = patience_s
        self._file = state / OVERLAY
        self._dial = dial
        self._count = itertools.count()
        """A check that goes on although nobody waits has a file of its own."""
        self._refused: Mapping[str, Any] | None = None
        """The last one that was wrong: it is complained of once."""

    async def fetch(self) -> None:
        """Take on what the nucleus says now, if it answers within seconds; else what is kept stays.

        Logs what is wrong. To check it takes a small computer longer than that, and is not cut short: what is kept must
        be what the host starts with.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                ipc = await self._dial()
                try:
                    wanted = await _ask(ipc)
                finally:
                    ipc.close()
        except (LinkError, TimeoutError) as error:
            why = str(error) or f"no answer within {self._patience_s:g} s"
            _log.warning("the nucleus does not say how this component is configured, what is kept is used: %s", why)
        else:
            await self._take(wanted)

    async def run(self, clock: Clock, changed: Callable[[App], None], void: Callable[[], None]) -> None:
        """Follow the configuration, for ever.

        `changed` gets the app with each new one; `void` is called when the nucleus does not know this process any more.
        """
        backoff, refusals, said = Backoff(1.0, 60.0), 0, ""
        while True:
            try:
                ipc = await self._dial()
                refusals, said = 0, ""
                try:
                    await self._follow(ipc, changed, backoff)
                finally:
                    ipc.close()
            except LinkError as error:
                refusals += _is_unknown(error)
                if refusals >= _MOST_REFUSALS:
                    _log.error("%s: the process ends, to be started with a new token", error)
                    void()
                if str(error) != said:
                    _log.warning("the configuration of the component: %s", error)
                said = str(error)
            await clock.sleep(backoff.next())

    async def _follow(self, ipc: Ipc, changed: Callable[[App], None], backoff: Backoff) -> None:
        """Take on each configuration until the connection ends. Raises: LinkError."""
        news = asyncio.Event()

        def on_event(_: Mapping[str, Any]) -> None:
            news.set()

        # Of everything: a nucleus does not know a key that nobody has set yet.
        await ipc.begin("SubscribeToConfigurationUpdate", {"keyPath": []}, on_event)
        gone = asyncio.ensure_future(ipc.gone())
        try:
            while True:
                app = await self._take(await _ask(ipc))
                backoff.reset()
                if app is not None:
                    changed(app)
                waiting = asyncio.ensure_future(news.wait())
                await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if gone.done():
                    raise gone.result()
                news.clear()
        finally:
            gone.cancel()

    async def _take(self, wanted: Mapping[str, Any]) -> App | None:
        """Keep what the nucleus says, and return the app that comes of it; None when it is nothing new or is wrong."""
        if wanted in (self._kept(), self._refused):
            return None
        new = self._file.with_name(f".{OVERLAY}-new{next(self._count)}")
        try:
            # A check that nobody waits for any more must keep nothing: the next one would take it for what is in use.
            app = await in_thread("configuration.check", partial(self._check, new, wanted), undo=lambda _: new.unlink())
            new.replace(self._file)
        except ConfigError as error:
            self._refused = wanted
            for line in str(error).splitlines():
                _log.error("%s", line)
            _log.error("the configuration of before stays in use")
            return None
        except OSError as error:
            _log.error("the configuration cannot be kept in %s: %s", self._file, error.strerror or error)
            return None
        self._refused = None
        _log.info("the configuration of the component has changed")
        return app

    def _kept(self) -> object:
        try:
            return json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return _NONE
        except (OSError, ValueError):
            return None  # then it is written anew

    def _check(self, new: Path, wanted: Mapping[str, Any]) -> App:
        """Return the app with this laid over it, which is in the file `new` then. Raises: ConfigError, OSError."""
        new.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
                json.dump(wanted, file)
                file.flush()
                os.fsync(file.fileno())
            return read_app(self._app_file, new)
        except BaseException:
            with contextlib.suppress(OSError):
                new.unlink()
            raise


async def _ask(ipc: Ipc) -> Mapping[str, Any]:
    """Return what stands under the key, nothing when there is no such key. Raises: LinkError."""
    try:
        answer = await ipc.request("GetConfiguration", {"keyPath": [KEY]})
    except NotFoundError:
        return _core()
    value = answer.get("value")
    return {**_core(), **(value if isinstance(value, Mapping) else {KEY: value})}


def _core() -> Mapping[str, Any]:
    """Return what the recipe lays over the app: on a core device the thing is the core, whatever the file says."""
    name = os.environ.get(THING)
    return {"thing": name} if name else _NONE


def _is_unknown(error: LinkError) -> bool:
    from edge_runtime.links._ipc import UnknownComponentError  # noqa: PLC0415 - only components need it

    return isinstance(error, UnknownComponentError)
