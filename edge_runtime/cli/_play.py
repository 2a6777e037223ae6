"""`edge run --simulate --script`: a world that goes on while the device has power and while it has none."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import click

from edge_runtime.cli._common import DATABASE, clean, duration, ledger_table, say, table
from edge_runtime.cloud.uplink import TARGET as UPLINK
from edge_runtime.errors import ConfigError, HostError
from edge_runtime.host.playing import Score, check, command, open_trace
from edge_runtime.host.stage import scratch_folder
from edge_runtime.loaders import load_app
from edge_runtime.pure.playback import length_s
from edge_runtime.store.inspect import LedgerRow, ledger

_JOURNAL = "cloud.jsonl"
_FOREVER_S = 100 * 366 * 86_400.0
_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants to see. A `speed` of 0 is as fast as it can; `until_s` None: to the end of the script."""

    app: Path
    script: Path | None = None
    state: Path | None = None
    speed: float = 0.0
    until_s: float | None = None


@dataclass
class Outcome:
    """What came of it."""

    ledger: list[LedgerRow] = field(default_factory=list)
    arrived: Counter[str] = field(default_factory=Counter)
    """How many messages came to the cloud, by topic, repeats included."""
    repeats: int = 0
    seqs: set[int] = field(default_factory=set)
    boots: int = 0
    passed_s: float = 0.0
    took_s: float = 0.0

    @property
    def lost(self) -> int:
        """How many messages were accepted for the cloud, never came there, and have no entry that says why."""
        row = next((row for row in self.ledger if row.target == UPLINK), None)
        if row is None:
            return 0
        missing = row.produced - len(self.seqs & set(range(1, row.produced + 1)))
        return max(0, missing - row.queued - row.expired - row.dropped - row.dead)

    @property
    def is_well(self) -> bool:
        """Whether everything is accounted for."""
        return self.lost == 0 and all(row.balanced for row in self.ledger)


def play(wish: Wish) -> Outcome:
    """Play the script, say how it goes, and return what came of it.

    Raises: ConfigError, NotFoundError for a faulty script or app; HostError when the host ends by itself.
    """
    trace = open_trace(str(wish.script or ""))
    check(trace, load_app(wish.app, wish.state or wish.app.parent / ".edge"))
    start = trace.head().start
    start_s = start.timestamp() if start is not None else float(int(time.time()))
    until_s = _until(wish, length_s(trace))
    with contextlib.ExitStack() as closing:
        state = wish.state or closing.enter_context(scratch_folder())
        if (state / DATABASE).exists():
            raise ConfigError(
                f"{state} holds messages already, and a simulation begins with nothing", hint="name a new folder"
            )
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        journal = state / _JOURNAL
        paths = (str(wish.app), str(state), str(wish.script or ""), str(journal))
        score = Score(*paths, start_s=start_s, until_s=until_s, speed=wish.speed)
        began_s = time.monotonic()
        outcome = Outcome()
        end = f"; it ends after {duration(until_s)}" if until_s < _FOREVER_S else ""
        _show(start_s, 0.0, f"the world begins{end}")
        while _boot(score, outcome):
            score = replace(score, begin_s=outcome.passed_s, boots=score.boots + 1)
        outcome.took_s = time.monotonic() - began_s
        outcome.boots = score.boots
        outcome.ledger = ledger(state / DATABASE)
        _count(journal, outcome)
    return outcome


def _until(wish: Wish, length: float) -> float:
    if wish.until_s is not None:
        return wish.until_s
    if wish.script is None:
        return _FOREVER_S
    if length > _FOREVER_S:
        raise ConfigError(
            f"{wish.script} has a series without `for`, so it never ends", hint="say when to end, as in --until 7d"
        )
    return length


def _boot(score: Score, outcome: Outcome) -> bool:
    """Let the host run until the power is cut or the world ends; tell whether it is to start again, and when."""
    reader, writer = os.pipe()
    child = subprocess.Popen(command(replace(score, told=writer)), pass_fds=(writer,), stdin=subprocess.DEVNULL)
    os.close(writer)
    ended = False
    with os.fdopen(reader, encoding="utf-8") as told, _handed_on(child) as asked:
        for text in told:
            if not text.endswith("\n"):
                break
            line = json.loads(text)
            outcome.passed_s = line["t"]
            if "error" in line:
                raise ConfigError(line["error"], hint=line["hint"])
            if "started" in line:
                _show(score.start_s, line["t"], "the device starts" if score.boots == 1 else "the power is back")
            if "note" in line:
                _show(score.start_s, line["t"], line["note"])
            ended = ended or "ended" in line
            if "cut" in line:
                child.kill()
                child.wait()
                outcome.passed_s = line["cut"]
                _show(score.start_s, line["t"], f"the power is cut for {duration(line['cut'] - line['t'])}")
                return outcome.passed_s < score.until_s and not asked.is_set()
        status = child.wait(_WAIT_S)
    if not ended:
        raise HostError(f"the host ended by itself, with the status {status}", hint="its log is above")
    return False


@contextlib.contextmanager
def _handed_on(child: subprocess.Popen[bytes]) -> Iterator[threading.Event]:
    """Hand Ctrl-C and SIGTERM on to the host, which ends in order; what is yielded is set then."""
    asked = threading.Event()

    def end(*_: object) -> None:
        asked.set()
        child.terminate()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if child.poll() is None:
            child.kill()
            child.wait()


def _count(journal: Path, outcome: Outcome) -> None:
    ids: set[str] = set()
    with journal.open(encoding="utf-8") as file:
        for line in file:
            if not line.endswith("\n"):
                break  # half written when the power went
            entry = json.loads(line)
            if "topic" not in entry:
                continue
            outcome.arrived[entry["topic"]] += 1
            outcome.repeats += bool(entry["id"]) and entry["id"] in ids
            ids.add(entry["id"])
            if entry["seq"]:
                outcome.seqs.add(entry["seq"])


def _show(start_s: float, at_s: float, text: str) -> None:
    when = datetime.fromtimestamp(start_s + at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    say(f"{when}  {clean(text)}")


def report(outcome: Outcome) -> None:
    """Say what came of it."""
    say("")
    ledger_table(outcome.ledger)
    say("")
    if outcome.arrived:
        table(["arrived in the cloud on", "messages"], sorted(outcome.arrived.items()))
        say("")
    say(
        f"{duration(outcome.passed_s)} passed in {duration(outcome.took_s)}, with {outcome.boots} start(s) of the "
        f"host. {len(outcome.seqs)} messages came to the cloud, {outcome.lost} are lost, {outcome.repeats} came twice."
    )
    if not outcome.is_well:
        click.echo("not everything is accounted for", err=True)
