"""What AWS IoT knows of a fleet: things, certificates, policies, provisioning templates and role aliases.

It is data only: whether it decides who may do what is for the stand-in to say (`Standin(policies=True)`).

Limits of names: AWS General Reference, "AWS IoT Core endpoints and quotas"; defaults and states: AWS IoT API
Reference, `CreateThing`, `UpdateCertificate`, `CreateProvisioningTemplate`, `CreateRoleAlias`.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from edge_runtime.errors import ConfigError, NotFoundError
from edge_runtime.plugin import nearest
from edge_runtime.standin.policies import Policy

Tree = Mapping[str, object]
"""A JSON object."""
REGION: Final = "eu-west-1"
ACCOUNT: Final = "123456789012"
"""What ARNs say in the stand-in."""
_NAME: Final = re.compile(r"[a-zA-Z0-9:_-]{1,128}")


class Status(StrEnum):
    """Whether a certificate may be used. The other states of AWS are on the way to one of these."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    REVOKED = "REVOKED"


@dataclass(frozen=True, slots=True)
class Thing:
    """A device."""

    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    type: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """An X.509 certificate that was registered."""

    id: str
    """The SHA-256 of its DER form, 64 hexadecimal digits."""
    pem: str
    status: Status = Status.ACTIVE
    policies: tuple[str, ...] = ()
    """Names of the policies attached to it."""
    things: tuple[str, ...] = ()
    """Names of the things it is attached to. Policy variables mean the one whose name is the client id, or the only
    one where it is attached exclusively."""
    exclusive: bool = False
    """Attached as EXCLUSIVE_THING: to one thing, and client ids are free."""
    expires_s: float = 0.0
    """When it ends before its own time, as a provisioning claim does: seconds since the epoch; 0: it does not."""

    def is_usable(self, now_s: float) -> bool:
        """Tell whether a client may connect with it at a time, in seconds since the epoch."""
        return self.status is Status.ACTIVE and not 0 < self.expires_s <= now_s


@dataclass(frozen=True, slots=True)
class Template:
    """A fleet provisioning template."""

    name: str
    body: Tree
    """`{"Parameters": {...}, "Resources": {...}, "DeviceConfiguration": {...}}`, as AWS has it."""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class RoleAlias:
    """What the credentials endpoint gives keys for."""

    name: str
    role_arn: str
    duration_s: int = 3600


class Registry:
    """All of it, in memory. What is here is replaced, never changed in place.

    The dictionaries are to look at; change them by the methods, which keep them consistent.
    """

    def __init__(self) -> None:
        self.things: dict[str, Thing] = {}
        self.certificates: dict[str, Certificate] = {}
        self.policies: dict[str, Tree] = {}
        """Documents by name: `{"Version": "2012-10-17", "Statement": [...]}`."""
        self.templates: dict[str, Template] = {}
        self.role_aliases: dict[str, RoleAlias] = {}
        self.watchers: list[Callable[[], None]] = []
        """Each is called after every change."""

    # --- asking ---

    def certificate(self, certificate_id: str) -> Certificate | None:
        """Return a certificate, None when it is not registered."""
        return self.certificates.get(certificate_id)

    def thing_of(self, certificate_id: str) -> Thing | None:
        """Return the thing that a certificate is attached to, the first of several; None without one."""
        return next(iter(self.things_of(certificate_id)), None)

    def things_of(self, certificate_id: str) -> tuple[Thing, ...]:
        """Return all things that a certificate is attached to."""
        found = self.certificates.get(certificate_id)
        return () if found is None else tuple(self.things[name] for name in found.things if name in self.things)

    def policies_of(self, certificate_id: str) -> tuple[Tree, ...]:
        """Return the documents of the policies attached to a certificate."""
        found = self.certificates.get(certificate_id)
        return () if found is None else tuple(self.policies[name] for name in found.policies if name in self.policies)

    def members_of(self, group: str) -> tuple[str, ...]:
        """Return the names of the things in a group."""
        return tuple(name for name, thing in self.things.items() if group in thing.groups)

    # --- changing ---

    def put_thing(self, thing: Thing) -> Thing:
        """Add a thing, or replace the one of its name. Raises: ConfigError for a name that AWS would not take."""
        _check_name(thing.name, "a thing")
        self.things[thing.name] = thing
        self._note()
        return thing

    def put_policy(self, name: str, document: Tree) -> None:
        """Add a policy, or replace the one of its name. Raises: ConfigError for one that AWS would not take."""
        Policy.parse(document, anywhere=True)
        self.policies[name] = document
        self._note()

    def put_template(self, template: Template) -> None:
        """Add a provisioning template, or replace the one of its name."""
        self.templates[template.name] = template
        self._note()

    def put_role_alias(self, alias: RoleAlias) -> None:
        """Add a role alias, or replace the one of its name."""
        self.role_aliases[alias.name] = alias
        self._note()

    def register(self, pem: str, *, status: Status = Status.ACTIVE, expires_s: float = 0.0) -> Certificate:
        """Register a certificate and return it. One that is there already keeps what is attached to it.

        Raises: ConfigError when it is no certificate.
        """
        certificate_id = id_of_pem(pem)
        known = self.certificates.get(certificate_id, Certificate(certificate_id, pem))
        return self._put(replace(known, status=status, expires_s=expires_s))

    def set_status(self, certificate_id: str, status: Status) -> Certificate:
        """Activate, deactivate or revoke a certificate. Raises: NotFoundError."""
        return self._put(replace(self._known(certificate_id), status=status))

    def attach_policy(self, certificate_id: str, policy: str) -> Certificate:
        """Attach a policy to a certificate. Raises: NotFoundError when one of them is not there."""
        if policy not in self.policies:
            raise NotFoundError(f"there is no policy {policy!r}{nearest(policy, self.policies)}")
        known = self._known(certificate_id)
        return self._put(replace(known, policies=_with(known.policies, policy)))

    def attach_thing(self, certificate_id: str, thing: str, *, exclusive: bool = False) -> Certificate:
        """Attach a certificate to a thing. Raises: NotFoundError when one of them is not there."""
        if thing not in self.things:
            raise NotFoundError(f"there is no thing {thing!r}{nearest(thing, self.things)}")
        known = self._known(certificate_id)
        return self._put(replace(known, things=_with(known.things, thing), exclusive=exclusive))

    def forget_certificate(self, certificate_id: str) -> None:
        """Remove a certificate. Raises: NotFoundError."""
        del self.certificates[self._known(certificate_id).id]
        self._note()

    def _known(self, certificate_id: str) -> Certificate:
        found = self.certificates.get(certificate_id)
        if found is None:
            raise NotFoundError(f"there is no certificate {certificate_id!r}")
        return found

    def _put(self, certificate: Certificate) -> Certificate:
        self.certificates[certificate.id] = certificate
        self._note()
        return certificate

    def _note(self) -> None:
        for watcher in self.watchers:
            watcher()


def id_of(der: bytes) -> str:
    """Return AWS's id of a certificate, for what `ssl.SSLObject.getpeercert(binary_form=True)` gives."""
    return hashlib.sha256(der).hexdigest()


def id_of_pem(pem: str) -> str:
    """Return AWS's id of a certificate.

    Raises: ConfigError when it is no certificate.
    """
    try:
        return id_of(ssl.PEM_cert_to_DER_cert(pem.strip()))
    except ValueError as error:
        raise ConfigError(f"this is no certificate in PEM form: {error}") from None


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return names if name in names else (*names, name)


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name of {what}; allowed: 1 to 128 letters, digits, : - and _")
