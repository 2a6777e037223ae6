"""The ways to torment a store, each as a function, so that the tests and the tests of the oracle do the same."""

from __future__ import annotations

import copy
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import writelog
from tests.faults.lab import Lab, listen
from tests.faults.oracle import Said, Verdict, judge
from tests.faults.subject import QUEUES, Order

PAGE = 4096
Mutation = Callable[[Path, random.Random], None]


@dataclass
class Outcome:
    """What a campaign found."""

    trials: int = 0
    accepted: int = 0
    lost: int = 0
    ghosts: int = 0
    noticed: int = 0
    """Trials after which the store reported damage."""
    slowest_s: float = 0.0
    broken: list[str] = field(default_factory=list)

    def add(self, verdict: Verdict, said: Said, what: str) -> None:
        """Count one trial."""
        self.trials += 1
        self.accepted += len(said.accepted)
        self.lost += verdict.lost
        self.ghosts += verdict.ghosts
        self.noticed += bool(verdict.notes)
        self.slowest_s = max(self.slowest_s, verdict.restart_s)
        self.broken += [f"{what}: {text}" for text in verdict.broken]


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder in memory, where there is one: what is flushed here is nobody's."""
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of its own in it
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def power_cuts(
    lab: Lab, orders: list[Order], cuts: int, *, seed: int, damage: bool = False, known: Said | None = None
) -> Outcome:
    """Let the lives of `orders` follow on each other, and cut the power `cuts` times in between.

    All have the same folder, marks and notes. `known` was said in lives before, that nobody noted.
    """
    outcome = Outcome()
    rng = random.Random(seed)  # noqa: S311 - the same cuts each time
    disk = writelog.Disk(Path(orders[0].folder))
    for order in orders:
        lab.live(order)
    notes = writelog.records(Path(orders[0].notes))
    said, heard = known or Said(), 0
    with scratch() as folder:
        for number, place in enumerate(writelog.cuts(notes, disk, cuts, rng)):
            said.listen(disk.marks[heard:].decode())
            heard = len(disk.marks)
            mode = writelog.MODES[number % len(writelog.MODES)]
            image = folder / str(number)
            disk.image(image, mode, rng)
            then = copy.deepcopy(said)
            outcome.add(judge(then, image, QUEUES, damage=damage), then, f"{mode} after record {place} of {len(notes)}")
            shutil.rmtree(image)
    return outcome


def ended(lab: Lab, order: Order, more: Order | None = None) -> Outcome:
    """Let a life end by itself, whatever happens to it, and another one if given; look at what it leaves."""
    outcome = Outcome()
    what = f"{order.workload} {order.fail}"
    for life in [order, more] if more else [order]:
        report = lab.live(life)
        if report.code:
            outcome.broken.append(f"{what}: it ended with {report.code}")
    said = listen(Path(order.marks))
    outcome.add(judge(said, Path(order.folder), QUEUES), said, what)
    return outcome


def base(lab: Lab, folder: Path, *, abrupt: bool, events: int = 150) -> tuple[Path, Said]:
    """Return a state folder with something of everything in it, and what is known of it."""
    state, marks = folder / f"base-{abrupt}", folder / f"base-{abrupt}.marks"
    for seed, workload in enumerate(["limits", "pipeline", "only", "only"]):
        lab.live(Order(str(state), str(marks), seed, workload, events, abrupt=abrupt and seed == 3))
    return state, listen(marks)


def damaged(state: Path, said: Said, mutate: Mutation, trials: int, *, seed: int) -> Outcome:
    """Damage copies of a state folder, each in another place, and look at what is left."""
    outcome = Outcome()
    rng = random.Random(seed)  # noqa: S311 - the same damage each time
    with scratch() as folder:
        shutil.copytree(state, folder / "sound")
        sound = judge(copy.deepcopy(said), folder / "sound", QUEUES)
        outcome.broken += sound.broken
        said = copy.deepcopy(said)
        for key in sound.gone:  # dropped and counted before; damage may take the counts themselves
            del said.accepted[key]
        for number in range(trials):
            copied = folder / str(number)
            shutil.copytree(state, copied)
            mutate(copied, rng)
            then = copy.deepcopy(said)
            what = f"{mutate.__name__} {number}"
            outcome.add(judge(then, copied, QUEUES, damage=True), then, what)
            shutil.rmtree(copied)
    return outcome


def _flip(path: Path, rng: random.Random, first: int = 0) -> None:
    data = bytearray(path.read_bytes())
    if len(data) > first:
        data[rng.randrange(first, len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)


def flip_in_database(state: Path, rng: random.Random) -> None:
    """Flip one bit."""
    _flip(state / "queue.db", rng)


def flip_in_log(state: Path, rng: random.Random) -> None:
    """Flip one bit of the write-ahead log."""
    _flip(state / "queue.db-wal", rng)


def flip_in_mark(state: Path, rng: random.Random) -> None:
    """Flip one bit of the high-water mark's file where it holds something."""
    path = state / "highwater"
    data = bytearray(path.read_bytes())
    at = rng.choice([n for n, byte in enumerate(data) if byte])
    data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def truncate(state: Path, rng: random.Random) -> None:
    """Cut the end off."""
    path = state / rng.choice(["queue.db", "queue.db-wal"])
    if path.exists():
        os.truncate(path, rng.randrange(path.stat().st_size + 1))


def zero_header(state: Path, _: random.Random) -> None:
    """Write zeros over the first page."""
    _overwrite(state / "queue.db", 0, bytes(PAGE))


def garbage_page(state: Path, rng: random.Random) -> None:
    """Write garbage over a page."""
    pages = (state / "queue.db").stat().st_size // PAGE
    _overwrite(state / "queue.db", rng.randrange(pages), rng.randbytes(PAGE))


def zero_page(state: Path, rng: random.Random) -> None:
    """Write zeros over a page."""
    pages = (state / "queue.db").stat().st_size // PAGE
    _overwrite(state / "queue.db", rng.randrange(pages), bytes(PAGE))


def stale_page(state: Path, rng: random.Random) -> None:
    """Write a page over another one."""
    data = (state / "queue.db").read_bytes()
    source = rng.randrange(len(data) // PAGE)
    _overwrite(state / "queue.db", rng.randrange(len(data) // PAGE), data[source * PAGE : (source + 1) * PAGE])


def _overwrite(path: Path, page: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(data)
