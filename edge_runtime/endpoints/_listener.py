"""The socket that waits for the first connection; only then the HTTP libraries are imported."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

from edge_runtime.endpoints._backend import Backend

if TYPE_CHECKING:
    from edge_runtime.endpoints._serving import Serving

_log = logging.getLogger(__name__)
_BACKLOG = 128
PATIENCE_S = 30.0


class Listener:
    """An HTTP endpoint on 127.0.0.1. Clients that come while the libraries are imported wait in the socket's queue."""

    def __init__(self, backend: Backend, *, patience_s: float = PATIENCE_S) -> None:
        """`patience_s` is how long a client may take to send a request."""
        self.port = 0
        """0 until it is open."""
        self._backend = backend
        self._patience_s = patience_s
        self._socket: socket.socket | None = None
        self._starting: asyncio.Task[None] | None = None
        self._serving: Serving | None = None

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def awake(self) -> bool:
        """Whether somebody has connected so far."""
        return self._starting is not None

    def open(self) -> None:
        """Bind a free port and wait for the first connection. Raises: OSError when there is no loopback."""
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])
        asyncio.get_running_loop().add_reader(self._socket, self._wake, self._socket)

    def _wake(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(listener)
        self._starting = asyncio.create_task(self._serve(listener), name="endpoints.start")

    async def _serve(self, listener: socket.socket) -> None:
        try:
            serving = await asyncio.to_thread(_load)
            self._serving = serving(self._backend, self.port, self._patience_s)
            await self._serving.start(listener)
        except Exception:  # noqa: BLE001 - whatever a broken library raises must not end the host
            _log.exception("the endpoint for AWS SDKs cannot be started")
            self._socket = None
            listener.close()  # who waits is told at once

    async def close(self) -> None:
        """Stop listening and end what is connected. Safe to call twice, and without `open`."""
        listener, self._socket = self._socket, None
        if listener is None:
            return
        asyncio.get_running_loop().remove_reader(listener)
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._serving is not None:
            await self._serving.close()
        listener.close()


def _load() -> type[Serving]:
    from edge_runtime.endpoints._serving import Serving  # noqa: PLC0415 - takes a third of a second

    return Serving
