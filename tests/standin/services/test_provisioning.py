"""Fleet provisioning, as a device and as people see it. The CA here only pretends to be one."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError, NotFoundError
from edge_runtime.standin.certs import Authority
from edge_runtime.standin.registry import Registry, Status, Template, Thing, id_of_pem
from edge_runtime.standin.services import cbor
from edge_runtime.standin.services.provisioning import Provisioning
from tests.standin.harness import Bench
from tests.standin.services.talk import NOW, Device, Message, Tree, device
from tests.standin.services.test_templates import BODY

CSR = "$aws/certificates/create-from-csr/json"
KEYS = "$aws/certificates/create/json"
REGISTER = "$aws/provisioning-templates/fleet/provision/json"
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}


class FakeAuthority:
    """Signs what begins with "good"; a certificate is any bytes."""

    def __init__(self, error: str = "") -> None:
        self._error = error

    def sign(self, request: str) -> str:
        """Sign."""
        if not request.startswith("good"):
            raise ConfigError("this is no request")
        return self.issue()[0]

    def issue(self) -> tuple[str, str]:
        """Make both."""
        if self._error:
            raise ConfigError(self._error)
        data = base64.b64encode(secrets.token_bytes(30)).decode()
        return f"-----BEGIN CERTIFICATE-----\n{data}\n-----END CERTIFICATE-----\n", "a key"


def setting(error: str = "") -> tuple[Bench, Provisioning, Device]:
    bench = Bench()
    registry = Registry()
    provisioning = Provisioning(bench.broker, registry, lambda: cast("Authority", FakeAuthority(error)))
    bench.broker.services.append(provisioning)
    registry.put_policy("device", POLICY)
    registry.put_template(Template("fleet", BODY))
    return bench, provisioning, device(bench, client_id="claim-1")


def registry_of(provisioning: Provisioning) -> Registry:
    return provisioning._registry


async def ask(provisioning: Provisioning, edge: Device, topic: str, request: object = None) -> Message:
    """Ask, and return the one answer once it is there."""
    found = edge.ask(topic, request)
    while not found:
        await asyncio.gather(*provisioning._tasks)
        found = edge.heard()
    (only,) = found
    return only


async def token(provisioning: Provisioning, edge: Device) -> tuple[str, str]:
    """Return a certificate id and its ownership token."""
    _, made = await ask(provisioning, edge, CSR, {"certificateSigningRequest": "good"})
    return str(made["certificateId"]), str(made["certificateOwnershipToken"])


async def test_a_certificate_for_a_key_of_the_device() -> None:
    _, provisioning, edge = setting()
    topic, made = await ask(provisioning, edge, CSR, {"certificateSigningRequest": "good one"})
    assert topic == f"{CSR}/accepted"
    assert set(made) == {"certificateId", "certificatePem", "certificateOwnershipToken"}
    assert made["certificateId"] == id_of_pem(str(made["certificatePem"]))
    found = registry_of(provisioning).certificates[str(made["certificateId"])]
    assert found.status is Status.INACTIVE


async def test_a_certificate_with_its_key() -> None:
    _, provisioning, edge = setting()
    topic, made = await ask(provisioning, edge, KEYS)
    assert (topic, made["privateKey"]) == (f"{KEYS}/accepted", "a key")


async def test_a_thing_is_registered_by_template() -> None:
    _, provisioning, edge = setting()
    certificate_id, owned = await token(provisioning, edge)
    request = {"certificateOwnershipToken": owned, "parameters": {"SerialNumber": "7"}}
    assert await ask(provisioning, edge, REGISTER, request) == (
        f"{REGISTER}/accepted",
        {"deviceConfiguration": {"url": "https://north.example.org/edge-7"}, "thingName": "edge-7"},
    )
    registry = registry_of(provisioning)
    assert registry.thing_of(certificate_id) == Thing("edge-7", {"site": "north"}, ("edge", "north"), "gateway")
    assert registry.policies_of(certificate_id) == (POLICY,)
    assert registry.certificates[certificate_id].status is Status.ACTIVE
    # A token is for one thing.
    _, refused = await ask(provisioning, edge, REGISTER, request)
    assert refused["errorCode"] == "InvalidCertificateOwnershipToken"


async def test_a_token_holds_for_an_hour() -> None:
    bench, provisioning, edge = setting()
    certificate_id, owned = await token(provisioning, edge)
    await bench.clock.advance(3600)
    request = {"certificateOwnershipToken": owned, "parameters": {"SerialNumber": "7"}}
    _, refused = await ask(provisioning, edge, REGISTER, request)
    assert refused == {
        "statusCode": 400,
        "errorCode": "InvalidCertificateOwnershipToken",
        "errorMessage": "Certificate ownership token is not valid.",
    }
    await token(provisioning, edge)  # the next one clears up
    assert registry_of(provisioning).certificate(certificate_id) is None


@pytest.mark.parametrize(
    ("topic", "request_", "status", "code"),
    [
        (CSR, b"{", 400, "InvalidPayload"),
        (CSR, b"\xff", 400, "InvalidPayload"),
        (CSR, {}, 400, "InvalidCertificateSigningRequest"),
        (CSR, {"certificateSigningRequest": 1}, 400, "InvalidCertificateSigningRequest"),
        (CSR, {"certificateSigningRequest": "bad"}, 400, "InvalidCertificateSigningRequest"),
        (REGISTER, b"[]", 400, "InvalidPayload"),
        (REGISTER, {}, 400, "InvalidCertificateOwnershipToken"),
        (REGISTER, {"certificateOwnershipToken": "x"}, 400, "InvalidCertificateOwnershipToken"),
        (REGISTER, {"certificateOwnershipToken": ["x"]}, 400, "InvalidCertificateOwnershipToken"),
        (REGISTER, {"certificateOwnershipToken": "TOKEN", "parameters": 1}, 400, "InvalidParameters"),
        (REGISTER, {"certificateOwnershipToken": "TOKEN", "parameters": {"SerialNumber": 1}}, 400, "InvalidParameters"),
        (REGISTER, {"certificateOwnershipToken": "TOKEN"}, 400, "InvalidParameters"),
        (
            REGISTER,
            {"certificateOwnershipToken": "TOKEN", "parameters": {"SerialNumber": "a b"}},
            400,
            "InvalidParameters",
        ),
        (REGISTER.replace("fleet", "fleat"), {"certificateOwnershipToken": "TOKEN"}, 404, "ResourceNotFound"),
        (REGISTER.replace("fleet", "off"), {"certificateOwnershipToken": "TOKEN"}, 400, "InvalidRequest"),
    ],
)
async def test_what_is_wrong_is_rejected(topic: str, request_: object, status: int, code: str) -> None:
    _, provisioning, edge = setting()
    registry_of(provisioning).put_template(Template("off", BODY, enabled=False))
    if isinstance(request_, dict) and request_.get("certificateOwnershipToken") == "TOKEN":
        request_ = {**request_, "certificateOwnershipToken": (await token(provisioning, edge))[1]}
    where, answer = await ask(provisioning, edge, topic, request_)
    assert (where, answer["statusCode"], answer["errorCode"]) == (f"{topic}/rejected", status, code)
    assert answer["errorMessage"]
    assert registry_of(provisioning).things == {}


async def test_a_certificate_that_was_removed_or_activated_meanwhile() -> None:
    bench, provisioning, edge = setting()
    registry = registry_of(provisioning)
    removed, owned = await token(provisioning, edge)
    activated, _ = await token(provisioning, edge)
    registry.forget_certificate(removed)
    registry.set_status(activated, Status.ACTIVE)
    _, answer = await ask(provisioning, edge, REGISTER, {"certificateOwnershipToken": owned})
    assert answer["errorCode"] == "InvalidCertificateOwnershipToken"
    await bench.clock.advance(3600)
    await token(provisioning, edge)
    assert registry.certificate(activated) is not None


async def test_a_policy_that_is_not_there() -> None:
    _, provisioning, edge = setting()
    _, owned = await token(provisioning, edge)
    del registry_of(provisioning).policies["device"]
    request = {"certificateOwnershipToken": owned, "parameters": {"SerialNumber": "7"}}
    _, answer = await ask(provisioning, edge, REGISTER, request)
    assert (answer["statusCode"], answer["errorMessage"]) == (404, "there is no policy 'device'")
    assert registry_of(provisioning).things == {}


async def test_without_openssl_the_fault_is_on_this_side() -> None:
    _, provisioning, edge = setting("there is no openssl")
    _, answer = await ask(provisioning, edge, KEYS)
    assert (answer["statusCode"], answer["errorCode"]) == (500, "InternalFailure")
    assert "there is no openssl" in str(answer["errorMessage"])


async def test_a_ca_that_cannot_be_made_is_tried_again() -> None:
    bench = Bench()
    errors = [ConfigError("not yet")]

    def make() -> Authority:
        if errors:
            raise errors.pop()
        return cast("Authority", FakeAuthority())

    provisioning = Provisioning(bench.broker, Registry(), make)
    bench.broker.services.append(provisioning)
    edge = device(bench)
    assert (await ask(provisioning, edge, KEYS))[1]["errorMessage"] == "there is no CA: not yet"
    assert (await ask(provisioning, edge, KEYS))[0] == f"{KEYS}/accepted"


async def test_cbor_is_answered_in_cbor() -> None:
    bench, provisioning, _ = setting()
    client = bench.connect("small")
    topic = CSR.replace("json", "cbor")
    client.publish(topic, cbor.encode({"certificateSigningRequest": "good"}))
    await asyncio.gather(*provisioning._tasks)
    ((where, payload),) = client.messages()
    made = cast("dict[str, str]", cbor.decode(payload))
    assert where == f"{topic}/accepted"
    request = {"certificateOwnershipToken": made["certificateOwnershipToken"], "parameters": {"SerialNumber": "7"}}
    client.publish(REGISTER.replace("json", "cbor"), b"")
    client.publish(REGISTER.replace("json", "cbor"), cbor.encode({**request, "parameters": {"SerialNumber": b"7"}}))
    client.publish(REGISTER.replace("json", "cbor"), cbor.encode(request))
    # What came with the acknowledgements was handed back by `publish`; the last answer is the accepted one.
    assert list(registry_of(provisioning).things) == ["edge-7"]


# --- hooks ---


async def test_a_hook_may_change_parameters() -> None:
    _, provisioning, edge = setting()
    events: list[Tree] = []

    def hook(event: Tree) -> Mapping[str, object]:
        events.append(event)
        return {"allowProvisioning": True, "parameterOverrides": {"Site": "south"}}

    provisioning.hooks["fleet"] = hook
    certificate_id, owned = await token(provisioning, edge)
    request = {"certificateOwnershipToken": owned, "parameters": {"SerialNumber": "7"}}
    _, answer = await ask(provisioning, edge, REGISTER, request)
    assert answer["deviceConfiguration"] == {"url": "https://south.example.org/edge-7"}
    pem = registry_of(provisioning).certificates[certificate_id].pem
    assert events == [
        {
            "certificateId": certificate_id,
            "certificatePem": pem,
            "clientId": "claim-1",
            "templateArn": "arn:aws:iot:eu-west-1:123456789012:provisioningtemplate/fleet",
            "parameters": {"SerialNumber": "7"},
        }
    ]


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        ({"allowProvisioning": False}, 403, "AccessDenied"),
        ({"allowProvisioning": "yes"}, 403, "AccessDenied"),
        ({}, 500, "InternalFailure"),
        (None, 500, "InternalFailure"),
        ({"allowProvisioning": True, "parameterOverrides": [1]}, 400, "InvalidParameters"),
    ],
)
async def test_a_hook_that_does_not_allow_it(answer: Any, status: int, code: str) -> None:  # noqa: ANN401 - anything
    _, provisioning, edge = setting()
    provisioning.hooks["fleet"] = lambda _: answer
    _, owned = await token(provisioning, edge)
    request = {"certificateOwnershipToken": owned, "parameters": {"SerialNumber": "7"}}
    _, refused = await ask(provisioning, edge, REGISTER, request)
    assert (refused["statusCode"], refused["errorCode"]) == (status, code)
    # The token is still good.
    del provisioning.hooks["fleet"]
    assert (await ask(provisioning, edge, REGISTER, request))[0] == f"{REGISTER}/accepted"


# --- things that are there already ---


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, Thing("edge-7", {"old": "1"}, ("old",), "old")),
        ({"AttributePayload": "MERGE", "ThingGroups": "MERGE", "ThingTypeName": "REPLACE"},
         Thing("edge-7", {"old": "1", "site": "north"}, ("old", "edge", "north"), "gateway")),
        ({"AttributePayload": "REPLACE", "ThingGroups": "REPLACE"},
         Thing("edge-7", {"site": "north"}, ("edge", "north"), "old")),
        ({"ThingGroups": "FAIL"}, None),
    ],
)  # fmt: skip
async def test_override_settings(overrides: dict[str, str], expected: Thing | None) -> None:
    _, provisioning, edge = setting()
    registry = registry_of(provisioning)
    body = json.loads(json.dumps(BODY))
    body["Resources"]["thing"]["OverrideSettings"] = overrides
    registry.put_template(Template("fleet", body))
    before = registry.put_thing(Thing("edge-7", {"old": "1"}, ("old",), "old"))
    _, owned = await token(provisioning, edge)
    request = {"certificateOwnershipToken": owned, "parameters": {"SerialNumber": "7"}}
    topic, _ = await ask(provisioning, edge, REGISTER, request)
    assert topic == f"{REGISTER}/{'accepted' if expected else 'rejected'}"
    assert registry.things["edge-7"] == (expected or before)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([REGISTER, REGISTER.replace("json", "cbor"), REGISTER.replace("fleet", "other")]),
    st.binary(max_size=40) | st.sampled_from([b"{}", b'{"certificateOwnershipToken":"x","parameters":{"a":1}}']),
)
def test_every_request_to_register_gets_one_answer(topic: str, payload: bytes) -> None:
    bench, _, edge = setting()
    before = bench.broker.counts["delivered"]
    edge.client.publish(topic, payload)
    assert bench.broker.counts["delivered"] == before + 1


# --- people ---


async def test_a_claim_is_for_its_template_and_five_minutes() -> None:
    _, provisioning, _ = setting()
    claim = await provisioning.create_claim("fleet")
    found = registry_of(provisioning).certificates[claim.certificate_id]
    assert (claim.expires_s, claim.key, found.policies) == (NOW + 300, "a key", ("claim-fleet",))
    assert (found.is_usable(NOW + 299), found.is_usable(NOW + 300)) == (True, False)
    assert "provisioning-templates/fleet/provision/*" in json.dumps(registry_of(provisioning).policies["claim-fleet"])
    with pytest.raises(NotFoundError, match="there is no template 'fleat'; did you mean 'fleet'"):
        await provisioning.create_claim("fleat")


async def test_a_claim_without_openssl() -> None:
    _, provisioning, _ = setting("there is no openssl")
    with pytest.raises(ConfigError, match="there is no openssl"):
        await provisioning.create_claim("fleet")


def test_templates_are_checked_when_they_are_put() -> None:
    _, provisioning, _ = setting()
    with pytest.raises(ConfigError, match="'a b' is no name of a template"):
        provisioning.put_template("a b", BODY)
    with pytest.raises(ConfigError, match="needs a resource"):
        provisioning.put_template("empty", {})
    provisioning.put_template("other", BODY, enabled=False)
    assert registry_of(provisioning).templates["other"] == replace(Template("other", BODY), enabled=False)


async def test_closing_ends_what_is_under_way() -> None:
    _, provisioning, edge = setting()
    edge.ask(KEYS)
    assert len(provisioning._tasks) == 1
    await provisioning.close()
    assert not provisioning._tasks
