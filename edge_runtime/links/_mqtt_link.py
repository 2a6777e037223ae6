"""What every MQTT client does alike: its settings, its identity, and the change to a new one while it is connected."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_runtime.cloud.identity import Identity
from edge_runtime.errors import LinkError
from edge_runtime.links._line import Line
from edge_runtime.links._link import Connection, OneAtATime
from edge_runtime.links._settings import Settings
from edge_runtime.links._wallet import Wallet
from edge_runtime.links._words import silent
from edge_runtime.model import Received
from edge_runtime.threads import in_thread

_log = logging.getLogger(__name__)
_LEAST_S = 1.0
"""Between a change of the certificate and another connect: AWS IoT Core takes one a second from a client id."""
_FORGOTTEN = "the broker has forgotten the session, so all is subscribed to anew"


@dataclass(kw_only=True, eq=False)
class MqttLink(Settings, OneAtATime):
    """The settings of an MQTT client, checked, and its life."""

    def __post_init__(self) -> None:
        """Check the settings. Raises: ConfigError."""
        super().__post_init__()
        self._prepare(self.client_id, self.where, self.connect_timeout_s)
        self._wallet = Wallet(self)
        self._shown: Identity | None = None
        """With what the connection was made, or the attempt that is being made."""
        self._fresh: Line | None = None
        """The connection that is to follow the one that stands."""
        self._closed: asyncio.Future[None] | None = None
        """Tells whoever waits in `_pace` that the link is closed."""
        self._changing = asyncio.Lock()
        self._tried_s = self._changed_s = float("-inf")
        """When the last attempt to connect came to its end, and the last one to change."""

    @abstractmethod
    async def _build(self, line: Line, identity: Identity | None) -> Connection:
        """Return a connection that has not begun. Raises: LinkError."""

    async def _make(self, line: Line) -> Connection:
        self._shown = await in_thread("link.identity", self._wallet.choose)
        return await self._build(line, self._shown)

    async def connect(self, *, down: Sequence[str], received: Received) -> bool:
        """Connect once, as `OneAtATime.connect`, with the certificate that is on disk now.

        Where that is no pair, does not hold, or was refused, the one with which a connection stood before is used.
        """
        async with self._changing:
            await self._pace(self._changed_s)
            try:
                resumed = await super().connect(down=down, received=received)
            except LinkError:
                self._wallet.failed(self._shown)
                raise
            finally:
                self._tried_s = time.monotonic()
            self._received = received
            self._wallet.served(self._shown)
            return resumed

    async def valid_from_s(self) -> float | None:
        """Return from when on the certificate holds that is shown next, in seconds since the epoch, and 0 for none.

        None: without TLS it does not matter what time it is.
        """
        if not self.use_tls:
            return None
        try:
            identity = await in_thread("link.identity", self._wallet.choose)
        except LinkError:
            return 0.0  # the attempt to connect says what is wrong
        return identity.begin_s if identity is not None else 0.0

    async def renew(self) -> bool:
        """Go over to the certificate that is on disk, if it is another one than the connection was made with.

        The new connection has the same client id, so it takes the session over at the broker: nothing is lost, and
        whoever waits in `lost` is not told. When it cannot be made the old one goes on, as long as the broker lets it.
        Without a connection there is nothing to do: the next `connect` takes what is on disk.

        Raises: LinkError when what is on disk is no pair, does not hold today or is refused; the old one goes on.
        """
        async with self._changing:
            line = self._line
            if line is None or _is_over(line):
                return False
            found = await in_thread("link.identity", self._wallet.read)
            if found is None or found == self._shown or _is_over(line):
                return False
            if amiss := found.amiss(time.time()):
                raise LinkError(f"{self.certificate} {amiss}", hint="the certificate before it goes on being used")
            await self._pace(max(self._tried_s, self._changed_s))
            if _is_over(line):
                return False  # the next attempt takes it
            try:
                await self._follow(line, found)
            finally:
                self._changed_s = time.monotonic()
            return True

    async def _pace(self, since_s: float) -> None:
        """Return a second after a moment of the steady clock, or now when it has passed.

        Raises: LinkError when the link is closed meanwhile.
        """
        closed = self._closed = asyncio.get_running_loop().create_future()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, since_s + _LEAST_S - time.monotonic())):
                await closed
                raise LinkError(f"the link to {self._where} was closed")

    async def _follow(self, line: Line, identity: Identity) -> None:
        """Connect with a new identity beside the connection that stands, and let that go when this one stands."""
        before, received = self._connection, self._received

        async def after(topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
            # What the old connection had in hand is stored first, or let go for the broker to send again.
            line.end(LinkError("a connection with a new certificate has followed"))
            await line.at_rest()
            await received(topic, payload, properties)

        fresh = self._fresh = Line(line.name, after)
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._patience):
                connection = await self._build(fresh, identity)
                fresh.hang_up = connection.hang_up
                resumed = await fresh.unless_over(connection.open())
        except BaseException as error:
            self._wallet.failed(identity)
            fresh.end(error if isinstance(error, LinkError) else silent(self._where))
            await fresh.at_rest()
            if connection is not None:
                await connection.free()
            if isinstance(error, TimeoutError):
                raise silent(self._where) from error
            raise
        finally:
            self._fresh = None
        self._line, self._connection, self._shown = fresh, connection, identity
        self._wallet.served(identity)
        line.end(LinkError("a connection with a new certificate has followed"))
        await line.at_rest()
        if before is not None:
            await before.free()
        if not resumed:
            fresh.end(LinkError(_FORGOTTEN))

    async def lost(self) -> LinkError:
        """Return when the connection has gone, with the reason, and no other has followed; at once without one."""
        while True:
            line = self._line
            error = await super().lost()
            async with self._changing:
                if self._line is line:
                    return error

    async def close(self) -> None:
        """Disconnect and free everything, as `OneAtATime.close`."""
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        if self._fresh is not None:
            self._fresh.end(LinkError(f"the link to {self._where} was closed"))
        await super().close()


def _is_over(line: Line) -> bool:
    return line.error is not None
