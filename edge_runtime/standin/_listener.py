"""A TCP port that can be closed and opened again, and stays ours meanwhile."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final

from edge_runtime.errors import ConfigError

_BACKLOG: Final = 100


class Listener:
    """Accepts connections and makes a protocol for each."""

    def __init__(self, make: Callable[[], asyncio.Protocol]) -> None:
        self._make = make
        self._address: tuple[str, int] = ("", 0)
        self._family = socket.AF_INET
        self._context: ssl.SSLContext | None = None
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closed = False
        """Whether it is to refuse."""

    @property
    def port(self) -> int:
        """The port, the same over `stop`; 0 before `start`."""
        return self._address[1]

    @property
    def listens(self) -> bool:
        """Whether connections are accepted."""
        return self._server is not None

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self._context is not None

    async def start(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Listen; port 0 takes a free one. Started again, it moves to the new address.

        Raises: ConfigError when the address cannot be used.
        """
        self._context = context
        if self._server is not None:
            self._server.close()
            self._server = None
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self._family, self._address = found[0][0], (str(found[0][4][0]), port)
            listener = self._bind()
            self._address = (self._address[0], listener.getsockname()[1])
            listener.listen(_BACKLOG)
            await self._open(listener)
        except OSError as error:
            raise ConfigError(
                f"the stand-in cannot listen on {host} port {port}: {error.strerror or error}",
                hint="choose another port, or 0 for a free one",
            ) from error

    def stop(self) -> None:
        """Refuse connections at TCP level; the port stays ours."""
        self._closed = True
        if self._server is None:
            return
        self._server.close()
        self._server = None
        # Bound and not listening: connecting is refused, and nobody else gets the port.
        self._reserved = self._bind()

    def again(self) -> None:
        """Accept connections on the same port again."""
        self._closed = False
        if self._reserved is None:
            return
        listener, self._reserved = self._reserved, None
        listener.listen(_BACKLOG)  # from here on the kernel takes connections; asyncio follows
        self._opening = asyncio.get_running_loop().create_task(self._open(listener), name="standin.listen")

    async def close(self) -> None:
        """Give the port back. Safe to call twice."""
        if self._opening is not None:
            await self._opening
        self.stop()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _bind(self) -> socket.socket:
        listener = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind(self._address)
        except OSError:
            listener.close()
            raise
        return listener

    async def _open(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._make, sock=listener, ssl=self._context, backlog=_BACKLOG)
        if self._closed:  # refused again in the meantime
            self.stop()
