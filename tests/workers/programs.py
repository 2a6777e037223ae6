"""Pools whose workers are programs, and an endpoint of the Runtime API with a client that says what it likes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from edge_runtime.app import Function
from edge_runtime.model import Result
from edge_runtime.workers._runtime_api import Given, RuntimeApi
from edge_runtime.workers.isolation import Wanted
from edge_runtime.workers.pool import Pool
from tests.workers.conftest import OFF, Log, descriptors, marked, until

VERSION = "/2018-06-01/runtime"


@asynccontextmanager
async def running(folder: Path, log: Log, *functions: Function, isolation: Wanted = OFF) -> AsyncIterator[Pool]:
    """Give a started pool; afterwards nothing of it may be left."""
    before = descriptors()
    pool = Pool(
        {function.name: function for function in functions},
        thing="pi-7",
        scratch=folder / "scratch",
        log=lambda name, text: log.append((name, text)),
        isolation=isolation,
    )
    await pool.start()
    token = pool._yard.zygote.token if pool._yard else ""
    try:
        yield pool
    finally:
        await pool.close()
    assert marked(token) == set()
    assert list((folder / "scratch" / "tmp").iterdir()) == []
    assert descriptors() <= before


def program(folder: Path, source: str, interpreter: str = sys.executable) -> Path:
    """Write a script named bootstrap; return its folder."""
    folder.mkdir(exist_ok=True)
    path = folder / "bootstrap"
    path.write_text(f"#!{interpreter}\n{source}", encoding="utf-8")
    path.chmod(0o755)
    return folder


async def ask(pool: Pool, event: object = None, name: str = "f", **options: object) -> Result:
    """Invoke a function."""
    return await pool.invoke(name, json.dumps(event).encode(), request_id="r-1", **options)  # type: ignore[arg-type]  # any


class Owner:
    """A worker that keeps what it is told."""

    def __init__(self) -> None:
        self.ready = 0
        self.answers: list[tuple[str, bytes]] = []

    def roots(self) -> list[int]:
        """Return no process."""
        return []

    def on_ready(self) -> None:
        """Count."""
        self.ready += 1

    def on_answer(self, error: str, payload: bytes) -> None:
        """Keep it."""
        self.answers.append((error, payload))


class Client:
    """One connection to an endpoint."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, method: str, path: str, body: bytes = b"", *, head: str = "") -> tuple[int, bytes]:
        """Send a request and return the status and the body of its answer."""
        self.send(method, path, body, head=head)
        return await self.answer()

    def send(self, method: str, path: str, body: bytes = b"", *, head: str = "") -> None:
        """Send a request."""
        self.raw(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def raw(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)

    async def answer(self) -> tuple[int, bytes]:
        """Return the status and the body of the next answer."""
        status, _, body = await self.whole_answer()
        return status, body

    async def whole_answer(self) -> tuple[int, dict[str, str], bytes]:
        """Return all of the next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        size = int(fields.get("content-length", "0"))
        return int(first.split()[1]), fields, await self.reader.readexactly(size)

    async def ended(self) -> bytes:
        """Return what is left to read when the other end has closed."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""


class Endpoint:
    """An endpoint that takes every connection of this process, unless told otherwise."""

    def __init__(self, *, own: bool | None = True) -> None:
        self.owner = Owner()
        self.api = RuntimeApi(self.owner, lambda *_: own)
        self._clients: list[Client] = []

    async def __aenter__(self) -> Self:
        await self.api.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            client.writer.close()
        self.api.close()
        await asyncio.sleep(0)

    async def connect(self) -> Client:
        """Return a new connection."""
        client = Client(*await asyncio.open_connection(*self.api.address))
        self._clients.append(client)
        return client

    async def working(self, request_id: str = "r-1") -> Client:
        """Return a connection whose client has an invocation in hand."""
        client = await self.connect()
        self.api.give(given(request_id))
        client.send("GET", f"{VERSION}/invocation/next")
        await until(lambda: self.owner.ready > 0)
        if self.api.untouched:
            self.api.give(given(request_id))
        await client.answer()
        return client


def given(request_id: str, body: bytes = b"{}") -> Given:
    """Return an invocation."""
    head = f"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n"
    return Given(request_id, head.encode() + body)
