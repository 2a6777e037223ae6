"""What the endpoints need of the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from edge_runtime.app import Function
from edge_runtime.model import Result

if TYPE_CHECKING:
    from edge_runtime.pure.shadow import Accepted, Rejected


AS = "/as/"
"""`/as/<token>/<path>` is `<path>`, asked for by who has the token: for signatures that do not carry it."""


class Who(NamedTuple):
    """Who asks, told by the token. Without a function it is a person or a program beside the host: it may do all."""

    function: Function | None = None
    request_id: str = ""
    """Of the invocation in hand."""
    depth: int = 0
    """How many functions in a row have led to it."""


class Keys(NamedTuple):
    """AWS credentials of a function."""

    access_key: str
    secret_key: str
    token: str
    expires_s: float
    """Seconds since the epoch."""


class Backend(Protocol):
    """The host, as the endpoints see it. Everything may raise an EdgeError, DeniedError among them."""

    @property
    def functions(self) -> Mapping[str, Function]:
        """All functions by name."""

    def who(self, token: str) -> Who | None:
        """Return whose token it is, None when nobody's. How long it takes says nothing about other tokens."""

    async def keys(self, who: Who, token: str) -> Keys:
        """Return the credentials of whoever has this token, within the 2 s for which an SDK waits."""

    def may_invoke(self, who: Who, name: str) -> bool:
        """Tell whether a function may be invoked by whoever asks."""

    async def publish(self, who: Who, topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
        """Emit an event; return when it is safe on disk."""

    async def begin(self, who: Who, name: str, payload: bytes, client_context: str) -> str:
        """Invoke a function asynchronously: return the id of the invocation when it is safe on disk."""

    async def call(self, who: Who, name: str, payload: bytes, context: Mapping[str, object]) -> tuple[str, Result]:
        """Invoke a function and return the id of the invocation, and what came back; throttled when none is free."""

    @property
    def thing(self) -> str:
        """The thing whose shadows are kept here."""

    async def shadow(self, who: Who, method: str, name: str, request: bytes) -> Accepted | Rejected:
        """Answer `get`, `update` or `delete` of a shadow, the classic one without a name, when that is safe on disk."""

    async def shadow_names(self, who: Who, after: str, most: int) -> tuple[Sequence[str], str]:
        """Return up to so many names of shadows that come after a name, and where to go on, empty at the end."""


Outsider = Who()
"""Whoever has the token of the state folder (`edge token`)."""
