"""The Runtime API: its routes and errors, hostile clients, whose connections are taken."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from edge_runtime.workers._http import MOST_LINES, Malformed, Parser, Request
from edge_runtime.workers._peer import belongs
from edge_runtime.workers._runtime_api import MOST_CONNECTIONS, State
from edge_runtime.workers.inside.frames import LIMIT
from tests.workers.conftest import until
from tests.workers.programs import VERSION, Endpoint, given

NEXT = f"{VERSION}/invocation/next"
OK = (202, b'{"status":"OK"}\n')


def refused(kind: str, message: str) -> bytes:
    return json.dumps({"errorMessage": message, "errorType": kind}).encode()


async def test_events_go_down_and_replies_come_up_over_one_connection() -> None:
    async with Endpoint() as end:
        client = await end.connect()
        client.send("GET", NEXT)
        await until(lambda: end.owner.ready == 1)
        for number in range(3):
            end.api.give(given(f"r-{number}", b'{"n": %d}' % number))
            assert await client.answer() == (200, b'{"n": %d}' % number)
            assert await client.ask("POST", f"{VERSION}/invocation/r-{number}/response", b"[1]") == OK
            client.send("GET", NEXT)
        assert end.owner.answers == [("", b"[1]")] * 3
        assert end.owner.ready == 1


async def test_an_event_that_comes_first_waits_until_it_is_asked_for() -> None:
    async with Endpoint() as end:
        client = await end.working("a")
        assert await client.ask("POST", f"{VERSION}/invocation/a/response", b"1") == OK
        end.api.give(given("b", b"2"))
        assert end.api.untouched
        assert await client.ask("GET", NEXT) == (200, b"2")
        assert not end.api.untouched


async def test_foreign_ids_replays_and_calls_out_of_order_are_refused() -> None:
    async with Endpoint() as end:
        client = await end.connect()
        early = await client.ask("POST", f"{VERSION}/invocation/r-1/response", b"1")
        assert early == (400, refused("InvalidRequestID", "Invalid request ID"))
        client = await end.working("mine")
        for verb in ("response", "error"):
            foreign = await client.ask("POST", f"{VERSION}/invocation/other/{verb}", b"1")
            assert foreign == (400, refused("InvalidRequestID", "Invalid request ID"))
        status, body = await client.ask("GET", NEXT)
        assert (status, json.loads(body)["errorType"]) == (403, "InvalidStateTransition")
        assert await client.ask("POST", f"{VERSION}/invocation/mine/response", b"1") == OK
        status, body = await client.ask("POST", f"{VERSION}/invocation/mine/response", b"2")
        assert (status, json.loads(body)["errorType"]) == (403, "InvalidStateTransition")
        status, body = await client.ask("POST", f"{VERSION}/init/error", b"{}")
        assert (status, json.loads(body)["errorType"]) == (403, "InvalidStateTransition")
        assert end.owner.answers == [("", b"1")]


@pytest.mark.parametrize(
    ("body", "head", "error", "payload"),
    [
        (b'{"errorType": "A", "errorMessage": "m"}', "", "A", b'{"errorType": "A", "errorMessage": "m"}'),
        (b'{"errorMessage": "m"}', "Runtime.X", "Runtime.X", b'{"errorMessage": "m"}'),
        (b"no json", "Function.Y", "Function.Y", refused("Function.Y", "no json")),
        (b"", "", "Function.Unknown", refused("Function.Unknown", "")),
        (b"[" * 100_000, "Z", "Z", refused("Z", "[" * 65536)),
    ],
)
async def test_an_error_has_the_type_of_its_object_or_of_its_header(
    body: bytes, head: str, error: str, payload: bytes
) -> None:
    header = f"Lambda-Runtime-Function-Error-Type: {head}\r\n" if head else ""
    async with Endpoint() as end:
        client = await end.working()
        assert await client.ask("POST", f"{VERSION}/invocation/r-1/error", body, head=header) == OK
        assert end.owner.answers == [(error, payload)]


async def test_a_start_that_failed_is_said_once() -> None:
    async with Endpoint() as end:
        client = await end.connect()
        fault = b'{"errorType": "Runtime.ImportModuleError", "errorMessage": "no"}'
        assert await client.ask("POST", f"{VERSION}/init/error", fault) == OK
        assert end.owner.answers == [("Runtime.ImportModuleError", fault)]
        assert (await client.ask("GET", NEXT))[0] == 403
        assert end.api.state is State.FAILED


async def test_what_a_snapshot_needs_and_ping_are_answered() -> None:
    async with Endpoint() as end:
        client = await end.connect()
        assert await client.ask("GET", f"{VERSION}/restore/next") == (200, b"")
        assert await client.ask("GET", "/ping") == (200, b"pong")
        assert await client.ask("GET", "/2018-06-01/ping") == (200, b"pong")
        fault = b'{"errorType": "R", "errorMessage": "m"}'
        assert await client.ask("POST", f"{VERSION}/restore/error", fault) == OK
        assert end.owner.answers == [("R", fault)]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", NEXT, 405),
        ("GET", f"{VERSION}/invocation/r-1/response", 405),
        ("DELETE", "/ping", 405),
        ("GET", "/", 404),
        ("GET", f"{VERSION}/invocation/r-1/other", 404),
        ("GET", "/2020-01-01/extension/register", 404),
    ],
)
async def test_other_paths_and_methods_are_refused(method: str, path: str, status: int) -> None:
    async with Endpoint() as end:
        client = await end.connect()
        assert (await client.ask(method, path))[0] == status
        assert (await client.ask("GET", "/ping"))[0] == 200


async def test_a_reply_that_is_too_large_is_the_callers_error() -> None:
    async with Endpoint() as end:
        client = await end.working()
        path = f"{VERSION}/invocation/r-1/response"
        status, body = await client.ask("POST", path, b"x" * (LIMIT + 1))
        text = "Exceeded maximum allowed payload size (6291556 bytes)."
        assert (status, body) == (413, refused("RequestEntityTooLarge", text))
        ((error, payload),) = end.owner.answers
        assert error == "Function.ResponseSizeTooLarge"
        assert json.loads(payload)["errorMessage"].endswith("exceeded maximum allowed payload size (6291556 bytes).")
        assert (await client.ask("GET", "/ping"))[0] == 200


async def test_the_largest_reply_passes_also_in_chunks() -> None:
    async with Endpoint() as end:
        client = await end.working()
        body = b"x" * LIMIT
        client.raw(f"POST {VERSION}/invocation/r-1/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for start in range(0, LIMIT, 1_000_000):
            piece = body[start : start + 1_000_000]
            client.raw(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece))
        client.raw(b"0\r\n\r\n")
        assert await client.answer() == OK
        assert end.owner.answers == [("", body)]


async def test_a_stream_is_gathered_and_its_error_is_read_from_the_trailers() -> None:
    head = (
        f"POST {VERSION}/invocation/r-1/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
        "Lambda-Runtime-Function-Response-Mode: streaming\r\n\r\n"
    ).encode()
    async with Endpoint() as end:
        client = await end.working()
        client.raw(head + b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")
        assert await client.answer() == OK
        assert end.owner.answers == [("", b"abcde")]
    fault = b'{"errorType": "Late", "errorMessage": "m"}'
    trailers = b"Lambda-Runtime-Function-Error-Type: Late\r\nLambda-Runtime-Function-Error-Body: %b\r\n\r\n"
    async with Endpoint() as end:
        client = await end.working()
        client.raw(head + b"2\r\nab\r\n0\r\n" + trailers % base64.b64encode(fault))
        assert await client.answer() == OK
        assert end.owner.answers == [("Late", fault)]


async def test_an_unknown_response_mode_is_refused_and_may_be_mended() -> None:
    async with Endpoint() as end:
        client = await end.working()
        path = f"{VERSION}/invocation/r-1/response"
        status, body = await client.ask("POST", path, b"1", head="Lambda-Runtime-Function-Response-Mode: odd\r\n")
        assert (status, json.loads(body)["errorType"]) == (400, "InvalidFunctionResponseMode")
        assert await client.ask("POST", path, b"1") == OK


async def test_a_truncated_request_is_refused_and_may_be_sent_again() -> None:
    async with Endpoint() as end:
        client = await end.working()
        client.raw(f"POST {VERSION}/invocation/r-1/response HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345".encode())
        client.writer.write_eof()
        assert await client.answer() == (400, refused("TruncatedHTTPRequest", "HTTP request detected as truncated"))
        assert end.owner.answers == []
        again = await end.connect()
        assert await again.ask("POST", f"{VERSION}/invocation/r-1/response", b"1") == OK


async def test_a_client_that_waits_to_be_told_to_go_on_is_told() -> None:
    async with Endpoint() as end:
        client = await end.working()
        path = f"{VERSION}/invocation/r-1/response"
        client.raw(f"POST {path} HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n".encode())
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.raw(b"1")
        assert await client.answer() == OK


async def test_requests_that_come_in_a_row_are_answered_in_a_row() -> None:
    async with Endpoint() as end:
        client = await end.working()
        client.send("POST", f"{VERSION}/invocation/r-1/response", b"1")
        client.send("GET", NEXT)
        client.send("GET", "/ping")
        assert await client.answer() == OK
        await until(lambda: end.api.state is State.ASKING)
        end.api.give(given("r-2", b"2"))
        assert await client.answer() == (200, b"2")
        assert await client.answer() == (200, b"pong")


async def test_a_request_may_come_byte_by_byte() -> None:
    async with Endpoint() as end:
        client = await end.connect()
        for byte in b"\r\nGET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n":
            client.raw(bytes([byte]))
            await asyncio.sleep(0)
        assert await client.answer() == (200, b"pong")
        assert await client.ask("GET", "/ping", head="Connection: close\r\n") == (200, b"pong")
        assert await client.ended() == b""


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /ping\r\n\r\n", 400),
        (b"get /ping HTTP/1.1\r\n\r\n", 400),
        (b"GET /ping HTTP/2.0\r\n\r\n", 400),
        (b"GET http://x/ping HTTP/1.1\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nA : b\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nA: b\nC: d\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2000, 431),
        (b"GET /ping HTTP/1.1\r\n" + b"A: b\r\n" * (MOST_LINES + 1) + b"\r\n", 431),
        (b"GET /ping HTTP/1.1\r\nA: " + b"b" * 1_200_000, 431),
        (b"POST /ping HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
    ],
)
async def test_malformed_requests_are_refused_and_the_connection_ends(request_bytes: bytes, status: int) -> None:
    async with Endpoint() as end:
        client = await end.connect()
        client.raw(request_bytes)
        assert (await client.answer())[0] == status
        assert await client.ended() == b""
        assert (await (await end.connect()).ask("GET", "/ping"))[0] == 200


async def test_a_client_that_sends_on_while_it_is_to_wait_is_cut_off() -> None:
    async with Endpoint() as end:
        client = await end.connect()
        client.send("GET", NEXT)
        await until(lambda: end.owner.ready == 1)
        for _ in range(8):
            client.raw(b"x" * 1_000_000)
        assert await client.ended() == b""
        await until(lambda: end.api.state is State.FREE)


async def test_connections_are_bounded_and_strangers_get_none() -> None:
    async with Endpoint() as end:
        for _ in range(MOST_CONNECTIONS):
            assert (await (await end.connect()).ask("GET", "/ping"))[0] == 200
        assert await (await end.connect()).ended() == b""
    async with Endpoint(own=False) as end:
        client = await end.connect()
        client.send("GET", "/ping")
        assert await client.ended() == b""
    async with Endpoint(own=None) as end:  # /proc does not tell
        assert (await (await end.connect()).ask("GET", "/ping"))[0] == 200


async def test_each_endpoint_has_an_address_of_its_own() -> None:
    async with Endpoint() as one, Endpoint() as other:
        assert one.api.address != other.api.address
        assert all(end.api.address[0].startswith("127.") for end in (one, other))


def test_whose_a_connection_is_can_be_told(tmp_path: Path) -> None:
    with socket.create_server(("127.9.8.7", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address) as mine, socket.socket(socket.AF_INET6) as mapped:
            mapped.connect((f"::ffff:{address[0]}", address[1]))
            assert belongs(mine.getsockname(), address, [os.getpid()]) is True
            assert belongs(_plain(mapped), address, [os.getpid()]) is True
            assert belongs(mine.getsockname(), address, [os.getppid()]) is True  # of a descendant
            assert belongs(mine.getsockname(), address, []) is False
            assert belongs(("127.1.1.1", 1), address, [os.getpid()]) is False
            assert belongs(mine.getsockname(), address, [os.getpid()], tmp_path / "none") is None


def _plain(sock: socket.socket) -> tuple[str, int]:
    host, port, *_ = sock.getsockname()
    return host.removeprefix("::ffff:"), port


def requests_of(parser: Parser) -> list[Request]:
    found = []
    while (request := parser.take()) is not None:
        found.append(request)
    return found


@examples(st.binary(max_size=300), st.integers(1, 50))
def test_whatever_comes_is_parsed_or_refused(data: bytes, step: int) -> None:
    parser = Parser(100)
    with contextlib.suppress(Malformed):  # and nothing else is raised
        for start in range(0, len(data), step):
            parser.feed(data[start : start + step])
            requests_of(parser)


@examples(st.lists(st.tuples(st.binary(max_size=120), st.booleans()), min_size=1, max_size=5), st.integers(1, 60))
def test_requests_are_the_same_however_they_are_cut(bodies: list[tuple[bytes, bool]], step: int) -> None:
    wire = b""
    for body, chunked in bodies:
        if chunked:
            pieces = b"".join(b"%x\r\n%b\r\n" % (len(body[i : i + 7]), body[i : i + 7]) for i in range(0, len(body), 7))
            wire += b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\nT: v\r\n\r\n"
        else:
            wire += b"POST /a HTTP/1.1\r\nT: v\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    parser = Parser(100)
    found = []
    for start in range(0, len(wire), step):
        parser.feed(wire[start : start + step])
        found += requests_of(parser)
    assert [(r.body, r.size, r.headers["t"]) for r in found] == [
        (body if len(body) <= 100 else b"", len(body), "v") for body, _ in bodies
    ]
    assert not parser.amid


PATHS = st.sampled_from(
    [
        NEXT,
        *(f"{VERSION}/invocation/{i}/{v}" for i in ("r-1", "x", "") for v in ("response", "error", "")),
        *(f"{VERSION}/{what}" for what in ("init/error", "restore/next", "restore/error")),
        *("/ping", "/%00/..", "/"),
    ]
)


@settings(max_examples=60)
@examples(st.lists(st.tuples(st.sampled_from(["GET", "POST"]), PATHS, st.binary(max_size=20)), max_size=12))
def test_no_order_of_calls_settles_an_invocation_twice(calls: list[tuple[str, str, bytes]]) -> None:
    async def run() -> None:
        async with Endpoint() as end:
            client = await end.working("r-1")
            asked = False
            for method, path, body in calls:
                client.send(method, path, body)
                if (method, path) == ("GET", NEXT) and end.api.state is State.FREE:
                    asked = True
                    break  # it waits for ever: nothing else is given
                status, _ = await client.answer()
                assert status in (200, 202, 400, 403, 404, 405)
            assert len(end.owner.answers) <= 1
            if asked:
                await until(lambda: end.api.state is State.ASKING)

    asyncio.run(run())
