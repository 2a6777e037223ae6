"""Whether a store kept its promises, by what a process said while it ran and what is on the disk afterwards.

The process says, on a descriptor that outlives it, one line a thing:

    s TARGET PRIORITY ID HASH          it is about to hand this over
    a TARGET SEQ ID                    the store has accepted it: said only after the await returned
    x ID                               the store has refused it
    d TARGET PRIORITY SEQ ID HASH      the consumer has it: said before the message is settled
    t SEQ COUNT MIN MAX MEAN           what was just delivered from queue `thin` stands for so many readings
    o MILLISECONDS                     it took so long from the start to the first accepted message
    e TEXT                             something that must not happen
    i TEXT                             something to be reported

Accepted must be delivered, waiting, a dead letter, or dropped and counted. A message whose acceptance was not said may
be there or not: the process may have ended between the commit and the word.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime.app import QueueLimits, StoreLimits
from edge_runtime.clock import SystemClock, make_event
from edge_runtime.errors import StoreError
from edge_runtime.model import Event, Feed, Message
from edge_runtime.pure import thinning
from edge_runtime.store import schema
from edge_runtime.store.counters import Counters
from edge_runtime.store.jobs import Change, Work
from edge_runtime.store.letters import without_marks
from edge_runtime.store.writer import Page, Writer

LIMITS = StoreLimits(limit_bytes=64 << 20, keep_free=0.0)
RESTART_S = 2.0


def fingerprint(event: Event) -> str:
    """Return a hash of what must come through unchanged."""
    text = f"{event.topic}\0{event.source}\0{event.id}\0{event.time}\0{sorted(event.headers.items())}\0".encode()
    return hashlib.sha256(text + event.payload).hexdigest()[:16]


def summary_of(payload: bytes) -> str:
    """Return `COUNT MIN MAX MEAN` of readings that were put together; empty for anything else."""
    reading = thinning.parse(payload, 0, 0)
    if reading is None or reading.summary.readings == 1:
        return ""
    count, least, most, mean, *_ = reading.summary
    return f"{count} {least} {most} {mean}"


@dataclass
class Said:
    """What a process said, over all its lives."""

    submitted: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    """(target, id) -> priority, hash."""
    accepted: dict[tuple[str, int], str] = field(default_factory=dict)
    """(target, number) -> id."""
    refused: set[str] = field(default_factory=set)
    delivered: dict[tuple[str, int], tuple[int, str, str]] = field(default_factory=dict)
    """(target, number) -> priority, id, hash, in the order of the first deliveries."""
    again: int = 0
    """Deliveries of what had been delivered before."""
    thinned: dict[int, set[str]] = field(default_factory=dict)
    """Number in queue `thin` -> what it stood for, each time that it was delivered."""
    opened_ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def listen(self, text: str) -> None:
        """Take notice of some more lines."""
        for line in text.splitlines():
            kind, _, rest = line.partition(" ")
            words = rest.split(" ")
            if kind == "s":
                target, priority, event_id, digest = words
                self.submitted[target, event_id] = int(priority), digest
            elif kind == "a":
                target, seq, event_id = words
                if self.accepted.setdefault((target, int(seq)), event_id) != event_id:
                    self.errors.append(f"number {seq} of {target} was given twice: {line}")
            elif kind == "x":
                self.refused.add(rest)
            elif kind == "d":
                target, priority, seq, event_id, digest = words
                self.again += (target, int(seq)) in self.delivered
                self.delivered.setdefault((target, int(seq)), (int(priority), event_id, digest))
            elif kind == "t":
                seq, _, summary = rest.partition(" ")
                self.thinned.setdefault(int(seq), set()).add(summary)
            elif kind == "o":
                self.opened_ms.append(float(rest))
            elif kind == "i":
                self.told.append(rest)
            else:
                self.errors.append(rest)


@dataclass
class Verdict:
    """What was found."""

    broken: list[str] = field(default_factory=list)
    """Promises that were not kept. Empty is good."""
    waiting: int = 0
    dead: int = 0
    gone: set[tuple[str, int]] = field(default_factory=set)
    """The messages that `lost` counts."""
    lost: int = 0
    """Accepted, not delivered and not there: all of them counted as dropped, unless `broken` says other."""
    ghosts: int = 0
    """Refused, and there all the same: possible only where the process ended, or the disk failed, in between."""
    restart_s: float = 0.0
    notes: list[str] = field(default_factory=list)


def judge(
    said: Said, folder: Path, queues: Mapping[str, QueueLimits], *, drain: bool = True, damage: bool = False
) -> Verdict:
    """Open the store that a process left in `folder`, look at everything in it, and deliver it.

    Args:
        said: what the process said before it ended.
        folder: the state folder. It is used up.
        queues: the bounds that the process ran with.
        drain: deliver all that waits, and see that nothing is left.
        damage: the file was damaged on purpose: what is missing must be counted, but may be missing.
    """
    verdict = Verdict()
    before = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    began_s = time.monotonic()
    try:
        writer = Writer(folder, LIMITS, queues, SystemClock())
    except StoreError as error:
        verdict.broken.append(f"it does not open: {error}")
        return verdict
    try:
        probe = Change([(make_event(SystemClock(), "probe", b"", "oracle"), [Feed(next(iter(queues)))])])
        writer.process([probe])
        verdict.restart_s = time.monotonic() - began_s
        if probe.error is not None:
            verdict.broken.append(f"it accepts nothing: {probe.error}")
        if verdict.restart_s > RESTART_S:
            verdict.broken.append(f"it took {verdict.restart_s:.1f} s to start")
        present = _look(said, writer, verdict, damage=damage)
        if drain:
            _drain(said, writer, verdict)
        _account(said, writer, present, verdict, damage=damage)
        verdict.notes = list(writer.notes)
        if not damage and writer.notes:
            verdict.broken.append(f"it reports damage that nobody did: {writer.notes}")
    finally:
        writer.close()
    _nothing_deleted(before, folder, verdict)
    return verdict


def pages(writer: Writer, name: str, lane: int) -> Iterator[Message]:
    """Yield the messages of a lane as a consumer would get them; damaged ones are set aside."""
    page = Page([], [], 0, more=True)
    while page.more:
        page = _page(writer, name, lane, page.upto)
        yield from page.messages


def _page(writer: Writer, name: str, lane: int, after: int) -> Page:
    look = Work(lambda w: w.page(name, lane, after, 256), writes=False)
    writer.process([look])
    if look.error is not None:
        raise look.error
    page = look.result
    assert isinstance(page, Page)
    if page.damaged:
        writer.process([Work(lambda w: w.set_aside(name, page.damaged), writes=True)])
    return page


def _look(said: Said, writer: Writer, verdict: Verdict, *, damage: bool) -> dict[tuple[str, int], Message]:
    """Return what waits and what is dead, having compared it with what was submitted."""
    resets = -1
    while resets != writer.resets:  # a salvage: what is there is something else now
        resets = writer.resets
        present = {(m.target, m.seq): m for m in _waiting(writer)}
    for counters in writer.targets.values():
        letters = {(m.target, m.seq): without_marks(m) for m in _letters(writer, counters, verdict, damage=damage)}
        verdict.dead += len(letters)
        verdict.broken += [f"{name} {seq} waits and is dead" for name, seq in letters.keys() & present.keys()]
        present.update(letters)
    copies = Counter((name, message.event.id) for (name, _), message in present.items())
    verdict.broken += [f"{event_id} is stored {n} times in {name}" for (name, event_id), n in copies.items() if n > 1]
    for (name, seq), message in present.items():
        verdict.ghosts += message.event.id in said.refused
        _compare(said, name, seq, message, verdict)
    return present


def _waiting(writer: Writer) -> Iterator[Message]:
    for name in list(writer.targets):
        for lane in range(schema.LANES):
            yield from (message for message in pages(writer, name, lane) if message.event.topic != "probe")


def _letters(writer: Writer, counters: Counters, verdict: Verdict, *, damage: bool) -> Iterator[Message]:
    for row in writer.db.execute(schema.SELECT, (*schema.lane_range(counters.id, schema.DEAD), -1)).fetchall():
        try:
            yield schema.from_row(counters.name, row)
        except StoreError as error:
            if not damage:
                verdict.broken.append(str(error))


def _compare(said: Said, name: str, seq: int, message: Message, verdict: Verdict) -> None:
    if name == "thin" and (summary := summary_of(message.event.payload)):
        said.thinned.setdefault(seq, set()).add(summary)
        return
    known = said.submitted.get((name, message.event.id))
    if known is None:
        verdict.broken.append(f"nobody sent message {seq} of {name}: {message.event.id}")
    elif known != (message.priority, fingerprint(message.event)):
        verdict.broken.append(f"message {seq} of {name} is not what was sent: {message}")
    accepted = said.accepted.get((name, seq))
    if accepted is not None and accepted != message.event.id:
        verdict.broken.append(f"number {seq} of {name} was {accepted} and is {message.event.id}")


def _drain(said: Said, writer: Writer, verdict: Verdict) -> None:
    for name, counters in writer.targets.items():
        for lane in range(schema.LANES):
            messages = list(pages(writer, name, lane))
            verdict.waiting += len(messages)
            for message in messages:
                if message.event.topic != "probe":
                    said.delivered.setdefault((name, message.seq), (lane, message.event.id, fingerprint(message.event)))
            change = Change(done=messages)
            writer.process([change])
            if change.error is not None:
                verdict.broken.append(f"{name} cannot be drained: {change.error}")
        if counters.queued:
            verdict.broken.append(f"{counters.queued} messages of {name} are said to wait and are not there")


def _account(
    said: Said, writer: Writer, present: Mapping[tuple[str, int], Message], verdict: Verdict, *, damage: bool
) -> None:
    lost: Counter[str] = Counter()
    for (name, seq), event_id in said.accepted.items():
        if (name, seq) not in present and (name, seq) not in said.delivered:
            lost[name] += 1
            verdict.lost += 1
            verdict.gone.add((name, seq))
            if lost[name] > _dropped(writer.targets.get(name), writer, damage=damage):
                verdict.broken.append(
                    f"number {seq} of {name} was accepted and is gone, and nobody counted it: {event_id}"
                )
    for (name, seq), (_, event_id, digest) in said.delivered.items():
        if name == "thin" and seq in said.thinned:
            continue
        if said.submitted.get((name, event_id), (0, ""))[1] != digest:
            verdict.broken.append(f"number {seq} of {name} was delivered other than it was sent")
    for counters in writer.targets.values():
        _check_books(counters, writer, verdict)
    if not damage:
        verdict.broken += _out_of_order(said, writer)
    if "thin" in writer.targets:
        _check_thinned(said, writer.targets["thin"], present, verdict, damage=damage)
    verdict.broken += said.errors


def _out_of_order(said: Said, writer: Writer) -> Iterator[str]:
    for counters in writer.targets.values():
        if counters.name == "thin":
            continue  # it has a live share
        order: defaultdict[int, list[int]] = defaultdict(list)
        for (name, seq), (priority, _, _) in said.delivered.items():
            if name == counters.name:
                order[priority].append(seq)
        if any(numbers != sorted(numbers) for numbers in order.values()):
            yield f"first deliveries of {counters.name} are out of order"


def _check_thinned(
    said: Said, counters: Counters, present: Mapping[tuple[str, int], Message], verdict: Verdict, *, damage: bool
) -> None:
    """See that what was put together says the truth, and that every reading is in it that is not there itself."""
    there = said.delivered.keys() | present.keys()
    sure = {_value(event_id): ("thin", seq) for (name, seq), event_id in said.accepted.items() if name == "thin"}
    all_ = {_value(event_id) for name, event_id in said.submitted if name == "thin"}
    left = {value for value, key in sure.items() if key not in there or key[1] in said.thinned}
    for seq, summaries in said.thinned.items():
        for summary in summaries:
            count, least, most, mean = (float(word) for word in summary.split())
            inside = {value for value in all_ if least <= value <= most and value % 3 == least % 3}
            must = inside & sure.keys() - {value for value, key in sure.items() if key in there and value not in left}
            if not len(must) <= count <= len(inside) or not {least, most} <= inside or not least <= mean <= most:
                verdict.broken.append(f"number {seq} of thin says {summary}, of {len(must)} to {len(inside)} readings")
            if count == len(inside) and abs(mean - sum(inside) / count) > 1e-9 * most:
                verdict.broken.append(f"number {seq} of thin has a wrong mean: {summary}")
    covered = {value for value in left if any(_says(summary, value) for s in said.thinned.values() for summary in s)}
    if left - covered and not counters.overflow and not damage:
        verdict.broken.append(f"readings of thin are in nothing that is there: {sorted(left - covered)[:9]}")


def _says(summary: str, value: int) -> bool:
    _, least, most, _ = summary.split()
    return int(least) <= value <= int(most) and value % 3 == int(least) % 3


def _value(event_id: str) -> int:
    seed, _, made = event_id.partition("-")
    return 100_000 * int(seed) + int(made)


def _dropped(counters: Counters | None, writer: Writer, *, damage: bool) -> int:
    """Return how many messages of a queue the ledger says were given up; damaged letters are no delivery either."""
    if counters is None:
        return 0
    dead = 0
    if damage:
        rows = writer.db.execute(schema.SELECT, (*schema.lane_range(counters.id, schema.DEAD), -1))
        dead = sum(not schema.is_intact(row) for row in rows)
    return counters.dropped + counters.expired + dead


def _check_books(counters: Counters, writer: Writer, verdict: Verdict) -> None:
    span = schema.pack_id(counters.id, 0, 0), schema.pack_id(counters.id, schema.DEAD, 0) - 1
    (waiting,) = writer.db.execute("SELECT count(*) FROM message WHERE id BETWEEN ? AND ?", span).fetchone()
    span = schema.lane_range(counters.id, schema.DEAD)
    (dead,) = writer.db.execute("SELECT count(*) FROM message WHERE id BETWEEN ? AND ?", span).fetchone()
    if (waiting, dead) != (counters.queued, counters.dead) or min(counters.values()) < 0:
        verdict.broken.append(
            f"the ledger does not balance: {waiting} wait and {dead} are dead, and it says {counters}"
        )


def _nothing_deleted(before: list[str], folder: Path, verdict: Verdict) -> None:
    after = {path.name for path in folder.iterdir()}
    kept = [name for name in after if ".corrupt-" in name]
    missing = [name for name in before if ".corrupt-" in name and name not in after]
    if missing:
        verdict.broken.append(f"files that were set aside are gone: {missing}")
    if any("it was kept as" in note for note in verdict.notes) and not kept:
        verdict.broken.append("the damaged database was not kept")
