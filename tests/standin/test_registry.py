"""What the registry holds, and what it does not take."""

from __future__ import annotations

import hashlib
import ssl

import pytest

from edge_runtime.errors import ConfigError, NotFoundError
from edge_runtime.standin.certs import Authority
from edge_runtime.standin.registry import (
    Certificate,
    Registry,
    RoleAlias,
    Status,
    Template,
    Thing,
    id_of,
    id_of_pem,
)

POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> str:
    return Authority(tmp_path_factory.mktemp("ca")).issue()[0]


def test_the_id_of_a_certificate_is_the_hash_of_its_der_form(pem: str) -> None:
    der = ssl.PEM_cert_to_DER_cert(pem)
    assert id_of_pem(f"\n{pem}\n") == id_of(der) == hashlib.sha256(der).hexdigest()
    with pytest.raises(ConfigError, match="this is no certificate in PEM form"):
        id_of_pem("x")


def test_what_is_attached_to_a_certificate(pem: str) -> None:
    registry = Registry()
    changes: list[int] = []
    registry.watchers.append(lambda: changes.append(len(changes)))
    thing = registry.put_thing(Thing("edge-1", {"site": "a"}, ("garden",)))
    registry.put_policy("device", POLICY)
    certificate = registry.register(pem)
    assert registry.thing_of(certificate.id) is None
    registry.attach_thing(certificate.id, "edge-1", exclusive=True)
    for _ in range(2):  # twice is once
        registry.attach_policy(certificate.id, "device")
    assert len(changes) == 6
    expected = Certificate(certificate.id, pem, Status.ACTIVE, ("device",), ("edge-1",), exclusive=True)
    assert registry.certificate(certificate.id) == expected
    assert registry.thing_of(certificate.id) == thing
    assert registry.policies_of(certificate.id) == (POLICY,)
    assert registry.members_of("garden") == ("edge-1",)
    # Registered anew it keeps what is attached.
    assert registry.register(pem, status=Status.INACTIVE).policies == ("device",)
    registry.forget_certificate(certificate.id)
    assert registry.certificate(certificate.id) is None
    assert registry.things_of(certificate.id) == ()
    assert registry.policies_of(certificate.id) == ()


@pytest.mark.parametrize(
    ("status", "expires_s", "now_s", "usable"),
    [
        (Status.ACTIVE, 0.0, 1e12, True),
        (Status.ACTIVE, 100.0, 99.9, True),
        (Status.ACTIVE, 100.0, 100.0, False),
        (Status.INACTIVE, 0.0, 0.0, False),
        (Status.REVOKED, 0.0, 0.0, False),
    ],
)
def test_when_a_certificate_is_usable(status: Status, expires_s: float, now_s: float, *, usable: bool) -> None:
    assert Certificate("id", "pem", status, expires_s=expires_s).is_usable(now_s) is usable


def test_what_is_not_there(pem: str) -> None:
    registry = Registry()
    with pytest.raises(NotFoundError, match="there is no certificate 'x'"):
        registry.set_status("x", Status.REVOKED)
    found = registry.register(pem)
    registry.put_thing(Thing("edge-1"))
    with pytest.raises(NotFoundError, match="there is no thing 'edge-2'; did you mean 'edge-1'"):
        registry.attach_thing(found.id, "edge-2")
    with pytest.raises(NotFoundError, match="there is no policy 'p'"):
        registry.attach_policy(found.id, "p")
    assert registry.set_status(found.id, Status.REVOKED).status is Status.REVOKED


def test_what_aws_would_not_take() -> None:
    registry = Registry()
    with pytest.raises(ConfigError, match="'a b' is no name of a thing"):
        registry.put_thing(Thing("a b"))
    with pytest.raises(ConfigError, match="Version"):
        registry.put_policy("p", {"Statement": []})
    assert (registry.things, registry.policies) == ({}, {})


def test_templates_and_role_aliases() -> None:
    registry = Registry()
    registry.put_template(Template("fleet", {}))
    registry.put_role_alias(RoleAlias("edge", "arn:aws:iam::123456789012:role/edge"))
    assert registry.templates["fleet"].enabled
    assert registry.role_aliases["edge"].duration_s == 3600
