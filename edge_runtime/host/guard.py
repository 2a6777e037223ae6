"""Output devices with a guard: they obey as far as it lets them, whatever becomes of functions, link, disk or loop.

One task decides, and waits for nobody: a driver moves on a thread, and what is said of it is written down by another
task. So a lease ends in time although a driver hangs or the disk is full.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from edge_runtime.app import Guard
from edge_runtime.errors import ConfigError, DeviceError, EdgeError
from edge_runtime.host._hand import Hand
from edge_runtime.host._voice import Voice
from edge_runtime.host.activity import Activity
from edge_runtime.host.watchdog import Watchdog
from edge_runtime.model import Event, Message
from edge_runtime.pure.guard import Act, Kind, Warden, Wish
from edge_runtime.pure.guard_command import Command, read
from edge_runtime.threads import in_thread
from edge_runtime.triggers._inbox import Inbox

_log = logging.getLogger(__name__)
_HUNG_S = 5.0
"""How long a driver may take for a move."""
_LAST_S = 3.0
"""How long the last move may take, and writing it down, when the host ends."""
_MOST_HUNG = 3
"""How many calls of a driver that hangs are left behind."""
_AHEAD = 16
"""How many commands may be in hand."""
HOST = "host"
"""Who asked for what the guard does by itself."""


@dataclass(slots=True, eq=False)
class _Move:
    """A move that is under way."""

    act: Act
    done: asyncio.Future[object]
    limit_s: float
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class _Question:
    """A command of which the device is asked whether it would be on after it."""

    message: Message
    command: Command
    done: asyncio.Future[bool]
    timer: asyncio.TimerHandle | None = None


class _Said(NamedTuple):
    """What is to be written down."""

    command: Message | None
    event: Event | None
    failure: str = ""


class _Bite(NamedTuple):
    """The watchdog has put the output to its safe value."""


_Item = Message | _Move | _Question | _Bite | asyncio.Task[None]


class GuardedActuator:
    """Carries out commands for one output as its guard lets it, and says what becomes of them.

    At its start and at its end the output is put to its safe value.
    """

    def __init__(self, voice: Voice, activity: Activity, watchdog: Watchdog, *, patience_s: float = _HUNG_S) -> None:
        """`activity` tells what it is interlocked with, and is told what it does.

        `patience_s` is how long the driver may take for a move.
        """
        self._patience_s = patience_s
        self._voice = voice
        self._activity = activity
        self._watchdog = watchdog
        self._clock = voice.clock
        self._name = voice.device.name
        self._guard = voice.device.spec.guard or Guard()
        self._hand = Hand(voice.device, self._guard.safe)
        self._rest: object = None
        """The value that it has when it is at its safe one."""
        self._faulty = False
        self._hung: set[_Move] = set()
        """Moves of which the driver has not come back in time."""

    def _begin_anew(self) -> None:
        self._inbox: Inbox[_Item] = Inbox(self._clock, self._name)
        self._said: asyncio.Queue[_Said | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(_AHEAD)
        now = self._clock.now()
        self._warden = Warden(self._guard, now.boot, now.mono_ns)
        self._moving: _Move | None = None
        self._question: _Question | None = None
        self._is_answered = False
        self._commands: deque[Message] = deque()
        self._held: dict[int, Message] = {}
        """Commands that are not settled, by their number."""

    async def run(self) -> None:
        """Obey and guard, for ever."""
        self._begin_anew()
        tasks = [
            asyncio.create_task(self._fetch(), name=f"{self._name}.commands"),
            asyncio.create_task(self._write(), name=f"{self._name}.books"),
        ]
        for task in tasks:
            task.add_done_callback(self._inbox.put)
        why = "fault"
        self._activity.follow(self._hear)
        try:
            self._do(self._warden.end("start"))
            while True:
                self._inbox.arm(self._warden.due())
                self._look(await self._inbox.wait())
        except asyncio.CancelledError:
            why = "stop"
            raise
        finally:
            self._activity.leave(self._hear)
            tasks[0].cancel()
            await asyncio.wait(tasks[:1])
            await self._finish(why, tasks[1])

    async def _fetch(self) -> None:
        """Bring commands, a few ahead."""
        queue = self._voice.store.queue(self._voice.topic)
        while True:
            await self._room.acquire()
            (message,) = await queue.get(1)
            self._held[message.seq] = message
            self._inbox.put(message)

    async def _write(self) -> None:
        """Write down what was said, in order."""
        while (said := await self._said.get()) is not None:
            await self._voice.settle(said.command, said.event, said.failure)
            if said.command is not None:
                del self._held[said.command.seq]
                self._room.release()

    async def _finish(self, why: str, writing: asyncio.Task[None]) -> None:
        """Put it to its safe value, write that down, and give back what was not carried out."""
        self._drop_move(why)
        done = in_thread(f"safe[{self._name}]", self._hand.to_safe)
        await asyncio.wait([done], timeout=_LAST_S)
        if done.done() and done.exception() is None:
            self._watchdog.disarm(self._hand)
            self._say_set(done.result(), None, why)
        else:
            error = done.exception() if done.done() else f"it does not answer within {_LAST_S:g} s"
            self._say_fault(f"it could not be put to its safe value at the end: {error}")
        self._activity.note(self._name, None)
        self._said.put_nowait(None)
        await asyncio.wait([writing], timeout=_LAST_S)
        writing.cancel()
        await asyncio.wait([writing])
        self._voice.store.queue(self._voice.topic).give_back(self._held.values())
        await self._inbox.close()
        if not writing.cancelled() and (error := writing.exception()) is not None:
            raise error

    # -- what happens --------------------------------------------------------------------------------------------

    def _look(self, items: Sequence[_Item]) -> None:
        if any(isinstance(item, _Bite) for item in items) and self._warden.is_on:
            self._do(self._warden.end("watchdog"))
        for item in items:
            if isinstance(item, _Move):
                self._came_back(item)
            elif isinstance(item, Message):
                self._commands.append(item)
            elif isinstance(item, asyncio.Task):
                item.result()  # it raises what ended it
            elif item is self._question:
                self._is_answered = True
        self._do(self._warden.tick(self._now()))
        if self._question is not None and self._is_answered and self._moving is None:
            self._is_answered = False
            self._answered(self._question)
        while self._commands and self._moving is None and self._question is None:
            self._ask(self._commands.popleft())

    def _hear(self, name: str, active: bool | None) -> None:  # noqa: FBT001 - the state is the news
        self._do(self._warden.hear(name, active))

    def _ask(self, message: Message) -> None:
        """Ask the device what a command means to it: its driver may have to look."""
        from edge_runtime.devices.commands import turns_on  # noqa: PLC0415 - imported when a device is open

        try:
            command = read(self._name, message.event.payload)
        except ConfigError as error:
            self._give_up(message, error)
            return
        if command.is_plainly_safe(self._guard.safe):
            done = asyncio.get_running_loop().create_future()
            done.set_result(False)
        else:
            done = in_thread(f"understand[{self._name}]", partial(turns_on, self._voice.device, command.payload))
        question = self._question = _Question(message, command, done)
        done.add_done_callback(lambda _: self._inbox.put(question))
        question.timer = asyncio.get_running_loop().call_later(self._patience_s, self._inbox.put, question)

    def _answered(self, question: _Question) -> None:
        """Decide on a command that is understood, or is not in time."""
        self._question = None
        if question.timer is not None:
            question.timer.cancel()
        error = question.done.exception() if question.done.done() else self._late(self._patience_s)
        if error is not None:
            self._give_up(question.message, error)
            if not isinstance(error, ConfigError):
                self._say_fault(str(error))
                self._do(self._warden.end("fault") if self._warden.is_on else [])
            return
        command, event, turns_on = question.command, question.message.event, question.done.result()
        wants_on = self._warden.wants_on
        on = command.is_on(self._guard.safe, self._rest, turns_on=turns_on, wants_on=wants_on)
        wish = Wish(on, event.time.mono_ns, event.time.boot, command.for_s, question)
        self._do(self._warden.command(wish, self._now()))

    def _give_up(self, message: Message, error: BaseException) -> None:
        _log.warning("%s", error)
        self._said.put_nowait(_Said(message, None, str(error)))

    def _late(self, limit_s: float) -> DeviceError:
        return DeviceError(f"device {self._name!r}: its driver does not come back within {limit_s:g} s")

    def _do(self, acts: Sequence[Act]) -> None:
        for act in acts:
            if act.kind in (Kind.SAFE, Kind.SWITCH):
                self._move(act)
                continue
            message, more = self._of(act.wish)
            kind = "refused" if act.kind is Kind.REFUSE else "deferred"
            if act.kind is Kind.WAIT:
                more |= {"wait_s": round((act.until_ns - self._now()) / 1e9, 3)}
            said = self._voice.tell(kind, message, act.why, more)
            self._said.put_nowait(_Said(message if act.kind is Kind.REFUSE else None, said))

    # -- moves ---------------------------------------------------------------------------------------------------

    def _move(self, act: Act) -> None:
        """Begin a move. It overrules one that is under way, as nothing but a move to the safe value comes then."""
        self._drop_move(act.why)
        limit_s = self._patience_s
        call: Callable[[], object] = self._hand.to_safe
        if act.kind is Kind.SWITCH:
            asked = self._asked(act.wish)
            if asked.done.result():
                self._activity.note(self._name, True)  # before it is: nobody else is to be switched on meanwhile
            limit_s = min(limit_s, self._arm())
            undo = not self._warden.was_on
            call = partial(self._hand.switch, self._hand.begin(), asked.command.payload, undo=undo)
        elif len(self._hung) >= _MOST_HUNG:
            # When the driver comes back, it is tried again.
            self._safe_came_back(act, EdgeError(f"device {self._name!r}: its driver hangs"))
            return
        move = self._moving = _Move(act, in_thread(f"{act.kind}[{self._name}]", call), limit_s)
        move.done.add_done_callback(lambda _: self._inbox.put(move))
        # Real time: it is the machine that is waited for.
        move.timer = asyncio.get_running_loop().call_later(limit_s, self._inbox.put, move)

    def _arm(self) -> float:
        """Have the watchdog watch over it, and return how long it may be on at most, as far as is known now."""
        ends_ns = self._warden.ends_ns()
        within_s = None if ends_ns is None else (ends_ns - self._now()) / 1e9
        self._watchdog.arm(self._hand, within_s, partial(self._inbox.put, _Bite()))
        return math.inf if within_s is None else within_s

    def _drop_move(self, why: str) -> None:
        """Let the move that is under way go on for nobody."""
        move, self._moving = self._moving, None
        if move is None:
            return
        if move.timer is not None:
            move.timer.cancel()
        message, more = self._of(move.act.wish)
        if message is not None:
            said = self._voice.tell("refused", message, f"{why}, before it was carried out", more)
            self._said.put_nowait(_Said(message, said))

    def _came_back(self, move: _Move) -> None:
        """Take the outcome of a move, or that there is none in time."""
        if move is not self._moving:
            self._hung.discard(move)
            if move.done.done() and self._moving is None and self._warden.is_on:
                # It was given up long ago, and nobody knows what it has done now.
                self._do(self._warden.end("fault"))
            return
        self._moving = None
        if move.timer is not None:
            move.timer.cancel()
        error: BaseException | None
        if move.done.done():
            error = move.done.exception()
        else:
            self._hung.add(move)
            error = self._late(move.limit_s)
        if error is not None and not isinstance(error, EdgeError):
            _log.error("device %r", self._name, exc_info=error)
        if move.act.kind is Kind.SAFE:
            self._safe_came_back(move.act, error, None if error else move.done.result())
        else:
            self._switch_came_back(move, error)

    def _switch_came_back(self, move: _Move, error: BaseException | None) -> None:
        message, _ = self._of(move.act.wish)
        if error is None:
            self._activity.note(self._name, self._asked(move.act.wish).done.result())
            self._say_set(move.done.result(), move.act.wish, move.act.why)
            return
        if message is not None:
            self._give_up(message, error)
        if isinstance(error, ConfigError):
            self._warden.revert()
            self._activity.tell(self._name, self._voice.value)
            if self._warden.is_on:
                self._arm()
            else:
                self._watchdog.disarm(self._hand)
            return
        self._say_fault(str(error))
        self._do(self._warden.end("fault"))

    def _safe_came_back(self, act: Act, error: BaseException | None, value: object = None) -> None:
        message, _ = self._of(act.wish)
        if error is None:
            self._rest, self._faulty = value, False
            self._watchdog.disarm(self._hand)
            self._warden.is_safe(self._now())
            self._activity.tell(self._name, value)
            self._say_set(value, act.wish, act.why)
            return
        self._warden.is_not_safe(self._now())
        self._activity.note(self._name, None)
        if not self._faulty:
            self._say_fault(str(error))
        self._faulty = True
        if message is not None:
            self._said.put_nowait(_Said(message, None, str(error)))

    # -- what is said --------------------------------------------------------------------------------------------

    def _say_set(self, value: object, wish: Wish | None, why: str) -> None:
        message, more = self._of(wish)
        more.pop("asked", None)
        self._said.put_nowait(_Said(message, self._voice.set(value, message, {**more, "why": why})))

    def _say_fault(self, reason: str) -> None:
        _log.error("%s", reason)
        self._said.put_nowait(_Said(None, self._voice.tell("fault", None, reason, {"asked_by": HOST})))

    def _of(self, wish: Wish | None) -> tuple[Message | None, dict[str, object]]:
        """Return the command behind a wish, and what an event tells of it."""
        if wish is None:
            return None, {"asked_by": HOST}
        asked = self._asked(wish)
        return asked.message, {"asked_by": asked.message.event.source, "asked": asked.command.asked}

    @staticmethod
    def _asked(wish: Wish | None) -> _Question:
        if wish is None or not isinstance(wish.key, _Question):
            raise TypeError("a wish that comes from a command holds it")
        return wish.key

    def _now(self) -> int:
        return self._clock.now().mono_ns
