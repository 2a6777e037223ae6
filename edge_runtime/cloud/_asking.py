"""Requests that make sense on a connection only, asked until they are answered."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

from edge_runtime.clock import Clock
from edge_runtime.cloud.agent import Say
from edge_runtime.pure.backoff import Backoff

_log = logging.getLogger(__name__)
T = TypeVar("T")
ANSWER_S = 30.0
"""So long an answer may take after its request was acknowledged; then the request counts as lost."""
_LEAST_S = 1.0

Request = Callable[[str, str], tuple[str, bytes] | None]
"""Return topic and payload of a request of some kind with a token; None when it has become pointless."""


class Asking:
    """One request at a time. Whoever `wish`es gets an answer in the end, if there is a connection for long enough.

    Each request has a token of its own, so that the late answer to one that was given up is known as such.
    """

    def __init__(self, clock: Clock, request: Request, random: Random | None = None) -> None:
        self._clock = clock
        self._request = request
        self._wanted: dict[str, None] = {}
        self._some = asyncio.Event()
        self._kind = self._token = ""
        self._fate: asyncio.Future[bool] | None = None
        self._backoff = Backoff(2.0, 300.0, random=random)
        self._patience = Backoff(2.0, 300.0, random=random)
        self._held = False

    def hold(self) -> None:
        """Let some time pass before the next request, more with every call."""
        self._held = True

    def calm(self) -> None:
        """Forget about earlier calls of `hold`: all goes well."""
        self._patience.reset()

    def wish(self, kind: str) -> None:
        """Want an answer to a request that is made from now on."""
        self._wanted[kind] = None
        self._some.set()

    def awaits(self, kind: str, token: str) -> bool:
        """Tell whether an answer is the one that is waited for."""
        return self._fate is not None and not self._fate.done() and (kind, token) == (self._kind, self._token)

    def answered(self, *, well: bool) -> None:
        """Take note of the answer that is waited for; if it was not a good one, the request is made again later."""
        if self._fate is not None and not self._fate.done():
            self._fate.set_result(well)

    async def run(self, say: Say) -> None:
        """Ask while one connection stands, until cancelled. Raises: as `say`; what was asked is still wanted then."""
        while True:
            while not self._wanted:
                self._some.clear()
                await self._some.wait()
            if self._held:
                self._held = False
                await self._clock.sleep(_LEAST_S + self._patience.next())
            kind = next(iter(self._wanted))
            del self._wanted[kind]  # a wish that comes from now on is for another request
            well = False
            try:
                well = await self._ask(kind, say)
            finally:
                if not well:
                    self._wanted.setdefault(kind)
            if well:
                self._backoff.reset()
            else:
                await self._clock.sleep(_LEAST_S + self._backoff.next())

    async def _ask(self, kind: str, say: Say) -> bool:
        self._kind, self._token = kind, secrets.token_hex(8)
        request = self._request(kind, self._token)
        if request is None:
            return True
        fate: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._fate = fate
        try:
            await say(*request)
            if await first(self._clock.sleep(ANSWER_S), fate):
                return await fate
        finally:
            self._fate = None
        _log.warning("%s was not answered within %g s", request[0], ANSWER_S)
        return False


async def first(limit: Awaitable[object], wanted: asyncio.Future[T]) -> bool:
    """Wait for either; tell whether it was `wanted`, which goes on in any case, while the other is cancelled."""
    timer = asyncio.ensure_future(limit)
    both: set[asyncio.Future[Any]] = {timer, wanted}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
    return wanted.done()
