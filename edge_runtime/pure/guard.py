"""What a guarded output may do, and when: a state machine that is told what happens and says what is to be done.

It has no clock and moves nothing. Whoever holds it gives it every command, every change of a device that it is
interlocked with, and calls `tick` when `due` has come. It does what the answers say, in their order, and tells how a
move to the safe value ended. Safety goes first: nothing defers a move to the safe value but a command's own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from edge_runtime.app import Guard

COMMAND = "command"
DEFERRED = "deferred"
LEASE = "lease"
MAX_ON = "max_on"
REPLACED = "a later command replaced it"
_MINUTE_NS = 60_000_000_000
_REST_SHARE = 10
"""After `max_on` it rests for a tenth of it, or for `min_off` if that is longer: else a command that is repeated every
second would make a bound on time without end one of a few milliseconds' pause."""
_FIRST_RETRY_S = 1.0
_LAST_RETRY_S = 60.0


class Wish(NamedTuple):
    """A command to a guarded output."""

    on: bool
    """Whether it is for anything else than the safe value."""
    at_ns: int
    """The steady time at which it was given, in the boot of the machine that `boot` names."""
    boot: str
    for_s: float = 0.0
    """For how long, if the command says so; 0: as long as the lease."""
    key: object = None
    """Whatever the caller needs to carry it out."""


class Kind(StrEnum):
    """What is to be done."""

    SWITCH = "switch"
    """Carry the wish out. If it cannot be, `revert` or `end` is to be called."""
    SAFE = "safe"
    """Put the safe value, then call `is_safe` or `is_not_safe`. The wish, if there is one, is what asked for it."""
    REFUSE = "refuse"
    """Do nothing; `why` is the reason."""
    WAIT = "wait"
    """Keep the wish until `until_ns` at the latest: it comes back in an answer."""


class Act(NamedTuple):
    """One thing to be done."""

    kind: Kind
    why: str
    wish: Wish | None = None
    until_ns: int = 0


class _Phase(StrEnum):
    OFF = "off"
    ON = "on"
    ENDING = "ending"
    """It is to be at its safe value, and is not known to be."""


@dataclass(frozen=True, slots=True)
class _Now:
    """How the output is."""

    phase: _Phase
    off_ns: int
    """Since when it is off, or was before it was switched on."""
    rest_ns: int
    """How long it stays off from then."""
    on_ns: int = 0
    lease_ns: int | None = None
    """When the lease ends; None: never."""
    ons: int = 0
    """How many times of switching on are known."""


class Warden:
    """Holds one output to its guard. All times are steady, in nanoseconds, and never go back."""

    def __init__(self, guard: Guard, boot: str, now_ns: int) -> None:
        """`boot` names this boot of the machine. What was before is not known: it counts as just switched off."""
        self._guard = guard
        self._boot = boot
        self._now = self._before = _Now(_Phase.OFF, now_ns, _ns(guard.min_off_s))
        self._ons: deque[int] = deque()
        self._known: dict[str, bool | None] = {}
        self._waiting: Wish | None = None
        self._until_ns = 0
        self._ending = ""
        self._was_on = False
        self._retry_ns: int | None = None
        self._retry_s = _FIRST_RETRY_S

    @property
    def is_on(self) -> bool:
        """Whether it may be at another value than the safe one."""
        return self._now.phase is not _Phase.OFF

    @property
    def was_on(self) -> bool:
        """Whether it was on already before the last SWITCH."""
        return self._before.phase is _Phase.ON

    @property
    def wants_on(self) -> bool:
        """Whether it is on, or will be by the command that waits."""
        return self._now.phase is _Phase.ON if self._waiting is None else self._waiting.on

    def ends_ns(self) -> int | None:
        """Return when it is to be safe if nobody commands it again; None: it is, or no time is set."""
        if self._now.phase is not _Phase.ON:
            return None
        return min((end for end, _ in self._ends()), default=None)

    def due(self) -> int | None:
        """Return when `tick` is to be called; None: there is nothing to wait for."""
        times = [self._retry_ns, self.ends_ns()]
        if self._waiting is not None and self._now.phase is not _Phase.ENDING:
            times.append(self._until_ns if self._waiting.on or self._now.phase is _Phase.ON else 0)
        return min((time for time in times if time is not None), default=None)

    # -- what happens --------------------------------------------------------------------------------------------

    def command(self, wish: Wish, now_ns: int) -> list[Act]:
        """Take a command. Not while a SAFE has no outcome, and not before `tick` was called for this time."""
        reason = self._refusal(wish, now_ns) if wish.on else ""
        if reason:
            return [Act(Kind.REFUSE, reason, wish)]
        replaced = self._waiting
        acts = [] if replaced is None else [Act(Kind.REFUSE, REPLACED, replaced)]
        self._waiting = None
        start_ns = self._earliest(wish)
        if now_ns < start_ns:
            self._waiting, self._until_ns = wish, start_ns
            rule = "min_off" if wish.on else "min_on"
            return [*acts, Act(Kind.WAIT, rule, wish, start_ns)]
        return [*acts, self._carry_out(wish, COMMAND, now_ns)]

    def tick(self, now_ns: int) -> list[Act]:
        """Tell what is due. Not while a SAFE has no outcome."""
        if self._now.phase is _Phase.ENDING:
            if self._retry_ns is not None and self._retry_ns <= now_ns:
                return [self._safe(self._ending)]
            return []
        if self._now.phase is _Phase.ON:
            over = [(end, why) for end, why in self._ends() if end <= now_ns]
            if over:
                return [self._safe(min(over)[1])]
        wish = self._waiting
        if wish is None or (now_ns < self._until_ns and (wish.on or self._now.phase is _Phase.ON)):
            return []
        self._waiting = None
        reason = (self._broken() or self._crowded(now_ns)) if wish.on else ""
        return [Act(Kind.REFUSE, reason, wish)] if reason else [self._carry_out(wish, DEFERRED, now_ns)]

    def hear(self, device: str, active: bool | None) -> list[Act]:  # noqa: FBT001 - the state is the news
        """Take notice of what another device is; None: that is not known."""
        self._known[device] = active
        reason = self._broken()
        return [self._safe(reason)] if reason and self._now.phase is _Phase.ON else []

    def end(self, why: str) -> list[Act]:
        """Have it put to its safe value for a reason of the caller's, or for the one for which it is to be already.

        A command that waits goes on waiting.
        """
        return [self._safe(self._ending if self._now.phase is _Phase.ENDING else why)]

    def is_safe(self, now_ns: int) -> None:
        """Take notice that it is at its safe value."""
        rest_s = self._guard.min_off_s
        if self._ending == MAX_ON:
            rest_s = max(rest_s, self._guard.max_on_s / _REST_SHARE)
        self._now = replace(self._now, phase=_Phase.OFF)
        if self._was_on:
            self._now = replace(self._now, off_ns=now_ns, rest_ns=_ns(rest_s))
        self._was_on, self._retry_ns, self._retry_s = False, None, _FIRST_RETRY_S

    def is_not_safe(self, now_ns: int) -> None:
        """Take notice that it could not be put to its safe value: it is tried again, ever more slowly."""
        self._retry_ns = now_ns + _ns(self._retry_s)
        self._retry_s = min(2 * self._retry_s, _LAST_RETRY_S)

    def revert(self) -> None:
        """Forget the last SWITCH: the device did not take it, and is as it was before."""
        while len(self._ons) > self._before.ons:
            self._ons.pop()
        self._now = self._before

    # -- how it is decided ---------------------------------------------------------------------------------------

    def _refusal(self, wish: Wish, now_ns: int) -> str:
        """Return why it may not be switched on, or an empty text."""
        if self._now.phase is _Phase.ENDING:
            return "it could not be put to its safe value"
        guard = self._guard
        spans = [span for span in (wish.for_s, guard.lease_s, guard.max_on_s) if span > 0]
        if spans and wish.boot != self._boot:
            return "it was given before the machine started anew"
        age_s = (now_ns - wish.at_ns) / 1e9
        if spans and age_s >= min(spans):
            return f"it is {age_s:.1f} s old and was for {min(spans):g} s"
        if 0 < wish.for_s < guard.min_on_s:
            return f"it is for {wish.for_s:g} s, and min_on is {guard.min_on_s:g} s"
        reason = self._broken()
        if not reason and self._now.phase is _Phase.OFF:
            reason = self._crowded(max(now_ns, self._now.off_ns + self._now.rest_ns))
        return reason

    def _broken(self) -> str:
        """Return which interlock is not fulfilled, or an empty text."""
        for lock in self._guard.interlocks:
            known = self._known.get(lock.device)
            if known is not lock.active:
                state = "unknown" if known is None else "active" if known else "inactive"
                return f"interlock: {lock.device} is {state}"
        return ""

    def _crowded(self, at_ns: int) -> str:
        """Return why it may not be switched on again at a time, or an empty text."""
        most = self._guard.max_per_minute
        recent = sum(at_ns - then < _MINUTE_NS for then in self._ons)
        return (
            f"it was switched on {recent} times within a minute, and may be {most} times" if 0 < most <= recent else ""
        )

    def _earliest(self, wish: Wish) -> int:
        """Return from when on a wish may be carried out."""
        if wish.on and self._now.phase is _Phase.OFF:
            return self._now.off_ns + self._now.rest_ns
        if not wish.on and self._now.phase is _Phase.ON:
            return self._now.on_ns + _ns(self._guard.min_on_s)
        return 0

    def _carry_out(self, wish: Wish, why: str, now_ns: int) -> Act:
        if not wish.on:
            return self._safe(why, wish)
        self._before = self._now
        spans = [span for span in (wish.for_s, self._guard.lease_s) if span > 0]
        lease_ns = now_ns + _ns(min(spans)) if spans else None
        if self._now.phase is _Phase.OFF:
            while self._ons and now_ns - self._ons[0] >= _MINUTE_NS:
                self._ons.popleft()
            self._before = replace(self._now, ons=len(self._ons))
            self._ons.append(now_ns)
            self._now = replace(self._now, phase=_Phase.ON, on_ns=now_ns)
        self._now = replace(self._now, lease_ns=lease_ns, ons=len(self._ons))
        return Act(Kind.SWITCH, why, wish)

    def _safe(self, why: str, wish: Wish | None = None) -> Act:
        if self._now.phase is not _Phase.ENDING:
            self._was_on, self._ending = self._now.phase is _Phase.ON, why
        self._now = replace(self._now, phase=_Phase.ENDING)
        self._retry_ns = None
        return Act(Kind.SAFE, why, wish)

    def _ends(self) -> list[tuple[int, str]]:
        """Return what will end its being on, and when."""
        ends = [] if self._now.lease_ns is None else [(self._now.lease_ns, LEASE)]
        if self._guard.max_on_s > 0:
            ends.append((self._now.on_ns + _ns(self._guard.max_on_s), MAX_ON))
        return ends


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
