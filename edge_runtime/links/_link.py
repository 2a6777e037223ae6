"""What every MQTT link does alike: one attempt to connect, and one way to end."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol

from edge_runtime.errors import LimitError, LinkError, RefusedError
from edge_runtime.links._codes import BAD_FILTER
from edge_runtime.links._line import Line, fail
from edge_runtime.links._words import silent
from edge_runtime.model import Received
from edge_runtime.pure.quotas import PAYLOAD_BYTES
from edge_runtime.pure.topics import check_filter


class Connection(Protocol):
    """What a client library is brought down to. It tells the line what happens, and is used for one connection only."""

    async def open(self) -> bool:
        """Return at the CONNACK, True when the session was resumed. Raises: LinkError."""

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe with QoS 1 and check every reason code; called again for more. Raises: RefusedError, LinkError."""

    def send(self, future: asyncio.Future[None], topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
        """Publish with QoS 1; settles the future on the line at the PUBACK, or at once when that cannot come."""

    def hang_up(self) -> None:
        """Disconnect without waiting: the line is over. Safe to call twice."""

    async def free(self) -> None:
        """Return when nothing of the connection is left."""


class OneAtATime:
    """A `model.Link` over one `Connection` at a time.

    `connect` may be called again on the same object once `lost` has returned, after `close`, or after it failed.
    Nothing of an earlier connection is left then but the session that the broker keeps.
    """

    def _prepare(self, name: str, where: str, patience_s: float) -> None:
        """Begin without a connection. To be called once by the constructor."""
        self._name, self._where, self._patience = name, where, patience_s
        self._line: Line | None = None
        self._connection: Connection | None = None

    @abstractmethod
    async def _make(self, line: Line) -> Connection:
        """Return a connection that has not begun. Raises: LinkError."""

    async def connect(self, *, down: Sequence[str], received: Received) -> bool:
        """Connect once and subscribe to `down` with QoS 1; True when the broker resumed the session.

        A message is acknowledged when `received` has returned for it; one call at a time, in order of arrival. When
        `received` raises, the message counts as not stored: the connection ends without acknowledging it, and the
        broker sends it again on the next one.

        Raises: LinkError when it cannot (try again later), RefusedError when a SUBACK refuses.
        """
        if self._line is not None and self._line.error is None:
            raise LinkError(f"{self._name} is connected to {self._where} already", hint="call close first")
        _check(down)
        line = Line(f"link[{self._name}]", received)
        before, self._line = self._line, line
        try:
            async with asyncio.timeout(self._patience):
                await self._rest(before)
                connection = self._connection = await self._make(line)
                line.hang_up = connection.hang_up
                resumed = await line.unless_over(connection.open())
                await connection.subscribe(down)
        except TimeoutError as error:
            line.end(silent(self._where))
            raise silent(self._where) from error
        except BaseException as error:
            given_up = LinkError(f"the attempt to connect to {self._where} was given up")
            line.end(error if isinstance(error, LinkError) else given_up)
            raise
        return resumed

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe to more with QoS 1 while connected. An answer that does not come ends the connection.

        Raises: LinkError when there is no connection any more, RefusedError when a SUBACK refuses: it stands then.
        """
        _check(filters)
        line, connection = self._line, self._connection
        if line is None or connection is None or line.error is not None:
            raise LinkError(f"not connected to {self._where}")
        try:
            async with asyncio.timeout(self._patience):
                await line.unless_over(connection.subscribe(filters))
        except TimeoutError as error:
            line.end(silent(self._where))
            raise silent(self._where) from error

    def most_bytes(self, topic: str) -> int:  # noqa: ARG002 - there are links on which it depends on the topic
        """Return the most bytes that the payload of a publish on a topic may have: AWS IoT Core's, on most links."""
        return PAYLOAD_BYTES

    def publish(self, topic: str, payload: bytes, properties: Mapping[str, str]) -> asyncio.Future[None]:
        """Publish with QoS 1; the future completes when the broker has acknowledged. It needs no task around it.

        Fails with: LinkError (not delivered as far as anyone knows), RefusedError (never will be).
        """
        line, connection = self._line, self._connection
        if line is None or connection is None or line.error is not None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            fail(future, LinkError(f"not connected to {self._where}"))
            return future
        future = line.expect()
        connection.send(future, topic, payload, properties)
        return future

    async def lost(self) -> LinkError:
        """Return when the connection has gone, with the reason; at once when there is none."""
        if self._line is None:
            return LinkError(f"not connected to {self._where}")
        return await self._line.gone()

    async def close(self) -> None:
        """Disconnect and free everything. Safe to call twice; publishes that wait fail with LinkError."""
        if self._line is not None:
            self._line.end(LinkError(f"the link to {self._where} was closed"))
        await self._rest(self._line)

    async def _rest(self, line: Line | None) -> None:
        if line is not None:
            await line.at_rest()
        if self._connection is not None:
            await self._connection.free()
            self._connection = None


def _check(filters: Sequence[str]) -> None:
    for topic_filter in filters:
        try:
            check_filter(topic_filter)
        except LimitError as error:
            raise RefusedError(str(error), code=BAD_FILTER, hint="see `down` in the app file") from error
