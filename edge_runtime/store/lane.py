"""The messages of one priority, as the one consumer gets them: held ones, and fresh ones before their turn."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from edge_runtime.model import Message
from edge_runtime.store.ahead import Ahead, Run

if TYPE_CHECKING:
    import asyncio

    from edge_runtime.store.writer import Page

_RUNS = 4096
_NEARLY = 1e-9
"""Shares are sums of floats."""


class Bounds(NamedTuple):
    """How much of a lane may be in memory."""

    held: int = 1024
    held_bytes: int = 1 << 20
    page: int = 256
    """Messages that are read from the disk at once."""
    fresh: int = 256
    fresh_bytes: int = 1 << 18


class Backlog(NamedTuple):
    """Which rows of a lane are on the disk only: nobody holds their messages, and nobody was given them."""

    after: int
    """Only rows with a greater sequence number than this,"""
    before: int
    """and a smaller one than this,"""
    but: list[Run]
    """and none of these."""


class Lane:
    """The messages of one priority."""

    __slots__ = (
        "ahead", "behind", "bounds", "bytes", "credit", "cursor", "fresh", "fresh_bytes", "held", "last", "noticed",
        "reading",
    )  # fmt: skip

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.held: deque[Message] = deque()
        self.bytes = 0
        self.cursor = 0
        """Every message up to this sequence number is held or was handed out."""
        self.behind = False
        """There may be messages on disk after the cursor: the backlog."""
        self.noticed = 0
        """The last message that was committed while behind: a page read before that does not have it."""
        self.reading: asyncio.Future[object] | None = None
        self.fresh: deque[tuple[Message, int]] = deque()
        """The newest messages after the cursor, to be handed out before their turn. With each, the first number that
        is its own: those from there on to its sequence number are of other lanes."""
        self.fresh_bytes = 0
        self.ahead = Ahead()
        """What was handed out of `fresh` and is after the cursor: a page that has it must not bring it again."""
        self.last = 0
        """The message that was noticed last, if none can have been missed since; else 0."""
        self.credit = 0.0
        """What the fresh ones have yet to get of their share: at 1 it is the turn of one."""

    def point(self, first: int) -> None:
        """Begin with the message `first`, which is on the disk."""
        self.behind = True
        self.cursor = first - 1

    def clear(self) -> None:
        """Forget everything that is held or was handed out."""
        self.held.clear()
        self.bytes = 0
        self.reading = None  # what it brings is of before
        self.behind = False
        self.let_fresh_go()
        self.ahead.clear()
        self.last = 0
        self.credit = 0.0

    def put(self, message: Message, *, live: bool) -> bool:
        """Take notice of a message that was committed. Return whether it can be handed out now.

        `live`: should it have to wait behind a backlog, it may be handed out before its turn.
        """
        if not self.behind:
            if message.seq <= self.cursor:
                return False
            if len(self.held) < self.bounds.held and self.bytes < self.bounds.held_bytes:
                self.held.append(message)
                self.bytes += len(message.event.payload)
                self.cursor = message.seq
                return True
            self.behind = True
        own = max(self.last, self.cursor) + 1 if self.last else message.seq
        self.noticed = self.last = message.seq
        if live:
            self.fresh.append((message, own))
            self.fresh_bytes += len(message.event.payload)
            self._trim()
        return False

    def give_back(self, message: Message, *, live: bool) -> None:
        """Take back a message that was handed out and not delivered; call it with the newest first."""
        if message.seq <= self.cursor:
            self.held.appendleft(message)
            self.bytes += len(message.event.payload)
            return
        self.behind = True  # it will be read with the others that are there
        if self.ahead.discard(message.seq) and live:
            self.fresh.appendleft((message, message.seq))
            self.fresh_bytes += len(message.event.payload)
            if len(self.fresh) > 1 and self.fresh[1][0].seq < message.seq:
                self.fresh = deque(sorted(self.fresh, key=lambda entry: entry[0].seq))
            self._trim()

    def leads(self, share: float) -> bool:
        """Tell whether it is the turn of a fresh message, and not of the backlog."""
        if not self.fresh or self.credit + share < 1 - _NEARLY:
            return False
        return len(self.ahead) < _RUNS or self.fresh[0][1] - 1 in self.ahead

    def pop(self, *, live: bool) -> Message:
        """Take out the next message: a fresh one, or a held one. There must be one."""
        if not live:
            message = self.held.popleft()
            self.bytes -= len(message.event.payload)
            return message
        message, own = self.fresh.popleft()
        self.fresh_bytes -= len(message.event.payload)
        self.ahead.add(own, message.seq)
        return message

    def count(self, share: float, *, live: bool) -> None:
        """Note that a message was handed out while there is a backlog."""
        self.credit = self.credit + share - 1 if live else min(1.0, self.credit + share)

    def absorb(self, page: Page) -> None:
        """Hold what was read from the disk, but for what was handed out already."""
        messages = [m for m in page.messages if m.seq not in self.ahead] if self.ahead else page.messages
        self.behind = page.more or self.noticed > page.upto
        self.held.extend(messages)
        self.bytes += sum(len(m.event.payload) for m in messages)
        self.cursor = max(self.cursor, page.upto)
        self.ahead.forget(self.cursor)
        while self.fresh and self.fresh[0][0].seq <= self.cursor:
            self._drop_first()  # it is among those of the page

    def let_fresh_go(self) -> None:
        """Have all messages wait for their turn: those that were fresh are read from the disk with the others."""
        self.fresh.clear()
        self.fresh_bytes = 0

    def backlog(self, produced: int) -> Backlog:
        """Return which rows nobody holds, of those up to the sequence number `produced`."""
        before = min(produced + 1, self.fresh[0][0].seq) if self.fresh else produced + 1
        return Backlog(self.cursor, before if self.behind else 0, self.ahead.runs())

    def _trim(self) -> None:
        """Keep the newest: when there are too many, the older half waits for its turn on the disk.

        Half of them at once, so that what is handed out goes in long runs, which `ahead` keeps in few numbers.
        """
        bounds = self.bounds
        if len(self.fresh) <= bounds.fresh and self.fresh_bytes <= bounds.fresh_bytes:
            return
        while len(self.fresh) > bounds.fresh // 2 or self.fresh_bytes > bounds.fresh_bytes // 2:
            self._drop_first()

    def _drop_first(self) -> None:
        message, _ = self.fresh.popleft()
        self.fresh_bytes -= len(message.event.payload)
