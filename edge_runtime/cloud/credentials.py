"""AWS credentials for functions, of the role that the cloud lends this device: fetched when needed, kept in memory.

Two places give them: AWS IoT Core's credentials provider, which is asked with the certificate of the device, and the
token exchange service of a Greengrass nucleus. Both last for an hour or so, and are renewed when a third of that is
left. How long they last is reckoned by the clock of whoever gave them and by steady time here: a wall clock that is
wrong does not make good credentials look expired.

Source: AWS IoT Core developer guide, "Authorizing direct calls to AWS services using AWS IoT Core credential provider".
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edge_runtime.clock import Clock
from edge_runtime.cloud import identity as identities
from edge_runtime.errors import ConfigError, LinkError, RefusedError
from edge_runtime.pure.backoff import Backoff
from edge_runtime.threads import in_thread

if TYPE_CHECKING:
    import http.client

_log = logging.getLogger(__name__)
_WAIT_S = 1.5
"""botocore gives an endpoint 2 s to answer."""
_HTTP_S = 10.0
_MOST_BYTES = 65_536
_RENEW_SHARE = 1 / 3
_MARGIN_S = 5.0
_MOST_PAUSE_S = 15.0
_URL, _TOKEN = "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"
_OK, _FORBIDDEN, _NOT_FOUND = 200, 403, 404


class Loan(NamedTuple):
    """Credentials, and for how many seconds they hold."""

    access_key: str
    secret_key: str
    token: str
    life_s: float


Fetch = Callable[[], Loan]
"""Gets new credentials, and may block. Raises: LinkError when nobody can be reached, RefusedError, ConfigError."""


@dataclass(slots=True)
class CredentialsState:
    """How it stands, for `edge status`."""

    state: str = "not asked for"
    """`not asked for`, `held` or `none`."""
    fetched: int = 0
    last_error: str = ""


class Credentials:
    """The credentials of one role."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self.state = CredentialsState()
        self._fetch = fetch
        self._clock = clock
        self._backoff = Backoff(1.0, _MOST_PAUSE_S)
        self._loan: Loan | None = None
        self._since_s = 0.0
        self._not_before_s = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def get(self) -> Loan | None:
        """Return credentials with the seconds that are left to them; None while there are none to be had.

        Waits for at most 1.5 s, and renews those that are getting old behind the scenes.
        """
        loan = self._left()
        if loan is not None and self._loan is not None and loan.life_s > self._loan.life_s * _RENEW_SHARE:
            return loan
        asking = self._ask()
        if loan is None and asking is not None:
            await asyncio.wait([asking], timeout=_WAIT_S)
        return self._left()

    async def close(self) -> None:
        """Ask for nothing more. Safe to call twice."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def _left(self) -> Loan | None:
        if self._loan is None:
            return None
        left_s = self._loan.life_s - (self._now_s() - self._since_s)
        if left_s <= _MARGIN_S:
            self.state.state = "none"
            return None
        return self._loan._replace(life_s=left_s)

    def _ask(self) -> asyncio.Task[None] | None:
        """Begin to fetch, unless that is going on or has just failed."""
        if (self._asking is None or self._asking.done()) and self._now_s() >= self._not_before_s:
            self._asking = asyncio.create_task(self._renew(), name="credentials")
        return self._asking

    async def _renew(self) -> None:
        asked_s = self._now_s()
        try:
            loan = await in_thread("credentials.fetch", self._fetch)
        except (LinkError, ConfigError) as error:
            self._not_before_s = self._now_s() + self._backoff.next()
            if str(error) != self.state.last_error:  # once, not with every function that asks
                _log.warning("credentials: %s%s", error, f" ({error.hint})" if error.hint else "")
            self.state.last_error = str(error)
            if self._left() is None:
                self.state.state = "none"
            return
        self._loan, self._since_s = loan, asked_s
        self._backoff.reset()
        self.state.state, self.state.last_error = "held", ""
        self.state.fetched += 1

    def _now_s(self) -> float:
        return self._clock.now().mono_ns / 1e9


class Identity(NamedTuple):
    """Who asks the credentials provider: a thing, and the files of its certificate. No CA: those the system trusts."""

    thing: str
    certificate: str | Path
    key: str | Path
    ca: str | Path = ""


def role_alias(endpoint: str, alias: str, identity: Identity, port: int = 443) -> Fetch:
    """Return what asks AWS IoT Core's credentials provider for the role behind an alias."""
    return partial(_from_role_alias, endpoint, alias, identity, port)


def token_exchange(environment: Mapping[str, str]) -> Fetch:
    """Return what asks the token exchange service of the nucleus that runs this host as its component."""
    return partial(_from_token_exchange, environment.get(_URL, ""), environment.get(_TOKEN, ""))


def region_of(endpoint: str) -> str:
    """Return the region in the name of a credentials endpoint, empty when it is none of AWS."""
    _, found, rest = endpoint.partition(".credentials.iot.")
    return rest.partition(".amazonaws.com")[0] if found and ".amazonaws.com" in rest else ""


def _from_role_alias(endpoint: str, alias: str, identity: Identity, port: int) -> Loan:
    import http.client  # noqa: PLC0415 - only hosts that lend credentials need it
    import ssl  # noqa: PLC0415 - as above

    where = f"the credentials provider {endpoint}"
    try:
        context = ssl.create_default_context(cafile=str(identity.ca) if identity.ca else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        identities.read(identity.certificate, identity.key).load_into(context)
    except (OSError, ValueError, ConfigError) as error:
        raise ConfigError(f"{where}: the certificate, the key or the CA cannot be used: {error}") from error
    connection = http.client.HTTPSConnection(endpoint, port, timeout=_HTTP_S, context=context)
    headers = {"x-amzn-iot-thingname": identity.thing}
    body, now_s = _ask(connection, f"/role-aliases/{alias}/credentials", headers, where)
    inner = body.get("credentials")
    return _loan(inner if isinstance(inner, dict) else {}, _OF_IOT, now_s, where)


def _from_token_exchange(url: str, token: str) -> Loan:
    import http.client  # noqa: PLC0415 - as above
    from urllib.parse import urlsplit  # noqa: PLC0415 - as above

    if not url.startswith("http://"):
        raise ConfigError(
            f"the nucleus of Greengrass offers no credentials: {_URL} is not in the environment",
            hint="let the component depend on aws.greengrass.TokenExchangeService",
        )
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_HTTP_S)
    where = "the token exchange service of the nucleus"
    body, now_s = _ask(connection, parts.path, {"Authorization": token}, where)
    return _loan(body, _OF_TES, now_s, where)


_OF_IOT = ("accessKeyId", "secretAccessKey", "sessionToken", "expiration")
_OF_TES = ("AccessKeyId", "SecretAccessKey", "Token", "Expiration")


def _ask(
    connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str], where: str
) -> tuple[Mapping[str, object], float]:
    """Return the JSON object that is answered, and the time of whoever answered, in seconds since the epoch."""
    import http.client  # noqa: PLC0415 - as above
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - as above

    try:
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        raw = answer.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last: of a name that no DNS can have
        raise LinkError(f"{where} cannot be reached: {error}", hint="edge doctor") from error
    finally:
        connection.close()
    if answer.status != _OK:
        raise _refusal(answer.status, raw, where)
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise LinkError(f"{where} answered what is no JSON object", hint="is something between that answers?")
    with contextlib.suppress(ValueError, TypeError):
        return body, parsedate_to_datetime(answer.getheader("date") or "").timestamp()
    return body, time.time()  # then the clock here has to do


def _refusal(status: int, raw: bytes, where: str) -> LinkError:
    try:
        body = json.loads(raw)
        said = str(body.get("message") or body.get("Message") or "") if isinstance(body, dict) else ""
    except ValueError:
        said = ""
    text = f"{where} answered {status}{f': {said}' if said else ''}"
    if status in (_FORBIDDEN, _NOT_FOUND):
        hint = (
            "the policy of the certificate must allow iot:AssumeRoleWithCertificate on the role alias, the certificate "
            "must be active and attached to the thing, and the role must trust credentials.iot.amazonaws.com"
        )
        return RefusedError(text, hint=hint)
    return LinkError(text, hint="it is asked again when a function needs credentials")


def _loan(body: Mapping[str, object], names: tuple[str, str, str, str], now_s: float, where: str) -> Loan:
    from datetime import datetime  # noqa: PLC0415 - as above

    access, secret, token, expires = (body.get(name) for name in names)
    if not all(isinstance(one, str) and one for one in (access, secret, token, expires)):
        raise LinkError(f"{where} answered without {', '.join(names)}")
    try:
        life_s = datetime.fromisoformat(str(expires)).timestamp() - now_s
    except ValueError:
        raise LinkError(f"{where} answered an expiration that is no date: {str(expires)[:40]!r}") from None
    if life_s <= _MARGIN_S:
        raise LinkError(f"{where} answered credentials that have expired", hint="it is asked again")
    return Loan(str(access), str(secret), str(token), life_s)
