"""Who a connection is, and what the policies of its certificate let it do.

The registry of things, certificates and policies is a `Directory`; a broker without one allows everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol

from edge_runtime.standin.policies import Context, Policy, decide

OnDenied = Literal["disconnect", "answer"]
"""What follows a publish or subscribe that no policy allows; AWS says that it may close the connection.

`disconnect`: it does, after the SUBACK where there is one. `answer`: MQTT 5 is told by the reason code 0x87 in the
PUBACK or SUBACK, MQTT 3.1.1 by 0x80 in the SUBACK, and the connection stays; it is closed where there is nothing to
answer with (a PUBLISH with QoS 0 or of MQTT 3.1.1).
"""
REGION: Final = "eu-west-1"
ACCOUNT: Final = "123456789012"
"""What ARNs say in the stand-in. Documents read with `Policy.parse(..., anywhere=True)` may say anything there."""
_MOST_CACHED: Final = 4096


class Thing(NamedTuple):
    """A thing of the registry that a certificate is attached to."""

    name: str
    type_name: str = ""
    attributes: Mapping[str, str] = {}
    exclusive: bool = False
    """Attached as EXCLUSIVE_THING: the client id need not be the name of the thing."""


class Identity(NamedTuple):
    """What the registry knows of a certificate at this moment."""

    certificate_id: str
    active: bool
    policies: Sequence[Policy] = ()
    things: Sequence[Thing] = ()


class Directory(Protocol):
    """The registry, as the connections need it."""

    def identity(self, certificate_id: str) -> Identity | None:
        """Return what is known of a certificate; None: it is not registered."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The far end of a connection, as TLS (or a WebSocket request) shows it."""

    ip: str = ""
    certificate_id: str = ""
    """The SHA-256 of the certificate in hex, as AWS forms the id; empty without a certificate."""
    subject: Mapping[str, str] = field(default_factory=dict)
    """`CommonName`, `Organization` and so on."""
    iam: str = ""
    """The access key of a SigV4 request, or the name of a custom authorizer: not verified, and allowed everything."""

    @property
    def principal(self) -> str:
        """How lifecycle events name it."""
        return self.certificate_id or self.iam or "anonymous"


_SUBJECT: Final = {
    "commonName": "CommonName",
    "countryName": "Country",
    "organizationName": "Organization",
    "organizationalUnitName": "OrganizationalUnit",
    "stateOrProvinceName": "State",
    "localityName": "Locality",
    "serialNumber": "SerialNumber",
}


def caller_of(ip: str, der: bytes | None, subject: Mapping[str, str] | None = None, iam: str = "") -> Caller:
    """Return the caller with that address and certificate (DER). `subject` has OpenSSL's names of its fields."""
    named = {_SUBJECT[key]: value for key, value in (subject or {}).items() if key in _SUBJECT}
    return Caller(ip, certificate_id(der) if der else "", named, iam)


def certificate_id(der: bytes) -> str:
    """Return the id that AWS IoT gives to a certificate."""
    return hashlib.sha256(der).hexdigest()


class Access:
    """The rights of one connection. Decisions are kept until the registry changes; then make a new one.

    Without a client id, over HTTP, the variables of client and thing have no value.
    """

    def __init__(self, identity: Identity, caller: Caller, client_id: str) -> None:
        self.identity = identity
        self.thing = _thing_of(identity, client_id)
        """The thing that policy variables speak of."""
        self._context = _variables(identity, caller, self.thing)
        if client_id:
            self._context["iot:ClientId"] = client_id
        self._cache: dict[tuple[str, str], bool] = {}

    def may(self, action: str, resource: str) -> bool:
        """Tell whether `action` (`iot:Publish`) on `resource` (`topic/a/b`) is allowed."""
        key = (action, resource)
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= _MOST_CACHED:
                self._cache.clear()
            found = self._cache[key] = self._decide(action, resource, {})
        return found

    def may_connect(self, client_id: str, attributes: Sequence[str], will_topic: str) -> bool:
        """Tell whether a CONNECT is allowed; `attributes` are `PersistentConnect` and `LastWill`, as they apply.

        A will also needs the right to publish on its topic.
        """
        extra: dict[str, str | Sequence[str]] = {"iot:ConnectAttributes": attributes} if attributes else {}
        if will_topic:
            extra["iot:LastWillTopic"] = _arn(f"topic/{will_topic}")
        if not self._decide("iot:Connect", f"client/{client_id}", extra):
            return False
        return not will_topic or self.may("iot:Publish", f"topic/{will_topic}")

    def _decide(self, action: str, resource: str, extra: Context) -> bool:
        if not self.identity.active:
            return False
        return decide(self.identity.policies, action, _arn(resource), {**self._context, **extra})


def admit(directory: Directory | None, caller: Caller, client_id: str) -> Access | None:
    """Return the rights of a connection; None: it may do everything.

    Everything is allowed without a directory, and to callers with IAM credentials, whose policies are not looked at.
    A certificate that is not registered, or none at all, has no rights.
    """
    if directory is None or (caller.iam and not caller.certificate_id):
        return None
    identity = directory.identity(caller.certificate_id) if caller.certificate_id else None
    return Access(identity or Identity(caller.certificate_id, active=False), caller, client_id)


def _arn(resource: str) -> str:
    return f"arn:aws:iot:{REGION}:{ACCOUNT}:{resource}"


def _thing_of(identity: Identity, client_id: str) -> Thing | None:
    """Return the thing with the client id as its name, else the one that is attached exclusively.

    AWS IoT Core developer guide, "Thing policy variables" and "Associating a thing to an MQTT client connection".
    """
    if not client_id:
        return None
    by_name = next((one for one in identity.things if one.name == client_id), None)
    return by_name or next((one for one in identity.things if one.exclusive), None)


def _variables(identity: Identity, caller: Caller, thing: Thing | None) -> dict[str, str | Sequence[str]]:
    found: dict[str, str | Sequence[str]] = {
        "iot:CertificateId": identity.certificate_id,
        "iot:Connection.Thing.IsAttached": "true" if thing else "false",
        **{f"iot:Certificate.Subject.{key}": value for key, value in caller.subject.items()},
    }
    if caller.ip:
        found["aws:SourceIp"] = caller.ip
    if thing is not None:
        found["iot:Connection.Thing.ThingName"] = thing.name
        if thing.type_name:
            found["iot:Connection.Thing.ThingTypeName"] = thing.type_name
        found |= {f"iot:Connection.Thing.Attributes[{key}]": value for key, value in thing.attributes.items()}
    return found
