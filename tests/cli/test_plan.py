"""plan reckons with what the app declares and the host has measured, and says where each figure comes from."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Budget, QueueLimits, Rule
from edge_runtime.cli._common import duration
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.host.bus import Bus
from edge_runtime.host.rates import RateKeeper
from edge_runtime.model import Feed
from edge_runtime.pure.data_budget import DataBudget, Moment
from edge_runtime.store.store import Store
from tests.cli.fakehost import edge

APP = """thing: station
functions: {}
link: {driver: paho, endpoint: 127.0.0.1, port: 1, up: ["dt/#"], publishes_per_s: 100%s}
queue: {limit: 100MB%s}
"""
READING = b'{"value": 0.4172, "unit": "ratio"}'


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return write(tmp_path)


def write(folder: Path, link: str = "", queue: str = "") -> Path:
    path = folder / "edge.yaml"
    path.write_text(APP % (link, queue))
    return path


async def measure(state: Path, minutes: int = 120, *, memo: dict[str, str] | None = None) -> None:
    """Leave what a host leaves that ran for so many minutes with 30 messages in each; 5 of the last ones wait."""
    clock = FakeClock()
    queues = {"uplink": QueueLimits(), "function/f": QueueLimits()}
    store = await Store.open(state, queues, clock=clock)
    bus = Bus(store, [Rule("dt/#", ("uplink",))], aws_quotas=False)
    keeper = RateKeeper(store, bus, clock, lambda stamp: (stamp.wall_ns, "synced"))
    running = asyncio.create_task(keeper.run())
    while not bus._watchers:
        await store.work(lambda _: None)
    for minute in range(minutes):
        await bus.emit(*(make_event(clock, "dt/soil", READING, "device/soil") for _ in range(30)))
        for _ in range(3):
            await store.work(lambda _: None)
        await clock.advance(60)
        waiting = await store.queue("uplink").get(30)
        await store.change(done=waiting[5:] if minute == minutes - 1 else waiting)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await store.change([(make_event(clock, "in/f", b"1", "cli"), (Feed("function/f"),))], memo=memo or {})
    await store.close()


def planned(app: Path, *args: object) -> dict[str, Any]:
    result = edge(["plan", "--app", app, "--json", *args])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_without_a_measurement_it_asks_for_one(app: Path) -> None:
    result = edge(["plan", "--app", app, "--outage", "14d"])
    assert result.exit_code == 2
    assert "no rate was measured yet" in result.stderr
    assert "--rate 2/s --bytes 200" in result.stderr
    result = edge(["plan", "--app", app, "--outage", "14d", "--rate", "2/s"])
    assert (result.exit_code, "say --bytes 200" in result.stderr) == (2, True)
    assert not (app.parent / ".edge").exists()


def test_given_rates_are_reckoned_with(app: Path) -> None:
    found = planned(app, "--outage", "7d", "--rate", "1/s", "--bytes", "200")
    [uplink] = found["targets"]
    assert (found["outage_s"], uplink["target"], found["others"]) == (604_800, "uplink", [])
    assert uplink["rate"] == {"per_s": 1.0, "origin": "given"}
    assert uplink["message"] == {"payload_bytes": 200, "disk_bytes": 377, "origin": "given"}
    out = uplink["outage"]
    assert (out["arrived"], out["bound"], out["waiting"] + out["lost"]) == (604_800, "store", 604_800)
    assert (out["dropped"], out["lost"]) == (604_800 - 244_140, 604_800 - 244_140)  # 100 MB of rows, ten a page
    assert uplink["drain"]["seconds"] == pytest.approx(244_140 / (100 / 1.03 - 1))
    assert [one["setting"] for one in uplink["advice"]] == [
        "link: {pack: 50}", "queue: {limit: 270MB}", "link: {queue: {when_full: downsample}}"
    ]  # fmt: skip
    assert uplink["advice"][0]["drain"]["seconds"] < uplink["drain"]["seconds"] / 5


def test_it_says_it_in_words(app: Path) -> None:
    lines = edge(["plan", "--app", app, "--outage", "7d", "--rate", "1/s", "--bytes", "200"]).stdout.splitlines()
    assert lines[0].startswith("outage   7 d from now on")
    dropped = "the oldest of the least urgent are dropped for new ones (drop_oldest)"
    thinned = "keeps of old readings the least, greatest and mean value, where now they are dropped"
    assert lines[1:] == [
        "in       1/s to uplink (as given)",
        "message  200 B of payload, 377 B in the queue (as given)",
        "now      0 messages wait; the store holds 0 B of 100.0 MB",
        "full     after 2 d 19 h, with 244,140 messages: the limit of the store (100.0 MB)",
        f"         then {dropped}: 360,660 messages would be lost",
        "then     244,140 messages wait, 92.0 MB",
        "drain    42 min 20 s at 97.1/s while 1/s come in",
        "         246,680 publishes, 143.3 MB on the wire",
        "         what is new waits behind what is older, in each priority (live_share: 0)",
        "",
        "advice   link: {pack: 50}: drains in 50 s rather than 42 min 20 s, 77.1 MB on the wire",
        "         queue: {limit: 270MB}: lets the store hold 7 d",
        f"         link: {{queue: {{when_full: downsample}}}}: {thinned}",
    ]


def test_what_was_measured_is_reckoned_with(app: Path) -> None:
    asyncio.run(measure(app.parent / ".edge"))
    found = planned(app, "--outage", "1h")
    [uplink] = found["targets"]
    rate = uplink["rate"]
    assert (rate["origin"], rate["over_s"], rate["per_s"]) == ("measured", 7200, 0.5)
    assert uplink["message"]["origin"] == "measured"
    assert uplink["message"]["payload_bytes"] == len(READING)
    assert (uplink["limits"]["waiting"], uplink["outage"]["waiting"]) == (5, 1805)
    assert uplink["limits"]["waiting_bytes"] == pytest.approx(5 * uplink["message"]["disk_bytes"], abs=10)
    assert found["others"] == [
        {"target": "function/f", "queued": 1, "bytes": found["others"][0]["bytes"], "per_s": 0.0}
    ]
    text = edge(["plan", "--app", app, "--outage", "1h"]).stdout
    assert "30/min to uplink (measured over 2 h)" in text
    assert "of it for others (most: function/f)" in text


def test_what_is_given_goes_before_what_was_measured(app: Path) -> None:
    asyncio.run(measure(app.parent / ".edge", 3))
    [uplink] = planned(app, "--outage", "1h", "--rate", "60/min")["targets"]
    assert (uplink["rate"], uplink["message"]["origin"]) == ({"per_s": 1.0, "origin": "given"}, "measured")
    [bigger] = planned(app, "--outage", "1h", "--bytes", "1KB")["targets"]
    assert (bigger["rate"]["per_s"], bigger["message"]["origin"]) == (0.5, "given")
    more = 1000 - len(READING)
    assert bigger["message"]["disk_bytes"] == uplink["message"]["disk_bytes"] + more


def test_another_state_folder(app: Path, tmp_path: Path) -> None:
    asyncio.run(measure(tmp_path / "other", 3))
    [uplink] = planned(app, "--outage", "1h", "--state", tmp_path / "other")["targets"]
    assert uplink["rate"]["origin"] == "measured"


@pytest.mark.parametrize(
    ("queue", "words"),
    [
        (", when_full: reject_new", "nothing new is accepted (reject_new), whoever emits gets an error: 360,660 mess"),
        (", when_full: downsample", "old readings are thinned (downsample): 360,660 messages would live on in the"),
        (", when_full: keep_latest", "never: it keeps the latest of each topic; 604,799 messages would be replaced"),
    ],
)
def test_each_policy_has_its_words(tmp_path: Path, queue: str, words: str) -> None:
    app = write(tmp_path, queue=queue)
    assert words in edge(["plan", "--app", app, "--outage", "7d", "--rate", "1/s", "--bytes", "200"]).stdout


def test_what_expires_has_its_words(tmp_path: Path) -> None:
    app = write(tmp_path, queue=", ttl: 1d")
    text = edge(["plan", "--app", app, "--outage", "7d", "--rate", "1/s", "--bytes", "200"]).stdout
    assert "518,400 messages would be older than the time to live of 1 d" in text
    assert "not in this time, nor later: what waits expires after 1 d" in text
    assert "queue: {ttl: 8d}: lets nothing expire in this time" in text


@pytest.mark.parametrize(
    ("link", "rate", "words"),
    [
        ("", "200/s", "never drains: 200/s come in, and 97.1/s can leave"),
        (", publishes_per_s: 0", "1/s", "as fast as the broker and this machine can: no bound is set"),
        (", budget: {bytes: 1MB, per: day}", "1/s", "a day, and the data budget is 1.0 MB"),
        (", live_share: 0.1", "30/s", "what is new does not all fit into the live share"),
        (", pack: 10", "1/s", ", 10 messages in each"),
        (", pack: {messages: 10, gzip: yes}", "1/s", "; how well gzip does was not measured yet"),
    ],
)
def test_each_way_of_the_link_has_its_words(tmp_path: Path, link: str, rate: str, words: str) -> None:
    app = write(tmp_path, link.replace(", publishes_per_s: 0", ""))
    if link == ", publishes_per_s: 0":
        app.write_text(app.read_text().replace("publishes_per_s: 100", "publishes_per_s: 0"))
    assert words in edge(["plan", "--app", app, "--outage", "7d", "--rate", rate, "--bytes", "200"]).stdout


def test_what_was_used_of_the_data_budget_counts(tmp_path: Path) -> None:
    app = write(tmp_path, ", budget: {bytes: 500MB, per: month}")
    args = ("--outage", "1m", "--rate", "1/min", "--bytes", "200")
    [free] = planned(app, *args)["targets"]
    budget = DataBudget(Budget(500_000_000))
    budget.charge(10**9, Moment(0.0, None))
    asyncio.run(measure(tmp_path / ".edge", 3, memo={"uplink/budget": budget.memo()}))
    [used] = planned(app, *args)["targets"]
    assert (free["drain"]["held_s"], free["drain"]["drains"]) == (0, True)
    assert used["drain"]["held_s"] > 3600


def test_a_memo_of_the_data_budget_that_cannot_be_read(tmp_path: Path) -> None:
    app = write(tmp_path, ", budget: {bytes: 500MB}")
    asyncio.run(measure(tmp_path / ".edge", 3, memo={"uplink/budget": "[]"}))
    result = edge(["plan", "--app", app, "--outage", "1h"])
    assert (result.exit_code, result.stderr.startswith("error: what was used of the data budget")) == (1, True)


def test_what_waits_tells_how_big_messages_are(app: Path) -> None:
    async def fill() -> None:
        store = await Store.open(app.parent / ".edge", {"uplink": QueueLimits()}, clock=FakeClock())
        events = [make_event(FakeClock(), "dt/soil", bytes(500), "device/soil") for _ in range(10)]
        await store.change([(event, (Feed("uplink"),)) for event in events])
        await store.close()

    asyncio.run(fill())
    [uplink] = planned(app, "--outage", "1h", "--rate", "1/s")["targets"]
    assert (uplink["message"]["origin"], uplink["outage"]["waiting"]) == ("waiting", 3610)
    assert uplink["message"]["payload_bytes"] == pytest.approx(500, abs=50)


@pytest.mark.parametrize("text", ["two", "2/x", "-1/s", "/s", ""])
def test_a_rate_that_is_none(app: Path, text: str) -> None:
    result = edge(["plan", "--app", app, "--outage", "1h", "--rate", text])
    assert (result.exit_code, "is no rate: write how many in which time" in result.stderr) == (2, True)


@pytest.mark.parametrize("text", ["0", "soon", "20000d", ""])
def test_an_outage_that_is_none(app: Path, text: str) -> None:
    assert edge(["plan", "--app", app, "--outage", text]).exit_code == 2


@pytest.mark.parametrize("text", ["much", "1.5", "-3"])
def test_a_size_that_is_none(app: Path, text: str) -> None:
    assert edge(["plan", "--app", app, "--outage", "1h", "--rate", "1/s", "--bytes", text]).exit_code == 2


def test_an_app_without_a_link(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text("thing: a\n")
    result = edge(["plan", "--app", tmp_path, "--outage", "1h", "--rate", "1/s", "--bytes", "200"])
    assert (result.exit_code, "declares no link: nothing waits for one" in result.stderr) == (1, True)


def test_an_app_that_is_not_there(tmp_path: Path) -> None:
    result = edge(["plan", "--app", tmp_path, "--outage", "1h"])
    assert (result.exit_code, "edge init" in result.stderr) == (1, True)


def test_nothing_comes_and_nothing_waits(app: Path) -> None:
    lines = edge(["plan", "--app", app, "--outage", "1h", "--rate", "0/s"]).stdout.splitlines()
    assert lines[-1] == "drain    nothing waits"
    assert duration(3600) in lines[0]
