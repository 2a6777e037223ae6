"""The conversations that are held on one connection beside the queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from edge_runtime.app import Uplink
from edge_runtime.clock import Clock
from edge_runtime.cloud.agent import Agent, Say
from edge_runtime.errors import EdgeError, LimitError, LinkError, QueueFullError, RefusedError, StoreError
from edge_runtime.pure import quotas
from edge_runtime.pure.backoff import Backoff

_log = logging.getLogger(__name__)
Ask = Callable[[Sequence[str]], Awaitable[None]]
_ASK_AGAIN_S = 3600.0
"""An agent whose filter was refused asks again after so long: somebody may have mended the policy."""
_SUSPECT = 2
"""So many connections that ended while an agent subscribed, and it waits on the next ones before it does so again."""
_MOST_CAUTION_S = 300.0


@dataclass(slots=True)
class _Conversation:
    """What is known of an agent over all connections."""

    agent: Agent
    refused_s: float | None = None
    warned: str = ""
    """What the log has said last."""
    cut_off: int = 0
    """Connections in a row that ended while it subscribed: AWS may close one instead of refusing."""


class Agents:
    """Runs agents, each for itself: what goes wrong with one is noted in `states` and hurts neither link nor others."""

    def __init__(self, agents: Sequence[Agent], ask: Ask, spec: Uplink, clock: Clock, say: Say) -> None:
        """`ask` subscribes, as `Link.subscribe`; `say` publishes within the quotas."""
        self.states = {agent.name: "down" for agent in agents}
        """By name: `down`, `subscribing`, `running`, `done`, or what went wrong."""
        self._conversations = [_Conversation(agent) for agent in agents]
        self._ask = ask
        self._spec = spec
        self._clock = clock
        self._say = say

    async def run(self, begun: Callable[[], None]) -> None:
        """Hold every conversation while one connection stands: until cancelled.

        `begun` is called when every agent that is to subscribe at once has asked for it.
        """
        taken = dict.fromkeys(self._spec.down)
        tasks = [
            asyncio.create_task(self._hold(it, taken), name=f"agent.{it.agent.name}") for it in self._conversations
        ]
        try:
            await asyncio.sleep(0)  # each of them runs up to its first answer
            begun()
            await asyncio.get_running_loop().create_future()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for it in self._conversations:
                if it.refused_s is None:
                    self.states[it.agent.name] = "down"

    async def received(self, topic: str, payload: bytes) -> bool:
        """Offer a message that came down to each agent; True when one has taken it, and it is safe.

        A store that is full or fails is asked again for as long as it takes, as it is for any other message.
        """
        backoff = Backoff(1.0, 60.0)
        for it in self._conversations:
            while True:
                try:
                    if await it.agent.received(topic, payload):
                        return True
                    break
                except (QueueFullError, StoreError) as error:
                    wait_s = backoff.next()
                    _log.warning("%s: what came on %r waits %.1f s: %s", it.agent.name, topic, wait_s, error)
                    await self._clock.sleep(wait_s)
                except Exception:  # noqa: BLE001 - a mistake in one agent must not end the connection; it is logged
                    _log.exception("%s: a mistake with what came on %r", it.agent.name, topic)
                    break
        return False

    async def _hold(self, it: _Conversation, taken: dict[str, None]) -> None:
        """Subscribe and talk; after a failure again, with a pause that grows."""
        backoff = Backoff(1.0, 60.0)
        await self._wait_for_mercy(it)
        while True:
            try:
                await self._subscribe(it, taken)
                self._note(it, "running")
                it.warned = ""
                await it.agent.run(self._say)
            except asyncio.CancelledError:
                if (task := asyncio.current_task()) is None or task.cancelling():
                    raise
                self._failed(it, RuntimeError("something that it waited for was cancelled"))
            except (_NotAllowedError, LimitError) as error:
                it.refused_s = self._now_s()
                self._note(it, f"off: {error}", warn=True)
                await self._wait_for_mercy(it)
                continue
            except Exception as error:  # noqa: BLE001 - a mistake in one agent must not end the others; it is logged
                self._failed(it, error)
            else:
                self._note(it, "done")
                return
            await self._clock.sleep(backoff.next())

    async def _wait_for_mercy(self, it: _Conversation) -> None:
        """Wait before the subscription of an agent that was refused, or that the broker seems to hang up on."""
        if it.refused_s is not None:
            await self._clock.sleep(max(0.0, it.refused_s + _ASK_AGAIN_S - self._now_s()))
            it.refused_s = None
        elif it.cut_off >= _SUSPECT:
            wait_s = min(_MOST_CAUTION_S, 2.0**it.cut_off)
            self._note(it, f"waiting: the last {it.cut_off} connections ended while it subscribed", warn=True)
            await self._clock.sleep(wait_s)

    async def _subscribe(self, it: _Conversation, taken: dict[str, None]) -> None:
        wanted = [one for one in dict.fromkeys(it.agent.filters) if one not in taken]
        if self._spec.aws_quotas:
            quotas.check_filters([*taken, *wanted])
        if not wanted:
            return
        self._note(it, "subscribing")
        taken.update(dict.fromkeys(wanted))  # before the answer: the agents subscribe side by side
        it.cut_off += 1
        try:
            await self._ask(wanted)
        except LinkError as error:
            for one in wanted:
                del taken[one]
            if isinstance(error, RefusedError):
                it.cut_off = 0
                raise _NotAllowedError(str(error), hint=error.hint) from error
            raise
        it.cut_off = 0

    def _failed(self, it: _Conversation, error: Exception) -> None:
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        text = str(error) or type(error).__name__
        trace = None if isinstance(error, EdgeError) else error
        self._note(it, f"failed: {text}", warn=not isinstance(error, LinkError), trace=trace)

    def _note(self, it: _Conversation, state: str, *, warn: bool = False, trace: Exception | None = None) -> None:
        if warn and it.warned != state:  # once, not once a try
            _log.warning("agent %s: %s", it.agent.name, state, exc_info=trace)
            it.warned = state
        self.states[it.agent.name] = state

    def _now_s(self) -> float:
        return self._clock.now().mono_ns / 1e9


class _NotAllowedError(LinkError):
    """A subscription was refused. A publish that is refused says `RefusedError` too, and is a failure like others."""
