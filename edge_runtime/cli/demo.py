"""`edge demo`: a field station goes offline, loses a worker, is killed, comes back, and can account for all of it."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from edge_runtime.cli._common import ledger_table, say, say_json

if TYPE_CHECKING:
    from edge_runtime.cli._demo_site import Cloud, Station, World
    from edge_runtime.store.inspect import LedgerRow

_BEAT_S = 0.1
_SHOW_EVERY = 10
"""Beats between two lines of the report when the output is no terminal."""
_STILL_S = 60.0
"""How long no message may leave the queues before the wait for them is given up."""


@click.command()
@click.option("--seconds", type=click.IntRange(10, 3600), default=40, show_default=True, help="How long, about.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON, and print nothing else.")
@click.pass_context
def demo(ctx: click.Context, seconds: int, *, as_json: bool) -> None:
    """Show the main job on this machine: collect, run handlers, lose the link, be killed, lose nothing.

    A field station reads this machine's load, disk and, where there is one, CPU temperature, and a simulated board
    with a soil sensor and a button. Two Lambda handlers turn readings into reports. A stand-in for AWS IoT Core takes
    them and records each. Then the link is cut, a worker is killed, and the host itself, with SIGKILL.

    The exit status is 1 when a message was lost or the ledger does not balance.
    """
    with tempfile.TemporaryDirectory(prefix="edge-demo-") as folder:
        show = (lambda _: None) if as_json else say
        outcome = _run(Path(folder), seconds, show, live=sys.stdout.isatty() and not as_json)
    summary = outcome.summary()
    if as_json:
        say_json(summary, indent=None)
    else:
        _report(outcome)
    ctx.exit(0 if summary["lost"] == 0 and summary["balanced"] else 1)


@dataclass
class Outcome:
    """What the demo came to."""

    ledger: list[LedgerRow]
    delivered_ids: list[str]
    """The ids of the stand-in's own record, in order, repeats included."""
    delivered_seqs: set[int]
    accepted_ids: list[str]
    outage_s: float
    restarts: int

    def lost(self) -> int:
        """Count by the stand-in's record: accepted messages that it never saw, and gaps in the numbers it saw."""
        missing = set(self.accepted_ids) - set(self.delivered_ids)
        last = max(self.delivered_seqs, default=0)
        gaps = set(range(1, last + 1)) - self.delivered_seqs
        return max(len(missing), len(gaps))

    def summary(self) -> dict[str, Any]:
        """Return the one line of `--json`. The counts are those of the queue to the cloud."""
        up = next(row for row in self.ledger if row.target == "uplink")
        return {
            "produced": up.produced,
            "delivered": up.delivered,
            "queued": up.queued,
            "expired": up.expired,
            "dropped": up.dropped,
            "dead": up.dead,
            "duplicates": len(self.delivered_ids) - len(set(self.delivered_ids)),
            "lost": self.lost(),
            "balanced": all(row.balanced for row in self.ledger),
            "outage_s": round(self.outage_s, 1),
            "restarts": self.restarts,
        }


def _run(folder: Path, seconds: int, show: Callable[[str], None], *, live: bool) -> Outcome:
    from edge_runtime.cli._demo_site import Cloud, Station, World, app_text, handlers  # noqa: PLC0415 - lazy verbs

    cloud = Cloud(folder)
    station = Station(folder)
    try:
        (folder / "edge.yaml").write_text(app_text(cloud.port, handlers()))
        show("a stand-in for AWS IoT Core listens; the field station starts")
        station.start()
        world = World(station)
        outage_s = _play(seconds, cloud, station, world, _screen(show, live=live))
        station.stop()
        return _account(cloud, station, world, outage_s)
    finally:
        station.kill()
        cloud.close()


def _play(seconds: int, cloud: Cloud, station: Station, world: World, screen: Screen) -> float:
    """Let things happen for so long, then until the backlog is gone. Return how long the link was cut."""
    cut = {"at": 0.0, "for": 0.0}

    def cut_link() -> str:
        cut["at"] = time.monotonic()
        cloud.do(fault="refuse")
        cloud.do(fault="drop")
        return "the link is cut"

    def mend_link() -> str:
        cloud.do(fault="clear")
        cut["for"] = time.monotonic() - cut["at"]
        return "the link is back; the backlog drains"

    def kill_host() -> str:
        station.kill()
        station.start()
        return "the host was killed with SIGKILL and started again"

    plan: list[tuple[float, Callable[[], str]]] = [
        (0.2, cut_link),
        (0.3, lambda: f"worker {station.kill_worker()} was killed"),
        (0.45, kill_host),
        (0.65, mend_link),
    ]
    begin = time.monotonic()
    with screen:
        while plan or time.monotonic() - begin < seconds:
            passed, note = time.monotonic() - begin, ""
            if plan and passed >= plan[0][0] * seconds:
                note = plan.pop(0)[1]()
                begin = time.monotonic() - passed  # a start takes long on a small device: the clock stands meanwhile
            world.beat()
            screen.show(passed, station.ask("status"), cloud, world, note)
            time.sleep(max(0.0, _BEAT_S - (time.monotonic() - begin - passed)))
        _drain(cloud, station, world, screen, begin)
    return cut["for"]


def _drain(cloud: Cloud, station: Station, world: World, screen: Screen, begin: float) -> None:
    """Wait until every queue is empty, as long as that takes while messages leave."""
    least, end = None, time.monotonic() + _STILL_S
    while time.monotonic() < end:
        status = station.ask("status")
        screen.show(time.monotonic() - begin, status, cloud, world, "")
        queued = sum(queue["queued"] for queue in status["queues"]) if status else None
        if queued == 0:
            return
        if queued is not None and (least is None or queued < least):
            least, end = queued, time.monotonic() + _STILL_S
        time.sleep(_BEAT_S)


def _account(cloud: Cloud, station: Station, world: World, outage_s: float) -> Outcome:
    from edge_runtime.store.inspect import ledger  # noqa: PLC0415 - it imports sqlite-utils

    users = [dict(entry["user"]) for entry in cloud.entries()]
    return Outcome(
        ledger(station.state / "queue.db"),
        [user["edge-id"] for user in users],
        {int(user["edge-seq"]) for user in users},
        world.accepted,
        outage_s,
        station.starts - 1,
    )


class Screen:
    """Shows how it goes: a line now and then."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._beats = 0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def show(self, passed: float, status: dict[str, Any], cloud: Cloud, world: World, note: str) -> None:
        """Take notice of a beat."""
        if note:
            self._show(f"{passed:5.1f} s  ** {note} **")
        self._beats += 1
        if self._beats % _SHOW_EVERY == 0:
            parts = ", ".join(f"{name} {value}" for name, value in figures(status, cloud, world))
            self._show(f"{passed:5.1f} s  {parts}")


def figures(status: dict[str, Any], cloud: Cloud, world: World) -> list[tuple[str, object]]:
    """Return what is worth showing of a moment."""
    link = (status.get("link") or {}).get("state", "host is down")
    queued = sum(queue["queued"] for queue in status.get("queues", []))
    recorded = cloud.do(counts=True).get("counts", {}).get("recorded", 0)
    return [("link", link), ("waiting", queued), ("in the cloud", recorded), ("accepted probes", len(world.accepted))]


def _screen(show: Callable[[str], None], *, live: bool) -> Screen:
    if not live:
        return Screen(show)
    from edge_runtime.cli._demo_live import LiveScreen  # noqa: PLC0415 - rich is for terminals only

    return LiveScreen(show)


def _report(outcome: Outcome) -> None:
    summary = outcome.summary()
    say("")
    ledger_table(outcome.ledger)
    say("")
    say(
        f"The link was cut for {summary['outage_s']} s and the host killed {summary['restarts']} time(s). "
        f"{summary['produced']} messages were accepted for the cloud; by its own record {summary['lost']} are lost and "
        f"{summary['duplicates']} came twice."
    )
