"""What is known of the time: by which events are dated, and for which TLS waits.

A small computer has no clock of its own: after a power cut it begins in 1970, or where a file says that it ended, until
the network has told it the time. So

- no time is told that lies before the last one seen, which is kept in the file `last-seen`;
- the moment at which the wall clock becomes right is noted for each boot, in the store, and corrects what was stamped
  before it (`pure/timeline.py`);
- a clock that is far behind what has certainly been is known to be wrong, and is said to be.

The kernel tells when the clock is set, and nobody has to ask. That it has become right without being set it does not
tell: as long as it is not known to be right, it is looked at once a minute at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import edge_runtime
from edge_runtime.clock import Clock
from edge_runtime.errors import StoreError
from edge_runtime.host._last_seen import LastSeen, Seen
from edge_runtime.model import Stamp
from edge_runtime.pure.timeline import MEMO, SAME_NS, Dated, Timeline
from edge_runtime.store.store import Store
from edge_runtime.threads import in_thread

SLACK_NS = 86_400 * 1_000_000_000
"""A clock that is behind by less than a day is not called wrong: at boot a computer goes on from a time that it saved
minutes or hours before its end, and certificates do not mind."""
_SAVE_S = 300.0
_FIRST_LOOK_S, _LONGEST_LOOK_S = 5.0, 60.0
_LONGEST_WAIT_S = 3600.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_log = logging.getLogger(__name__)


class Floor(NamedTuple):
    """Times that have been, in nanoseconds since the epoch: by what is certain, and by clocks of unknown worth."""

    sure_ns: int = 0
    seen_ns: int = 0


NO_FLOOR = Floor()


def floor_of_files(state: Path) -> Floor:
    """Return what the release of this package and the files of the store tell of the time."""
    seen_ns = 0
    for path in (Path(edge_runtime.__file__), *(state / name for name in ("queue.db", "queue.db-wal"))):
        with contextlib.suppress(OSError):
            seen_ns = max(seen_ns, path.stat().st_mtime_ns)
    released = datetime.fromisoformat(edge_runtime.__released__).replace(tzinfo=UTC)
    return Floor(int(released.timestamp()) * 1_000_000_000, seen_ns)


def day(wall_ns: int) -> str:
    """Return the date of a time, as in `1970-01-01`; 32-bit systems have no function for all of them."""
    try:
        return (_EPOCH + timedelta(microseconds=wall_ns // 1000)).date().isoformat()
    except OverflowError:
        return "the end of all calendars"


class Timekeeper:
    """Watches the clock of one host. Call `open` before the first event is stamped, then `recall`, then `run`."""

    def __init__(self, clock: Clock, folder: Path) -> None:
        """`folder` is the state folder."""
        self.timeline = Timeline()
        """Dates stamps: `timeline.of(stamp)`."""
        self.is_right = False
        """Whether the wall clock is right: it was set by somebody who knows, and by nobody else since."""
        self.fault = ""
        """What is known to be wrong with the wall clock; empty: nothing."""
        self._clock = clock
        self._file = LastSeen(folder)
        self._before = Seen()
        self._opened = clock.machine()
        self._ahead_ns = 0
        """How far the wall clock was ahead of steady time at the last look."""
        self._sure_ns = self._seen_ns = 0
        """How far it should be ahead at least: by what is certain, and by what was seen."""
        self._looked = False
        self._unsaved = False
        self._saved_ns = 0
        self._waiting: set[asyncio.Future[None]] = set()

    def date(self, stamp: Stamp) -> Dated:
        """Return the time of a stamp as well as it is known by now."""
        return self.timeline.of(stamp)

    def open(self, floor: Floor = NO_FLOOR) -> None:
        """See what time it was before. From here on the clock tells none that lies before it.

        `floor` is what is known of the time beside that.
        """
        try:
            before = self._before = self._file.read()
        except OSError as error:
            before = Seen()
            _log.warning("%s cannot be read: %s; the time before this start is not known", self._file.path, error)
        now = self._opened = self._clock.machine()
        # Within one boot, steady time tells how long ago that was.
        since = before.mono_ns if before.boot == now.boot else now.mono_ns
        self._ahead_ns = now.wall_ns - now.mono_ns
        self._sure_ns = max(floor.sure_ns - now.mono_ns, before.sure_ns - since)
        self._seen_ns = max(self._sure_ns, floor.seen_ns - now.mono_ns, before.seen_ns - since)
        self._clock.hold(self._seen_ns)
        self._saved_ns = now.mono_ns
        self.timeline.begin(now.boot, self._seen_ns)

    async def recall(self, store: Store) -> None:
        """Take up what the store remembers of earlier boots. Raises: StoreError."""
        text = await store.recall(MEMO)
        if text is not None:
            try:
                self.timeline = Timeline.from_text(text)
            except ValueError as error:
                _log.warning("what was known of the clock in earlier boots is lost: %s", error)
        before = self._before
        news = self.timeline.begin(self._opened.boot, self._seen_ns, before=before.boot, lasted_ns=before.mono_ns)
        self._unsaved = news or text is None

    async def run(self, store: Store) -> None:
        """Keep watch, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(store), name="clock.steps")
            tasks.create_task(self._tend(store), name="clock.tend")

    async def close(self) -> None:
        """Note the time. Safe to call twice."""
        await self._save()

    async def look(self) -> None:
        """Compare the wall clock with what is known, and note what is new."""
        right = await self._clock.is_right()
        now = self._clock.machine()
        ahead_ns, known_ns = now.wall_ns - now.mono_ns, self.timeline.ahead_ns(now.boot)
        stepped = abs(ahead_ns - self._ahead_ns) > SAME_NS
        # NTP that is out of reach for hours makes no clock wrong: only setting it does.
        right = right or (known_ns is not None and abs(ahead_ns - known_ns) <= SAME_NS)
        if right:
            self._sure_ns = self._seen_ns = ahead_ns
            first = not self._looked and not stepped
            news = self.timeline.right(self._opened if first else now)
        else:
            if known_ns is not None:
                self._sure_ns = known_ns
            if stepped:  # somebody has set it by hand, and is believed in what cannot be known better
                self._seen_ns = max(ahead_ns, self._sure_ns)
            news = self.timeline.unsure(now)
        self._clock.hold(max(self._sure_ns, self._seen_ns))
        self._tell(now, right=right)
        self._ahead_ns, self._looked = ahead_ns, True
        self._unsaved = self._unsaved or news
        if news or stepped:
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)

    async def why_wait(self, valid_from_ns: int) -> tuple[str, float]:
        """Return why TLS cannot be expected to work now, and after how many seconds to ask again; else an empty text.

        `valid_from_ns` is when the certificates in use begin to hold, as far as that is known; else 0. Whoever sets the
        clock ends the wait: see `moved`.
        """
        await self.look()
        now = self._clock.machine()
        least_ns = now.mono_ns + self._sure_ns
        if not self.is_right and now.wall_ns < least_ns - SLACK_NS:
            why, until_ns = f"it was {day(least_ns)} before", least_ns - SLACK_NS
        elif now.wall_ns < valid_from_ns:
            why, until_ns = f"the certificate holds from {day(valid_from_ns)} on", valid_from_ns
        else:
            return "", 0.0
        text = f"the clock says {day(now.wall_ns)}; waiting for the time ({why})"
        return text, min((until_ns - now.wall_ns) / 1e9, _LONGEST_WAIT_S)

    async def moved(self, within_s: float | None = None) -> None:
        """Return when the wall clock was set or has become right, or after so many seconds."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        either: list[asyncio.Future[None]] = [waiter]
        if within_s is not None:
            either.append(asyncio.create_task(_sleep(self._clock, within_s), name="clock.wait"))
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.discard(waiter)
            for one in either:
                one.cancel()

    def _tell(self, now: Stamp, *, right: bool) -> None:
        """Say once what has changed."""
        before, self.is_right = self.is_right, right
        if right and not before and self._looked:
            _log.info("the clock is right now: %s; what was stamped before is corrected", day(now.wall_ns))
        elif before and not right:
            _log.warning("the clock was set to %s, and nobody knows whether that is right", day(now.wall_ns))
        known_ns = self.timeline.ahead_ns(now.boot)
        least_ns = now.mono_ns + (known_ns or max(self._sure_ns, self._seen_ns))
        off_ns = least_ns - now.wall_ns if known_ns is None else abs(least_ns - now.wall_ns)
        fault = ""
        if not right and off_ns > SLACK_NS:
            fault = f"the clock says {day(now.wall_ns)}, which is wrong: it was {day(least_ns)} before"
            if fault != self.fault:
                _log.warning("%s; until it is set, the times of events are estimates (timedatectl)", fault)
        self.fault = fault

    async def _follow(self, store: Store) -> None:
        async with contextlib.aclosing(self._clock.steps()) as steps:
            async for _ in steps:
                await self.look()
                await self._keep(store)

    async def _tend(self, store: Store) -> None:
        look_s = _FIRST_LOOK_S
        while True:
            await self._clock.sleep(_SAVE_S if self.is_right else look_s)
            look_s = _FIRST_LOOK_S if self.is_right else min(look_s * 2, _LONGEST_LOOK_S)
            await self.look()
            await self._keep(store)

    async def _keep(self, store: Store) -> None:
        """Write down what is new, and every few minutes the time."""
        news = self._unsaved
        if news:
            self._unsaved = False
            try:
                await store.change(memo={MEMO: self.timeline.to_text()})
            except StoreError as error:
                self._unsaved = True
                _log.warning("what is known of the clock could not be kept yet: %s", error)
        if news or self._clock.now().mono_ns - self._saved_ns >= _SAVE_S * 1e9 - SAME_NS:
            await self._save()

    async def _save(self) -> None:
        now = self._clock.now()
        seen = Seen(now.mono_ns + self._sure_ns, self.timeline.of(now).wall_ns, now.mono_ns, now.boot)
        self._saved_ns = now.mono_ns
        try:
            await in_thread("clock.save", self._file.writing(seen))
        except OSError as error:
            _log.warning("%s cannot be written: %s; after a power cut the clock may go back", self._file.path, error)


async def _sleep(clock: Clock, seconds: float) -> None:
    await clock.sleep(seconds)
