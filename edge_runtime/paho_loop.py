"""Drives a client of paho by the event loop, which reads and writes the client's socket itself.

Against paho's own thread that is twice as fast, wakes up only when there is something to do, and what is published
leaves at once. The library is imported by whoever makes the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paho.mqtt import client as mqtt


class PahoLoop:
    """The socket of one paho client on the running event loop.

    Dial with the client's own `connect`, on another thread, then call `attach` on the loop; after everything that may
    have sent something call `wrote`. `broken` is called with what a packet that is not MQTT made paho raise, and
    `after_read` after each read; both on the loop. Sets the client's `on_socket_close`.
    """

    def __init__(
        self,
        client: mqtt.Client,
        *,
        broken: Callable[[Exception], None],
        after_read: Callable[[], None] | None = None,
    ) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._broken = broken
        self._after_read = after_read
        self._fd = -1
        self._writing = False
        self._paused = False
        client.on_socket_close = lambda *_: self._unwatch()

    @property
    def attached(self) -> bool:
        """Whether the client has a socket that is watched."""
        return self._fd >= 0

    def attach(self) -> bool:
        """Begin to read and write; False when the client has lost its socket already."""
        sock = self._client.socket()
        if sock is None:
            return False
        self._fd = sock.fileno()
        self._loop.add_reader(self._fd, self._readable)
        self.wrote()
        return True

    def wrote(self) -> None:
        """See to it that what was just sent leaves: paho has tried at once; what the socket did not take waits here."""
        if self._client.want_write() and not self._writing and self._fd >= 0:
            self._writing = True
            self._loop.add_writer(self._fd, self._writable)

    def pause(self) -> None:
        """Read no more for now: TCP makes the broker wait."""
        if self._fd >= 0 and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Read again."""
        if self._paused and self._fd >= 0:
            self._paused = False
            self._loop.add_reader(self._fd, self._readable)
            self._loop.call_soon(self._readable)  # TLS may hold data that the socket no longer has

    def hang_up(self) -> None:
        """Disconnect without waiting. Safe to call twice."""
        with contextlib.suppress(OSError, ValueError):  # it may be half gone; what counts is that it ends
            self._client.disconnect()
        sock = self._client.socket()
        if sock is not None:  # the DISCONNECT found no room in the socket's buffer
            self._unwatch()
            sock.close()

    def _readable(self) -> None:
        try:
            while not self._paused:
                self._client.loop_read()
                sock = self._client.socket()
                # What TLS has decrypted already does not make the socket readable again.
                if not isinstance(sock, ssl.SSLSocket) or not sock.pending():
                    break
        except Exception as error:  # noqa: BLE001 - whatever a broken packet makes paho raise
            self._broken(error)
        if self._after_read is not None:
            self._after_read()

    def _writable(self) -> None:
        self._client.loop_write()
        if self._writing and not self._client.want_write():
            self._writing = False
            self._loop.remove_writer(self._fd)

    def _unwatch(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._fd, self._writing = -1, False


def no_delay(sock: object) -> None:
    """Let a TCP socket send at once what is small."""
    # With Nagle's algorithm it waits for the acknowledgement of what was sent before it: 44 ms.
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
