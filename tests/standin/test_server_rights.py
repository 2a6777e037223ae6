"""Policies, revocation and lifecycle events on real connections with client certificates."""

from __future__ import annotations

import asyncio
import json

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.standin.access import certificate_id
from edge_runtime.standin.certs import Certificates
from edge_runtime.standin.codes import Code
from edge_runtime.standin.packets import Connack, Connect, Publish
from edge_runtime.standin.registry import Status
from edge_runtime.standin.server import Standin
from tests.mqtt import HOST, RawClient, paho
from tests.standin.secure import ALLOW_ALL, context, document, register, statement

DEVICE = document(
    statement("iot:Connect", "client/${iot:Connection.Thing.ThingName}"),
    statement("iot:Publish", "topic/edge/${iot:ClientId}/up/*"),
)


async def connect(standin: Standin, certificates: Certificates, client_id: str) -> RawClient:
    """Connect with the client's certificate; the CONNACK is kept."""
    client = await RawClient.open(standin.port, tls=context(certificates))
    client.send(Connect(client_id))
    client.connack = await client.expect(Connack)
    return client


async def test_a_device_lives_by_its_policy_until_it_is_revoked(certificates: Certificates) -> None:
    standin = Standin(policies=True)
    await standin.start(tls=certificates.server)
    async with standin:
        assert (await connect(standin, certificates, "edge-1")).connack.code == Code.NOT_AUTHORIZED
        known = register(standin, certificates, DEVICE, "edge-1")
        await asyncio.sleep(0)
        standin.broker._connects.clear()
        assert (await connect(standin, certificates, "edge-2")).connack.code == Code.NOT_AUTHORIZED
        client = await connect(standin, certificates, "edge-1")
        assert client.connack.code == 0
        await client.publish("edge/edge-1/up/a")
        standin.registry.set_status(known.id, Status.REVOKED)
        await client.closed()
        assert client.disconnect is not None
        assert client.disconnect.code == Code.NOT_AUTHORIZED
        standin.broker._connects.clear()
        assert (await connect(standin, certificates, "edge-1")).connack.code == Code.NOT_AUTHORIZED
        standin.registry.set_status(known.id, Status.ACTIVE)
        standin.broker._connects.clear()
        again = await connect(standin, certificates, "edge-1")
        again.send(Publish("elsewhere", b""))
        await again.closed()
        assert again.disconnect is not None
        assert again.disconnect.code == Code.NOT_AUTHORIZED


async def test_paho_is_turned_away_and_let_in(certificates: Certificates) -> None:
    standin = Standin(policies=True, on_denied="answer")
    await standin.start(tls=certificates.server)
    async with standin:
        register(standin, certificates, DEVICE, "edge-1")
        async with paho(standin.port, "edge-1", tls=context(certificates)) as client:
            assert await client.publish("elsewhere", b"x", 1) == Code.NOT_AUTHORIZED
            assert await client.publish("edge/edge-1/up/x", b"x", 1) == Code.NO_MATCHING_SUBSCRIBERS
            assert await client.subscribe("#", 1) == [Code.NOT_AUTHORIZED]


async def test_events_name_the_certificate_and_the_address(certificates: Certificates) -> None:
    standin = Standin(policies=True)
    await standin.start(tls=certificates.server)
    async with standin:
        known = register(standin, certificates, ALLOW_ALL)
        observer = await connect(standin, certificates, "observer")
        await observer.subscribe("$aws/events/presence/#")
        client = await connect(standin, certificates, "dev")
        event = json.loads((await observer.expect(Publish)).payload)
        assert (event["principalIdentifier"], event["ipAddress"], event["clientId"]) == (known.id, HOST, "dev")
        await client.abort()
        event = json.loads((await observer.expect(Publish)).payload)
        assert (event["eventType"], event["disconnectReason"]) == ("disconnected", "CONNECTION_LOST")
        await observer.close()


def test_the_id_of_a_certificate_is_that_of_the_registry(certificates: Certificates) -> None:
    import ssl  # noqa: PLC0415 - for this test alone

    der = ssl.PEM_cert_to_DER_cert(certificates.client.cert.read_text(encoding="utf-8"))
    assert register(Standin(), certificates, ALLOW_ALL).id == certificate_id(der)


async def test_a_policy_that_the_registry_took_unseen_denies_everything(certificates: Certificates) -> None:
    standin = Standin(policies=True)
    await standin.start(tls=certificates.server)
    async with standin:
        register(standin, certificates, ALLOW_ALL)
        standin.registry.policies["test"] = {"Version": "2012-10-17", "Statement": []}
        assert (await connect(standin, certificates, "edge-1")).connack.code == Code.NOT_AUTHORIZED


async def test_all_ports_are_given_back(certificates: Certificates) -> None:
    standin = Standin()
    await standin.start(tls=certificates.server)
    await standin.start_web(tls=certificates.server)
    await standin.start_credentials(HOST, 0, certificates.server)
    ports = (standin.port, standin.web_port, standin.credentials_port)
    assert len(set(ports)) == 3
    standin.faults.refuse()
    standin.faults.break_credentials(down=True)
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            await RawClient.open(port)
    standin.faults.clear()
    guests = [await RawClient.open(port, tls=context(certificates)) for port in ports[1:]]
    await standin.close()
    for guest in guests:
        await guest.closed()
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            await RawClient.open(port)


async def test_a_web_port_that_is_taken() -> None:
    async with Standin() as standin:
        with pytest.raises(ConfigError, match="in use"):
            await standin.start_web(port=standin.port)
