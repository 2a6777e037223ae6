"""What a connection may do, by its certificate and its client id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from edge_runtime.standin.access import Access, Caller, Identity, Thing, admit, caller_of, certificate_id
from edge_runtime.standin.policies import Policy

ID = "c" * 64


def policies(*statements: dict[str, object]) -> list[Policy]:
    return [Policy.parse({"Version": "2012-10-17", "Statement": list(statements)}, anywhere=True)]


def allow(action: str | list[str], *resources: str, **more: object) -> dict[str, object]:
    found = [f"arn:aws:iot:REGION:ACCOUNT:{one}" for one in resources]
    return {"Effect": "Allow", "Action": action, "Resource": found, **more}


DEVICE = policies(
    allow(
        "iot:Connect",
        "client/${iot:Connection.Thing.ThingName}",
        Condition={"Bool": {"iot:Connection.Thing.IsAttached": "true"}},
    ),
    allow("iot:Publish", "topic/edge/${iot:Connection.Thing.ThingName}/up/*"),
)


def access(client_id: str, *things: Thing, rights: Sequence[Policy] = DEVICE, active: bool = True) -> Access:
    return Access(Identity(ID, active, rights, things), Caller("10.0.0.1", ID, {"CommonName": "cn"}), client_id)


def test_thing_variables_need_the_client_id_to_be_the_name_of_an_attached_thing() -> None:
    one = access("edge-1", Thing("edge-0"), Thing("edge-1"))
    assert one.thing == Thing("edge-1")
    assert one.may_connect("edge-1", [], "")
    assert one.may("iot:Publish", "topic/edge/edge-1/up/x")
    assert not one.may("iot:Publish", "topic/edge/edge-0/up/x")
    other = access("edge-2", Thing("edge-1"))
    assert not other.may_connect("edge-2", [], "")
    assert not other.may("iot:Publish", "topic/edge/edge-1/up/x")


def test_with_an_exclusive_thing_the_client_id_is_free() -> None:
    one = access("any", Thing("edge-1", exclusive=True))
    assert one.may("iot:Publish", "topic/edge/edge-1/up/x")
    assert not one.may_connect("any", [], "")  # this policy wants the name of the thing there too


def test_without_a_client_id_variables_of_the_thing_have_no_value() -> None:
    assert not access("", Thing("edge-1", exclusive=True)).may("iot:Publish", "topic/edge/edge-1/up/x")


def test_an_inactive_certificate_may_do_nothing() -> None:
    assert not access("edge-1", Thing("edge-1"), active=False).may("iot:Publish", "topic/edge/edge-1/up/x")


def test_a_will_needs_the_right_to_publish_on_its_topic() -> None:
    one = access("edge-1", Thing("edge-1"))
    assert one.may_connect("edge-1", ["LastWill"], "edge/edge-1/up/gone")
    assert not one.may_connect("edge-1", ["LastWill"], "elsewhere")


def test_conditions_on_how_a_client_connects() -> None:
    rights = policies(
        allow("iot:Publish", "topic/*"),
        allow(
            "iot:Connect",
            "client/*",
            Condition={
                "ForAllValues:StringEquals": {"iot:ConnectAttributes": ["LastWill"]},
                "ArnEqualsIfExists": {"iot:LastWillTopic": "arn:aws:iot:REGION:ACCOUNT:topic/will"},
            },
        ),
    )
    one = access("c", rights=rights)
    assert one.may_connect("c", [], "")
    assert one.may_connect("c", ["LastWill"], "will")
    assert not one.may_connect("c", ["LastWill"], "other")
    assert not one.may_connect("c", ["PersistentConnect", "LastWill"], "will")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("iot:ClientId", "edge-1"),
        ("iot:CertificateId", ID),
        ("aws:SourceIp", "10.0.0.1"),
        ("iot:Certificate.Subject.CommonName", "cn"),
        ("iot:Connection.Thing.ThingTypeName", "gateway"),
        ("iot:Connection.Thing.Attributes[site]", "north"),
    ],
)
def test_what_conditions_can_ask_for(key: str, value: str) -> None:
    thing = Thing("edge-1", "gateway", {"site": "north"})
    for wanted, granted in ((value, True), ("other", False)):
        rights = policies(allow("iot:Publish", "topic/a", Condition={"StringEquals": {key: wanted}}))
        assert access("edge-1", thing, rights=rights).may("iot:Publish", "topic/a") is granted


def test_decisions_are_kept_and_not_without_end() -> None:
    one = access("c", rights=policies(allow("iot:Publish", "topic/*/even")))
    for number in range(5000):
        assert one.may("iot:Publish", f"topic/{number}/even")
        assert not one.may("iot:Publish", f"topic/{number}/odd")
    assert len(one._cache) <= 4096


class Directory:
    """One certificate."""

    def identity(self, certificate_id: str) -> Identity | None:
        """Know it or not."""
        return Identity(ID, active=True, policies=DEVICE) if certificate_id == ID else None


def test_who_is_let_in() -> None:
    assert admit(None, Caller(), "c") is None
    assert admit(Directory(), Caller(iam="AKIA"), "c") is None
    known = admit(Directory(), Caller("", ID), "c")
    assert known is not None
    assert known.identity.active
    for stranger in (Caller(), Caller("", "d" * 64), Caller("", "d" * 64, iam="AKIA")):
        unknown = admit(Directory(), stranger, "c")
        assert unknown is not None
        assert not unknown.identity.active


def test_a_caller_is_named_by_certificate_or_by_key() -> None:
    der = b"a certificate"
    one = caller_of("::1", der, {"commonName": "x", "emailAddress": "y"})
    assert one == Caller("::1", hashlib.sha256(der).hexdigest(), {"CommonName": "x"})
    assert certificate_id(der) == one.principal
    assert caller_of("", None, iam="AKIA").principal == "AKIA"
    assert Caller().principal == "anonymous"
