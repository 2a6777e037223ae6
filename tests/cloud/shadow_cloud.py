"""The cloud's side of shadows, scripted: it answers as AWS IoT does, and its messages come when the test says so."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from edge_runtime.app import ShadowSync as Spec
from edge_runtime.clock import Clock, FakeClock
from edge_runtime.cloud.shadow_sync import ShadowSync
from edge_runtime.cloud.shadows import Shadows
from edge_runtime.errors import LinkError
from edge_runtime.model import NO_HEADERS, Event, Link
from edge_runtime.pure import shadow
from edge_runtime.pure.shadow import Accepted, Document, Rejected
from edge_runtime.pure.topics import matches

THING = "pi-7"
ROOT = f"$aws/things/{THING}/shadow"
NOW = 1_700_000_000

Packet = tuple[str, bytes]


def place(name: str) -> str:
    return f"{ROOT}/name/{name}" if name else ROOT


class Service:
    """Device shadows in the cloud. What it says is what the methods return."""

    def __init__(self, clock: Clock) -> None:
        self.documents: dict[str, Document] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        """Every request that arrived: the end of its topic, and what was asked."""
        self.refusals: deque[tuple[int, str]] = deque()
        """What the next requests are refused with."""
        self.moved = asyncio.Event()
        """Set with every request."""
        self._clock = clock

    def state(self, name: str = "") -> Mapping[str, object] | None:
        """Return what a shadow holds there, None when there is none."""
        document = self.documents.get(name)
        return document.state if document is not None and document.is_live else None

    def ask(self, topic: str, payload: bytes) -> list[Packet]:
        """Answer a request."""
        self.moved.set()
        end = topic.removeprefix(f"{ROOT}/")
        self.asked.append((end, json.loads(payload)))
        name, method = ("", end) if "/" not in end else (end.split("/")[1], end.split("/")[2])
        now = self._clock.now().wall_ns // 1_000_000_000
        if self.refusals:
            code, message = self.refusals.popleft()
            refused = shadow.reject(code, message, now, json.loads(payload)["clientToken"])
            return [(f"{topic}/rejected", refused.payload)]
        before = self.documents.get(name)
        if method == "update":
            answer = shadow.update(before, payload, now)
        elif method == "delete":
            answer = shadow.delete(before, payload, now, name=name)
        else:
            answer = shadow.get(before, payload, now, name=name)
        if isinstance(answer, Rejected):
            return [(f"{topic}/rejected", answer.payload)]
        self.documents[name] = answer.document
        said = [("accepted", answer.payload), ("delta", answer.delta), ("documents", answer.documents)]
        return [(f"{topic}/{end}", body) for end, body in said if body is not None]

    def change(self, name: str, **state: object) -> list[Packet]:
        """Let somebody else change a shadow."""
        said = self.ask(f"{place(name)}/update", json.dumps({"state": state}).encode())
        self.asked.pop()
        return said

    def delete(self, name: str) -> list[Packet]:
        """Let somebody else delete one."""
        said = self.ask(f"{place(name)}/delete", b"{}")
        self.asked.pop()
        return said


async def serve(link: Link, service: Service) -> None:
    """Have the service answer at a broker, as a client of it. Close the link in the end."""

    async def answer(topic: str, payload: bytes, _: Mapping[str, str]) -> None:
        await say(link, service.ask(topic, payload))

    await link.connect(down=(f"{ROOT}/+", f"{ROOT}/name/+/+"), received=answer)


async def say(link: Link, packets: list[Packet]) -> None:
    """Publish what the service says."""
    for topic, payload in packets:
        await link.publish(topic, payload, NO_HEADERS)


class Memo:
    """What a device remembers, without a disk: a store and a bus for `Shadows`."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.events: list[Event] = []

    async def recall(self, key: str) -> str | None:
        """Be the store."""
        return self.kept.get(key)

    async def emit(self, *events: Event, memo: Mapping[str, str] = NO_HEADERS) -> None:
        """Be the bus."""
        self.kept.update(memo)
        self.events.extend(events)


class World:
    """A device with its shadows and the cloud, and between them a network on which nothing moves by itself."""

    def __init__(self, spec: Spec) -> None:
        self.clock = FakeClock(NOW)
        self.cloud = Service(self.clock)
        self.memo = Memo()
        self.spec = spec
        self.up: deque[Packet] = deque()
        self.down: deque[Packet] = deque()
        self.most_up = 0
        self._task: asyncio.Task[None] | None = None
        self.shadows: Shadows
        self.agent: ShadowSync
        self.boot()

    def boot(self) -> None:
        """Start the device anew: only what is on its disk is left."""
        store: Any = self.memo
        self.shadows = Shadows(store, THING, self.clock, self.memo.emit)
        self.agent = ShadowSync(self.shadows, self.spec, self.clock)

    async def connect(self) -> None:
        """Begin a connection."""
        self._task = asyncio.create_task(self.agent.run(self._say))
        await self.rest()

    async def cut(self) -> None:
        """End it; what is under way is lost."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self.up.clear()
        self.down.clear()

    async def _say(self, topic: str, payload: bytes) -> None:
        if self._task is None:
            raise LinkError("gone")
        self.up.append((topic, payload))
        self.most_up = max(self.most_up, len(self.up))

    async def rest(self) -> None:
        """Let what is awake go on until it waits."""
        await self.clock.advance(0)

    def hear(self, packets: list[Packet]) -> None:
        """Put on its way down what is subscribed to."""
        wanted = self.agent.filters
        self.down.extend(packet for packet in packets if any(matches(one, packet[0]) for one in wanted))

    async def carry_up(self) -> None:
        """Let the next request arrive."""
        if self.up:
            self.hear(self.cloud.ask(*self.up.popleft()))
            await self.rest()

    async def carry_down(self) -> None:
        """Let the next message arrive."""
        if self.down:
            assert await self.agent.received(*self.down.popleft())
            await self.rest()

    async def flow(self, seconds: float = 1.0) -> None:
        """Let the network carry everything there is, for some time."""
        for _ in range(int(seconds * 10)):
            while self.up or self.down:
                await self.carry_up()
                await self.carry_down()
            await self.clock.advance(0.1)

    async def set_here(self, name: str, **state: object) -> None:
        """Change a shadow on the device."""
        answer = await self.shadows.update(name, json.dumps({"state": state}).encode(), throttled=False)
        assert isinstance(answer, Accepted), answer
        await self.rest()

    async def state_here(self, name: str = "") -> Mapping[str, object] | None:
        """Return what a shadow holds on the device, None when there is none."""
        document = await self.shadows.document(name)
        return document.state if document is not None and document.is_live else None

    async def row(self, name: str = "classic") -> dict[str, object]:
        """Return what `edge status` shows of a shadow."""
        return next(row for row in await self.agent.rows() if row["shadow"] == name)
