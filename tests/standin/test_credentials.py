"""The credentials endpoint over mutual TLS, with AWS's answers."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
import ssl
from collections.abc import AsyncIterator

import pytest

from edge_runtime.clock import FakeClock
from edge_runtime.standin.certs import Certificates
from edge_runtime.standin.registry import RoleAlias, Status
from edge_runtime.standin.server import Standin
from tests.standin.secure import context, document, fetch, register, statement

ALIAS = "edge-runtime"
POLICY = document(statement("iot:AssumeRoleWithCertificate", f"rolealias/{ALIAS}"))


class Endpoint:
    """A stand-in that gives credentials."""

    def __init__(self, standin: Standin, certificates: Certificates) -> None:
        self.standin = standin
        self.certificates = certificates

    async def ask(
        self, alias: str = ALIAS, *, thing: str = "", path: str = "", method: str = "GET"
    ) -> tuple[int, object]:
        """Ask for credentials; return the status and what the body says."""
        url = f"https://localhost:{self.standin.credentials_port}{path or f'/role-aliases/{alias}/credentials'}"
        headers = {"x-amzn-iot-thingname": thing} if thing else {}
        status, _, body = await fetch(url, context(self.certificates), method=method, headers=headers)
        return status, json.loads(body)


@pytest.fixture
async def endpoint(certificates: Certificates) -> AsyncIterator[Endpoint]:
    async with Standin(policies=True, clock=FakeClock(1_700_000_000)) as standin:
        await standin.start_credentials("127.0.0.1", 0, certificates.server)
        standin.registry.put_role_alias(RoleAlias(ALIAS, "arn:aws:iam::123456789012:role/edge", 900))
        yield Endpoint(standin, certificates)


async def test_keys_in_the_shape_of_aws(endpoint: Endpoint) -> None:
    register(endpoint.standin, endpoint.certificates, POLICY, "edge-1")
    status, found = await endpoint.ask(thing="edge-1")
    assert status == 200
    assert isinstance(found, dict)
    keys = found["credentials"]
    assert list(keys) == ["accessKeyId", "secretAccessKey", "sessionToken", "expiration"]
    assert re.fullmatch("ASIA[A-Z2-7]{16}", keys["accessKeyId"])
    assert len(keys["secretAccessKey"]) == 40
    assert len(keys["sessionToken"]) == 400
    end = dt.datetime.fromtimestamp(1_700_000_000 + 900, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert keys["expiration"] == end
    assert (await endpoint.ask())[0] == 200
    assert endpoint.standin.counts["credentials"] == 2


async def test_what_is_denied_and_in_which_words(endpoint: Endpoint) -> None:
    async def message(alias: str = ALIAS, thing: str = "") -> tuple[int, object]:
        status, found = await endpoint.ask(alias, thing=thing)
        assert isinstance(found, dict)
        return status, found["message"]

    assert await message() == (403, "Certificate is invalid on this endpoint")
    known = register(endpoint.standin, endpoint.certificates, POLICY, "edge-1")
    assert await message(thing="other") == (403, "Invalid thing name passed")
    assert await message("other") == (403, "Access Denied")
    register(endpoint.standin, endpoint.certificates, document(statement("iot:*", "rolealias/*")))
    assert await message("other") == (404, "Role alias does not exist")
    endpoint.standin.registry.set_status(known.id, Status.INACTIVE)
    assert await message() == (403, "Certificate is invalid on this endpoint")
    assert endpoint.standin.counts["credentials_denied"] == 5
    assert (await endpoint.ask(path="/elsewhere"))[0] == 404
    assert (await endpoint.ask(method="POST"))[0] == 404


async def test_thing_variables_are_for_mqtt_only(endpoint: Endpoint) -> None:
    policy = document(statement("iot:AssumeRoleWithCertificate", "rolealias/${iot:Connection.Thing.ThingName}"))
    register(endpoint.standin, endpoint.certificates, policy, ALIAS)
    assert (await endpoint.ask(thing=ALIAS))[0] == 403


async def test_without_policies_any_certificate_of_the_ca_will_do(certificates: Certificates) -> None:
    async with Standin() as standin:
        await standin.start_credentials("127.0.0.1", 0, certificates.server)
        standin.registry.put_role_alias(RoleAlias(ALIAS, "arn", 900))
        assert (await Endpoint(standin, certificates).ask(thing="any"))[0] == 200
        with pytest.raises((ssl.SSLError, OSError)):
            await fetch(f"https://localhost:{standin.credentials_port}/", context(certificates, own=False))


async def test_it_can_fail_be_slow_and_be_gone(endpoint: Endpoint) -> None:
    register(endpoint.standin, endpoint.certificates, POLICY)
    faults = endpoint.standin.faults
    faults.break_credentials(500)
    assert await endpoint.ask() == (500, {"message": "Internal Failure"})
    faults.break_credentials(seconds=5)
    slow = asyncio.create_task(endpoint.ask())
    clock = endpoint.standin.broker.clock
    assert isinstance(clock, FakeClock)
    await endpoint.standin.until(lambda: endpoint.standin.counts["credentials_asked"] == 2)
    await clock.advance(4.9)
    assert endpoint.standin.counts["credentials"] == 0
    await clock.advance(0.2)
    assert (await slow)[0] == 200
    faults.break_credentials(down=True)
    with pytest.raises(OSError, match="refused"):
        await endpoint.ask()
    faults.clear()
    assert (await endpoint.ask())[0] == 200
