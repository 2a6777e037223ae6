"""What the SDK of a handler finds: the local endpoint, the variables that lead to it, and what is behind it.

A worker gets `AWS_ENDPOINT_URL_LAMBDA` and `AWS_ENDPOINT_URL_IOT_DATA_PLANE`, named after botocore's service ids, and
no `AWS_ENDPOINT_URL`: that would also turn away `s3` and all else which is not served here, where a handler may well
bring keys of its own. Without keys such a call fails as it does in AWS without a network.

The keys are placeholders in the environment, so that a client is made and signs at once and without a request; their
session token is the worker's secret and says to the endpoint who asks. A function that has keys of its own
(`AWS_ACCESS_KEY_ID` in its environment) means AWS itself: it gets none of this, but `greengrasssdk` works there too,
through `EDGE_ENDPOINT` and `EDGE_TOKEN`.

In an app with `link.credentials` a function gets the keys of that role instead, from the container credential provider
that is served here: they end and are renewed, which variables cannot. Until there are any it gets placeholders that end
in a minute: without, `boto3.client` itself would fail. Such a session token tells nobody apart, so the secret of the
worker stands in the path of the services that are served here.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edge_runtime.app import Function
from edge_runtime.clock import Clock, make_event, new_id
from edge_runtime.endpoints import AS, Keys, Listener, Outsider, Who
from edge_runtime.errors import ConfigError, HostError, LimitError, StoreError
from edge_runtime.host.shadows import ShadowKeeper
from edge_runtime.model import NO_HEADERS, Emit, Result
from edge_runtime.pure import permissions
from edge_runtime.pure.permissions import CAUSE, CLIENT_CONTEXT, DEPTH, MOST_DEEP, invoke_topic

if TYPE_CHECKING:
    from edge_runtime.cloud.credentials import Credentials, CredentialsState
    from edge_runtime.pure.shadow import Accepted, Rejected

TOKEN_FILE = "endpoint.token"  # noqa: S105 - the name of a file
REGION = "local"
"""The region of functions that declare none."""
ACCESS_KEY, SECRET_KEY = "ASIAEDGERUNTIMELOCAL", "only-the-session-token-counts"
_RENEW_S = 60.0
_CLI = "cli"
_TOKEN_BYTES = 43
"""Of 256 random bits in base64."""
_log = logging.getLogger(__name__)


class Known(Protocol):
    """`workers.pool.Caller`."""

    @property
    def function(self) -> str:
        """The name of the function."""

    @property
    def request_id(self) -> str:
        """Of the invocation in hand."""

    @property
    def depth(self) -> int:
        """How many functions in a row have led to it."""


class Runner(Protocol):
    """What is needed of the pool of workers."""

    def caller(self, token: str) -> Known | None:
        """Return the worker that has this token."""

    async def invoke(
        self,
        name: str,
        payload: bytes,
        *,
        request_id: str,
        context: Mapping[str, object] | None = None,
        depth: int = 0,
        wait: bool = True,
    ) -> Result:
        """Run a function once."""


class Services:
    """The local AWS services of one host: `endpoints.Backend`, and what workers are told about it."""

    def __init__(
        self,
        functions: Sequence[Function],
        emit: Emit,
        clock: Clock,
        state: Path,
        keeper: ShadowKeeper,
        *,
        lent: Credentials | None = None,
        region: str = "",
    ) -> None:
        """`lent` are the keys that functions get in place of placeholders, `region` is that of those who name none."""
        self.functions: Mapping[str, Function] = {one.name: one for one in functions}
        self.listener = Listener(self)
        self._emit = emit
        self._clock = clock
        self._keeper = keeper
        self._lent = lent
        self._region = region
        self._file = state / TOKEN_FILE
        self._token = ""
        self._pool: Runner | None = None

    def open(self, pool: Runner) -> None:
        """Begin to listen, if this machine lets us; without, handlers run all the same."""
        self._pool = pool
        try:
            self.listener.open()
        except OSError as error:
            _log.warning("there is no endpoint for AWS SDKs: a port of 127.0.0.1 cannot be had: %s", error)

    async def close(self) -> None:
        """Stop listening. Safe to call twice."""
        await self.listener.close()
        if self._lent is not None:
            await self._lent.close()

    def variables(self, function: Function, token: str) -> Mapping[str, str]:
        """Return what a worker of a function gets in its environment; `token` is the secret of that worker."""
        if not self.listener.port:
            return {}
        url, own = self.listener.url, function.environment
        found = {"EDGE_ENDPOINT": url, "EDGE_TOKEN": token, "AWS_EC2_METADATA_DISABLED": "true"}
        if "AWS_ACCESS_KEY_ID" in own or "AWS_CONTAINER_CREDENTIALS_FULL_URI" in own:
            return found
        found["NO_PROXY"] = "127.0.0.1,localhost"
        if self._lent is not None and function.allow.credentials:
            region = {"AWS_REGION": self._region, "AWS_DEFAULT_REGION": self._region} if self._region else {}
            return {
                **found,
                **({} if {"AWS_REGION", "AWS_DEFAULT_REGION"} & own.keys() else region),
                "AWS_ENDPOINT_URL_LAMBDA": f"{url}{AS}{token}",
                "AWS_ENDPOINT_URL_IOT_DATA_PLANE": f"{url}{AS}{token}",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/credentials/{function.name}",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
            }
        return {
            **found,
            "AWS_ENDPOINT_URL_LAMBDA": url,
            "AWS_ENDPOINT_URL_IOT_DATA_PLANE": url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_SESSION_TOKEN": token,
        }

    def outside(self) -> Mapping[str, str]:
        """Return the variables with which an SDK beside the host reaches it (`edge token`).

        With `AWS_ENDPOINT_URL`: what is not served says so, and no placeholder is sent to AWS by mistake.

        Raises: HostError when nothing listens, StoreError when the token cannot be kept.
        """
        if not self.listener.port:
            raise HostError("the host has no endpoint for AWS SDKs", hint="its log says why")
        return {
            "AWS_ENDPOINT_URL": self.listener.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_SESSION_TOKEN": self._own_token(),
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    # -- endpoints.Backend ---------------------------------------------------------------------------------------

    def who(self, token: str) -> Who | None:
        """Return whose token it is, as `Backend.who`."""
        if self._pool is not None and (known := self._pool.caller(token)) is not None:
            return Who(self.functions[known.function], known.request_id, known.depth)
        return Outsider if self._file.exists() and _same(token, self._own_token()) else None

    async def keys(self, who: Who, token: str) -> Keys:
        """Return what is lent, or placeholders that are asked for again in a minute, as `Backend.keys`."""
        now_s = self._clock.machine().wall_ns / 1e9  # the clock by which the handler's SDK will judge, right or wrong
        if self._lent is not None and who.function is not None and who.function.allow.credentials:
            loan = await self._lent.get()
            if loan is not None:
                return Keys(loan.access_key, loan.secret_key, loan.token, now_s + loan.life_s)
        return Keys(ACCESS_KEY, SECRET_KEY, token, now_s + _RENEW_S)

    def credentials(self) -> CredentialsState | None:
        """Return how the lent credentials do, None when none are lent."""
        return None if self._lent is None else self._lent.state

    def may_invoke(self, who: Who, name: str) -> bool:
        """Tell whether it may, as `Backend.may_invoke`."""
        return who.function is None or permissions.may_invoke(who.function.allow, name)

    async def publish(self, who: Who, topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
        """Emit on the bus, as `Backend.publish`. Raises: DeniedError, LimitError, QueueFullError, StoreError."""
        if who.function is not None:
            permissions.check_publish(who.function, topic)
        headers = {**properties, **_caused(who)}
        await self._emit(make_event(self._clock, topic, payload, _source(who), headers))

    async def begin(self, who: Who, name: str, payload: bytes, client_context: str) -> str:
        """Emit what invokes the function, as `Backend.begin`. Raises: as `publish`."""
        topic = invoke_topic(name)
        if who.function is not None:
            permissions.check_publish(who.function, topic)
        headers = {**_caused(who), **({CLIENT_CONTEXT: client_context} if client_context else {})}
        event = make_event(self._clock, topic, payload, _source(who), headers)
        await self._emit(event)
        return event.id

    async def call(self, who: Who, name: str, payload: bytes, context: Mapping[str, object]) -> tuple[str, Result]:
        """Run the function, as `Backend.call`.

        Raises: DeniedError; LimitError for the ninth of a chain of functions; HostError when the host is stopping.
        """
        if self._pool is None:
            raise HostError("the worker pool is not running", hint="start the host")
        deep = 0
        if who.function is not None:
            permissions.check_publish(who.function, invoke_topic(name))
            deep = who.depth + 1
        if deep > MOST_DEEP:
            raise LimitError(f"{deep} functions have set each other off in a row; {MOST_DEEP} may")
        number = new_id(self._clock.now())
        more = {"content_type": "application/octet-stream"} if self.functions[name].binary else {}
        result = await self._pool.invoke(
            name, payload, request_id=number, context={**context, **more}, depth=deep, wait=False
        )
        return number, result

    @property
    def thing(self) -> str:
        """The thing whose shadows are kept."""
        return self._keeper.thing

    async def shadow(self, who: Who, method: str, name: str, request: bytes) -> Accepted | Rejected:
        """Answer a request about a shadow, as `Backend.shadow`. Raises: DeniedError, QueueFullError, StoreError."""
        if who.function is not None:
            # As in AWS IoT Core, where the rights to a shadow are those to its topics.
            below = f"shadow/name/{name}" if name else "shadow"
            permissions.check_publish(who.function, f"$aws/things/{self.thing}/{below}/{method}")
        shadows = self._keeper.shadows
        if method == "update":
            return await shadows.update(name, request, headers=_caused(who))
        return await (shadows.delete(name, headers=_caused(who)) if method == "delete" else shadows.get(name))

    async def shadow_names(self, who: Who, after: str, most: int) -> tuple[Sequence[str], str]:
        """Return names of shadows, as `Backend.shadow_names`, to who may read the one without a name.

        Raises: DeniedError, LimitError, StoreError.
        """
        if who.function is not None:
            permissions.check_publish(who.function, f"$aws/things/{self.thing}/shadow/get")
        return await self._keeper.shadows.names(after=after, most=most)

    # -- the token of the state folder ----------------------------------------------------------------------------

    def _own_token(self) -> str:
        if not self._token:
            try:
                self._token = _kept_token(self._file)
            except OSError as error:
                raise StoreError(f"the token file {self._file} cannot be used: {error.strerror or error}") from error
        return self._token


def _source(who: Who) -> str:
    return _CLI if who.function is None else f"function/{who.function.name}"


def _caused(who: Who) -> Mapping[str, str]:
    if who.function is None:
        return NO_HEADERS
    cause = {CAUSE: who.request_id} if who.request_id else {}
    return {**cause, DEPTH: str(who.depth + 1)}


def _same(given: str, ours: str) -> bool:
    # Of hashes: how long it takes must not tell how much of a token is right.
    return hmac.compare_digest(*(hashlib.sha256(text.encode(errors="replace")).digest() for text in (given, ours)))


def _kept_token(path: Path) -> str:
    """Return the token in a file that only this user can read; write one when there is none.

    Raises: OSError; ConfigError when somebody else could have read or changed it.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        token = secrets.token_urlsafe(32)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(token)
        return token
    with os.fdopen(handle, encoding="ascii", errors="replace") as file:
        mode, token = os.fstat(handle).st_mode & 0o777, file.read(_TOKEN_BYTES + 1)
    if mode & 0o077 or len(token) != _TOKEN_BYTES:
        what = f"is open to other users ({mode:03o})" if mode & 0o077 else "holds no token"
        raise ConfigError(f"the token file {path} {what}", hint=f"remove it, and a new one is made: rm {path}")
    return token
