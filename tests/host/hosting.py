"""A host in this process: a memory broker above it, real workers below, simulated devices at its side."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_runtime.app import App, Destination, Function, LinkSpec, Rule, Uplink
from edge_runtime.clock import Clock, make_event
from edge_runtime.host import Host
from edge_runtime.host.verbs import Verbs
from edge_runtime.links.memory import MemoryBroker, MemoryLink

HANDLERS = '''
import json, os

def echo(event, context):
    return {"got": event, "topic": context.client_context.custom["subject"]}

def fail(event, context):
    raise ValueError("the soil is dry")

def wait(event, context):
    """Tell that it runs, and go on when somebody writes."""
    with open(os.environ["BEGUN"], "w") as begun:
        begun.write(json.dumps(event))
    with open(os.environ["GO_ON"]) as go_on:
        return go_on.read()
'''
FREE = Uplink(up=(Rule("out/#", ("uplink",)),), publishes_per_s=0, bytes_per_s=0, aws_quotas=False)


def function(folder: Path, handler: str = "echo", **more: Any) -> Function:  # noqa: ANN401 - fields of Function
    """Return function `f` with one of HANDLERS, whose reply goes to `out/f`."""
    code = folder / "code"
    code.mkdir(exist_ok=True)
    (code / "app.py").write_text(HANDLERS, encoding="utf-8")
    return replace(Function("f", code, f"app.{handler}", on_success=Destination("out/f")), **more)


def app(folder: Path, *functions: Function, **more: Any) -> App:  # noqa: ANN401 - fields of App
    """Return an app in which `in/#` sets off every function and `out/#` goes up."""
    targets = tuple(f"function/{one.name}" for one in functions)
    rules = (Rule("in/#", targets),) if targets else ()
    plain = App("pi-7", folder, functions=functions, rules=rules, link=LinkSpec("memory", {}, FREE))
    return replace(plain, **more)


class Pipes:
    """Two named pipes: a handler `wait` tells through one that it runs, and is told through the other to go on."""

    def __init__(self, folder: Path) -> None:
        self._begun, self._go_on = folder / "begun", folder / "go_on"
        for path in (self._begun, self._go_on):
            if not path.exists():
                os.mkfifo(path)
        self.environment = {"BEGUN": str(self._begun), "GO_ON": str(self._go_on)}

    async def begun(self) -> str:
        """Return the event of the handler, once it runs."""
        return await asyncio.to_thread(self._begun.read_text)

    async def go_on(self, reply: str = "done") -> None:
        """Let it return."""
        await asyncio.to_thread(self._go_on.write_text, reply)


class Site:
    """A running host and its broker."""

    def __init__(self, host: Host, broker: MemoryBroker) -> None:
        self.host = host
        self.broker = broker
        self.verbs = Verbs(host).table()

    async def emit(self, topic: str, *payloads: bytes) -> None:
        """Emit an event for each payload, one after the other."""
        for payload in payloads:
            await self.host.bus.emit(make_event(self.host.clock, topic, payload, "cli"))

    async def ask(self, verb: str, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Ask as a command does, without the socket."""
        answer: Any = self.verbs[verb](request)
        return dict(await answer)

    async def until(self, happened: Callable[[], object]) -> None:
        """Return when it has happened."""
        async with asyncio.timeout(30):
            while not happened():
                await self.host.store.work(lambda _: None)

    async def settled(self, target: str, count: int) -> None:
        """Return when so many messages of a target are delivered by the books."""
        await self.until(lambda: self.host.store.counters(target).delivered >= count)

    async def open(self, *names: str) -> None:
        """Return when these devices are open and at work."""
        await self.until(lambda: set(names) <= self.host.hardware._begun)

    def part(self, name: str) -> tuple[str, str]:
        """Return state and last error of a part."""
        found = next(part for part in self.host.parts if part.name == name)
        return found.state, found.last_error

    @property
    def arrived(self) -> list[tuple[str, bytes]]:
        """What the broker took, in order."""
        return [(item.topic, item.payload) for item in self.broker.record]


@asynccontextmanager
async def site(
    one: App, state: Path, *, broker: MemoryBroker | None = None, clock: Clock | None = None
) -> AsyncIterator[Site]:
    """Run a host with the app; stop it in the end, quickly."""
    broker = broker or MemoryBroker()
    link = MemoryLink(broker=broker) if one.link is not None and one.link.driver == "memory" else None
    host = Host(one, state, clock=clock, simulate=True, link=link)
    await host.start()
    try:
        yield Site(host, broker)
    finally:
        await host.stop(grace_s=0.5)
