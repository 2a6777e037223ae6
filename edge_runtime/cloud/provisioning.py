"""How a device gets an identity of its own: fleet provisioning by claim, safe against power cuts.

Every step leaves a file, and a run that finds the file goes on from there. The private key is made here, or lies in a
token, and is sent to nobody. A new identity is used only after a real connection with it has stood.
Source: AWS IoT Core developer guide, "Provisioning by claim".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edge_runtime.clock import Clock
from edge_runtime.cloud import _openssl, identity
from edge_runtime.cloud._registrar import Registrar, RejectedError
from edge_runtime.cloud._slots import (
    CERTIFICATE,
    CLAIM_CERTIFICATE,
    CLAIM_KEY,
    CONFIGURATION,
    KEY,
    PLAN,
    REGISTRATION,
    THING,
    Slot,
    Slots,
    number_in,
)
from edge_runtime.cloud.identity import Identity
from edge_runtime.errors import ConfigError, LinkError
from edge_runtime.model import Link

KINDS: Final = tuple(_openssl.KINDS)
_TOKEN_S: Final = 3300.0
"""AWS takes a certificate's ownership token for an hour; one that is nearly as old is not worth the question."""
_PROOF_WAITS_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""A new certificate and its policy may take a while until every part of AWS IoT Core knows them."""
_MOST_CLIENT_ID = 128
_NAME: Final = re.compile(r"[a-zA-Z0-9:_-]{1,100}")


@dataclass(frozen=True, slots=True)
class Claim:
    """What opens the door to the provisioning service: a certificate with its key, PEM."""

    certificate: bytes
    key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: bytes) -> Claim:
        """Read what `aws iot create-provisioning-claim` prints. Raises: ConfigError."""
        try:
            said = json.loads(text)
            return cls(said["certificatePem"].encode(), said["keyPair"]["PrivateKey"].encode())
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigError(
                "the claim is not what AWS prints: a JSON object with certificatePem and keyPair.PrivateKey",
                hint="make one: aws iot create-provisioning-claim --template-name NAME > claim.json",
            ) from error


@dataclass(frozen=True, slots=True)
class Token:
    """The private key lies in a token (PKCS#11); `settings` is what the link is told about it, PIN file included."""

    settings: Mapping[str, str]
    pin: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be provisioned. `key` is one of `KINDS`, or `token` holds the key."""

    template: str
    serial: str
    endpoint: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Those of the template besides `SerialNumber`."""
    key: str = "ec"
    token: Token | None = None

    def __post_init__(self) -> None:
        """Check the names. Raises: ConfigError."""
        for what, text in (("serial", self.serial), ("template", self.template)):
            if not _NAME.fullmatch(text):
                raise ConfigError(
                    f"the {what} {text!r} has signs that a thing may not have in its name",
                    hint="letters, digits, ':', '_' and '-', at most 100",
                )
        if not self.endpoint:
            raise ConfigError(
                "no endpoint is given", hint="run: aws iot describe-endpoint --endpoint-type iot:Data-ATS"
            )

    def plan(self) -> dict[str, object]:
        """Return it as it is kept with the identity. There is nothing secret in it."""
        return {
            "template": self.template,
            "serial": self.serial,
            "endpoint": self.endpoint,
            "parameters": dict(self.parameters),
            "key": "token" if self.token else self.key,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """As whom to connect."""

    client_id: str
    certificate: Path
    key: Path | None
    """None: it lies in the token of the wish."""
    session: bool
    """Whether the session is the device's own, and is to be left as it is; else none is to remain."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """An identity that serves."""

    thing: str
    slot: Path
    certificate: Identity
    configuration: Mapping[str, Any]
    made: bool
    """False: it was all there before."""
    before: str = ""
    """The id of the certificate that was in use before."""


class Enrolment:
    """One provisioning into one folder. `dial` makes the link for a claim or for the new identity, unconnected."""

    def __init__(
        self,
        slots: Slots,
        wish: Wish,
        dial: Callable[[Who], Link],
        clock: Clock,
        *,
        say: Callable[[str], None],
        timeout_s: float = 30.0,
    ) -> None:
        """`slots` must be entered; `say` is told what is done."""
        self._slots = slots
        self._wish = wish
        self._dial = dial
        self._clock = clock
        self._say = say
        self._timeout_s = timeout_s

    async def run(
        self, claim: Claim | None, *, again: bool = False, rotate: bool = False, prover: str = ""
    ) -> Enrolled:
        """Make what is missing of an identity, prove it and put it into use.

        With an identity in use nothing is done, but for `again` (another one, by claim) and `rotate` (another one, by
        the one in use). `claim` may be None where an earlier run has come far enough. `prover` is the client id of the
        proof instead of the thing's name, for a device that is connected by that at the same time.

        Raises: ConfigError (RejectedError among them), LinkError, StoreError. What was made is kept for the next run.
        """
        current = self._slots.current
        if current is not None and not again and not rotate:
            current.remove(*_LEFT_OVER)
            return self._found(current)
        if rotate and current is None:
            raise ConfigError(
                f"there is no identity in {self._slots.root} that could be replaced",
                hint="make the first one with a claim: edge provision --claim FILE ...",
            )
        slot = self._begin(again=again or rotate)
        before = identity.read(current.path / CERTIFICATE, None).id if current is not None else ""
        if not slot.has(THING):
            await self._register(slot, self._who(slot, claim, current if rotate else None))
        found = self._found(slot, made=True, before=before)
        await self._prove(slot, prover or found.thing)
        self._slots.switch(slot)
        slot.remove(*_LEFT_OVER)
        return found

    def _begin(self, *, again: bool) -> Slot:
        """Return the slot to fill: one that an earlier run has begun for the same wish, or a new one."""
        unfinished, plan = self._slots.unfinished, self._wish.plan()
        if unfinished is not None:
            slot = self._slots.begin()
            kept = slot.read_json(PLAN)
            if kept == plan:
                self._say(f"going on with what was begun in {slot.path}")
                return slot
            if kept and not again:
                other = ", ".join(f"{key} {kept.get(key)!r}" for key in plan if kept.get(key) != plan[key])
                raise ConfigError(
                    f"{slot.path} was begun with {other}",
                    hint="give the same again to go on with it, or --force to begin anew",
                )
            self._slots.discard(slot)
        slot = self._slots.begin()
        slot.write_json(PLAN, plan)
        return slot

    def _who(self, slot: Slot, claim: Claim | None, current: Slot | None) -> Who:
        """Return as whom to ask: by the identity in use, or by the claim, which is kept until all is done."""
        if current is not None:
            thing = str(current.read_json(THING).get("thing", ""))
            key = current.path / KEY if current.has(KEY) else None
            return Who(
                client_id=f"rotate-{thing}"[:_MOST_CLIENT_ID],
                certificate=current.path / CERTIFICATE,
                key=key,
                session=False,
            )
        if claim is not None:
            slot.remove(CLAIM_CERTIFICATE, CLAIM_KEY)
            slot.write(CLAIM_KEY, claim.key)
            slot.write(CLAIM_CERTIFICATE, claim.certificate)
        elif not (slot.has(CLAIM_CERTIFICATE) and slot.has(CLAIM_KEY)):
            raise ConfigError(
                "no claim is given",
                hint="aws iot create-provisioning-claim --template-name "
                f"{self._wish.template} | edge provision --claim - ...",
            )
        files = slot.path / CLAIM_CERTIFICATE, slot.path / CLAIM_KEY
        identity.read(*files)  # a claim that is no pair is better told of here
        return Who(client_id=f"claim-{self._wish.serial}", certificate=files[0], key=files[1], session=False)

    async def _register(self, slot: Slot, who: Who) -> None:
        """Get a certificate for the key, and a thing for the certificate."""
        wish = self._wish
        request = self._request(slot)
        async with Registrar(self._dial(who), wish.template, self._timeout_s) as registrar:
            fresh = await self._certificate(slot, registrar, request)
            parameters = {"SerialNumber": wish.serial, **wish.parameters}
            while True:
                token = str(slot.read_json(REGISTRATION)["token"])
                try:
                    thing, configuration = await registrar.thing(token, parameters)
                    break
                except RejectedError as error:
                    if fresh or "token" not in f"{error.code} {error}".lower():
                        raise
                    # Of an earlier run: it was too old after all, or it has been used.
                    slot.remove(REGISTRATION, CERTIFICATE)
                    fresh = await self._certificate(slot, registrar, request)
        slot.write_json(CONFIGURATION, configuration)
        slot.write_json(THING, {"thing": thing, "certificate": slot.read_json(REGISTRATION)["certificateId"]})
        self._say(f"the thing is {thing}")

    def _request(self, slot: Slot) -> str:
        wish = self._wish
        if wish.token is not None:
            settings = wish.token.settings
            uri = f"pkcs11:token={_quoted(settings['token'])};object={_quoted(settings['key'])};type=private"
            return _openssl.make_token_request(Path(settings["module"]), uri, wish.token.pin, wish.serial)
        if not slot.has(KEY):
            slot.write(KEY, _openssl.make_key(wish.key))
            self._say(f"made the private key {slot.path / KEY}")
        return _openssl.make_request(slot.path / KEY, wish.serial)

    async def _certificate(self, slot: Slot, registrar: Registrar, request: str) -> bool:
        """See to it that there is a certificate with a token; True when it was got just now."""
        kept, now_s = slot.read_json(REGISTRATION), self._clock.now().wall_ns / 1e9
        if kept and 0 <= now_s - float(kept["time"]) < _TOKEN_S and self._fits(slot, kept):
            self._say(f"using the certificate {kept['certificateId'][:12]} that an earlier run has got")
            return False
        number, pem, token = await registrar.certificate(request)
        kept = {"certificateId": number, "certificatePem": pem, "token": token, "time": now_s}
        slot.write_json(REGISTRATION, kept)
        slot.write(CERTIFICATE, pem.encode())
        self._pair(slot)
        self._say(f"got the certificate {number[:12]}")
        return True

    def _fits(self, slot: Slot, kept: Mapping[str, Any]) -> bool:
        """Tell whether a certificate is one for the key, which may have been made anew since."""
        slot.write(CERTIFICATE, str(kept["certificatePem"]).encode())
        try:
            self._pair(slot)
        except ConfigError as error:
            self._say(f"{error}; getting another certificate")
            return False
        return True

    def _pair(self, slot: Slot) -> Identity:
        return identity.read(slot.path / CERTIFICATE, None if self._wish.token else slot.path / KEY)

    async def _prove(self, slot: Slot, client_id: str) -> None:
        """Connect as the device itself. Raises: LinkError when that does not succeed within a minute."""
        key = None if self._wish.token else slot.path / KEY
        who = Who(client_id=client_id, certificate=slot.path / CERTIFICATE, key=key, session=True)
        for wait_s in (*_PROOF_WAITS_S, 0.0):
            link = self._dial(who)
            try:
                await link.connect(down=[], received=_leave)
            except LinkError as error:
                if not wait_s:
                    raise LinkError(
                        f"the new certificate is registered, but does not connect as {client_id}: {error}",
                        hint=f"the policy of the template must allow it; then run the command again. {error.hint}",
                    ) from error
                self._say(f"not yet: {error}")
                await self._clock.sleep(wait_s)
            else:
                self._say(f"connected as {client_id}")
                return
            finally:
                await link.close()

    def _found(self, slot: Slot, *, made: bool = False, before: str = "") -> Enrolled:
        about = slot.read_json(THING)
        thing = str(about.get("thing", ""))
        if not thing:
            raise ConfigError(f"{slot.path / THING} names no thing", hint="make a new identity: --force")
        has_key = slot.has(KEY)
        pair = identity.read(slot.path / CERTIFICATE, slot.path / KEY if has_key else None)
        return Enrolled(thing, slot.path, pair, slot.read_json(CONFIGURATION), made, before)


_LEFT_OVER: Final = (CLAIM_CERTIFICATE, CLAIM_KEY, REGISTRATION)
"""What is of no use once an identity serves, and no secret to keep."""


def plan_in(root: Path) -> dict[str, Any]:
    """Return with what the identity in use was provisioned (`Wish.plan`); empty when there is none."""
    number = number_in(root)
    return Slot(root / str(number)).read_json(PLAN) if number else {}


def _quoted(text: str) -> str:
    """Return a text as part of a PKCS#11 URI (RFC 7512 section 2.3)."""
    return "".join(c if c.isascii() and c.isalnum() else "".join(f"%{byte:02X}" for byte in c.encode()) for c in text)


async def _leave(_topic: str, _payload: bytes, _properties: Mapping[str, str]) -> None:
    """Leave a message to the device: what is not acknowledged comes again."""
    raise LinkError("this connection is only to prove the certificate")
