"""The shadows of this host's thing, made when they are first needed: most apps have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.app import Rule
from edge_runtime.clock import Clock
from edge_runtime.model import Emit
from edge_runtime.store.store import Store

if TYPE_CHECKING:
    from edge_runtime.cloud.shadows import Shadows

TARGET = "shadow"


def shadow_rules(thing: str) -> tuple[Rule, Rule]:
    """Return the rules that every app has: a request on a topic of the thing's shadows is answered."""
    root = f"$aws/things/{thing}/shadow"
    return Rule(f"{root}/+", (TARGET,)), Rule(f"{root}/name/+/+", (TARGET,))


class ShadowKeeper:
    """Answers the requests that wait in the queue `shadow`; the endpoints ask it directly."""

    def __init__(self, store: Store, thing: str, clock: Clock, emit: Emit) -> None:
        self.thing = thing
        self._store = store
        self._clock = clock
        self._emit = emit
        self._shadows: Shadows | None = None

    @property
    def shadows(self) -> Shadows:
        """The shadows; always the same."""
        if self._shadows is None:
            from edge_runtime.cloud.shadows import Shadows  # noqa: PLC0415 - most hosts never need it

            self._shadows = Shadows(self._store, self.thing, self._clock, self._emit)
        return self._shadows

    async def run(self) -> None:
        """Answer for ever. A request stays queued until its answer is stored.

        Raises: QueueFullError or StoreError when an answer cannot be stored; run it again then.
        """
        queue = self._store.queue(TARGET)
        while True:
            (message,) = await queue.get(1)
            try:
                await self.shadows.handle(message.event)
                await self._store.change(done=[message])
            except BaseException:
                queue.give_back([message])
                raise
