"""The host's side: who may connect, what it answers, and whom it does not wait for."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.control import LINE_LIMIT
from edge_runtime.control.server import MAX_CLIENTS, Server, Verb, serve
from edge_runtime.control.wire import encode
from edge_runtime.errors import HostError, QueueFullError


async def echo(args: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"got": dict(args)}


async def count(args: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    for number in range(args["to"]):
        yield {"n": number}


async def refuse(_args: Mapping[str, Any]) -> Mapping[str, Any]:
    raise QueueFullError("the queue is full", hint="edge queue ls")


async def break_down(_args: Mapping[str, Any]) -> Mapping[str, Any]:
    raise TimeoutError("the dog ate it")


async def big(_args: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"text": "x" * LINE_LIMIT}


VERBS: Mapping[str, Verb] = {"echo": echo, "count": count, "refuse": refuse, "break": break_down, "big": big}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = await serve(tmp_path / "control.sock", VERBS)
    yield server
    await server.close()


async def talk(path: Path, request: bytes) -> list[dict[str, Any]]:
    reader, writer = await asyncio.open_unix_connection(path, limit=2 * LINE_LIMIT)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return [json.loads(line) for line in answer.splitlines()]


async def test_a_function_answers_with_its_end(server: Server) -> None:
    assert await talk(server.path, b'{"verb":"echo","a":1}\n') == [{"done": {"got": {"a": 1}}}]


async def test_a_generator_answers_with_items_and_an_empty_end(server: Server) -> None:
    lines = await talk(server.path, b'{"verb":"count","to":3}\n')
    assert lines == [{"item": {"n": 0}}, {"item": {"n": 1}}, {"item": {"n": 2}}, {"done": {}}]


@pytest.mark.parametrize(
    ("request_line", "kind", "message", "hint"),
    [
        (b'{"verb":"refuse"}\n', "QueueFullError", "the queue is full", "edge queue ls"),
        (
            b'{"verb":"ecko"}\n',
            "NotFoundError",
            "the host has no verb 'ecko'; did you mean 'echo'?",
            "known: big, break, count, echo, refuse",
        ),
        (b"{}\n", "NotFoundError", "the host has no verb None", "known: big, break, count, echo, refuse"),
        (b"[]\n", "ConfigError", "a control line is a JSON list and no object", ""),
        (b'{"verb":"break"}\n', "EdgeError", "the host failed: TimeoutError: the dog ate it", "see the host's log"),
        (b'{"verb":"count"}\n', "EdgeError", "the host failed: KeyError: 'to'", "see the host's log"),
    ],
)
async def test_an_error_is_told(server: Server, request_line: bytes, kind: str, message: str, hint: str) -> None:
    [answer] = await talk(server.path, request_line)
    assert answer == {"error": {"kind": kind, "message": message, "hint": hint, "more": {}}}


async def test_an_answer_that_is_too_long_is_an_error(server: Server) -> None:
    [answer] = await talk(server.path, b'{"verb":"big"}\n')
    assert answer["error"]["kind"] == "LimitError"


async def test_a_request_that_is_too_long_is_refused_and_the_server_goes_on(server: Server) -> None:
    reader, writer = await asyncio.open_unix_connection(server.path)
    writer.write(b"x" * (LINE_LIMIT + 2))
    answer = json.loads(await reader.readline())
    assert answer["error"]["kind"] == "LimitError"
    assert answer["error"]["message"] == f"the request has more than {LINE_LIMIT} bytes"
    writer.transport.abort()
    assert await talk(server.path, b'{"verb":"echo"}\n') == [{"done": {"got": {}}}]


async def test_the_socket_is_for_its_owner_only_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        server = await serve(tmp_path / "state" / "control.sock", VERBS)
    finally:
        os.umask(before)
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.path.parent.stat().st_mode) == 0o700
    assert [p.name for p in server.path.parent.iterdir()] == ["control.sock"]
    await server.close()
    assert list(server.path.parent.iterdir()) == []


async def test_a_second_server_is_refused_and_the_first_goes_on(server: Server) -> None:
    with pytest.raises(HostError, match="a host is running already with the state folder"):
        await serve(server.path, VERBS)
    assert await talk(server.path, b'{"verb":"echo"}\n') == [{"done": {"got": {}}}]


async def test_a_socket_that_a_dead_host_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = await serve(path, VERBS)
    assert await talk(path, b'{"verb":"echo"}\n') == [{"done": {"got": {}}}]
    await server.close()


async def test_closing_leaves_the_socket_of_another_host(server: Server) -> None:
    server.path.unlink()
    other = await serve(server.path, VERBS)
    await server.close()
    assert await talk(other.path, b'{"verb":"echo"}\n') == [{"done": {"got": {}}}]
    await other.close()
    await other.close()  # safe to call twice


async def test_a_long_state_folder_works(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 150)
    folder.mkdir()
    server = await serve(folder / "control.sock", VERBS)
    (tmp_path / "short").symlink_to(folder)
    assert await talk(tmp_path / "short" / "control.sock", b'{"verb":"echo"}\n') == [{"done": {"got": {}}}]
    await server.close()


async def test_a_socket_that_cannot_be_made_is_a_host_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match=r"the control socket .*file/control.sock cannot be made: File exists"):
        await serve(tmp_path / "file" / "control.sock", VERBS)


class Endless:
    """A stream that says when it began and when it was closed."""

    def __init__(self, item: Mapping[str, Any]) -> None:
        self.item = item
        self.ended = asyncio.Event()
        self.sent = 0

    async def run(self, _args: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the item for ever."""
        try:
            while True:
                yield self.item
                self.sent += 1
                await asyncio.sleep(0)
        finally:
            self.ended.set()


async def test_a_client_that_goes_away_ends_its_stream(tmp_path: Path) -> None:
    stream = Endless({"n": 1})
    server = await serve(tmp_path / "s", {"tail": stream.run})
    reader, writer = await asyncio.open_unix_connection(server.path)
    writer.write(encode({"verb": "tail"}))
    assert json.loads(await reader.readline()) == {"item": {"n": 1}}
    writer.close()
    await stream.ended.wait()
    await server.close()


async def test_a_client_that_goes_away_cancels_what_it_asked_for(tmp_path: Path) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def wait(_args: Mapping[str, Any]) -> Mapping[str, Any]:
        began.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()
        return {}

    server = await serve(tmp_path / "s", {"wait": wait})
    _, writer = await asyncio.open_unix_connection(server.path)
    writer.write(encode({"verb": "wait"}))
    await began.wait()
    writer.close()
    await ended.wait()
    await server.close()


async def test_a_client_that_reads_nothing_holds_nobody_up_and_is_dropped(tmp_path: Path) -> None:
    stream = Endless({"text": "x" * 60_000})
    server = await serve(tmp_path / "s", {"tail": stream.run, "echo": echo}, patience_s=0.2)
    reader, writer = await asyncio.open_unix_connection(server.path, limit=100)
    writer.write(encode({"verb": "tail"}))
    assert await talk(server.path, b'{"verb":"echo"}\n') == [{"done": {"got": {}}}]
    await stream.ended.wait()
    assert stream.sent < 50
    assert not reader.at_eof()
    writer.transport.abort()
    await server.close()


async def test_a_client_that_asks_nothing_is_dropped(tmp_path: Path) -> None:
    server = await serve(tmp_path / "s", VERBS, patience_s=0.05)
    reader, writer = await asyncio.open_unix_connection(server.path)
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    await server.close()


async def test_closing_ends_the_streams(tmp_path: Path) -> None:
    stream = Endless({"text": "x" * 60_000})
    server = await serve(tmp_path / "s", {"tail": stream.run})
    reader, writer = await asyncio.open_unix_connection(server.path, limit=100)
    writer.write(encode({"verb": "tail"}))
    await reader.readexactly(10)
    await server.close()
    assert stream.ended.is_set()
    writer.transport.abort()


async def test_there_is_a_bound_on_clients(server: Server) -> None:
    others = [await asyncio.open_unix_connection(server.path) for _ in range(MAX_CLIENTS)]
    try:
        [answer] = await talk(server.path, b'{"verb":"echo"}\n')
        assert answer["error"]["message"] == "more than 32 clients at once"
    finally:
        for _, writer in others:
            writer.transport.abort()
