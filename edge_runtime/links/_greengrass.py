"""One connection of the greengrass link: publishes in order, each confirmed end to end, and messages that come down."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from edge_runtime.errors import LimitError, LinkError, NotFoundError, RefusedError
from edge_runtime.links import _codes, _words
from edge_runtime.links._ipc import Ipc, Object, OnEvent
from edge_runtime.links._line import MOST_UNSTORED, Line
from edge_runtime.links._unconfirmed import Unconfirmed, Waiting, digest
from edge_runtime.pure import quotas
from edge_runtime.pure.topics import matches

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S = 0.01
_MOST_REFUSALS = 2
"""So many publishes refused one after the other, each for as long as it may be tried, and the nucleus is offline."""


class Limits(NamedTuple):
    """What a nucleus takes."""

    frame: int
    """Bytes of one IPC frame; a larger one costs the lite nucleus's whole connection."""
    payload: int
    echo: int
    """Bytes of a topic and a payload that can come back down."""
    publishes: int
    """Publishes without confirmation at a time."""
    volume: int
    """The sum of their payloads."""
    properties: bool
    """Whether user properties pass, as with MQTT 5."""


class Ways(NamedTuple):
    """How publishes are confirmed, and how long that may take."""

    echo: Sequence[str]
    confirm_topic: str
    confirm_timeout_s: float
    retry_s: float


class Connection:
    """See `_link.Connection`. `dial` makes the IPC connection."""

    def __init__(self, line: Line, limits: Limits, ways: Ways, dial: Callable[[], Awaitable[Ipc]], where: str) -> None:
        self._line, self._limits, self._ways, self._dial, self._where = line, limits, ways, dial, where
        self._loop = asyncio.get_running_loop()
        self._ipc: Ipc | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._down: list[str] = []
        self._echoes: list[str] = []
        self._queue: deque[tuple[asyncio.Future[None], str, bytes, Mapping[str, str]]] = deque()
        self._changed = asyncio.Event()
        self._unconfirmed = Unconfirmed(self._settle, ways.confirm_timeout_s)
        self._unstored = 0
        self._refusals = 0
        self._confirming = False
        """Whether what confirms publishes has been subscribed to."""

    async def open(self) -> bool:
        """Connect to the nucleus; False, for it keeps no session for us. Raises: LinkError."""
        self._ipc = await self._dial()
        if self._line.error is not None:
            self._ipc.close()
        self._tasks = [
            self._loop.create_task(self._watch(self._ipc), name=f"{self._line.name}.watch"),
            self._loop.create_task(self._send_all(), name=f"{self._line.name}.send"),
        ]
        return False

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe to what is to come down, and to what confirms. Raises: RefusedError, LinkError."""
        for topic_filter in dict.fromkeys(filters):
            await self._listen(topic_filter, "1", partial(self._on_down, topic_filter))
            if topic_filter in self._echoes:
                self._echoes.remove(topic_filter)
            self._down.append(topic_filter)  # from now on it confirms what an echo may have confirmed before
        if self._confirming:
            return
        self._confirming = True
        if self._ways.confirm_topic:
            await self._listen(self._ways.confirm_topic, "1", self._on_confirmation)
        for topic_filter in dict.fromkeys(self._ways.echo):
            if topic_filter not in self._down:
                await self._listen_for_echoes(topic_filter)

    def send(self, future: asyncio.Future[None], topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
        """Queue a publish; settles the future on the line once it is confirmed, or at once when that cannot be."""
        error = _codes.topic_error(topic) or self._objection(topic, len(payload))
        if error is not None:
            self._line.settle(future, error)
            return
        self._queue.append((future, topic, payload, properties))
        self._changed.set()

    def hang_up(self) -> None:
        """Close the connection without waiting: the line is over. Safe to call twice."""
        for task in self._tasks:
            task.cancel()
        if self._ipc is not None:
            self._ipc.close()
        self._unconfirmed.clear()
        self._queue.clear()

    async def free(self) -> None:
        """Return when nothing of the connection runs any more."""
        self.hang_up()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _objection(self, topic: str, size: int) -> RefusedError | None:
        """Return why a publish can never be taken, or be confirmed."""
        try:
            quotas.check_publish(topic, 0)
        except LimitError as error:
            return RefusedError(str(error), code=_codes.BAD_TOPIC)
        if topic.startswith("$aws/rules/"):
            # Nor does a rule learn the whole topic (AWS IoT developer guide, "Basic Ingest").
            said = f"a publish on {topic!r} cannot be confirmed: what goes to Basic Ingest reaches no subscriber"
            return RefusedError(said, code=_codes.BAD_TOPIC, hint="publish without `$aws/rules/...` in front")
        if size > self._limits.payload:
            return _too_large(topic, size, f"the nucleus takes {self._limits.payload}", "send less at a time")
        if not self._ways.confirm_topic and len(topic.encode()) + size > self._limits.echo:
            most = max(0, self._limits.echo - len(topic.encode()))
            hint = "send less at a time, or have publishes confirmed by digest: see `confirm_topic`"
            return _too_large(topic, size, f"only {most} can come back to confirm it", hint)
        return None

    async def _watch(self, ipc: Ipc) -> None:
        self._line.end(await ipc.gone())

    async def _send_all(self) -> None:
        try:
            while True:
                while not self._queue:
                    await self._change()
                future, topic, payload, properties = self._queue[0]
                while not self._has_room(len(payload)):
                    await self._change()
                self._queue.popleft()
                await self._send(future, topic, payload, properties)
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing is sent any more: nobody may go on waiting
            self._line.end(LinkError(f"could not go on publishing through {self._where}: {error!r}"))

    def _has_room(self, size: int) -> bool:
        count, volume = self._unconfirmed.count, self._unconfirmed.volume
        return not count or (count < self._limits.publishes and volume + size <= self._limits.volume)

    def _settle(self, future: asyncio.Future[None], error: LinkError | None) -> None:
        self._line.settle(future, error)
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _send(
        self, future: asyncio.Future[None], topic: str, payload: bytes, properties: Mapping[str, str]
    ) -> None:
        encoded = base64.b64encode(payload)
        request: dict[str, object] = {"topicName": topic, "qos": "1", "payload": encoded.decode()}
        if self._limits.properties and properties:
            request["userProperties"] = [{"key": key, "value": value} for key, value in properties.items()]
        waiting = Waiting(future, (topic, digest(encoded)), len(payload))
        try:
            await self._cover(topic)
            self._unconfirmed.add(waiting)  # before the request: the echo may be faster than the response
            await self._insist("PublishToIoTCore", request)
        except LinkError as error:
            self._unconfirmed.drop(waiting)
            self._on_refusal(future, error)
        else:
            self._refusals = 0
            self._unconfirmed.taken(waiting)

    def _on_refusal(self, future: asyncio.Future[None], error: LinkError) -> None:
        if self._ipc is not None and self._ipc.error is not None:
            self._line.end(self._ipc.error)
        if self._line.error is not None:
            return
        self._settle(future, error)
        if not isinstance(error, RefusedError):
            self._refusals += 1
            if self._refusals >= _MOST_REFUSALS:
                self._line.end(LinkError(f"{self._where} takes no publishes: {error}", hint=error.hint))

    async def _cover(self, topic: str) -> None:
        """Make sure that what is published on `topic` comes back."""
        if self._ways.confirm_topic or self._first(topic) is not None:
            return
        if len(self._down) + len(self._echoes) >= quotas.SUBSCRIPTIONS:
            raise RefusedError(
                f"nothing can confirm a publish on {topic!r}: {quotas.SUBSCRIPTIONS} topics are subscribed to already",
                code=_codes.BAD_TOPIC,
                hint="name the topics by a filter in `echo`",
            )
        await self._listen_for_echoes(topic)

    async def _listen_for_echoes(self, topic_filter: str) -> None:
        # QoS 0: an echo that were delivered twice could confirm a publish of the same words that got lost.
        await self._listen(topic_filter, "0", partial(self._on_echo, topic_filter))
        self._echoes.append(topic_filter)

    async def _listen(self, topic_filter: str, qos: str, on_event: OnEvent) -> None:
        await self._insist("SubscribeToIoTCore", {"topicName": topic_filter, "qos": qos}, on_event)

    async def _insist(self, operation: str, request: Object, on_event: OnEvent | None = None) -> None:
        """Ask until the nucleus does it: its ServiceError also means that it is busy. Raises: what `Ipc.begin` does."""
        ipc = self._ipc
        if ipc is None:
            raise LinkError(f"not connected to {self._where}")
        pause, until = _FIRST_PAUSE_S, self._loop.time() + self._ways.retry_s
        while True:
            try:
                async with asyncio.timeout(self._ways.confirm_timeout_s):
                    await ipc.begin(operation, request, on_event)
            except TimeoutError:
                self._line.end(_words.stalled(self._where))
                raise _words.stalled(self._where) from None
            except RefusedError:
                raise
            except NotFoundError as error:
                raise LinkError(str(error), hint=error.hint) from error
            except LinkError:
                if ipc.error is not None or self._loop.time() + pause > until:
                    raise
            else:
                return
            await asyncio.sleep(pause)
            pause *= 2

    def _first(self, topic: str) -> str | None:
        """Return the one filter whose stream confirms publishes on `topic`: each stream that matches gets a copy."""
        return next((f for f in (*self._down, *self._echoes) if matches(f, topic)), None)

    def _on_down(self, topic_filter: str, event: Object) -> None:
        topic, payload = _message(event)
        if next((f for f in self._down if matches(f, topic)), topic_filter) != topic_filter:
            return  # another stream brings it, too
        if not self._ways.confirm_topic:
            self._unconfirmed.confirm((topic, digest(base64.b64encode(payload))))
        self._unstored += 1
        if self._unstored >= MOST_UNSTORED and self._ipc is not None:
            self._ipc.pause()
        self._line.deliver(topic, payload, _properties(event), self._stored)

    def _stored(self) -> None:
        self._unstored -= 1
        if self._unstored == MOST_UNSTORED // 2 and self._ipc is not None:
            self._ipc.resume()

    def _on_echo(self, topic_filter: str, event: Object) -> None:
        if topic_filter in self._down:
            return  # another stream brings it, too
        topic, payload = _message(event)
        if self._first(topic) in (topic_filter, None):
            self._unconfirmed.confirm((topic, digest(base64.b64encode(payload))))

    def _on_confirmation(self, event: Object) -> None:
        _, payload = _message(event)
        try:
            said = json.loads(payload)
            key = str(said["topic"]), str(said["sha256"]).lower()
        except (ValueError, TypeError, KeyError):
            _log.warning("%s: what came on %r confirms nothing", self._line.name, self._ways.confirm_topic)
            return
        self._unconfirmed.confirm(key)


def _message(event: Object) -> tuple[str, bytes]:
    """Return the topic and the payload of an IoTCoreMessage. Raises: ValueError."""
    message = event.get("message")
    if not isinstance(message, dict) or not isinstance(message.get("topicName"), str):
        raise ValueError("an IoTCoreMessage without a topic")  # noqa: TRY004 - bad data, not a bad call
    return message["topicName"], base64.b64decode(message.get("payload") or "", validate=True)


def _too_large(topic: str, size: int, why: str, hint: str) -> RefusedError:
    return RefusedError(f"the message on {topic!r} has {size} bytes; {why}", code=_codes.TOO_LARGE, hint=hint)


def _properties(event: Object) -> Mapping[str, str]:
    """Return the user properties of a message, which the lite nucleus leaves out."""
    given = event["message"].get("userProperties") or ()
    return {str(one["key"]): str(one["value"]) for one in given}
