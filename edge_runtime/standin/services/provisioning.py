"""Fleet provisioning: certificates for devices, and things by template.

    $aws/certificates/create-from-csr/{json|cbor}                 a certificate for a key that stays on the device
    $aws/certificates/create/{json|cbor}                          a certificate and its key
    $aws/provisioning-templates/<template>/provision/{json|cbor}  a thing for it
    .../accepted, .../rejected                                    answers, to the client that asked alone

Sources: AWS IoT developer guide, "Device provisioning MQTT API", "Pre-provisioning hooks" and "Provisioning by
claim". AWS lists no error codes; InvalidCertificateOwnershipToken has been seen, the others are ours.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from edge_runtime.errors import ConfigError, NotFoundError
from edge_runtime.plugin import nearest
from edge_runtime.standin.broker import Broker
from edge_runtime.standin.certs import Authority
from edge_runtime.standin.packets import Publish
from edge_runtime.standin.registry import ACCOUNT, REGION, Registry, Status, Template, Thing
from edge_runtime.standin.services import cbor, templates
from edge_runtime.standin.services.messages import Tree, read, write
from edge_runtime.standin.services.templates import Plan

_log = logging.getLogger(__name__)
TOKEN_S: Final = 3600
"""How long an ownership token, and a certificate that no thing has, is good for."""
CLAIM_S: Final = 300
"""How long a provisioning claim holds."""
Hook = Callable[[Tree], Mapping[str, object]]
"""A pre-provisioning hook: gets AWS's event, returns `{"allowProvisioning": True, "parameterOverrides": {...}}`."""
_CREATE: Final = re.compile(r"\$aws/certificates/(create|create-from-csr)/(json|cbor)")
_PROVISION: Final = re.compile(r"\$aws/provisioning-templates/([^/]+)/provision/(json|cbor)", re.DOTALL)
_SECOND_NS: Final = 1_000_000_000


class RefusalError(Exception):
    """Why a request is refused, as AWS tells it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class Claim:
    """A certificate for provisioning, and nothing else, for five minutes."""

    certificate_id: str
    certificate: str
    key: str
    expires_s: float


class _Asked(NamedTuple):
    topic: str
    client_id: str
    is_cbor: bool
    payload: bytes


class Provisioning:
    """Fleet provisioning of an account. Put it into `Broker.services`, and close it.

    `authority` is asked for once, when the first certificate is to be made. `hooks` are by the name of the template.
    """

    def __init__(self, broker: Broker, registry: Registry, authority: Callable[[], Authority]) -> None:
        self.hooks: dict[str, Hook] = {}
        self._broker = broker
        self._registry = registry
        self._make_authority = authority
        self._authority: Authority | None = None
        self._tokens: dict[str, tuple[str, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    # --- devices ---

    def serves(self, topic: str) -> bool:
        """Tell whether a topic is that of a request."""
        return bool(_CREATE.fullmatch(topic) or _PROVISION.fullmatch(topic))

    def take(self, request: Publish, client_id: str) -> None:
        """Carry out a request. One that needs a certificate made is answered in a later turn."""
        asked = _Asked(request.topic, client_id, request.topic.endswith("/cbor"), request.payload)
        if found := _PROVISION.fullmatch(request.topic):
            template = found[1]
            self._answer(asked, lambda: self._register(template, client_id, _parsed(asked)))
            return
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._certify(asked), name=f"standin.provisioning[{client_id}]")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _answer(self, asked: _Asked, work: Callable[[], Tree]) -> None:
        """Answer a request with what `work` returns, or with its refusal. Call it in a turn."""
        try:
            outcome, answer = "accepted", work()
        except RefusalError as refusal:
            outcome = "rejected"
            answer = {"statusCode": refusal.status, "errorCode": refusal.code, "errorMessage": str(refusal)}
        payload = cbor.encode(answer) if asked.is_cbor else write(answer)
        self._broker.answer(asked.client_id, f"{asked.topic}/{outcome}", payload)

    async def _certify(self, asked: _Asked) -> None:
        try:
            pem, key = await self._make(asked)
        except RefusalError as error:
            refusal = error  # the name of an except clause ends with it

            def work() -> Tree:
                raise refusal
        else:

            def work() -> Tree:
                return self._own(pem, key)

        with self._broker.turn():
            self._answer(asked, work)

    async def _make(self, asked: _Asked) -> tuple[str, str]:
        found = _CREATE.fullmatch(asked.topic)
        if found is not None and found[1] == "create":
            return await self._issue()
        request = _parsed(asked).get("certificateSigningRequest")
        if not isinstance(request, str) or not request.strip():
            raise RefusalError(
                "InvalidCertificateSigningRequest", "certificateSigningRequest must be a text in PEM form"
            )
        authority = await self._ready()
        try:
            return await asyncio.to_thread(authority.sign, request), ""
        except (ConfigError, UnicodeError) as error:
            raise RefusalError("InvalidCertificateSigningRequest", f"the request cannot be signed: {error}") from None

    async def _issue(self) -> tuple[str, str]:
        authority = await self._ready()
        try:
            return await asyncio.to_thread(authority.issue)
        except ConfigError as error:
            _log.error("a certificate cannot be made: %s", error)
            raise RefusalError("InternalFailure", f"a certificate cannot be made: {error}", 500) from None

    async def _ready(self) -> Authority:
        """Return the CA, made by the first who needs it."""
        async with self._turn:
            if self._authority is None:
                try:
                    self._authority = await asyncio.to_thread(self._make_authority)
                except ConfigError as error:
                    _log.error("there is no CA: %s", error)
                    raise RefusalError("InternalFailure", f"there is no CA: {error}", 500) from None
            return self._authority

    def _own(self, pem: str, key: str) -> Tree:
        """Register a certificate that is to be provisioned, and return what its owner gets."""
        now = self._now()
        for token, (certificate_id, at) in list(self._tokens.items()):
            if now - at >= TOKEN_S:
                del self._tokens[token]
                known = self._registry.certificate(certificate_id)
                if known is not None and known.status is Status.INACTIVE:
                    self._registry.forget_certificate(certificate_id)
        certificate = self._registry.register(pem, status=Status.INACTIVE)
        token = secrets.token_urlsafe(96)
        self._tokens[token] = (certificate.id, now)
        answer = {"certificateId": certificate.id, "certificatePem": pem, "certificateOwnershipToken": token}
        return {**answer, "privateKey": key} if key else answer

    # --- registering ---

    def _register(self, name: str, client_id: str, request: Tree) -> Tree:
        certificate_id, token = self._owned(request)
        parameters = _texts(request.get("parameters"), "parameters")
        template = self._template(name)
        if (hook := self.hooks.get(name)) is not None:
            parameters |= self._ask(hook, name, {**self._event(certificate_id), "clientId": client_id}, parameters)
        try:
            plan = templates.plan(template.body, parameters, certificate_id=certificate_id)
            thing = self._apply(plan, certificate_id)
        except NotFoundError as error:
            raise RefusalError("ResourceNotFound", str(error), 404) from None
        except ConfigError as error:
            raise RefusalError("InvalidParameters", str(error)) from None
        del self._tokens[token]
        answer: dict[str, object] = {"deviceConfiguration": plan.configuration}
        return answer if thing is None else {**answer, "thingName": thing.name}

    def _owned(self, request: Tree) -> tuple[str, str]:
        token = request.get("certificateOwnershipToken")
        if not isinstance(token, str) or not token:
            raise RefusalError("InvalidCertificateOwnershipToken", "Certificate ownership token cannot be empty.")
        certificate_id, at = self._tokens.get(token, ("", 0.0))
        if not certificate_id or self._now() - at >= TOKEN_S or self._registry.certificate(certificate_id) is None:
            raise RefusalError("InvalidCertificateOwnershipToken", "Certificate ownership token is not valid.")
        return certificate_id, token

    def _template(self, name: str) -> Template:
        found = self._registry.templates.get(name)
        if found is None:
            words = f"there is no template {name!r}{nearest(name, self._registry.templates)}"
            raise RefusalError("ResourceNotFound", words, 404)
        if not found.enabled:
            raise RefusalError("InvalidRequest", f"template {name!r} is not enabled")
        return found

    def _event(self, certificate_id: str) -> dict[str, object]:
        found = self._registry.certificate(certificate_id)
        return {"certificateId": certificate_id, "certificatePem": found.pem if found else ""}

    def _ask(self, hook: Hook, name: str, event: Tree, parameters: Mapping[str, str]) -> dict[str, str]:
        arn = f"arn:aws:iot:{REGION}:{ACCOUNT}:provisioningtemplate/{name}"
        try:
            answer = hook({**event, "templateArn": arn, "parameters": dict(parameters)})
            allowed, overrides = answer["allowProvisioning"], answer.get("parameterOverrides")
        except Exception as error:  # the hook is anybody's; AWS refuses too when its function fails
            _log.warning("the pre-provisioning hook of template %r failed: %r", name, error)
            raise RefusalError("InternalFailure", "the pre-provisioning hook failed", 500) from error
        if allowed is not True:
            raise RefusalError("AccessDenied", "the pre-provisioning hook does not allow it", 403)
        return _texts(overrides, "parameterOverrides")

    def _apply(self, plan: Plan, certificate_id: str) -> Thing | None:
        registry = self._registry
        for policy in plan.policies:
            if policy not in registry.policies:
                raise NotFoundError(f"there is no policy {policy!r}{nearest(policy, registry.policies)}")
        thing = plan.thing
        if thing is not None:
            thing = _merged(registry.things.get(thing.name), thing, plan.overrides)
        for policy, document in plan.documents.items():
            registry.put_policy(policy, document)
        if thing is not None:
            registry.put_thing(thing)
            registry.attach_thing(certificate_id, thing.name)
        for policy in (*plan.policies, *plan.documents):
            registry.attach_policy(certificate_id, policy)
        registry.set_status(certificate_id, plan.status)
        return thing

    def _now(self) -> float:
        return self._broker.now.wall_ns / _SECOND_NS

    # --- people ---

    def put_template(self, name: str, body: Tree, *, enabled: bool = True) -> None:
        """Add a template, or replace the one of its name. Raises: ConfigError for one that AWS would not take."""
        if not templates.NAME.fullmatch(name):
            raise ConfigError(f"{name!r} is no name of a template; allowed: 1 to 36 letters, digits, _ and -")
        templates.check(body)
        self._registry.put_template(Template(name, body, enabled))

    async def create_claim(self, template: str) -> Claim:
        """Return a provisioning claim: what `aws iot create-provisioning-claim` gives to a trusted user.

        Raises: NotFoundError for a template that is not there, ConfigError when there is no `openssl`.
        """
        known = self._registry.templates
        if template not in known:
            raise NotFoundError(f"there is no template {template!r}{nearest(template, known)}")
        try:
            pem, key = await self._issue()
        except RefusalError as error:
            raise ConfigError(str(error)) from error
        self._broker.begin()
        expires = self._now() + CLAIM_S
        policy = f"claim-{template}"
        self._registry.put_policy(policy, _claim_policy(template))
        certificate = self._registry.register(pem, expires_s=expires)
        self._registry.attach_policy(certificate.id, policy)
        return Claim(certificate.id, pem, key, expires)


def _claim_policy(template: str) -> Tree:
    """Return what a claim may do: provision by its template."""
    arn = f"arn:aws:iot:{REGION}:{ACCOUNT}"
    rests = ["$aws/certificates/create/*", "$aws/certificates/create-from-csr/*"]
    rests.append(f"$aws/provisioning-templates/{template}/provision/*")
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
            {
                "Effect": "Allow",
                "Action": ["iot:Publish", "iot:Receive"],
                "Resource": [f"{arn}:topic/{rest}" for rest in rests],
            },
            {
                "Effect": "Allow",
                "Action": "iot:Subscribe",
                "Resource": [f"{arn}:topicfilter/{rest}" for rest in rests],
            },
        ],
    }


def _merged(known: Thing | None, wanted: Thing, overrides: Mapping[str, str]) -> Thing:
    """Return the thing as it is to be. Raises: ConfigError where a template says FAIL."""
    if known is None:
        return wanted
    changes: dict[str, object] = {}
    for name, key in (("attributes", "AttributePayload"), ("groups", "ThingGroups"), ("type", "ThingTypeName")):
        before, after = getattr(known, name), getattr(wanted, name)
        match overrides.get(key, "DO_NOTHING"):
            case "FAIL" if before != after:
                raise ConfigError(f"thing {known.name!r} is there with another {key}")
            case "REPLACE":
                changes[name] = after
            case "MERGE" if name == "attributes":
                changes[name] = {**before, **after}
            case "MERGE" if name == "groups":
                changes[name] = tuple(dict.fromkeys((*before, *after)))
            case _:
                changes[name] = before
    return replace(known, **changes)  # type: ignore[arg-type] # the fields of one Thing go into another


def _parsed(asked: _Asked) -> Tree:
    try:
        found = cbor.decode(asked.payload) if asked.is_cbor and asked.payload else read(asked.payload)
        json.dumps(found)
    except (ValueError, TypeError, RecursionError) as error:
        raise RefusalError("InvalidPayload", f"the request cannot be read: {error}") from None
    if not isinstance(found, Mapping):
        raise RefusalError("InvalidPayload", "the request is no object")
    return found


def _texts(found: object, what: str) -> dict[str, str]:
    if found is None:
        return {}
    if not isinstance(found, Mapping) or not all(isinstance(one, str) for one in found.values()):
        raise RefusalError("InvalidParameters", f"{what} must be an object of texts")
    return dict(found)
