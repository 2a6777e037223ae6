"""The provisioning service of AWS IoT Core, asked over a link: two requests, each with an answer of its own topic.

Source: AWS IoT Core developer guide, "Device provisioning MQTT API".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final, Self

from edge_runtime.errors import ConfigError, LinkError, RefusedError
from edge_runtime.model import NO_HEADERS, Link

CREATE: Final = "$aws/certificates/create-from-csr/json"
_SHOWN: Final = 300
_SLOW_DOWN, _SERVER = 429, 500
_FORBIDDEN, _UNKNOWN = 403, 404


class RejectedError(ConfigError):
    """The service answered, and said no."""

    def __init__(self, message: str, *, code: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        """What AWS calls the error."""


class Registrar:
    """One conversation, on a connection of its own for as long as the block lasts."""

    def __init__(self, link: Link, template: str, timeout_s: float) -> None:
        self._link = link
        self._template = template
        self._provision = f"$aws/provisioning-templates/{template}/provision/json"
        self._timeout_s = timeout_s
        self._answers: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        """Connect and subscribe to the answers. Raises: LinkError, RefusedError."""
        topics = [f"{topic}/{end}" for topic in (CREATE, self._provision) for end in ("accepted", "rejected")]
        try:
            await self._link.connect(down=topics, received=self._received)
        except LinkError as error:
            await self._link.close()
            raise _at_the_door(error, self._template) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._link.close()

    async def certificate(self, request: str) -> tuple[str, str, str]:
        """Return id and PEM of a new certificate for a signing request, and the token that says that it is ours.

        Raises: RejectedError, LinkError.
        """
        said = await self._ask(CREATE, {"certificateSigningRequest": request})
        found = tuple(said.get(key) for key in ("certificateId", "certificatePem", "certificateOwnershipToken"))
        if not all(isinstance(part, str) and part for part in found):
            raise LinkError(f"the answer on {CREATE}/accepted has no certificate in it", hint="run the command again")
        return str(found[0]), str(found[1]), str(found[2])

    async def thing(self, token: str, parameters: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """Have the template make the thing; return its name and the device's configuration.

        Raises: RejectedError, LinkError.
        """
        said = await self._ask(self._provision, {"certificateOwnershipToken": token, "parameters": dict(parameters)})
        name, configuration = said.get("thingName"), said.get("deviceConfiguration")
        if not isinstance(name, str) or not name:
            raise ConfigError(
                f"the template {self._template!r} has made no thing",
                hint="a template needs a resource of type AWS::IoT::Thing; see deploy/iot/template.json",
            )
        return name, configuration if isinstance(configuration, dict) else {}

    async def _received(self, topic: str, payload: bytes, _properties: Mapping[str, str]) -> None:
        self._answers.put_nowait((topic, payload))

    async def _ask(self, topic: str, body: Mapping[str, object]) -> dict[str, Any]:
        asking = asyncio.create_task(self._exchange(topic, body), name="provision.ask")
        lost = asyncio.create_task(self._link.lost(), name="provision.lost")
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.wait([asking, lost], return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            raise LinkError(
                f"no answer on {topic} within {self._timeout_s:g} s", hint=_unanswered(self._template)
            ) from error
        finally:
            for task in (asking, lost):
                task.cancel()
            await asyncio.gather(asking, lost, return_exceptions=True)
        if not asking.cancelled():
            return asking.result()
        reason = lost.result()
        raise LinkError(
            f"the connection ended before the answer on {topic}: {reason}", hint=_unanswered(self._template)
        )

    async def _exchange(self, topic: str, body: Mapping[str, object]) -> dict[str, Any]:
        try:
            await self._link.publish(topic, json.dumps(body).encode(), NO_HEADERS)
        except RefusedError as error:
            raise ConfigError(
                f"the broker does not let this claim publish on {topic}: {error}",
                hint="the claim's policy must allow it; see deploy/iot/claim-policy.json",
            ) from error
        while True:
            where, payload = await self._answers.get()
            if where == f"{topic}/accepted":
                return _object(where, payload)
            if where == f"{topic}/rejected":
                raise _rejected(topic, _object(where, payload), self._template)


def _object(topic: str, payload: bytes) -> dict[str, Any]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise LinkError(f"the answer on {topic} is no JSON", hint="run the command again") from error
    if not isinstance(value, dict):
        raise LinkError(f"the answer on {topic} is no object", hint="run the command again")
    return value


def _at_the_door(error: LinkError, template: str) -> LinkError:
    hint = (
        f"{error.hint}; a claim of `aws iot create-provisioning-claim` lives for five minutes, and a policy must let "
        f"the claim connect with this client id and subscribe to the answers of the template {template!r}"
    )
    if isinstance(error, RefusedError):
        return RefusedError(str(error), code=error.code, hint=hint.lstrip("; "))
    return LinkError(str(error), hint=hint.lstrip("; "))


def _unanswered(template: str) -> str:
    return (
        f"run the command again: what was made is used; if that does not help, see whether the template is enabled "
        f"(aws iot describe-provisioning-template --template-name {template}) and whether the claim's policy allows "
        f"iot:Publish, iot:Subscribe and iot:Receive for it"
    )


def _rejected(topic: str, said: Mapping[str, Any], template: str) -> LinkError | RejectedError:
    status, code = said.get("statusCode"), str(said.get("errorCode", "unknown"))
    text = str(said.get("errorMessage", ""))[:_SHOWN]
    message = f"AWS IoT rejected {topic}: {code} ({status}): {text}"
    if status == _SLOW_DOWN or (isinstance(status, int) and status >= _SERVER):
        return LinkError(message, hint="wait a minute and run the command again: what was made is used")
    look = f"aws iot describe-provisioning-template --template-name {template}"
    if topic == CREATE:
        hint = "AWS IoT takes keys of type EC P-256 or RSA 2048; see also the quota of certificates of the account"
    elif "hook" in text.lower() or status == _FORBIDDEN:
        hint = "the pre-provisioning hook of the template refuses these parameters: is the serial number on its list?"
    elif status == _UNKNOWN or "template" in text.lower():
        hint = f"check the name of the template, and that it is enabled: {look}"
    else:
        hint = f"compare --serial and --param with the Parameters of the template: {look}"
    return RejectedError(message, code=code, hint=hint)
