"""Plays a trace against a simulated host, in a process that a power cut may end.

The parent (`edge run --script`) starts this module as a program for each time that there is power: it reads its
`Score` from the command line and tells the parent how it goes, a line of JSON each, on a descriptor. At a power cut
it stands still and waits to be killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from edge_runtime.app import App
from edge_runtime.errors import ConfigError, EdgeError
from edge_runtime.host.stage import Cloud, Delivery, Stage, check_device, payload_of
from edge_runtime.loaders import load_app
from edge_runtime.pure.playback import World, happenings
from edge_runtime.pure.trace import Kind, Step, Trace
from edge_runtime.warp import WarpClock, WarpLoop

_DRAIN_S = 7200.0
"""So long the world goes on after its end at most, until nothing waits any more."""
_LOOK_S = 10.0
_STATE_KINDS = (Kind.VALUE, Kind.FAULT, Kind.OUTAGE, Kind.CLOCK)

Tell = Callable[..., None]
"""Tells the parent something: the seconds of the world since its start, and more as key and value."""


@dataclass(frozen=True, slots=True)
class Score:
    """What one process is to play. Times are seconds since the start of the world."""

    app: str
    state: str
    script: str
    """The path of the trace; empty: nothing happens by itself."""
    journal: str
    """What arrives in the cloud, a line of JSON each; and the numbers of what it sent and the device has stored."""
    start_s: float
    """When the world begins, since the epoch."""
    until_s: float
    """When it ends."""
    speed: float
    """How many times faster than real time it goes at most; 0: as fast as it can."""
    begin_s: float = 0.0
    boots: int = 1
    told: int = 1
    """The descriptor on which the parent is told."""


def open_trace(path: str) -> Trace:
    """Return the trace in a file, an empty one for no path.

    Raises: ConfigError when it cannot be read; the trace itself raises it for what is wrong with a line.
    """
    return Trace(path or "no script", partial(_lines, path))


def _lines(path: str) -> Iterator[str]:
    if not path:
        return
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            yield from file
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no UTF-8 text: {error.reason}") from error


def check(trace: Trace, app: App) -> None:
    """Look at every line of a trace before it is played. Raises: ConfigError, NotFoundError that name the line."""
    for step in trace.declared():
        if step.kind in (Kind.VALUE, Kind.FAULT, Kind.COMMAND):
            check_device(app, step.name, where=f"{trace.name}:{step.line}: ")


class Player:
    """Plays the steps of a trace on a stage, from `begin_s` on, where the world has come to by the steps before."""

    def __init__(self, trace: Trace, begin_s: float, stored: set[int]) -> None:
        """`stored` are the numbers of the messages from the cloud that the device has stored already."""
        self.world = World()
        self.ahead_s = 0.0
        """How far the wall clock has been set by now, in all."""
        self._begin_s = begin_s
        self._numbers = itertools.count(1)
        self._steps = happenings(trace)
        self._lost: list[Step] = []
        """Steps by which the wall clock lost the time just now, with the power."""
        self._first: list[tuple[Step, int]] = []
        """Steps that were to be played by now and are played at once; with the number of a message, 0 for all else."""
        for step in self._steps:
            if step.at_s > begin_s:
                self._steps = itertools.chain([step], self._steps)
                break
            self._look_back(step, stored)

    def _look_back(self, step: Step, stored: set[int]) -> None:
        if step.kind in _STATE_KINDS:
            self.ahead_s += self.world.take(step)
            return
        if step.kind is Kind.POWER_CUT and step.value and step.at_s + step.for_s == self._begin_s:
            # The wall clock goes on from where it was when the power went, until somebody knows better.
            lost = Step(self._begin_s, Kind.CLOCK, value=-step.for_s, for_s=step.value)
            self.ahead_s += self.world.take(lost)
            self._lost.append(lost)
        number = next(self._numbers) if step.kind is Kind.PUBLISH else 0
        if (number and number not in stored) or step.at_s == self._begin_s:
            self._first.append((step, number))

    def set_up(self, stage: Stage) -> None:
        """Have the stage be as the world is, before it starts."""
        for name, value in self.world.values.items():
            stage.measure(name, value)
        for name, how in self.world.faults.items():
            stage.fail(name, how)
        stage.clock.right = not self.world.unknown
        if self.world.outages:
            stage.cloud.cut()

    async def play(self, stage: Stage, tell: Tell, until_s: float) -> float | None:
        """Play up to a time. Return None then; or at a power cut, at that very time, when the power will be back.

        Raises: EdgeError for what cannot be done.
        """
        begin_ns = stage.clock.now().mono_ns

        async def until(at_s: float) -> None:
            passed_s = (stage.clock.now().mono_ns - begin_ns) / 1e9
            await stage.clock.sleep(at_s - self._begin_s - passed_s)

        stage.clock.run()
        rights = [asyncio.create_task(self._set_right(stage, step), name="world.clock") for step in self._lost]
        try:
            for step, number in itertools.chain(self._first, ((step, 0) for step in self._steps)):
                at_s = max(self._begin_s, step.at_s)
                if at_s >= until_s:
                    break
                await until(at_s)
                if step.kind is Kind.POWER_CUT:
                    stage.clock.stand()
                    return step.at_s + step.for_s
                await self._do(stage, step, number, partial(tell, at_s))
            await until(until_s)
        finally:
            for task in rights:
                task.cancel()
            await asyncio.gather(*rights, return_exceptions=True)
        return None

    async def _set_right(self, stage: Stage, step: Step) -> None:
        """Set right, after a while, a clock that lost the time with the power."""
        await stage.clock.sleep(step.for_s)
        end = Step(step.at_s, Kind.CLOCK, value=step.value, for_s=step.for_s, is_end=True)
        self._set_clock(stage, end)

    def _set_clock(self, stage: Stage, step: Step) -> None:
        seconds = self.world.take(step)
        stage.clock.right = not self.world.unknown
        stage.clock.jump(seconds)

    async def _do(self, stage: Stage, step: Step, number: int, tell: Tell) -> None:
        if step.kind is Kind.CLOCK:
            self._set_clock(stage, step)
            tell(note="the clock is right again" if step.is_end else f"the clock is set by {step.value:g} s")
            return
        self.world.take(step)
        if step.kind is Kind.VALUE:
            stage.measure(step.name, step.value)
        elif step.kind is Kind.COMMAND:
            await stage.command(step.name, payload_of(step.value))
        elif step.kind is Kind.PUBLISH:
            stage.cloud.send(step.name, payload_of(step.value), number or next(self._numbers))
        elif step.kind is Kind.OUTAGE and self.world.outages:
            stage.cloud.cut()
            tell(note="the link is cut")
        elif step.kind is Kind.OUTAGE:
            stage.cloud.mend()
            tell(note="the link is back")
        elif step.is_end:
            stage.mend(step.name)
            tell(note=f"{step.name} works again")
        else:
            stage.fail(step.name, str(step.value))
            tell(note=f"{step.name} fails: {step.value}")


async def drained(stage: Stage, most_s: float = _DRAIN_S) -> None:
    """Let time pass until nothing waits in any queue, or so much has passed."""
    end_ns = stage.clock.now().mono_ns + most_s * 1e9
    while stage.waiting and stage.clock.now().mono_ns < end_ns:
        await stage.clock.sleep(_LOOK_S)


class Journal:
    """What came to the cloud, on disk: it outlives a power cut of the device."""

    def __init__(self, path: Path) -> None:
        self.stored: set[int] = set()
        """The numbers of the messages from the cloud that the device has stored."""
        if path.exists():
            with path.open(encoding="utf-8") as file:
                self.stored = {entry["stored"] for entry in map(json.loads, file) if "stored" in entry}
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def keep(self, delivery: Delivery) -> None:
        """Note a message that arrived."""
        text = delivery.payload.decode(errors="replace")
        self._write({"topic": delivery.topic, "id": delivery.id, "seq": delivery.seq, "payload": text})

    def acked(self, number: int) -> None:
        """Note that the device has stored a message."""
        self.stored.add(number)
        self._write({"stored": number})

    def _write(self, entry: dict[str, object]) -> None:
        os.write(self._file, json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _tell(score: Score, at_s: float, **more: object) -> None:
    with contextlib.suppress(BrokenPipeError):  # the parent was killed: this ends too
        os.write(score.told, json.dumps({"t": at_s, **more}).encode() + b"\n")


def _end_with_parent(told: int, ended: asyncio.Event) -> None:
    """Have the end of the parent be the end of this: a pipe whose other end is closed is reported as an error."""
    loop = asyncio.get_running_loop()

    def gone() -> None:
        loop.remove_reader(told)
        ended.set()

    loop.add_reader(told, gone)


async def _run(score: Score, clock: WarpClock, player: Player, journal: Journal) -> None:
    tell = partial(_tell, score)
    app = load_app(Path(score.app), Path(score.state))
    stage = Stage(app, Path(score.state), clock, Cloud(app, clock, journal.keep, acked=journal.acked))
    player.set_up(stage)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    _end_with_parent(score.told, ended)
    await stage.start()
    try:
        tell(score.begin_s, started=True)
        playing = asyncio.create_task(player.play(stage, tell, score.until_s), name="world")
        stopping = asyncio.create_task(ended.wait(), name="world.end")
        asked = asyncio.create_task(stage.host.stopping.wait(), name="world.asked")
        await asyncio.wait([playing, stopping, asked], return_when=asyncio.FIRST_COMPLETED)
        if playing.done() and (back_s := playing.result()) is not None:
            tell(_now_s(score, clock), cut=back_s)
            await ended.wait()  # the power goes at any moment
        elif playing.done() and not player.world.outages:
            await drained(stage)
        for task in (playing, stopping, asked):
            task.cancel()
        await asyncio.gather(playing, stopping, asked, return_exceptions=True)
    finally:
        await stage.close()
    tell(_now_s(score, clock), ended=True)


def _now_s(score: Score, clock: WarpClock) -> float:
    return score.begin_s + (clock.now().mono_ns - 1_000_000_000) / 1e9


def main(text: str) -> int:
    """Play a score, given as JSON. Return the exit status."""
    score = Score(**json.loads(text))
    logging.basicConfig(
        level=os.environ.get("EDGE_LOG", "WARNING").upper(),
        format="%(levelname).1s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        journal = Journal(Path(score.journal))
        player = Player(open_trace(score.script), score.begin_s, journal.stored)
        clock = WarpClock(
            score.start_s + score.begin_s + player.ahead_s,
            boot=f"{score.boots:012x}",
            speed=score.speed or float("inf"),
        )
        with asyncio.Runner(loop_factory=partial(WarpLoop, clock)) as runner:
            runner.run(_run(score, clock, player, journal))
        journal.close()
    except EdgeError as error:
        _tell(score, score.begin_s, error=str(error), hint=error.hint)
        return 1
    return 0


def command(score: Score) -> list[str]:
    """Return the command that plays a score in a process of its own."""
    return [sys.executable, "-m", __name__, json.dumps(asdict(score))]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
