"""The demo's arithmetic; the demo itself runs in tests/system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_runtime.cli._demo_site import THING, Cloud, Station, World, app_text, handlers
from edge_runtime.cli.demo import Outcome, Screen, _play
from edge_runtime.loaders import load_app
from edge_runtime.store.inspect import LedgerRow


def row(*, queued: int = 0, delivered: int = 3) -> LedgerRow:
    return LedgerRow(
        target="uplink", produced=3, delivered=delivered, queued=queued, expired=0, dropped=0, dead=0, reasons={},
        bytes=0,
    )  # fmt: skip


def outcome(ids: list[str], seqs: set[int], accepted: list[str]) -> Outcome:
    return Outcome([row()], ids, seqs, accepted, 1.0, 1)


def test_nothing_lost_when_the_record_has_all() -> None:
    summary = outcome(["a", "b", "c"], {1, 2, 3}, ["a", "c"]).summary()
    assert summary == {
        "produced": 3, "delivered": 3, "queued": 0, "expired": 0, "dropped": 0, "dead": 0, "duplicates": 0, "lost": 0,
        "balanced": True, "outage_s": 1.0, "restarts": 1,
    }  # fmt: skip


def test_an_accepted_message_that_the_cloud_never_saw_is_lost() -> None:
    assert outcome(["a", "b"], {1, 2}, ["a", "b", "c"]).lost() == 1


def test_a_gap_in_the_numbers_is_a_loss() -> None:
    assert outcome(["a", "c"], {1, 3}, ["a"]).lost() == 1


def test_a_repeat_is_a_duplicate_and_no_loss() -> None:
    summary = outcome(["a", "b", "b", "c"], {1, 2, 3}, ["a"]).summary()
    assert (summary["duplicates"], summary["lost"]) == (1, 0)


def test_books_that_do_not_balance_show() -> None:
    bad = Outcome([row(delivered=2)], ["a", "b"], {1, 2}, [], 0.0, 0)
    assert bad.summary()["balanced"] is False


def test_the_app_of_the_demo_is_a_valid_app(tmp_path: Path) -> None:
    path = tmp_path / "edge.yaml"
    path.write_text(app_text(18_830, handlers()))
    app = load_app(path, tmp_path / "state")
    assert app.thing == THING
    assert {f.name for f in app.functions} == {"irrigate", "digest"}
    assert app.link is not None
    assert app.link.uplink.publishes_per_s == 90


class SlowStation(Station):
    """A station on a device where everything comes late: it only notes what was asked of it."""

    def __init__(self, done: list[str]) -> None:
        self._done = done
        self._queued = iter([3, 3, 2, 2, 2, 1, 1, 0])
        self.starts = 0

    def start(self) -> None:
        """Note it."""
        self._done.append("start")

    def kill(self) -> None:
        """Note it."""
        self._done.append("kill")

    def kill_worker(self) -> int:
        """Note it."""
        self._done.append("worker")
        return 7

    def ask(self, verb: str, **_: object) -> dict[str, Any]:
        """Answer with a queue that gets shorter once all is mended."""
        mended = verb == "status" and "clear" in self._done
        return {"queues": [{"queued": next(self._queued)}]} if mended else {}


class NotedCloud(Cloud):
    """A cloud that only notes its faults."""

    def __init__(self, done: list[str]) -> None:
        self._done = done

    def do(self, **command: object) -> dict[str, Any]:
        """Note it."""
        self._done += [str(command["fault"])] if "fault" in command else []
        return {}


def test_a_device_too_slow_for_the_time_it_was_given_still_goes_through_all_of_it() -> None:
    done: list[str] = []
    station = SlowStation(done)
    _play(0, NotedCloud(done), station, World(station), Screen(lambda _: None))
    assert done == ["refuse", "drop", "worker", "kill", "start", "clear"]
    assert station.ask("publish") == {}
    assert next(station._queued, None) is None
