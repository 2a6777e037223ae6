"""The data endpoint over HTTP: boto3 publishes, and what is not allowed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from edge_runtime.standin.certs import Certificates
from edge_runtime.standin.server import Standin
from tests.mqtt import RawClient
from tests.standin.secure import context, document, fetch, register, statement

FULL = Path("/dev/full")


@pytest.fixture
async def standin() -> AsyncIterator[Standin]:
    async with Standin() as one:
        await one.start_web()
        yield one


async def publish(standin: Standin, topic: str, query: str = "?qos=1", body: bytes = b"x") -> tuple[int, str]:
    """Publish by HTTP and return the status and the message."""
    status, _, answer = await fetch(
        f"http://127.0.0.1:{standin.web_port}/topics/{topic}{query}", method="POST", body=body
    )
    return status, json.loads(answer)["message"]


async def test_boto3_publishes(standin: Standin) -> None:
    boto3 = pytest.importorskip("boto3")
    client = await RawClient.connect(standin.port)
    await client.subscribe("a/#")
    cloud = boto3.client(
        "iot-data",
        region_name="eu-west-1",
        endpoint_url=f"http://127.0.0.1:{standin.web_port}",
        aws_access_key_id="AKIA",
        aws_secret_access_key="secret",  # noqa: S106 - of nobody
    )
    call: Callable[[], object] = lambda: cloud.publish(topic="a/b c", qos=1, retain=True, payload=b"hello")  # noqa: E731
    await asyncio.to_thread(call)
    cloud.close()
    (entry,) = standin.record
    assert (entry.topic, entry.payload, entry.qos, entry.retain, entry.client_id, entry.connection) == (
        "a/b c",
        b"hello",
        1,
        True,
        "",
        0,
    )
    assert entry.acked_ns > 0
    await client.close()


async def test_what_is_refused(standin: Standin) -> None:
    assert await publish(standin, "a", "?qos=2") == (400, "qos must be 0 or 1, retain true or false")
    assert await publish(standin, "a", "?retain=maybe") == (400, "qos must be 0 or 1, retain true or false")
    status, words = await publish(standin, "a/b/c/d/e/f/g/h/i")
    assert (status, "has 8 slashes" in words) == (400, True)
    status, words = await publish(standin, "a", body=bytes(131_073))
    assert (status, "131072" in words) == (400, True)
    assert await publish(standin, "a", "") == (200, "OK")
    assert len(standin.record) == 1


async def test_a_certificate_is_held_to_its_policies_and_a_signature_is_not_looked_at(
    certificates: Certificates,
) -> None:
    async with Standin(policies=True) as standin:
        await standin.start_web(tls=certificates.server)
        register(standin, certificates, document(statement("iot:Publish", "topic/up/*")))
        url = f"https://localhost:{standin.web_port}/topics/"

        async def status(topic: str, *, own: bool = True, signed: bool = False) -> int:
            headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=0"} if signed else {}
            tls = context(certificates, own=own)
            return (await fetch(url + topic, tls, method="POST", body=b"x", headers=headers))[0]

        assert await status("up/a") == 200
        assert await status("up/a?retain=true") == 403
        assert await status("down/a") == 403
        assert await status("down/a", own=False) == 403
        assert await status("down/a", own=False, signed=True) == 200
        assert await status("down/a", signed=True) == 403


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
async def test_what_cannot_be_recorded_is_not_confirmed() -> None:
    async with Standin(record_file=FULL) as standin:
        await standin.start_web()
        assert (await publish(standin, "a"))[0] == 500
