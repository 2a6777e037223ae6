"""The TCP (or TLS) end of a connection: bytes between the socket and a `Peer`, late or held back when told so."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Final, Protocol

from edge_runtime.clock import Clock
from edge_runtime.pure.bucket import Bucket
from edge_runtime.standin.access import Caller, caller_of
from edge_runtime.standin.broker import Broker
from edge_runtime.standin.peer import Peer

_SECOND_NS: Final = 1_000_000_000
_MOST_HELD: Final = 16 * 1024 * 1024
"""Bytes held back for one connection before its socket is no longer read."""

Item = bytes | None
"""Bytes; None is the end of the stream."""
Spawn = Callable[[Coroutine[None, None, None], str], asyncio.Task[None]]


class Brake(Protocol):
    """What holds bytes back."""

    @property
    def frozen(self) -> bool:
        """Whether nothing moves."""

    async def thawed(self) -> None:
        """Return when bytes may move."""


class Lane:
    """One direction of a connection. Each item comes out `delay_s` after it went in, in order, while not frozen.

    An empty lane without delay costs nothing: its user passes items by it as long as `idle` holds.
    """

    def __init__(self, clock: Clock, brake: Brake, deliver: Callable[[Item], None], *, spawn: Spawn, name: str) -> None:
        self.held = 0
        """Bytes on their way."""
        self._clock = clock
        self._brake = brake
        self._deliver = deliver
        self._spawn = spawn
        self._name = name
        self._items: deque[tuple[int, Item]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._bucket: Bucket | None = None

    def throttle(self, bucket: Bucket | None) -> None:
        """Let no more bytes through than the bucket has, which other lanes may share."""
        self._bucket = bucket

    def idle(self, size: int) -> bool:
        """Tell whether `size` bytes may pass by right now."""
        if self._items or self._brake.frozen:
            return False
        return self._bucket is None or not self._bucket.take(size, self._clock.now().mono_ns / _SECOND_NS)

    def put(self, item: Item, delay_s: float) -> None:
        """Send an item on its way."""
        self._items.append((self._clock.now().mono_ns + int(delay_s * _SECOND_NS), item))
        if item is not None:
            self.held += len(item)
        if self._task is None:
            self._task = self._spawn(self._run(), self._name)

    def stop(self) -> None:
        """Lose what is on its way."""
        self._items.clear()
        self.held = 0
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _run(self) -> None:
        while self._items:
            if self._brake.frozen:
                await self._brake.thawed()
                continue
            due, item = self._items[0]
            now = self._clock.now().mono_ns
            wait = (due - now) / _SECOND_NS
            if wait <= 0 and item is not None and self._bucket is not None:
                wait = self._bucket.take(len(item), now / _SECOND_NS)
            if wait > 0:
                await self._clock.sleep(wait)
                continue
            self._items.popleft()
            if item is not None:
                self.held -= len(item)
            self._deliver(item)
        self._task = None


def caller_behind(transport: asyncio.Transport, iam: str = "") -> Caller:
    """Return who is at the other end of a connection, by its address and its client certificate."""
    address = transport.get_extra_info("peername")
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return caller_of(str(address[0]) if address else "", None, iam=iam)
    names = {key: value for part in (tls.getpeercert() or {}).get("subject", ()) for key, value in part}
    return caller_of(str(address[0]) if address else "", tls.getpeercert(binary_form=True), names, iam)


class Wire(asyncio.Protocol):
    """The protocol object of one connection. It is in `wires` for as long as it is connected.

    `iam` names the IAM credentials that came with a WebSocket.
    """

    def __init__(self, broker: Broker, brake: Brake, number: int, wires: set[Wire], *, iam: str = "") -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is closed for good."""
        self.congested = False
        self.peer = Peer(broker, self, number)
        self._broker = broker
        self._brake = brake
        self._wires = wires
        self._transport: asyncio.Transport | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._reading = True
        self._closed = False
        self._in = Lane(broker.clock, brake, self._arrive, spawn=self._spawn, name=f"standin[{number}].in")
        self._out = Lane(broker.clock, brake, self._depart, spawn=self._spawn, name=f"standin[{number}].out")
        if rate := broker.limits.bytes_per_s:
            both = Bucket(rate, rate)
            self._in.throttle(both)
            self._out.throttle(both)
        self._iam = iam

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows the type; create_server makes no other
        self._transport = transport
        self.peer.caller = caller_behind(transport, self._iam)
        self._wires.add(self)  # not before: a TLS handshake that fails never comes here, nor to connection_lost
        self.rearm()

    def data_received(self, data: bytes) -> None:
        """Pass bytes to the peer, now or later."""
        delay = self._broker.faults.delay_s
        if not delay and self._in.idle(len(data)):
            self.peer.receive(data)
            return
        self._in.put(data, delay)
        self._set_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Tell the peer, after what is still on its way to it."""
        self._transport = None
        self._out.stop()
        delay = self._broker.faults.delay_s
        if self._closed or (not delay and self._in.idle(0)):
            self._arrive(None)
        else:
            self._in.put(None, delay)

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read."""
        self.congested = True
        self._set_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self.congested = False
        self._set_reading()

    # --- the peer's side ---

    def write(self, data: bytes) -> None:
        """Send bytes, now or later."""
        delay = self._broker.faults.delay_s
        if not delay and self._out.idle(len(data)):
            self._depart(data)
        else:
            self._out.put(data, delay)

    def close(self) -> None:
        """Close after what was written. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        delay = self._broker.faults.delay_s
        if not delay and self._out.idle(0):
            self._depart(None)
        else:
            self._out.put(None, delay)

    def abort(self) -> None:
        """Cut the connection now."""
        self._closed = True
        self._out.stop()
        self._in.stop()
        if self._transport is not None:
            self._transport.abort()
        elif not self.gone.done():
            self._arrive(None)  # its end was still on the way to the peer

    def rearm(self) -> None:
        """Watch for the peer's deadline anew."""
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._spawn(self._watch_silence(), f"standin[{self.peer.number}].keep-alive")

    async def ended(self) -> None:
        """Return when the connection is closed and nothing of it runs any more."""
        await self.gone
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- inside ---

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _arrive(self, item: Item) -> None:
        if item is not None:
            self.peer.receive(item)
            self._set_reading()
            return
        self._wires.discard(self)
        if self._watch is not None:
            self._watch.cancel()
        if not self.gone.done():
            self.gone.set_result(None)
        self.peer.lost()

    def _set_reading(self) -> None:
        """Read only from a client that reads, and of whose bytes not too many are held back."""
        wanted = not self.congested and self._in.held <= _MOST_HELD
        if wanted == self._reading or self._transport is None or self._transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _depart(self, item: Item) -> None:
        if self._transport is None:
            return
        if item is None:
            self._transport.close()
        else:
            self._transport.write(item)

    async def _watch_silence(self) -> None:
        while due := self.peer.deadline_ns:
            if self._brake.frozen:
                await self._brake.thawed()
                self.peer.heard()  # whoever does not look notices no silence
                continue
            left = due - self._broker.clock.now().mono_ns
            if left <= 0:
                self._watch = None
                self.peer.silent()
                return
            await self._broker.clock.sleep(left / _SECOND_NS)
