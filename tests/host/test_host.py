"""A whole host in this process: what it does, and what it does when something of it cannot work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime import control
from edge_runtime.app import App, Broker, Destination, Device, LinkSpec, Overflow, QueueLimits, Rule, Schedule
from edge_runtime.clock import FakeClock
from edge_runtime.errors import ConfigError, HostError, LimitError, QueueFullError
from edge_runtime.host import Host
from edge_runtime.links.memory import MemoryBroker, MemoryLink
from edge_runtime.pure.cron import parse
from tests.host.hosting import FREE, Pipes, app, function, site

REJECT = QueueLimits(limit_bytes=1000, when_full=Overflow.REJECT_NEW)


def numbers(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def got(count: int) -> list[tuple[str, bytes]]:
    return [("out/f", b'{"got": %d, "topic": "in/a"}' % number) for number in range(count)]


# -- what it does ------------------------------------------------------------------------------------------------


async def test_an_event_runs_the_handler_and_its_reply_goes_up(tmp_path: Path) -> None:
    async with site(app(tmp_path, function(tmp_path)), tmp_path / "state") as it:
        await it.emit("in/a", *numbers(20))
        await it.settled("uplink", 20)
        assert it.arrived == got(20)
        books = {counters.name: (counters.produced, counters.delivered) for counters in it.host.store.ledger}
        assert books == {"function/f": (20, 20), "shadow": (0, 0), "uplink": (20, 20)}


async def test_a_restart_continues_where_the_last_run_ended(tmp_path: Path) -> None:
    broker, one = MemoryBroker(), app(tmp_path, function(tmp_path))
    broker.go_offline()
    async with site(one, tmp_path / "state", broker=broker) as it:
        await it.emit("in/a", *numbers(5))
        await it.settled("function/f", 5)
    broker.go_online()
    async with site(one, tmp_path / "state", broker=broker) as it:
        await it.settled("uplink", 5)
        assert it.arrived == got(5)


async def test_what_comes_down_reaches_functions_and_never_goes_up_again(tmp_path: Path) -> None:
    up = replace(FREE, up=(Rule("#", ("uplink",)),), down=("in/#",))
    one = app(tmp_path, function(tmp_path), link=LinkSpec("memory", {}, up))
    async with site(one, tmp_path / "state") as it:
        await it.settled("uplink", 1)  # host/started
        it.broker.send("in/a", b"7", {"who": "cloud", "edge-id": "fake"})
        await it.settled("uplink", 2)
        assert it.arrived == [
            ("host/started", b'{"event":"started"}'),
            ("out/f", b'{"got": 7, "topic": "in/a"}'),
        ]
        assert it.host.store.counters("uplink").produced == 2


async def test_a_full_queue_tells_the_publisher(tmp_path: Path) -> None:
    broker = MemoryBroker()
    broker.go_offline()
    one = app(tmp_path, queues={"uplink": REJECT})
    async with site(one, tmp_path / "state", broker=broker) as it:
        await it.emit("out/a", b"x" * 700)
        with pytest.raises(QueueFullError, match="queue 'uplink' is full"):
            await it.emit("out/a", b"x" * 700)
        with pytest.raises(LimitError, match="do not fit into queue 'uplink'"):
            await it.emit("out/a", b"x" * 7000)
        assert it.host.store.counters("uplink").queued == 1


async def test_a_press_of_a_simulated_button_reaches_the_function(tmp_path: Path) -> None:
    rules = (Rule("device/button/pressed", ("function/f",)),)
    one = app(tmp_path, function(tmp_path), devices=(Device("button", "Button", {"pin": 17}),), rules=rules)
    async with site(one, tmp_path / "state") as it:
        await it.open("button")
        await it.host.store.work(lambda _: None)
        await it.ask("simulate", device="button", value=1)
        await it.settled("uplink", 1)
        reply = json.loads(it.arrived[0][1])
        assert reply["topic"] == "device/button/pressed"
        assert reply["got"]["detail"]["event"] == "pressed"


async def test_a_schedule_fires_and_a_pump_obeys_a_command(tmp_path: Path) -> None:
    clock = FakeClock()
    one = app(
        tmp_path,
        schedules=(Schedule("water", "rate(1 minute)"),),
        devices=(Device("pump", "OutputDevice", {"pin": 27}),),
        rules=(Rule("device/pump/set", ("device/pump",)), Rule("device/pump", ("uplink",))),
        link=LinkSpec("memory", {}, replace(FREE, up=(Rule("schedule/#", ("uplink",)),))),
    )
    assert parse("rate(1 minute)")
    async with site(one, tmp_path / "state", clock=clock) as it:
        await it.open("pump")
        await it.until(lambda: any("schedule" in part.name for part in it.host.parts) and clock._sleepers)
        await clock.advance(61)
        await it.settled("uplink", 1)
        await it.emit("device/pump/set", b"on", b"sideways", b"off")
        await it.settled("uplink", 3)
        assert [topic for topic, _ in it.arrived] == ["schedule/water", "device/pump", "device/pump"]
        assert [json.loads(payload)["detail"]["value"] for _, payload in it.arrived[1:]] == [1, 0]
        assert it.host.store.counters("device/pump").dead == 1


async def test_a_host_needs_no_link_no_functions_and_no_devices(tmp_path: Path) -> None:
    async with site(App("pi-7", tmp_path), tmp_path / "state") as it:
        await it.emit("in/a", b"1")
        status = await it.ask("status")
        assert (status["link"], status["functions"], status["devices"]) == (None, [], [])
        assert [queue["target"] for queue in status["queues"]] == ["shadow"]


async def test_a_host_works_although_its_link_never_comes_up(tmp_path: Path) -> None:
    broker = MemoryBroker()
    broker.go_offline("no network")
    async with site(app(tmp_path, function(tmp_path)), tmp_path / "state", broker=broker) as it:
        await it.emit("in/a", *numbers(3))
        await it.settled("function/f", 3)
        await it.until(lambda: it.host.store.counters("uplink").queued == 3)
        link = (await it.ask("status"))["link"]
        assert (link["state"], link["last_error"], link["connects"]) == ("waiting", "no network", 0)


# -- ending ------------------------------------------------------------------------------------------------------


async def test_stop_waits_for_a_running_handler_and_keeps_its_reply(tmp_path: Path) -> None:
    pipes, broker = Pipes(tmp_path), MemoryBroker()
    one = app(tmp_path, function(tmp_path, "wait", environment=pipes.environment, timeout_s=60))
    async with site(one, tmp_path / "state", broker=broker) as it:
        await it.emit("in/a", b"1", b"2")
        assert await pipes.begun() == "1"
        stopping = asyncio.create_task(it.host.stop(grace_s=30))
        await pipes.go_on("late")
        await stopping
        counters = it.host.store.counters("function/f")
        assert (counters.delivered, counters.queued) == (1, 1)
    async with site(one, tmp_path / "state", broker=broker) as it:
        assert await pipes.begun() == "2"
        await pipes.go_on("later")
        await it.settled("uplink", 2)
        assert it.arrived == [("out/f", b'"late"'), ("out/f", b'"later"')]


async def test_a_handler_that_does_not_end_in_time_is_killed_and_its_event_runs_again(tmp_path: Path) -> None:
    pipes = Pipes(tmp_path)
    one = app(tmp_path, function(tmp_path, "wait", environment=pipes.environment, timeout_s=60))
    async with site(one, tmp_path / "state") as it:
        await it.emit("in/a", b"1")
        await pipes.begun()
        await it.host.stop(grace_s=0.1)
        counters = it.host.store.counters("function/f")
        assert (counters.delivered, counters.queued) == (0, 1)
    async with site(one, tmp_path / "state") as it:
        assert await pipes.begun() == "1"
        await pipes.go_on()
        await it.settled("uplink", 1)


async def test_stop_waits_for_acknowledgements_but_not_for_ever(tmp_path: Path) -> None:
    broker, one = MemoryBroker(), app(tmp_path)
    async with site(one, tmp_path / "state", broker=broker) as it:
        broker.hold()
        await it.emit("out/a", b"1", b"2")
        await broker.arrived(2)
        stopping = asyncio.create_task(it.host.stop(grace_s=30))
        await asyncio.sleep(0)
        broker.release(1)
        broker.release()
        await stopping
        assert it.host.store.counters("uplink").delivered == 2
    async with site(one, tmp_path / "state", broker=broker) as it:
        broker.hold()
        await it.emit("out/a", b"3")
        await broker.arrived(3)
        await it.host.stop(grace_s=0.05)
        assert it.host.store.counters("uplink").queued == 1


async def test_stop_twice_and_before_start(tmp_path: Path) -> None:
    host = Host(App("pi-7", tmp_path), tmp_path / "state")
    await host.stop()
    async with site(app(tmp_path), tmp_path / "state") as it:
        await it.host.stop()
        await it.host.stop()
    assert not (tmp_path / "state" / "control.sock").exists()


# -- what cannot work --------------------------------------------------------------------------------------------


async def test_a_second_host_is_refused_and_the_first_does_not_notice(tmp_path: Path) -> None:
    async with site(app(tmp_path), tmp_path / "state") as it:
        second = Host(app(tmp_path), tmp_path / "state", link=MemoryLink())
        with pytest.raises(HostError):
            await second.start()
        assert await asyncio.to_thread(control.is_running, tmp_path / "state")
        await it.emit("out/a", b"1")
        await it.settled("uplink", 1)


async def test_a_start_that_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    faulty = app(tmp_path, function(tmp_path, concurrency=-1))
    host = Host(faulty, tmp_path / "state", link=MemoryLink())
    with pytest.raises(ConfigError):
        await host.start()
    await host.stop()
    async with site(app(tmp_path, function(tmp_path)), tmp_path / "state") as it:
        await it.emit("in/a", b"0")
        await it.settled("uplink", 1)


async def test_a_full_queue_does_not_keep_away_what_empties_it(tmp_path: Path) -> None:
    broker = MemoryBroker()
    broker.go_offline()
    link = LinkSpec("memory", {}, replace(FREE, up=(Rule("#", ("uplink",)),)))
    one = app(tmp_path, link=link, queues={"uplink": REJECT})
    async with site(one, tmp_path / "state", broker=broker) as it:
        await it.emit("out/a", b"x" * 600)
    broker.go_online()
    async with site(one, tmp_path / "state", broker=broker) as it:
        await it.settled("uplink", 2)
        assert it.arrived == [("host/started", b'{"event":"started"}'), ("out/a", b"x" * 600)]


async def test_a_message_from_the_cloud_waits_for_room_and_holds_up_nothing(tmp_path: Path) -> None:
    pipes, clock = Pipes(tmp_path), FakeClock()
    handler = function(tmp_path, "wait", environment=pipes.environment, timeout_s=60, on_success=None)
    link = LinkSpec("memory", {}, replace(FREE, down=("in/#",)))
    one = app(tmp_path, handler, link=link, queues={"function/f": REJECT})
    async with site(one, tmp_path / "state", clock=clock) as it:
        await it.until(lambda: it.host.uplink and it.host.uplink.state.state == "up")
        it.broker.send("in/a", b'"%s"' % (b"1" * 600))
        it.broker.send("in/a", b'"%s"' % (b"2" * 600))
        assert (await pipes.begun())[1] == "1"
        await it.emit("out/a", b"up")
        await it.settled("uplink", 1)
        assert it.broker.unacknowledged("memory") == 1
        await pipes.go_on()
        await it.settled("function/f", 1)
        await clock.advance(60)
        assert (await pipes.begun())[1] == "2"
        assert it.broker.unacknowledged("memory") == 0
        await pipes.go_on()
        await it.settled("function/f", 2)
        link_state = it.host.uplink.state if it.host.uplink else None
        assert link_state
        assert link_state.connects == 1


async def test_a_message_from_the_cloud_that_can_never_be_stored_is_left_out(tmp_path: Path) -> None:
    link = LinkSpec("memory", {}, replace(FREE, down=("in/#",)))
    one = app(tmp_path, function(tmp_path), link=link, queues={"function/f": REJECT})
    async with site(one, tmp_path / "state") as it:
        await it.until(lambda: it.host.uplink and it.host.uplink.state.state == "up")
        it.broker.send("in/a", b"x" * 5000)
        it.broker.send("in/a", b"0")
        await it.settled("uplink", 1)
        assert it.arrived == got(1)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (LinkSpec("pahoo", {}, FREE), "the link 'pahoo' cannot be made: there is no links plug-in named 'pahoo'"),
        (LinkSpec("paho", {"endpont": "x"}, FREE), "the link 'paho' cannot be made: TypeError("),
        (LinkSpec("paho", {"endpoint": "h", "ca": "/no/such.pem"}, FREE), "the link 'paho' cannot be made: "),
    ],
)
async def test_a_link_that_cannot_be_made_is_told_and_the_rest_works(
    tmp_path: Path, spec: LinkSpec, words: str
) -> None:
    async with site(app(tmp_path, function(tmp_path), link=spec), tmp_path / "state") as it:
        await it.emit("in/a", b"0")
        await it.settled("function/f", 1)
        await it.until(lambda: it.host.uplink and it.host.uplink.state.last_error)
        link = (await it.ask("status"))["link"]
        assert link["last_error"].startswith(words)
        assert link["state"] == "waiting"
        assert it.host.store.counters("uplink").queued == 1


async def test_a_declared_link_is_made_when_the_host_runs(tmp_path: Path) -> None:
    one = app(tmp_path, link=LinkSpec("memory", {"client_id": "pi-7"}, FREE))
    host = Host(one, tmp_path / "state")
    await host.start()
    try:
        assert host.uplink
        while host.uplink.state.state != "up":
            await host.store.work(lambda _: None)
    finally:
        await host.stop()


async def test_a_trigger_that_cannot_work_is_tried_again_and_the_others_go_on(tmp_path: Path) -> None:
    brokers = (Broker("bad", "127.0.0.1", options={"colour": "red"}),)
    devices = (
        Device("ghost", "NoSuchDriver"),
        Device("button", "Button", {"pin": 17}),
    )
    rules = (Rule("device/button/pressed", ("function/f",)),)
    one = app(tmp_path, function(tmp_path), brokers=brokers, devices=devices, rules=rules)
    async with site(one, tmp_path / "state") as it:
        await it.open("button")
        await it.host.store.work(lambda _: None)
        await it.ask("simulate", device="button", value=1)
        await it.settled("uplink", 1)
        await it.until(lambda: it.part("broker/bad")[0] == "waiting")
        status = await it.ask("status")
        parts = {part["name"]: (part["state"], part["last_error"]) for part in status["parts"]}
        assert parts["broker/bad"][0] == "waiting"
        assert "'colour'" in parts["broker/bad"][1]
        assert parts["gpio"] == ("running", "")
        assert parts["function/f"] == ("running", "")
        errors = {device["name"]: device["error"] for device in status["devices"]}
        assert "there is no driver 'NoSuchDriver'" in errors["ghost"]
        assert errors["button"] == ""


async def test_events_wait_for_a_pool_that_cannot_start_and_count_no_try(tmp_path: Path) -> None:
    state, clock = tmp_path / "state", FakeClock()
    state.mkdir()
    (state / "workers").write_text("in the way", encoding="utf-8")
    async with site(app(tmp_path, function(tmp_path, retries=0)), state, clock=clock) as it:
        await it.emit("in/a", *numbers(3))
        await it.until(lambda: it.part("workers")[0] == "waiting")
        assert "workers" in it.part("workers")[1]
        for _ in range(10):
            await clock.advance(30)
            await it.host.store.work(lambda _: None)
        counters = it.host.store.counters("function/f")
        assert (counters.queued, counters.dead) == (3, 0)
        (state / "workers").unlink()
        while it.part("workers")[0] == "waiting":
            await clock.advance(60)
        await clock.advance(300)  # what stops a function for long is looked at every five minutes, as in AWS
        await it.settled("uplink", 3)
        assert it.arrived == got(3)


async def test_a_control_socket_that_cannot_be_made_does_not_stop_the_app(tmp_path: Path) -> None:
    state, clock = tmp_path / "state", FakeClock()
    (state / "control.sock").mkdir(parents=True)
    async with site(app(tmp_path), state, clock=clock) as it:
        await it.emit("out/a", b"1")
        await it.settled("uplink", 1)
        assert "control socket" in it.part("control")[1]
        (state / "control.sock").rmdir()
        while it.part("control")[0] == "waiting":
            await clock.advance(60)
        answer = await _in_thread(lambda: control.call(state, "status"))
        assert answer["thing"] == "pi-7"


def _in_thread(call: object) -> Awaitable[dict[str, object]]:
    return asyncio.to_thread(call)  # type: ignore[arg-type]  # a call without arguments


async def test_a_function_sets_off_another_and_a_chain_ends_after_nine(tmp_path: Path) -> None:
    chain = [
        function(
            tmp_path,
            name=f"f{n}",
            on_success=Destination(f"function/f{n + 1}/invoke" if n < 10 else "out/never", record=True),
            on_failure=Destination("out/failed", record=True),
        )
        for n in range(1, 11)
    ]
    async with site(app(tmp_path, *chain, rules=(Rule("in/#", ("function/f1",)),)), tmp_path) as it:
        await it.emit("in/a", b"7")
        await it.until(lambda: it.arrived)
        ((topic, payload),) = it.arrived
        record = json.loads(payload)
        assert topic == "out/failed"
        assert record["requestContext"]["functionArn"].endswith(":function:f10:$LATEST")
        assert record["responsePayload"]["errorType"] == "RecursiveInvocationException"
        inner = record["requestPayload"]
        for n in range(9, 0, -1):
            assert inner["requestContext"]["functionArn"].endswith(f":function:f{n}:$LATEST")
            inner = inner["requestPayload"]
        assert inner == 7
        assert it.host.store.counters("function/f10").dead == 1


async def test_what_is_not_done_as_declared_is_said_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(app(tmp_path, notes=("lambda.json: execArgs are not passed on",)), tmp_path):
        assert "lambda.json: execArgs are not passed on" in caplog.text
