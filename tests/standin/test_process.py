"""The stand-in as a process: how a test or a demo drives it from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.standin.certs import make
from edge_runtime.standin.packets import Connack, Connect, Publish
from edge_runtime.standin.process import Options, serve
from edge_runtime.standin.record import read_record
from tests.mqtt import RawClient
from tests.standin.secure import context

PATIENCE_S = 30.0


class Process:
    """A running `python -m edge_runtime.standin`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.port = 0
        self.ready: dict[str, object] = {}

    async def line(self) -> dict[str, object]:
        """Return the next line it prints."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            found: dict[str, object] = json.loads(await self.process.stdout.readline())
        return found

    async def tell(self, command: object) -> dict[str, object]:
        """Give a command and return the reply."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        return await self.line()

    async def ended(self) -> int:
        """Return its exit status."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[Process]:
    one = Process(
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "edge_runtime.standin", "--port", "0", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
    )
    try:
        ready = await one.line()
        assert list(ready)[:2] == ["ready", "port"]
        assert isinstance(ready["port"], int)
        one.port = ready["port"]
        one.ready = ready
        yield one
    finally:
        if one.process.returncode is None:
            one.process.kill()
        await one.process.wait()


async def test_commands_by_standard_input_and_a_record_on_disk(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    async with started("--control", "stdin", "--quotas", "none", "--record", str(record)) as one:
        client = await RawClient.connect(one.port)
        assert await one.tell({"fault": "lose_pubacks", "count": 1}) == {"ok": True}
        client.send(Publish("a", b"lost", 1, packet_id=1))
        reply = await one.tell({"wait": "recorded", "count": 1})
        assert reply["counts"] == {"connected": 1, "connections": 1, "pubacks_lost": 1, "recorded": 1}
        assert [(entry.payload, entry.acked_ns) for entry in read_record(record)] == [(b"lost", 0)]
        one.process.kill()
        await one.ended()
        assert len(read_record(record)) == 1


async def test_it_ends_with_its_parents_end_of_the_pipe_even_while_a_command_waits() -> None:
    async with started("--control", "stdin") as one:
        assert one.process.stdin is not None
        one.process.stdin.write(b'{"wait":"recorded","count":1000000}\n')
        one.process.stdin.close()
        assert await one.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_in_good_order_when_told_to(number: int) -> None:
    async with started() as one:
        client = await RawClient.connect(one.port)
        one.process.send_signal(number)
        assert await one.ended() == 0
        await client.closed()
        assert client.disconnect is not None


async def test_commands_by_socket(tmp_path: Path) -> None:
    path = tmp_path / "control"
    async with started("--control", str(path)) as one:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(path)
        other = await asyncio.open_unix_connection(path)
        writer.write(b'{"fault":"freeze"}\n{"fault":"clear"}\n')
        assert [await reader.readline() for _ in range(2)] == [b'{"ok":true}\n'] * 2
        writer.write(b"x" * 300_000 + b"\n")
        assert json.loads(await reader.readline())["error"] == "a command may have 262144 bytes"
        assert await reader.read() == b""
        other[1].write(b'{"stop":true}\n')
        assert await other[0].read() == b'{"ok":true}\n'
        assert await one.ended() == 0
        for one_writer in (writer, other[1]):
            one_writer.close()
    assert not path.exists()


async def test_a_socket_left_behind_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    async with started("--control", str(path)):
        pass
    path.unlink()
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"control socket .* cannot be made: Address already in use"):
        await serve(Options(port=0, control=str(path)))
    assert path.read_text(encoding="utf-8") == "precious"


async def test_a_mistake_is_said_on_standard_error() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge_runtime.standin", "--host", "not a host"), stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().startswith("the stand-in cannot listen on not a host port 1883: ")


async def test_all_of_it_in_one_process(tmp_path: Path) -> None:
    certificates = make(tmp_path / "certs")
    registry = tmp_path / "account.json"
    own = certificates.client.cert.read_text(encoding="utf-8")
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}
    registry.write_text(
        json.dumps({"policies": {"all": document}, "certificates": [{"pem": own, "policies": ["all"]}]}),
        encoding="utf-8",
    )
    server = certificates.server
    tls = ("--tls", str(server.ca), str(server.cert), str(server.key))
    more = ("--registry", str(registry), "--policies", "--web", "0", "--credentials", "0", "--control", "stdin")
    async with started(*tls, *more) as one:
        assert list(one.ready) == ["ready", "port", "web", "credentials"]
        client = await RawClient.open(one.port, tls=context(certificates))
        client.send(Connect("edge-1"))
        assert (await client.expect(Connack)).code == 0
        await client.publish("a")
        (known,) = json.loads(registry.read_text(encoding="utf-8"))["certificates"]
        assert "pem" in known
        listed = await one.tell({"cert": "list"})
        assert isinstance(listed["certificates"], list)
        number = listed["certificates"][0]["id"]
        assert (await one.tell({"cert": "status", "id": number, "status": "REVOKED"}))["ok"] is True
        await client.closed()
        assert (await one.tell({"stop": True})) == {"ok": True}
        assert await one.ended() == 0
    assert '"REVOKED"' in registry.read_text(encoding="utf-8")


@pytest.mark.parametrize("options", [Options(policies=True), Options(credentials=0)])
async def test_what_goes_by_certificates_needs_tls(options: Options) -> None:
    with pytest.raises(ConfigError, match="they need TLS"):
        await serve(options)
