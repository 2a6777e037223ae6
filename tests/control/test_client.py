"""The blocking side, against a real server and against hosts that misbehave."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.control import LINE_LIMIT, SOCKET, ask, call, is_running
from edge_runtime.control.server import serve
from edge_runtime.errors import EdgeError, HostError, NotFoundError


async def items(args: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    for number in range(args["to"]):
        yield {"n": number}


async def double(args: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"twice": args["n"] * 2}


async def missing(_args: Mapping[str, Any]) -> Mapping[str, Any]:
    raise NotFoundError("there is no queue 'x'", hint="edge queue ls")


async def test_call_returns_the_end(tmp_path: Path) -> None:
    server = await serve(tmp_path / SOCKET, {"double": double})
    assert await asyncio.to_thread(call, tmp_path, "double", n=4) == {"twice": 8}
    await server.close()


async def test_ask_yields_the_items(tmp_path: Path) -> None:
    server = await serve(tmp_path / SOCKET, {"items": items})
    assert await asyncio.to_thread(lambda: list(ask(tmp_path, "items", to=2))) == [{"n": 0}, {"n": 1}]
    assert await asyncio.to_thread(call, tmp_path, "items", to=2) == {}
    await server.close()


async def test_the_hosts_error_is_raised_by_its_class(tmp_path: Path) -> None:
    server = await serve(tmp_path / SOCKET, {"missing": missing})
    with pytest.raises(NotFoundError, match="there is no queue 'x'") as caught:
        await asyncio.to_thread(call, tmp_path, "missing")
    assert caught.value.hint == "edge queue ls"
    await server.close()


def test_without_a_host_the_error_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=f"no host is running with the state folder {tmp_path}") as caught:
        call(tmp_path, "status")
    assert caught.value.hint == "start it: edge run"


def test_a_socket_that_a_dead_host_left_is_no_host(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / SOCKET))
    with pytest.raises(HostError, match="no host is running"):
        call(tmp_path, "status")


async def test_it_can_be_told_whether_a_host_runs(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    server = await serve(tmp_path / SOCKET, {})
    assert await asyncio.to_thread(is_running, tmp_path)
    await server.close()
    assert not is_running(tmp_path)


def test_a_state_folder_that_is_not_there_is_no_host(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no host is running"):
        call(tmp_path / ("d" * 150), "status")


def speak(folder: Path, answer: bytes, *, read: bool = True) -> threading.Thread:
    """Be a host that sends `answer` to one client and goes away."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / SOCKET))
    listener.listen()

    def run() -> None:
        with listener, listener.accept()[0] as link:
            if read:
                link.recv(65536)
            link.sendall(answer)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "the host went away while it answered 'status'"),
        (b'{"item":{}}\n{"do', "the host went away while it answered 'status'"),
        (b'{"other":1}\n', "the host answered 'status' with {'other': 1}"),
        (b'"' + b"x" * LINE_LIMIT + b'"\n', "with a line of more than"),
    ],
)
def test_a_host_that_breaks_off_is_told_apart(tmp_path: Path, answer: bytes, words: str) -> None:
    thread = speak(tmp_path, answer)
    with pytest.raises(EdgeError, match=words):
        call(tmp_path, "status")
    thread.join()


def test_a_host_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / SOCKET))
        listener.listen()
        with pytest.raises(HostError, match=r"the host did not answer 'status' within 0.05 s"):
            call(tmp_path, "status", within_s=0.05)


async def test_a_request_that_is_too_long_is_explained(tmp_path: Path) -> None:
    server = await serve(tmp_path / SOCKET, {"double": double})
    with pytest.raises(EdgeError, match=f"the request has more than {LINE_LIMIT} bytes"):
        await asyncio.to_thread(call, tmp_path, "double", n="x" * (2 * LINE_LIMIT + 10))
    await server.close()


def test_the_client_needs_no_asyncio() -> None:
    code = "import sys, edge_runtime.control; print('asyncio' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
