"""Topics of a local MQTT broker: Zigbee2MQTT, Tasmota, a PLC, another program on the machine.

    brokers:
      house:
        host: 127.0.0.1
        topics: [zigbee2mqtt/+, "tele/#"]
        prefix: house/          # topic zigbee2mqtt/lamp is emitted as house/zigbee2mqtt/lamp

A message is acknowledged when it is stored here, and not before: what the broker holds for us while we are away, or
while our store is full, it sends later (at least once; the session is persistent). Further keys:

- `username`, `password`
- `tls` (true or false), `ca`, `certificate`, `key`: files in PEM form; giving one of them switches TLS on
- `client_id`: names the session; left out: `edge-<host name>-<name of the broker>`
- `version`: `5` or `3.1.1`; left out: 5, and 3.1.1 if the broker says that it does not speak 5
- `keep_alive_s` (30), `session_expiry_s` (a week; MQTT 5 only)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING

from edge_runtime.app import Broker, Rule
from edge_runtime.clock import Clock, make_event
from edge_runtime.errors import LimitError, LinkError, QueueFullError, StoreError
from edge_runtime.model import Emit, Event
from edge_runtime.pure.backoff import Backoff
from edge_runtime.pure.routing import Router
from edge_runtime.pure.topics import check_filter, check_topic
from edge_runtime.triggers._mqtt_options import read_options

if TYPE_CHECKING:
    from edge_runtime.triggers._mqtt import Connection, Message

_MOST_WAITING = 1000
"""Messages in memory, after which nothing more is read from the broker."""
_STABLE_S = 60.0
"""A connection that lasted so long was a good one: the back-off begins anew."""
_log = logging.getLogger(__name__)


class MqttTrigger:
    """Emits what a local broker publishes, with its MQTT 5 user properties as headers.

    What the store refuses is tried again until it is accepted, and meanwhile the broker is made to wait. A topic
    that can never be emitted is acknowledged, logged and counted in `refused`. `up` is set while all is subscribed.
    `ready` is awaited before each attempt to connect: who knows when there is somebody to connect to may say so.

    Raises: ConfigError for an unknown or a senseless option, LimitError for a bad topic filter.
    """

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        *,
        random: Random | None = None,
        ready: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._broker = broker
        self._ready = ready
        self._clock = clock
        self._address = read_options(broker)
        self._v5: bool = str(broker.options.get("version", "5")) == "5"
        self._may_fall_back = "version" not in broker.options
        self._backoff = Backoff(1.0, 60.0, random=random)
        self._retry = Backoff(0.1, 30.0, random=random)
        self._wanted = _router(broker)
        self._waiting: list[Message] = []
        self._something = asyncio.Event()
        self._connection: Connection | None = None
        self._last_error = ""
        self.up = asyncio.Event()
        self.refused = 0

    async def run(self, emit: Emit) -> None:
        """Emit what comes, for ever."""
        name = f"mqtt[{self._broker.name}]"
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stay_connected(), name=f"{name}.connection")
            group.create_task(self._pump(emit), name=f"{name}.pump")

    async def _stay_connected(self) -> None:
        from edge_runtime.triggers._mqtt import WrongVersionError  # noqa: PLC0415 - paho takes 0.1 s to import

        while True:
            if self._ready is not None:
                await self._ready()
            started_ns = self._clock.now().mono_ns
            try:
                await self._connect_once()
            except WrongVersionError as error:
                if self._may_fall_back and self._v5:
                    _log.info("broker %r does not speak MQTT 5; going on with 3.1.1", self._broker.name)
                    self._v5 = False
                    continue
                self._report(error)
            except LinkError as error:
                self._report(error)
            if (self._clock.now().mono_ns - started_ns) / 1e9 >= _STABLE_S:
                self._backoff.reset()
            await self._clock.sleep(self._backoff.next())

    async def _connect_once(self) -> None:
        """Connect, subscribe, and return only by the error that ends the connection."""
        from edge_runtime.triggers._mqtt import Connection  # noqa: PLC0415 - paho takes 0.1 s to import

        connection = Connection(self._address, self._receive, v5=self._v5)
        try:
            await connection.open()
            self._connection = connection
            refused = await connection.subscribe(self._broker.topics)
            for topic_filter, code in refused:
                _log.error("broker %r refused the subscription to %r (0x%02X)", self._broker.name, topic_filter, code)
            if len(refused) == len(self._broker.topics):
                raise LinkError(f"broker {self._broker.name!r} refused every subscription")
            _log.info("broker %r is connected", self._broker.name)
            self._last_error = ""
            self.up.set()
            raise await connection.lost
        finally:
            self.up.clear()
            self._connection = None
            connection.close()

    def _report(self, error: LinkError) -> None:
        # A broker that is away for a week is worth one line, not ten thousand.
        level = logging.WARNING if str(error) != self._last_error else logging.DEBUG
        self._last_error = str(error)
        _log.log(level, "broker %r: %s%s", self._broker.name, error, f" ({error.hint})" if error.hint else "")

    def _receive(self, message: Message) -> None:
        self._waiting.append(message)
        self._something.set()
        if len(self._waiting) == _MOST_WAITING and self._connection is not None:
            _log.info("broker %r is made to wait: %d messages are not stored yet", self._broker.name, _MOST_WAITING)
            self._connection.pause()

    async def _pump(self, emit: Emit) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            batch, self._waiting = self._waiting, []
            if self._connection is not None:
                self._connection.resume()
            await self._accept(emit, [pair for message in batch if (pair := self._event(message)) is not None])

    def _event(self, message: Message) -> tuple[Message, Event] | None:
        """Return the message with its event; acknowledge and leave out what is not to be emitted."""
        try:
            # A session that outlived a change of the app still holds the subscriptions of before.
            if not self._wanted.feeds(message.topic):
                message.ack()
                return None
            topic = self._broker.prefix + message.topic
            check_topic(topic)
        except LimitError as error:
            self._refuse(message, error)
            return None
        return message, make_event(self._clock, topic, message.payload, f"mqtt/{self._broker.name}", message.headers)

    async def _accept(self, emit: Emit, batch: list[tuple[Message, Event]]) -> None:
        """Return when every message of the batch is stored and acknowledged, or can never be stored."""
        while batch:
            try:
                await emit(*(event for _, event in batch))
            except (QueueFullError, StoreError) as error:
                wait_s = self._retry.next()
                _log.warning(
                    "broker %r: %d messages wait, next try in %.1f s: %s", self._broker.name, len(batch), wait_s, error
                )
                await self._clock.sleep(wait_s)
            except LimitError as error:
                if len(batch) == 1:
                    self._refuse(batch[0][0], error)
                    return
                for pair in batch:
                    await self._accept(emit, [pair])
                return
            else:
                self._retry.reset()
                for message, _ in batch:
                    message.ack()
                return

    def _refuse(self, message: Message, error: Exception) -> None:
        self.refused += 1
        _log.warning("broker %r: a message was left out, %d in all: %s", self._broker.name, self.refused, error)
        message.ack()


def _router(broker: Broker) -> Router:
    """Return what tells the wanted topics, by the rules of MQTT: there `a/#` matches `a` too."""
    rules = []
    for topic_filter in broker.topics:
        check_filter(topic_filter)
        shared = topic_filter.startswith("$share/")
        plain = topic_filter.split("/", 2)[-1] if shared else topic_filter
        rules.append(Rule(plain, ("wanted",)))
        if plain.endswith("/#"):
            rules.append(Rule(plain.removesuffix("/#"), ("wanted",)))
    return Router(rules)
