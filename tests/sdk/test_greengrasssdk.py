"""The Greengrass SDK: on a laptop, and before an endpoint."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from edge_runtime.errors import DeniedError, QueueFullError
from edge_runtime.model import Result
from edge_runtime.sdk import greengrasssdk as sdk
from tests.endpoints.serving import NARROW_TOKEN, Endpoint, endpoint

T = TypeVar("T")
FOLDER = Path(sdk.__file__).parent.parent
VARIABLES = ("EDGE_ENDPOINT", "EDGE_TOKEN", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def inside(it: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a worker."""
    monkeypatch.setenv("EDGE_ENDPOINT", it.listener.url)
    monkeypatch.setenv("EDGE_TOKEN", NARROW_TOKEN)


async def away(call: Callable[[], T]) -> T:
    return await asyncio.to_thread(call)


def test_it_can_be_imported_where_there_is_no_host_and_says_so_when_called() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import greengrasssdk\n"
        "assert 'http.client' not in sys.modules\n"
        "client = greengrasssdk.client('iot-data')\n"
        "try: client.publish(topic='a', payload='b')\n"
        "except greengrasssdk.GreengrassRuntimeError as error: print(error)\n"
    )
    environment = {"PATH": os.environ["PATH"]}
    command = [sys.executable, "-I", "-S", "-c", code, str(FOLDER)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("there is no edge host here: start one with 'edge run'")


def test_a_host_that_has_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("EDGE_TOKEN", "t")
    with pytest.raises(sdk.GreengrassRuntimeError, match=r"http://127\.0\.0\.1:1 does not answer.*edge run"):
        sdk.IoTDataPlane().publish("a")


def test_a_client_has_a_known_name() -> None:
    assert isinstance(sdk.client("lambda"), sdk.Lambda)
    with pytest.raises(ValueError, match="no client 's3'; it has iot-data, lambda, secretsmanager"):
        sdk.client("s3")


async def test_publish(monkeypatch: pytest.MonkeyPatch) -> None:
    async with endpoint() as it:
        inside(it, monkeypatch)
        client = sdk.IoTDataPlane()
        await away(lambda: client.publish(topic="a/b c", payload="ü"))
        await away(lambda: client.publish("x", b"\x00", queueFullPolicy="AllOrException"))
        assert [asked[2:4] for asked in it.backend.asked] == [("a/b c", "ü".encode()), ("x", b"\x00")]
        it.fails_with(QueueFullError("full"))
        await away(lambda: client.publish("x", b""))  # the best that can be done
        with pytest.raises(sdk.GreengrassRuntimeError, match="full"):
            await away(lambda: client.publish("x", b"", queueFullPolicy="AllOrException"))
        it.fails_with(DeniedError("may not"))
        with pytest.raises(sdk.GreengrassRuntimeError, match="may not") as caught:
            await away(lambda: client.publish("x", b""))
        assert caught.value.code == "ForbiddenException"


def test_arguments_are_checked_before_anything_is_sent() -> None:
    client = sdk.IoTDataPlane()
    for call in (
        lambda: client.publish(""),
        lambda: client.publish("a", 1),  # type: ignore[arg-type]  # the mistake in question
        lambda: client.publish("a", b"", queueFullPolicy="Sometimes"),
        lambda: client.get_thing_shadow(""),
        lambda: sdk.Lambda().invoke(""),
    ):
        with pytest.raises(ValueError, match=r"must be|is BestEffort or"):
            call()


async def test_invoke(monkeypatch: pytest.MonkeyPatch) -> None:
    async with endpoint() as it:
        inside(it, monkeypatch)
        client, context = sdk.Lambda(), base64.b64encode(b'{"custom": {}}').decode()
        arn = "arn:aws:lambda:eu-west-1:123456789012:function:echo:3"
        got = await away(lambda: client.invoke(FunctionName=arn, Payload="[1]", ClientContext=context, Qualifier="3"))
        assert got["FunctionError"] == ""
        assert got["Payload"].read() == b'{"ok": true}'  # type: ignore[attr-defined]  # a stream, in AWS's SDK too
        it.backend.result = Result(b"{}", "ValueError", "log")
        assert (await away(lambda: client.invoke("echo")))["FunctionError"] == "Unhandled"
        await away(lambda: client.invoke("echo", InvocationType="Event", Payload=b"2"))
    assert [(asked[0], asked[2], asked[3]) for asked in it.backend.asked] == [
        ("call", "echo", b"[1]"),
        ("call", "echo", b"{}"),
        ("begin", "echo", b"2"),
    ]


async def test_shadows(monkeypatch: pytest.MonkeyPatch) -> None:
    async with endpoint() as it:
        inside(it, monkeypatch)
        client = sdk.IoTDataPlane()
        with pytest.raises(sdk.ShadowError, match="No shadow exists with name: pi-7") as caught:
            await away(lambda: client.get_thing_shadow(thingName="pi-7"))
        assert caught.value.code == "ResourceNotFoundException"
        wanted = '{"state":{"desired":{"pump":"on"}}}'
        await away(lambda: client.update_thing_shadow(thingName="pi-7", payload=wanted))
        got = await away(lambda: client.get_thing_shadow(thingName="pi-7"))
        assert json.loads(got["payload"])["state"]["desired"] == {"pump": "on"}
        await away(lambda: client.delete_thing_shadow(thingName="pi-7"))
        with pytest.raises(sdk.ShadowError):
            await away(lambda: client.get_thing_shadow(thingName="pi-7"))


def test_secrets_are_refused() -> None:
    with pytest.raises(sdk.GreengrassRuntimeError, match="keeps no secrets"):
        sdk.SecretsManager().get_secret_value(SecretId="s")


async def test_the_variables_of_edge_token_do_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    async with endpoint() as it:
        monkeypatch.setenv("AWS_ENDPOINT_URL", it.listener.url)
        monkeypatch.setenv("AWS_SESSION_TOKEN", NARROW_TOKEN)
        await away(lambda: sdk.IoTDataPlane().publish("a", "1"))
    assert it.backend.asked[0][2] == "a"
