"""uvicorn's HTTP/1.1 on a socket that listens already, in the host's own event loop.

Of uvicorn only the protocol is used: its server wakes up ten times a second, handles signals and sets up logging.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from edge_runtime.endpoints._application import Application
from edge_runtime.endpoints._backend import Backend

MOST_CLIENTS = 256
"""Connections at once; more are reset, and SDKs try again."""
_HEAD_BYTES = 32 << 10
_KEEP_ALIVE_S = 60
_CLOSE_S = 1.0


class Serving:
    """Serves until it is closed."""

    def __init__(self, backend: Backend, port: int, patience_s: float) -> None:
        # Warnings about what clients send wrongly are no news of the host's.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        application: Any = Application(backend, port, patience_s)
        self._config = Config(
            application,
            http=H11Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            h11_max_incomplete_event_size=_HEAD_BYTES,
        )
        self._config.load()
        self._state = ServerState()
        self._patience_s = patience_s
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Accept connections from now on, those that wait first."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: PatientProtocol(self._config, self._state, self._patience_s), sock=listener
        )

    async def close(self) -> None:
        """Take no more requests, give those under way a second, then end them."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if tasks := list(self._state.tasks):
            _, late = await asyncio.wait(tasks, timeout=_CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in list(self._state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the transports tell their protocols


class PatientProtocol(H11Protocol):
    """A connection that is ended when it does not send a whole head in time; the body has a limit of its own."""

    def __init__(self, config: Config, state: ServerState, patience_s: float) -> None:
        super().__init__(config, state, {})
        self._patience_s = patience_s
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        """Begin to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CLIENTS:
            transport.abort()
            return
        self._timer = self.loop.call_later(self._patience_s, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self._timer is None and not self._asked:  # the first bytes of a further request
            self._timer = self.loop.call_later(self._patience_s, self.transport.abort)
        super().data_received(data)
        if self._asked:
            self._stop()

    @property
    def _asked(self) -> bool:
        """Whether the head of a request is whole that has not been answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop()
        super().connection_lost(exc)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
