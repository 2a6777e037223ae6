"""A field station for tests: a simulated board, a clock that is advanced by hand, a cloud that tells what it got.

edge.start("edge.yaml", soil=0.5)
edge.set("soil", 0.1)
edge.advance("1m")
assert edge.delivered("dt/+/irrigate")[-1]["water"] is True

All calls return when everything that they set off is done: nothing waits for a worker, the disk or the link. Time
passes in `advance` and `outage`, and in what calls them; it takes as long as the work that is done in it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from edge_runtime.cloud.uplink import TARGET as UPLINK
from edge_runtime.errors import ConfigError, HostError
from edge_runtime.host.bus import Watcher
from edge_runtime.host.stage import Cloud, Delivery, Stage, payload_of
from edge_runtime.loaders import load_app
from edge_runtime.model import Event
from edge_runtime.pure import units
from edge_runtime.pure.topics import check_filter, matches
from edge_runtime.pure.trace import HOWS
from edge_runtime.store.inspect import LedgerRow, ledger
from edge_runtime.store.jobs import Entry
from edge_runtime.testing._thread import LoopThread
from edge_runtime.warp import WarpClock

T = TypeVar("T")
Time = float | str
"""Seconds, or a text as `90s`, `10m`, `4d`."""
APP_FILE = "edge.yaml"
START = "2026-01-01T00:00:00Z"
_REST_S = 60.0
_PART_S = 3600.0
_GRACE_S, _STOP_S = 1.0, 60.0
"""What handlers that run get to end, and what the end of the host may take."""
_LONGEST_DRAIN_S = 86_400.0


class Accepted(NamedTuple):
    """An event that the host has accepted, and whom it was for."""

    event: Event
    targets: tuple[str, ...]


class _Notes(Watcher):
    """Keeps all that is accepted."""

    def __init__(self, kept: list[Accepted]) -> None:
        super().__init__("#")
        self._kept = kept

    def show(self, entry: Entry) -> None:
        """Keep an event."""
        event, feeds = entry
        self._kept.append(Accepted(event, tuple(feed.target for feed in feeds)))


class Edge:
    """One field station. Use it with `with`, or call `stop`. For one thread at a time."""

    def __init__(self, folder: Path, places: Sequence[Path] = (), *, rest_s: float = _REST_S) -> None:
        """`folder` is its own and is made; `places` are the folders where the app may be.

        `rest_s` is how long of real time each call may take.
        """
        self._folder = folder
        self._places = places
        self._rest_s = rest_s
        self._boots = 0
        self._path: Path | None = None
        self._clock: WarpClock | None = None
        self._thread: LoopThread | None = None
        self._stage: Stage | None = None
        self._cloud: Cloud | None = None
        self._cloud_got: list[Delivery] = []
        self._accepted: list[Accepted] = []
        self._values: dict[str, object] = {}
        self._is_cut = False

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.stop()

    # -- begin and end -------------------------------------------------------------------------------------------

    def start(self, app: str | Path, *, at: str = START, **values: object) -> None:
        """Start an app: its file, its folder, or its text.

        Args:
            app: a path; or the YAML itself, a text of several lines.
            at: what time it is then, as `2026-06-01T06:00:00Z`.
            values: what devices measure from the first moment on, by name.

        Raises: ConfigError for a faulty app or value; NotFoundError for a device that is not declared; HostError when
            it runs already.
        """
        if self._stage is not None:
            raise HostError("the host runs already", hint="one `edge` is one device: stop it first")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path = self._find(app)
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ConfigError(f"the time {at!r} has no time zone", hint=f"write {at}Z for UTC")
        self._values = dict(values)
        self._cloud_got.clear()
        self._accepted.clear()
        self._boot(moment.timestamp())

    def stop(self) -> None:
        """End the host in order. What was delivered can still be looked at. Safe to call twice."""
        thread, stage = self._thread, self._stage
        self._thread = self._stage = None
        if thread is None:
            return
        try:
            if stage is not None:
                thread.do(stage.close(_GRACE_S), _STOP_S)
        finally:
            thread.close()

    def power_cut(self, off: Time = 0.0, *, clock_right: bool = True) -> None:
        """Cut the power at this moment, and switch it on after `off`. What was not on disk is gone.

        A board without a clock of its own does not know the time then: with `clock_right=False` it goes on from where
        it was, and nobody knows that it is wrong, until `set_clock`.
        """
        stage, off_s = self._running(), units.seconds(off)
        thread, clock = self._thread, self._clock
        assert thread is not None  # noqa: S101 - both are there while it runs; this is for the type checker
        assert clock is not None  # noqa: S101 - same
        before = self._state
        thread.do(self._cut_off(stage, before, self._next_state), self._rest_s)
        wall_s = clock.machine().wall_ns / 1e9 + (off_s if clock_right else 0.0)
        self.stop()
        shutil.rmtree(before, ignore_errors=True)
        self._boot(wall_s, right=clock_right)

    # -- what happens to it --------------------------------------------------------------------------------------

    def advance(self, time: Time) -> None:
        """Let time pass."""
        self._pass(units.seconds(time))

    def set(self, device: str, value: object) -> None:
        """Let a simulated device measure a value from now on: 1 presses a button, 0.4 is in the scale of an MCP3008.

        Raises: NotFoundError for a device that is not declared, ConfigError for a value that it cannot measure.
        """
        self._do(_sync(self._running().measure, device, value))
        self._values[device] = value

    def fail(self, device: str, how: str = "throws") -> None:
        """Let a device that is read fail from now on: `throws`, `hangs` or `nan`.

        Raises: as `set`.
        """
        if how not in HOWS:
            raise ConfigError(f"a device cannot fail as {how!r}", hint=f"known: {', '.join(HOWS)}")
        self._do(_sync(self._running().fail, device, how))

    def mend(self, device: str) -> None:
        """Let a device work again. Raises: NotFoundError."""
        self._do(_sync(self._running().mend, device))

    def command(self, device: str, value: object) -> None:
        """Command an output here, as on `device/<name>/set`: `"on"`, 0.5. Raises: NotFoundError."""
        self._do(self._running().command(device, payload_of(value)))

    def publish(self, topic: str, payload: object) -> None:
        """Emit an event here, as `edge publish` does. Raises: LimitError, QueueFullError, StoreError."""
        self._do(self._running().emit(topic, payload_of(payload)))

    def send(self, topic: str, payload: object) -> None:
        """Send a message from the cloud; while the link is cut, the cloud keeps it."""
        self._do(_sync(self._the_cloud().send, topic, payload_of(payload)))

    def invoke(self, function: str, event: object) -> Any:  # noqa: ANN401 - any JSON
        """Call a function and return its reply. Raises: NotFoundError; AssertionError with what it raised."""
        stage = self._running()

        async def call() -> Any:  # noqa: ANN401 - as above
            number = f"invoke-{stage.clock.now().mono_ns}-{id(event)}"
            result = await stage.host.pool.invoke(function, json.dumps(event).encode(), request_id=number)
            if result.error:
                raise AssertionError(f"function {function!r} failed: {result.payload.decode(errors='replace')}")
            return json.loads(result.payload)

        return self._do(call())

    def cut_link(self) -> None:
        """Cut the link to the cloud."""
        self._is_cut = True
        self._do(_sync(self._the_cloud().cut))

    def mend_link(self) -> None:
        """Mend the link. The host finds out when it tries again: `drain`."""
        self._is_cut = False
        self._do(_sync(self._the_cloud().mend))

    def outage(self, time: Time) -> None:
        """Cut the link for so long, then let time pass until nothing waits any more."""
        self.cut_link()
        self.advance(time)
        self.mend_link()
        self.drain()

    def drain(self, at_most: Time = _LONGEST_DRAIN_S) -> None:
        """Let time pass until nothing waits in any queue. Raises: AssertionError when something waits for ever."""
        stage, left_s = self._running(), units.seconds(at_most)
        while stage.waiting:
            if left_s <= 0:
                raise AssertionError(f"{stage.waiting} messages still wait after {at_most}:\n{self._books()}")
            step_s = min(10.0, left_s)
            self._pass(step_s)
            left_s -= step_s

    def set_clock(self, by: Time = 0.0, *, back: bool = False, right: bool = True) -> None:
        """Set the wall clock forward, or `back`; with `right` it is known to be right from then on."""
        stage, seconds = self._running(), units.seconds(by)

        async def jump() -> None:
            stage.clock.right = right
            stage.clock.jump(-seconds if back else seconds)

        self._do(jump())

    # -- how it is -----------------------------------------------------------------------------------------------

    def value(self, device: str) -> Any:  # noqa: ANN401 - any driver's value
        """Return the value of a device: what an output does, or what is measured. Raises: NotFoundError."""
        return self._do(_sync(self._running().value, device))

    @property
    def now(self) -> datetime:
        """What time it is by the device's own clock, in UTC."""
        return datetime.fromtimestamp(self._running().clock.now().wall_ns / 1e9, UTC)

    @property
    def waiting(self) -> int:
        """How many messages wait in all queues."""
        return self._running().waiting

    def events(self, topic: str = "#") -> list[Any]:
        """Return the payloads of all events that the host has accepted so far and whose topic matches, in order."""
        check_filter(topic)
        return [_json(one.event.payload) for one in self._accepted if matches(topic, one.event.topic)]

    def delivered(self, topic: str = "#") -> list[Any]:
        """Return the payloads of what has come to the cloud so far and whose topic matches, in order of arrival.

        A payload is what its JSON says, else bytes. What came twice is there once.
        """
        check_filter(topic)
        seen: set[str] = set()
        found = []
        for each in self._cloud_got:
            if matches(topic, each.topic) and not (each.id and each.id in seen):
                seen.add(each.id)
                found.append(_json(each.payload))
        return found

    @property
    def ledger(self) -> list[LedgerRow]:
        """What became of every message, counted in the database."""
        if self._path is None:
            raise _not_started()
        return ledger(self._state / "queue.db")

    # -- what must be so -----------------------------------------------------------------------------------------

    def assert_delivered(
        self, topic: str = "#", *, count: int | None = None, lost: int = 0, duplicates: int | None = None
    ) -> None:
        """Fail unless what was accepted for the cloud on matching topics has come there.

        Args:
            topic: a filter.
            count: how many there must be, repeats not counted; None: at least one.
            lost: how many may be missing of those that were accepted.
            duplicates: how many must have come again; None: any number.

        Raises: AssertionError.
        """
        check_filter(topic)
        ids = Counter(each.id for each in self._cloud_got if matches(topic, each.topic))
        wanted = [one.event for one in self._accepted if UPLINK in one.targets and matches(topic, one.event.topic)]
        missing = [event for event in wanted if event.id not in ids]
        again = ids.total() - len(ids)
        wrong = []
        if len(ids) != count if count is not None else not ids:
            wrong.append(f"{len(ids)} came to the cloud, not {'any' if count is None else count}")
        if len(missing) != lost:
            first = ", ".join(sorted({event.topic for event in missing})[:3])
            wrong.append(f"{len(missing)} of {len(wanted)} accepted did not come, not {lost}: {first or 'none'}")
        if duplicates is not None and again != duplicates:
            wrong.append(f"{again} came again, not {duplicates}")
        if wrong:
            others = ", ".join(sorted({each.topic for each in self._cloud_got})[:10])
            raise AssertionError(
                f"on {topic}: {'; '.join(wrong)}\nthe cloud got: {others or 'nothing'}\n{self._books()}"
            )

    def assert_balanced(self) -> None:
        """Fail unless every message that was ever accepted is accounted for. Raises: AssertionError."""
        if not all(row.balanced for row in self.ledger):
            raise AssertionError(f"the ledger does not balance:\n{self._books()}")

    # -- inside --------------------------------------------------------------------------------------------------

    @property
    def _state(self) -> Path:
        return self._folder / f"state-{self._boots}"

    @property
    def _next_state(self) -> Path:
        return self._folder / f"state-{self._boots + 1}"

    def _boot(self, wall_s: float, *, right: bool = True) -> None:
        """Start the host on the state of the next boot."""
        assert self._path is not None  # noqa: S101 - `start` has found it; this is for the type checker
        self._boots += 1
        app = load_app(self._path, self._state)
        clock = self._clock = WarpClock(wall_s, boot=f"{self._boots:012x}", right=right)
        thread = self._thread = LoopThread(clock)

        async def begin() -> Stage:
            cloud = self._cloud = Cloud(app, clock, self._cloud_got.append)
            if self._is_cut:
                cloud.cut()
            stage = Stage(app, self._state, clock, cloud)
            for name, value in self._values.items():
                stage.measure(name, value)
            try:
                await stage.start(_Notes(self._accepted))
            except BaseException:
                await stage.close()
                raise
            return stage

        try:
            self._stage = thread.do(begin(), self._rest_s)
        except BaseException:
            self._thread = None
            thread.close()
            raise

    @staticmethod
    async def _cut_off(stage: Stage, state: Path, kept: Path) -> None:
        """Keep what is on disk at this moment: with all at rest, that is what a power cut leaves."""
        stage.cloud.cut()  # what goes on with the old host is to reach nobody
        await asyncio.to_thread(_copy_files, state, kept)

    def _find(self, app: str | Path) -> Path:
        if isinstance(app, str) and "\n" in app:
            path = self._folder / APP_FILE
            path.write_text(app, encoding="utf-8")
            return path
        given = Path(app)
        for place in (*self._places, Path.cwd()):
            path = place / given
            if path.is_dir() and (path / APP_FILE).is_file():
                return path / APP_FILE
            if path.is_file():
                return path
        looked = ", ".join(str(place) for place in self._places) or str(Path.cwd())
        raise ConfigError(f"there is no app {str(app)!r}", hint=f"looked in {looked}")

    def _running(self) -> Stage:
        if self._stage is None:
            raise _not_started()
        return self._stage

    def _the_cloud(self) -> Cloud:
        if self._running().host.app.link is None:
            raise ConfigError("the app has no link, so it has no cloud", hint="declare `link:` in the app")
        return self._running().cloud

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the host's loop, and return when all is at rest."""
        stage, thread = self._running(), self._thread
        assert thread is not None  # noqa: S101 - it is there while it runs; this is for the type checker

        async def do() -> T:
            result = await work
            await stage.clock.let(0)
            return result

        return thread.do(do(), self._rest_s)

    def _pass(self, seconds: float) -> None:
        clock = self._running().clock

        async def let(part_s: float) -> None:
            await clock.let(part_s)

        while True:  # in parts, none of which may take for ever
            part_s = min(seconds, _PART_S)
            self._do(let(part_s))
            seconds -= part_s
            if seconds <= 0:
                return

    def _books(self) -> str:
        rows = self.ledger
        names = ("target", "produced", "delivered", "queued", "expired", "dropped", "dead")
        return "\n".join([" ".join(names), *(" ".join(str(getattr(row, name)) for name in names) for row in rows)])


def _copy_files(state: Path, kept: Path) -> None:
    kept.mkdir(mode=0o700)
    for path in state.iterdir():
        if path.is_file():
            shutil.copy2(path, kept / path.name)


def _not_started() -> HostError:
    return HostError("the host is not running", hint='start it: edge.start("edge.yaml")')


async def _sync(call: Callable[..., T], *args: object) -> T:
    return call(*args)


def _json(payload: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(payload)
    except ValueError:
        return payload
