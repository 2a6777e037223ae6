"""Requests about shadows to the cloud: how many at a time, how long an answer is waited for, how often it is tried."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from edge_runtime.clock import Clock
from edge_runtime.cloud.agent import Say
from edge_runtime.errors import LinkError, RefusedError
from edge_runtime.pure._shadow_tree import Tree
from edge_runtime.pure.backoff import Backoff
from edge_runtime.pure.bucket import Bucket

_RATE, _BURST = 18.0, 2.0
"""So there are never more than AWS's 20 requests in a second, wherever it begins."""
_UNANSWERED = 10
"""AWS answers one more with 429."""
_ANSWER_S = 20.0
_TRIES = ((5, 3.0, 60.0), (3, 30.0, 120.0))
"""Tries, and the first and the greatest wait after one: those of Greengrass's shadow manager."""
NOT_FOUND, CONFLICT = 404, 409
_THROTTLED, _SERVER = 429, 500
_FORBIDDEN = (401, 403)
_HINTS = {
    400: "see what is in it: edge shadow get",
    413: "make it smaller: AWS takes 8 KB, and more on request",
}


class AgainError(Exception):
    """It did not work now; it may later."""


class StuckError(Exception):
    """It will not work as long as nothing changes: `for_good`, as long as the connection stands."""

    def __init__(self, message: str, *, hint: str = "", for_good: bool = False) -> None:
        super().__init__(message)
        self.hint = hint
        self.for_good = for_good


class Patience:
    """The waits between the tries of one thing."""

    def __init__(self) -> None:
        self._waits = [(Backoff(first, most), count) for count, first, most in _TRIES]

    def next(self) -> float | None:
        """Return how long to wait before the next try; None when it was the last."""
        while self._waits:
            backoff, left = self._waits[0]
            if left > 1 or (left and len(self._waits) > 1):
                self._waits[0] = backoff, left - 1
                return backoff.next()
            del self._waits[0]
        return None


class _Answer(NamedTuple):
    tree: Tree
    accepted: bool


class Answers:
    """Requests that wait for their answers, known by client token."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, asyncio.Future[_Answer]] = {}
        self._slots = asyncio.Semaphore(_UNANSWERED)
        self._bucket = Bucket(_RATE, _BURST)
        self._asked = self._heard = 0

    def take(self, token: str, answer: Tree, *, accepted: bool) -> bool:
        """Hand an answer to who waits for it; False when nobody does."""
        future = self._waiting.pop(token, None)
        if future is None or future.done():
            return False
        self._heard += 1
        future.set_result(_Answer(answer, accepted))
        return True

    def end(self) -> bool | None:
        """Begin anew with the next connection. Return whether on this one there was an answer; None: and no request."""
        answered = self._heard > 0 if self._asked else None
        self._asked = self._heard = 0
        self._waiting.clear()
        return answered

    async def ask(self, say: Say, topic: str, payload: bytes, token: str, *, also: int) -> Tree | None:
        """Publish a request and return what was accepted; None when it was refused with the code `also`.

        Raises: AgainError when it may work later, StuckError when not.
        """
        async with self._slots:
            while wait_s := self._bucket.take(1.0, self._clock.now().mono_ns / 1e9):
                await self._clock.sleep(wait_s)
            future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
            self._waiting[token] = future
            self._asked += 1
            try:
                await say(topic, payload)
                answer = await self._within(future)
            except RefusedError as error:
                hint = error.hint or f"allow iot:Publish on topic {topic} in the device's policy"
                raise StuckError(str(error), hint=hint, for_good=True) from error
            except LinkError as error:
                raise AgainError(str(error)) from error
            finally:
                self._waiting.pop(token, None)
        if answer.accepted:
            return answer.tree
        if answer.tree.get("code") != also:
            raise _judged(answer.tree, topic)
        return None

    async def _within(self, future: asyncio.Future[_Answer]) -> _Answer:
        timer = asyncio.create_task(self._clock.sleep(_ANSWER_S), name="shadows.patience")
        either: list[asyncio.Future[Any]] = [future, timer]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        if not future.done():
            raise AgainError(f"no answer within {_ANSWER_S:.0f} s")
        return future.result()


def _judged(refusal: Mapping[str, object], topic: str) -> AgainError | StuckError:
    """Return what a refusal means."""
    code, message = refusal.get("code"), refusal.get("message")
    text = f"{topic.rsplit('/', 1)[-1]} was refused: {code} {message}"
    if not isinstance(code, int) or code in (CONFLICT, _THROTTLED) or code >= _SERVER:
        return AgainError(text)
    if code in _FORBIDDEN:
        hint = f"allow iot:Publish on topic {topic} in the device's policy"
        return StuckError(text, hint=hint, for_good=True)
    return StuckError(text, hint=_HINTS.get(code, "edge shadow get"))
