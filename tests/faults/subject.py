"""The process that is tormented: a store, producers, consumers that acknowledge, and a word for everything.

    python tests/faults/subject.py < orders > reports

Each line of its input is a JSON object, the order for one life (`Order`). A child is forked for it, so that a life
costs milliseconds and not the start of an interpreter; when it has ended, or was killed, a line says how.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from edge_runtime import failpoint
from edge_runtime.app import Overflow, QueueLimits, StoreLimits
from edge_runtime.clock import SystemClock
from edge_runtime.errors import QueueFullError, StoreError
from edge_runtime.model import Event, Feed, Message
from edge_runtime.store.store import Store
from tests.faults import seeded
from tests.faults.oracle import fingerprint, summary_of

QUEUES = {
    "a": QueueLimits(),
    "b": QueueLimits(),
    "small": QueueLimits(limit_bytes=20_000),
    "strict": QueueLimits(limit_bytes=20_000, when_full=Overflow.REJECT_NEW),
    "latest": QueueLimits(when_full=Overflow.KEEP_LATEST),
    "short": QueueLimits(ttl_s=0.1),
    "thin": QueueLimits(limit_bytes=60_000, when_full=Overflow.DOWNSAMPLE),
}
FREE = StoreLimits(limit_bytes=64 << 20, keep_free=0.0)


@dataclass
class Order:
    """How one life goes."""

    folder: str
    marks: str
    """The file that the words are appended to."""
    seed: int
    workload: str = "pipeline"
    events: int = 100
    kill_after_s: float = -1.0
    """Killed so long after its start; below zero: it ends by itself."""
    failpoint: str = ""
    """`name:n`, where it kills itself."""
    notes: str = ""
    """Where `faultio` notes what it does to the disk."""
    fail: list[object] = field(default_factory=list)
    """The arguments of `faultio_fail`, once the store is open: kind, file, error, at, count."""
    fail_at_open: bool = False
    """They hold before the store is open."""
    heal_after: int = 0
    """The fault ends after so many events; 0: with the workload."""
    bug: str = ""
    """A bug to be seeded, see `seeded`."""
    limit_bytes: int = 0
    keep_free: float = 0.0
    hog: bool = False
    """The disk is full before the store is opened, and has room again after the first messages were delivered."""
    abrupt: bool = False
    """End without closing the store."""


class Witness:
    """Says everything, at once, to a file that outlives the process."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        # A line that a kill tore was not said.
        said = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        os.ftruncate(self._fd, said.rfind(b"\n") + 1)

    @property
    def fd(self) -> int:
        """The descriptor."""
        return self._fd

    def say(self, *lines: str) -> None:
        """Write lines."""
        os.write(self._fd, "".join(f"{line}\n" for line in lines).encode())


class Life:
    """One run of a workload."""

    def __init__(self, order: Order, witness: Witness, store: Store) -> None:
        self.order = order
        self.witness = witness
        self.store = store
        self.rng = random.Random(order.seed)  # noqa: S311 - the same life for the same seed
        self.clock = SystemClock()
        self.made = 0
        self.refused = 0
        self.sent = 0
        self.some_sent = asyncio.Event()
        self.settling: set[asyncio.Future[object]] = set()

    def event(self) -> Event:
        """Return the next event: mostly small, sometimes longer than a page of the database."""
        self.made += 1
        size = self.rng.choice([0, 20, 100, 300, 300, 900, 900, 5000, 20_000 if self.made % 10 == 0 else 50])
        headers = {"n": str(self.made)} if self.made % 3 == 0 else {}
        topic = f"t/{self.rng.randrange(5)}"
        name = f"{self.order.seed}-{self.made}"
        return Event(topic, self.rng.randbytes(size), "subject", self.clock.now(), name, headers)

    def reading(self) -> Event:
        """Return the next reading: its value, and the topic, can be told from its id."""
        self.made += 1
        value = 100_000 * self.order.seed + self.made
        payload = json.dumps({"value": value}).encode()
        return Event(f"r/{value % 3}", payload, "subject", self.clock.now(), f"{self.order.seed}-{self.made}")

    async def emit(self, *targets: str, count: int = 1) -> bool:
        """Hand over some events in one change. Return whether they were accepted."""
        entries = []
        for _ in range(count):
            event = self.reading() if targets == ("thin",) else self.event()
            lanes = [9] if targets == ("thin",) else [0, 5, 5, 9]
            feeds = [Feed(target, self.rng.choice(lanes)) for target in targets]
            entries.append((event, feeds))
            self.witness.say(*(f"s {f.target} {f.priority} {event.id} {fingerprint(event)}" for f in feeds))
        change = self.store.change(entries, memo={"last": entries[-1][0].id} if self.made % 7 == 0 else {})
        if self.order.bug == "says-before-commit":
            counters = {target: self.store.counters(target).produced for target in targets}
            for event, feeds in entries:
                for feed in feeds:
                    counters[feed.target] += 1
                    self.witness.say(f"a {feed.target} {counters[feed.target]} {event.id}")
        try:
            accepted = cast("list[Message]", await change)
        except (QueueFullError, StoreError):
            self.refused += 1
            self.witness.say(*(f"x {event.id}" for event, _ in entries))
            await asyncio.sleep(0)
            return False
        self.witness.say(*(f"a {m.target} {m.seq} {m.event.id}" for m in accepted))
        return True

    async def produce(self, events: int, *targets: str) -> None:
        """Emit so many events, some of them together."""
        end = self.made + events
        while self.made < end:
            await self.emit(*targets, count=self.rng.choice([1, 1, 1, 2, 8]))
            if self.order.heal_after and self.made >= self.order.heal_after:
                fail("", "", 0, 0, 0)

    def delivered(self, *messages: Message) -> None:
        """Be the far side that has a message now."""
        self.sent += len(messages)
        self.some_sent.set()
        self.witness.say(*(f"t {m.seq} {summary}" for m in messages if (summary := summary_of(m.event.payload))))
        self.witness.say(*(f"d {m.target} {m.priority} {m.seq} {m.event.id} {fingerprint(m.event)}" for m in messages))

    async def sent_all(self, count: int) -> None:
        """Wait until so many were delivered."""
        while self.sent < count:
            self.some_sent.clear()
            await self.some_sent.wait()

    async def consume(self, target: str, most: int = 10) -> None:
        """Deliver everything, and settle it without waiting."""
        queue = self.store.queue(target)
        while True:
            taken = await self.patiently(lambda: queue.get(most))
            if self.order.bug == "deletes-before-delivery":
                await self.store.change(done=taken)
                self.delivered(*taken)
                continue
            self.delivered(*taken)
            self.settle(taken)
            if len(self.settling) > 200:
                await asyncio.wait(self.settling, return_when=asyncio.FIRST_COMPLETED)

    def settle(self, messages: list[Message]) -> None:
        """Say to the store that messages are done, again and again until it is so."""
        settling = self.store.change(done=messages)
        self.settling.add(settling)

        def settled(done: asyncio.Future[object]) -> None:
            self.settling.discard(settling)
            if not done.cancelled() and isinstance(done.exception(), StoreError):
                asyncio.get_running_loop().call_later(0.01, self.settle, messages)

        settling.add_done_callback(settled)

    async def stumble(self, target: str) -> None:
        """Be a consumer that fails: a message is tried three times, then it is a dead letter."""
        queue = self.store.queue(target)
        while True:
            (message,) = await self.patiently(lambda: queue.get(1))
            if self.rng.random() < 0.3:
                await self.retry(message._replace(tries=message.tries + 1))
                continue
            self.delivered(message)
            await self.patiently(partial(self.store.change, done=[message]))

    async def retry(self, again: Message) -> None:
        """Try three times, then give up."""
        if again.tries > 2:
            await self.patiently(partial(self.store.change, dead=[(again, "it fails")]))
            return
        await self.patiently(partial(self.store.change, retried=[again]))
        self.store.queue(again.target).give_back([again])

    async def patiently(self, call: Callable[[], Awaitable[object]]) -> list[Message]:
        """Call until the disk lets it."""
        while True:
            try:
                return cast("list[Message]", await call())
            except StoreError:
                await asyncio.sleep(0.01)

    async def rest(self, *names: str) -> None:
        """Wait until all queues that have consumers are empty."""
        while self.settling or any(self.store.counters(name).queued for name in names):
            with contextlib.suppress(StoreError):
                await self.store.work(lambda _: None)
            await asyncio.sleep(0.001)


async def pipeline(life: Life) -> None:
    """Two producers, one consumer that keeps up, one that stumbles."""
    consumers = [asyncio.create_task(life.consume("a")), asyncio.create_task(life.stumble("b"))]
    await asyncio.gather(life.produce(life.order.events // 2, "a", "b"), life.produce(life.order.events // 2, "a"))
    await finish(life, consumers)


async def backlog(life: Life) -> None:
    """Offline: everything waits, and then it is sent."""
    await life.produce(life.order.events, "a")
    await finish(life, [asyncio.create_task(life.consume("a", 50)), asyncio.create_task(life.stumble("b"))])


async def limits(life: Life) -> None:
    """Queues that drop, refuse, replace and expire."""
    consumers = [asyncio.create_task(life.consume("short"))]
    for _ in range(life.order.events // 4):
        await life.emit("small", count=life.rng.choice([1, 3]))
        await life.emit("latest", "short")
        await life.emit("strict")
        if life.rng.random() < 0.05:
            taken = await life.store.queue("latest").get(3)
            life.delivered(*taken)
            life.settle(taken)
    for consumer in consumers:
        consumer.cancel()


async def thinned(life: Life) -> None:
    """Readings that are thinned, while some of them are delivered, the newest of them before their turn."""
    queue = life.store.queue("thin")
    queue.live_share = 0.5
    for _ in range(life.order.events):
        await life.emit("thin", count=life.rng.choice([2, 8, 8]))
        if life.rng.random() < 0.15:
            taken = await queue.get(life.rng.choice([5, 20]))
            life.delivered(*taken)
            life.settle(taken)


async def squeezed(life: Life) -> None:
    """Somebody else fills the disk, and empties it again."""
    hog = Path(life.order.folder).parent / "hog"
    third = life.order.events // 3
    await life.produce(third, "a", "small")
    occupy(hog)
    await life.produce(third, "a", "small")
    consumer = asyncio.create_task(life.consume("a"))
    await life.rest("a")
    life.witness.say(f"i {life.refused} refused")
    free(hog)
    began_s = time.monotonic()
    while not await life.emit("a"):
        if time.monotonic() - began_s > 5:
            life.witness.say("e the disk has room again, and nothing is accepted")
            break
    life.witness.say(f"i {(time.monotonic() - began_s) * 1000:.0f} ms to accept again")
    await life.produce(third, "a", "small")
    await finish(life, [consumer, asyncio.create_task(life.stumble("b"))])


def occupy(hog: Path) -> None:
    """Write until the disk is full."""
    with hog.open("ab", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


async def only(life: Life) -> None:
    """Accept, and nothing else."""
    await life.produce(life.order.events, "a", "b")


async def finish(life: Life, consumers: list[asyncio.Task[None]]) -> None:
    """Let the consumers deliver the rest, and fail when they do not."""
    fail("", "", 0, 0, 0)
    waiting = asyncio.create_task(life.rest("a", "b"))
    patience_s = 3 if life.order.bug else 20
    done, _ = await asyncio.wait([waiting, *consumers], timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
    if waiting not in done:
        queued = {name: life.store.counters(name).queued for name in ("a", "b")}
        life.witness.say(f"e the queues do not drain: {queued} {[str(t) for t in done]}")
    for task in (*consumers, waiting):
        task.cancel()
    await asyncio.gather(*consumers, waiting, return_exceptions=True)


WORKLOADS = {"pipeline": pipeline, "backlog": backlog, "limits": limits, "only": only, "thinned": thinned}
SPECIAL = {"squeezed": squeezed}


def library() -> ctypes.CDLL | None:
    """Return faultio, when it was preloaded."""
    whole = ctypes.CDLL(None)
    return whole if hasattr(whole, "faultio_fail") else None


def fail(kind: str, match: str, error: int, at: int, count: int) -> None:
    """Make calls fail from now on, or no more."""
    if (loaded := library()) is not None:
        loaded.faultio_fail(kind.encode(), match.encode(), error, ctypes.c_long(at), ctypes.c_long(count))


async def live(order: Order, witness: Witness) -> None:
    """Open the store, carry out the workload, close it."""
    began_s = time.monotonic()
    if order.fail_at_open:
        fail(*order.fail)  # type: ignore[arg-type]  # as JSON brought it
    limits_ = StoreLimits(order.limit_bytes or FREE.limit_bytes, order.keep_free)
    hog = Path(order.folder).parent / "hog"
    if order.hog:
        occupy(hog)
    while True:
        try:
            store = await Store.open(Path(order.folder), QUEUES, clock=SystemClock(), limits=limits_)
            break
        except StoreError:
            if not order.fail:
                raise
            await asyncio.sleep(0.01)  # a supervisor would start it again
    life = Life(order, witness, store)
    if order.hog:
        await boot_on_a_full_disk(life, hog)
    await life.emit("a")
    witness.say(f"o {(time.monotonic() - began_s) * 1000:.1f}")
    if order.fail and not order.fail_at_open:
        fail(*order.fail)  # type: ignore[arg-type]  # as JSON brought it
    await {**WORKLOADS, **SPECIAL}[order.workload](life)
    fail("", "", 0, 0, 0)
    if not order.abrupt:
        await store.close()


async def boot_on_a_full_disk(life: Life, hog: Path) -> None:
    """What waits can be delivered although the disk is full, and is settled when it has room again."""
    waiting = life.store.counters("a").queued
    consumer = asyncio.create_task(life.consume("a"))
    await asyncio.wait_for(life.sent_all(waiting), 10)
    free(hog)
    await asyncio.wait_for(life.rest("a"), 10)
    consumer.cancel()
    await asyncio.wait([consumer])


def free(hog: Path) -> None:
    """Give back what `occupy` took."""
    hog.unlink()


def be_child(order: Order) -> None:
    """Live, and end this process."""
    code = 1
    witness = Witness(order.marks)
    try:
        if (loaded := library()) is not None:
            loaded.faultio_start(order.notes.encode(), order.folder.encode(), witness.fd, 1)
        failpoint._name, _, nth = order.failpoint.partition(":")
        failpoint._left = int(nth or "1")
        seeded.seed(order.bug)
        asyncio.run(live(order, witness))
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the one who gave the order learns of it
        witness.say("e " + traceback.format_exc().replace("\n", " | "))
    finally:
        os._exit(code)


def main() -> None:
    """Carry out orders until there are no more."""
    for line in sys.stdin:
        order = Order(**json.loads(line))
        began_s = time.monotonic()
        child = os.fork()
        if child == 0:
            be_child(order)
        if order.kill_after_s >= 0:
            time.sleep(order.kill_after_s)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        report = {"code": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - began_s}
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
