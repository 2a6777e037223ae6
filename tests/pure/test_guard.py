"""An output and its guard: tables for what is decided, and laws that hold whatever happens."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.app import Guard, Interlock
from edge_runtime.pure.guard import Act, Kind, Warden, Wish

S = 1_000_000_000
MAX_REST_SHARE = 10


def on(at_s: float = 0, for_s: float = 0, *, boot: str = "b", key: object = None) -> Wish:
    return Wish(True, round(at_s * S), boot, for_s, key)


def off(at_s: float = 0, key: object = None) -> Wish:
    return Wish(False, round(at_s * S), "b", 0, key)


class Output:
    """An output that does at once what it is told, and writes down what became of each command."""

    def __init__(self, guard: Guard) -> None:
        self.warden = Warden(guard, "b", 0)
        self.now_s = 0.0
        self.said: list[tuple[float, str, str]] = []

    def _do(self, acts: list[Act]) -> None:
        for act in acts:
            self.said.append((self.now_s, act.kind.value, act.why))
            if act.kind is Kind.SAFE:
                self.warden.is_safe(round(self.now_s * S))
                self._do(self.warden.tick(round(self.now_s * S)))

    def at(self, now_s: float) -> Output:
        """Let time pass, doing what is due."""
        while (due := self.warden.due()) is not None and due <= now_s * S:
            self.now_s = max(self.now_s, due / S)
            self._do(self.warden.tick(round(self.now_s * S)))
        self.now_s = now_s
        return self

    def command(self, wish: Wish) -> tuple[str, str]:
        """Give a command and return what was decided on it."""
        self._do(self.warden.command(wish, round(self.now_s * S)))
        return self.said[-1][1:]

    def hear(self, device: str, *, active: bool | None) -> None:
        """Let another device be so."""
        self._do(self.warden.hear(device, active))


def test_without_bounds_it_obeys() -> None:
    pump = Output(Guard())
    assert pump.command(on()) == ("switch", "command")
    assert pump.warden.due() is None
    assert pump.command(on(boot="another")) == ("switch", "command")
    assert pump.at(1e6).command(off()) == ("safe", "command")
    assert pump.command(off()) == ("safe", "command")
    assert (pump.warden.is_on, pump.warden.due()) == (False, None)


def test_each_command_begins_a_new_lease_and_may_ask_for_less() -> None:
    pump = Output(Guard(lease_s=30))
    pump.at(10).command(on(10))
    pump.at(35).command(on(35))
    assert pump.at(65).said[-1] == (65, "safe", "lease")
    pump.at(70).command(on(70, for_s=2))
    assert pump.at(80).said[-1] == (72, "safe", "lease")
    pump.command(on(80, for_s=600))  # no more than the guard allows
    assert pump.at(200).said[-1] == (110, "safe", "lease")


def test_a_command_may_have_a_lease_where_the_guard_has_none() -> None:
    pump = Output(Guard())
    pump.command(on(0, for_s=5))
    assert pump.at(9).said[-1] == (5, "safe", "lease")


def test_no_repeating_prolongs_max_on_and_then_it_rests() -> None:
    pump = Output(Guard(lease_s=30, max_on_s=60))
    for second in range(0, 80, 5):
        pump.at(second).command(on(second))
    ended = [entry for entry in pump.said if entry[1] == "safe"]
    assert ended == [(60, "safe", "max_on")]
    assert pump.said[-1:] == [(75, "switch", "command")]
    assert (60, "wait", "min_off") in pump.said
    assert (66, "switch", "deferred") in pump.said  # a tenth of max_on later, by the last command that waited


def test_min_on_defers_off_but_not_safety() -> None:
    pump = Output(Guard(min_on_s=5, lease_s=30, interlocks=(Interlock("heater"),)))
    pump.hear("heater", active=False)
    pump.command(on())
    assert pump.at(1).command(off(1)) == ("wait", "min_on")
    assert pump.at(6).said[-1] == (5, "safe", "deferred")
    pump.command(on(6))
    assert pump.at(7).command(off(7)) == ("wait", "min_on")
    pump.hear("heater", active=True)
    assert pump.said[-2:] == [(7, "safe", "interlock: heater is active"), (7, "safe", "deferred")]
    assert pump.warden.due() is None


def test_min_off_lets_a_command_wait_and_a_later_one_replaces_it() -> None:
    pump = Output(Guard(min_off_s=10))
    assert pump.command(on(0, key="first")) == ("wait", "min_off")
    assert pump.at(3).command(on(3, key="second")) == ("wait", "min_off")
    assert pump.said[-2:-1] == [(3, "refuse", "a later command replaced it")]
    assert pump.at(10).said[-1] == (10, "switch", "deferred")
    pump.at(11).command(off(11))
    pump.at(12).command(off(12))  # is off already: it does not begin to rest anew
    pump.at(13).command(on(13))
    assert pump.at(30).said[-1] == (21, "switch", "deferred")
    pump.at(40).command(off(40))
    pump.at(41).command(on(41))
    assert pump.at(42).command(off(42)) == ("safe", "command")
    assert pump.at(100).said[-1][0] == 42


def test_what_waits_is_judged_again_when_its_time_has_come() -> None:
    pump = Output(Guard(min_off_s=10, interlocks=(Interlock("tank", active=True),)))
    pump.hear("tank", active=True)
    assert pump.command(on()) == ("wait", "min_off")
    pump.hear("tank", active=None)
    assert pump.at(20).said[-1] == (10, "refuse", "interlock: tank is unknown")


@pytest.mark.parametrize(
    ("lock", "active", "why"),
    [
        (Interlock("heater"), None, "interlock: heater is unknown"),
        (Interlock("heater"), True, "interlock: heater is active"),
        (Interlock("tank", active=True), False, "interlock: tank is inactive"),
    ],
)
def test_an_interlock_that_is_not_fulfilled(lock: Interlock, active: bool | None, why: str) -> None:  # noqa: FBT001 - a parameter of the test
    pump = Output(Guard(interlocks=(lock,)))
    pump.hear(lock.device, active=active)
    assert pump.command(on()) == ("refuse", why)
    pump.hear(lock.device, active=lock.active)
    assert pump.command(on()) == ("switch", "command")
    pump.hear("another", active=None)
    assert (pump.warden.is_on, pump.said[-1][1]) == (True, "switch")
    pump.hear(lock.device, active=active)
    assert pump.said[-1] == (0, "safe", why)


def test_it_is_not_switched_on_too_often() -> None:
    pump = Output(Guard(max_per_minute=2))
    for second in (0, 10):
        pump.at(second).command(on(second))
        pump.command(on(second))  # it is on: that is no switching on
        pump.at(second + 1).command(off(second))
    refused = ("refuse", "it was switched on 2 times within a minute, and may be 2 times")
    assert pump.at(59.9).command(on(59.9)) == refused
    assert pump.at(60).command(on(60)) == ("switch", "command")
    pump.at(61).command(off(61))
    assert pump.at(69).command(on(69)) == refused


@pytest.mark.parametrize(
    ("guard", "wish", "why"),
    [
        (Guard(lease_s=30), on(70), "it is 30.0 s old and was for 30 s"),
        (Guard(lease_s=30), on(90, for_s=10), "it is 10.0 s old and was for 10 s"),
        (Guard(max_on_s=60), on(0), "it is 100.0 s old and was for 60 s"),
        (Guard(max_on_s=60), on(99, boot="a"), "it was given before the machine started anew"),
        (Guard(), on(99, for_s=9, boot="a"), "it was given before the machine started anew"),
        (Guard(min_on_s=5), on(100, for_s=2), "it is for 2 s, and min_on is 5 s"),
    ],
)
def test_a_stale_or_senseless_command_is_refused(guard: Guard, wish: Wish, why: str) -> None:
    assert Output(guard).at(100).command(wish) == ("refuse", why)
    assert Output(guard).at(100).command(off(0)) == ("safe", "command")  # to end something is never too late


def test_a_move_that_fails_is_tried_again_ever_more_slowly() -> None:
    warden = Warden(Guard(), "b", 0)
    warden.command(on(), 0)
    assert warden.end("stop") == [Act(Kind.SAFE, "stop")]
    times = []
    now_ns = 0
    for _ in range(8):
        warden.is_not_safe(now_ns)
        assert warden.command(on(now_ns / S), now_ns)[0].why == "it could not be put to its safe value"
        now_ns = warden.due() or 0
        times.append(now_ns // S)
        assert warden.tick(now_ns) == [Act(Kind.SAFE, "stop")]
    assert warden.end("fault") == [Act(Kind.SAFE, "stop")]  # the first reason is the reason
    assert times == [1, 3, 7, 15, 31, 63, 123, 183]
    before = warden.is_on
    warden.is_safe(now_ns)
    assert (before, warden.is_on) == (True, False)


def test_a_command_that_the_device_does_not_take_changes_nothing() -> None:
    warden = Warden(Guard(lease_s=30, max_per_minute=1), "b", 0)
    assert warden.command(on(0), 0)[0].kind is Kind.SWITCH
    warden.revert()
    assert (warden.is_on, warden.due()) == (False, None)
    assert warden.command(on(1), S)[0].kind is Kind.SWITCH  # the first one does not count
    assert warden.command(on(2), 2 * S)[0].kind is Kind.SWITCH
    warden.revert()
    assert (warden.is_on, warden.ends_ns()) == (True, 31 * S)  # nor does it prolong the lease


def test_a_toggle_can_be_read() -> None:
    pump = Output(Guard(min_on_s=5))
    wants = [pump.warden.wants_on]
    for wish in (on(), off()):
        pump.command(wish)
        wants.append(pump.warden.wants_on)
    assert wants == [False, True, False]
    assert pump.warden.is_on


# -- laws --------------------------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """Something that happens a while after the last thing."""

    after_s: float
    what: str
    amount: float


TIMES = st.one_of(st.just(0.0), st.floats(0.1, 90).map(lambda x: round(x, 2)))
GUARDS = st.builds(
    Guard,
    lease_s=TIMES,
    max_on_s=TIMES,
    min_on_s=TIMES,
    min_off_s=TIMES,
    max_per_minute=st.integers(0, 4),
    interlocks=st.sampled_from([(), (Interlock("heater"),), (Interlock("heater"), Interlock("tank", active=True))]),
)
STEPS = st.lists(
    st.builds(
        Step,
        after_s=st.floats(0, 40).map(lambda x: round(x, 2)),
        what=st.sampled_from(["on", "on", "on", "off", "old", "clear", "break", "drain", "fill", "lost"]),
        amount=st.one_of(st.just(0.0), st.floats(0.1, 60)),
    ),
    max_size=60,
)


class Ledger:
    """What an output did: every stretch of being on, and why it ended."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.warden = Warden(guard, "b", 0)
        self.now = 0
        self.began: int | None = None
        self.asked: tuple[int, int] | None = None
        self.ended = 0
        self.why = ""
        self.ons: list[int] = []
        self.heater: bool | None = None
        self.tank: bool | None = None

    def fulfilled(self) -> bool:
        """Tell whether every interlock is."""
        state = {"heater": self.heater, "tank": self.tank}
        return all(state[lock.device] is lock.active for lock in self.guard.interlocks)

    def do(self, acts: list[Act]) -> None:
        """Do what was decided, and hold it against the guard."""
        for act in acts:
            if act.kind is Kind.SWITCH:
                self._switch(act)
            elif act.kind is Kind.SAFE:
                if self.began is not None and act.why in ("command", "deferred"):
                    assert self.now - self.began >= _ns(self.guard.min_on_s)
                if self.began is not None:
                    self.began, self.ended, self.why = None, self.now, act.why
                self.warden.is_safe(self.now)
                self.do(self.warden.tick(self.now))

    def _switch(self, act: Act) -> None:
        assert self.fulfilled()
        assert act.wish is not None
        spans = [span for span in (act.wish.for_s, self.guard.lease_s) if span]
        self.asked = (self.now, _ns(min(spans))) if spans else None
        if self.began is None:
            rest_s = self.guard.max_on_s / MAX_REST_SHARE if self.why == "max_on" else 0
            assert self.now - self.ended >= _ns(max(self.guard.min_off_s, rest_s))
            self.began = self.now
            self.ons.append(self.now)
            window = [then for then in self.ons if self.now - then < 60 * S]
            assert self.guard.max_per_minute == 0 or len(window) <= self.guard.max_per_minute

    def until(self, end: int) -> None:
        """Let time pass."""
        while (due := self.warden.due()) is not None and due <= end:
            assert due >= self.now or not self.warden.is_on
            self.now = max(self.now, due)
            self.check()
            self.do(self.warden.tick(self.now))
        self.now = end
        self.check()

    def check(self) -> None:
        """Hold how it is now against the guard."""
        if self.began is None:
            return
        assert self.fulfilled()
        if self.guard.max_on_s:
            assert self.now - self.began <= _ns(self.guard.max_on_s)
        if self.asked is not None:
            assert self.now - self.asked[0] <= self.asked[1]

    def step(self, step: Step) -> None:
        """Let something happen."""
        self.until(self.now + _ns(step.after_s))
        if step.what in ("on", "old"):
            age = _ns(step.amount) if step.what == "old" else 0
            acts = self.warden.command(on((self.now - age) / S, 0 if age else step.amount), self.now)
        elif step.what == "off":
            acts = self.warden.command(off(), self.now)
        elif step.what in ("clear", "break"):
            self.heater = step.what == "break"
            acts = self.warden.hear("heater", self.heater)
        else:
            self.tank = {"drain": False, "fill": True, "lost": None}[step.what]
            acts = self.warden.hear("tank", self.tank)
        self.do(acts)
        self.check()


@given(GUARDS, STEPS)
@settings(max_examples=300, deadline=None)
def test_whatever_happens_no_bound_is_broken(guard: Guard, steps: list[Step]) -> None:
    """Never on beyond the lease or max_on, nor too often, nor against an interlock; min_on, min_off but for safety."""
    ledger = Ledger(guard)
    for step in steps:
        ledger.step(step)
    ledger.until(ledger.now + 200 * S)
    if ledger.asked is not None or guard.max_on_s:
        assert ledger.began is None  # what has an end ends, if nobody asks again


def _ns(seconds: float) -> int:
    return round(seconds * S)
