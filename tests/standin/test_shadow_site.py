"""boto3's `iot-data` and the shadows of the stand-in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from edge_runtime.standin.certs import Certificates
from edge_runtime.standin.packets import Publish
from edge_runtime.standin.server import Standin
from tests.mqtt import RawClient
from tests.standin.secure import context, document, fetch, register, statement

ROOT = "$aws/things/edge-1/shadow"


async def test_boto3_gets_changes_lists_and_deletes_shadows() -> None:
    boto3 = pytest.importorskip("boto3")
    async with Standin() as standin:
        await standin.start_web()
        cloud = boto3.client(
            "iot-data",
            region_name="eu-west-1",
            endpoint_url=f"http://127.0.0.1:{standin.web_port}",
            aws_access_key_id="AKIA",
            aws_secret_access_key="secret",  # noqa: S106 - of nobody
        )
        device = await RawClient.connect(standin.port, "edge-1")
        await device.subscribe(f"{ROOT}/update/delta")

        async def call(verb: Callable[..., Any], **arguments: object) -> Any:  # noqa: ANN401 - boto3 has no types
            return await asyncio.to_thread(lambda: verb(thingName="edge-1", **arguments))

        with pytest.raises(cloud.exceptions.ResourceNotFoundException):
            await call(cloud.get_thing_shadow)
        wanted = json.dumps({"state": {"desired": {"pump": "on"}}}).encode()
        changed = await call(cloud.update_thing_shadow, payload=wanted)
        assert json.loads(changed["payload"].read())["version"] == 1
        delta = await device.expect(Publish)
        assert json.loads(delta.payload)["state"] == {"pump": "on"}
        await call(cloud.update_thing_shadow, shadowName="config", payload=wanted)
        stale = json.dumps({"state": {}, "version": 7}).encode()
        with pytest.raises(cloud.exceptions.ConflictException):
            await call(cloud.update_thing_shadow, payload=stale)
        with pytest.raises(cloud.exceptions.InvalidRequestException):
            await call(cloud.update_thing_shadow, payload=b"no json")
        found = await call(cloud.get_thing_shadow)
        assert json.loads(found["payload"].read())["state"] == {"desired": {"pump": "on"}, "delta": {"pump": "on"}}
        assert (await call(cloud.list_named_shadows_for_thing))["results"] == ["config"]
        await call(cloud.delete_thing_shadow, shadowName="config")
        assert (await call(cloud.list_named_shadows_for_thing))["results"] == []
        cloud.close()
        await device.close()


async def test_rights_to_shadows(certificates: Certificates) -> None:
    async with Standin(policies=True) as standin:
        await standin.start_web(tls=certificates.server)
        register(standin, certificates, document(statement("iot:GetThingShadow", "thing/edge-1")))

        async def status(path: str, method: str = "GET") -> int:
            url = f"https://localhost:{standin.web_port}{path}"
            return (await fetch(url, context(certificates), method=method, body=None))[0]

        assert await status("/things/edge-1/shadow") == 404
        assert await status("/things/edge-1/shadow?name=x") == 403
        assert await status("/things/edge-1/shadow", "DELETE") == 403
        assert await status("/things/edge-2/shadow") == 403
        assert await status("/api/things/shadow/ListNamedShadowsForThing/edge-1") == 403
        assert await status("/things/edge-1/shadow", "PATCH") == 404
