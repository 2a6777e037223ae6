"""What a running host answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from edge_runtime import control
from edge_runtime.app import Device, Overflow, QueueLimits
from edge_runtime.control import pack, unpack
from edge_runtime.errors import ConfigError, LimitError, NotFoundError, QueueFullError
from edge_runtime.links.memory import MemoryBroker
from tests.host.hosting import app, function, site


async def test_publish_answers_when_the_event_is_safe(tmp_path: Path) -> None:
    broker = MemoryBroker()
    broker.go_offline()
    async with site(app(tmp_path), tmp_path / "state", broker=broker) as it:
        answer = await it.ask("publish", topic="out/a", payload=pack(b"\x00\xff"))
        (message,) = await it.host.store.queue("uplink").get()
        assert answer == {"id": message.event.id, "targets": ["uplink"]}
        assert (message.event.payload, message.event.source) == (b"\x00\xff", "cli")


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        ({"payload": ""}, ConfigError, "the request has no text field 'topic'"),
        ({"topic": "a"}, ConfigError, "the request has no text field 'payload'"),
        ({"topic": 7, "payload": ""}, ConfigError, "the request has no text field 'topic'"),
        ({"topic": "a", "payload": "?"}, ConfigError, "not base64"),
        ({"topic": "a/#", "payload": ""}, LimitError, "wildcards belong in filters"),
        ({"topic": "", "payload": ""}, LimitError, "a topic may not be empty"),
        ({"topic": "out/full", "payload": pack(b"x" * 900)}, QueueFullError, "queue 'uplink' is full"),
    ],
)
async def test_publish_says_what_is_wrong(
    tmp_path: Path, request_: dict[str, Any], error: type[Exception], words: str
) -> None:
    broker = MemoryBroker()
    broker.go_offline()
    bounds = QueueLimits(limit_bytes=1500, when_full=Overflow.REJECT_NEW)
    async with site(app(tmp_path, queues={"uplink": bounds}), tmp_path / "state", broker=broker) as it:
        await it.ask("publish", topic="out/a", payload=pack(b"x" * 900))
        with pytest.raises(error, match=words):
            await it.ask("publish", **request_)
        assert it.host.store.counters("uplink").queued == 1


async def test_invoke_returns_the_reply_and_queues_nothing(tmp_path: Path) -> None:
    async with site(app(tmp_path, function(tmp_path, "fail")), tmp_path / "state") as it:
        answer = await it.ask("invoke", name="f", payload=pack(b"{}"))
        assert answer["error"] == "ValueError"
        assert b'"errorMessage": "the soil is dry"' in unpack(answer["payload"])
        assert "REPORT RequestId" in answer["log"]
        assert it.host.store.counters("function/f").produced == 0
        with pytest.raises(NotFoundError, match=r"there is no function named 'g'"):
            await it.ask("invoke", name="g", payload=pack(b"{}"))


async def test_tail_shows_what_matches_and_what_functions_say(tmp_path: Path) -> None:
    async with site(app(tmp_path, function(tmp_path)), tmp_path / "state") as it:
        items = cast("AsyncIterator[dict[str, Any]]", it.verbs["tail"]({"filter": "out/#"}))
        first = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        await it.emit("in/a", b"7")
        item = await first
        assert (item["topic"], item["source"], item["targets"], item["missed"]) == (
            "out/f",
            "function/f",
            ["uplink"],
            0,
        )
        assert unpack(item["payload"]) == b'{"got": 7, "topic": "in/a"}'
        await items.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert [watcher for watcher in it.host.bus._watchers if watcher._filter != "#"] == []  # that measures rates
        with pytest.raises(LimitError):
            await anext(cast("AsyncIterator[Any]", it.verbs["tail"]({"filter": "a+"})))


async def test_status_tells_how_everything_does(tmp_path: Path) -> None:
    devices = (Device("button", "Button", {"pin": 17}),)
    async with site(app(tmp_path, function(tmp_path), devices=devices), tmp_path / "state") as it:
        await it.open("button")
        await it.emit("in/a", b"7")
        await it.settled("uplink", 1)
        status = await asyncio.to_thread(control.call, tmp_path / "state", "status")
        assert status["thing"] == "pi-7"
        assert status["uptime_s"] >= 0
        assert set(status["clock"]) == {"wall", "boot", "synced", "fault"}
        assert status["link"] | {"since_s": 0} == {
            "driver": "memory",
            "state": "up",
            "since_s": 0,
            "connects": 1,
            "published": 1,
            "refused": 0,
            "inflight": 0,
            "most_inflight": 1,
            "hint": "",
            "last_error": "",
            "agents": {},
            "budget": None,
        }
        assert status["store"]["bytes"] + status["store"]["wal_bytes"] > 0
        assert status["store"]["limit"] > 0
        assert (status["store"]["disk_tight"], status["store"]["notes"]) == (False, [])
        assert status["isolation"]["level"] == "off"  # as all tests of the host
        assert [(f["function"], f["invocations"], f["errors"]) for f in status["functions"]] == [("f", 1, 0)]
        assert [(q["target"], q["produced"], q["queued"]) for q in status["queues"]] == [
            ("function/f", 1, 0),
            ("shadow", 0, 0),
            ("uplink", 1, 0),
        ]
        assert [(d["name"], d["value"], d["simulated"]) for d in status["devices"]] == [("button", 0, True)]
        assert {p["name"]: p["state"] for p in status["parts"]} == dict.fromkeys(
            ["clock", "workers", "rates", "function/f", "shadows", "uplink", "devices", "gpio"], "running"
        )
        ledger = await it.ask("ledger")
        assert ledger["rows"] == status["queues"]
        assert (await it.ask("devices"))["devices"] == status["devices"]


async def test_dead_letters_are_replayed_and_purged(tmp_path: Path) -> None:
    one = app(tmp_path, function(tmp_path, "fail", retries=0))
    async with site(one, tmp_path / "state") as it:
        counters = it.host.store.counters("function/f")
        await it.emit("in/a", b"1", b"2", b"3")
        await it.until(lambda: counters.dead == 3)
        assert await it.ask("queue.purge", target="function/f", dead=False) == {"purged": 0}
        assert (await it.ask("queue.replay", target="function/f", ids=[2]))["replayed"] == 1
        await it.until(lambda: counters.dead == 3)  # it failed again
        with pytest.raises(NotFoundError, match="no dead letter 9"):
            await it.ask("queue.replay", target="function/f", ids=[9])
        assert await it.ask("queue.purge", target="function/f", dead=True) == {"purged": 3}
        assert (counters.dead, counters.dropped, counters.queued) == (0, 3, 0)
    mended = replace(one, functions=(function(tmp_path, "echo"),))
    async with site(one, tmp_path / "state") as it:
        await it.emit("in/a", b"4")
        await it.until(lambda: it.host.store.counters("function/f").dead == 1)
    async with site(mended, tmp_path / "state") as it:
        answer = await it.ask("queue.replay", target="function/f", all=True)
        assert answer == {"replayed": 1, "left": 0}
        await it.settled("uplink", 1)
        assert it.arrived == [("out/f", b'{"got": 4, "topic": "in/a"}')]


async def test_letters_are_replayed_once_while_others_wait_on_disk(tmp_path: Path) -> None:
    failing = app(tmp_path, function(tmp_path, "fail", retries=0))
    async with site(failing, tmp_path / "state") as it:
        await it.emit("in/a", b"1", b"2")
        await it.until(lambda: it.host.store.counters("function/f").dead == 2)
    async with site(app(tmp_path, function(tmp_path)), tmp_path / "state") as it:
        it.host.store.queue("function/f")._lanes[5].behind = True  # as after a restart with a backlog
        await it.ask("queue.replay", target="function/f", all=True)
        await it.emit("in/a", b"3")
        await it.settled("uplink", 3)
        await it.emit("in/a", b"4")
        await it.settled("uplink", 4)
        assert sorted(payload[8:9] for _, payload in it.arrived) == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("verb", "request_", "words"),
    [
        ("queue.replay", {"target": "function/f", "ids": []}, "no list of numbers 'ids'"),
        ("queue.replay", {"target": "function/f", "ids": ["x"]}, "no list of numbers 'ids'"),
        ("queue.replay", {"target": "function/f"}, "no list of numbers 'ids'"),
        ("queue.purge", {}, "no text field 'target'"),
        ("simulate", {"device": "button"}, "no field 'value'"),
    ],
)
async def test_a_faulty_request_says_what_is_missing(
    tmp_path: Path, verb: str, request_: dict[str, Any], words: str
) -> None:
    async with site(app(tmp_path, function(tmp_path)), tmp_path / "state") as it:
        with pytest.raises(ConfigError, match=words):
            await it.ask(verb, **request_)


async def test_an_unknown_queue_or_device_is_named_with_the_nearest(tmp_path: Path) -> None:
    devices = (Device("button", "Button", {"pin": 17}),)
    async with site(app(tmp_path, function(tmp_path), devices=devices), tmp_path / "state") as it:
        with pytest.raises(NotFoundError, match="'uplinc'; did you mean 'uplink'"):
            await it.ask("queue.purge", target="uplinc")
        await it.open("button")
        with pytest.raises(NotFoundError, match="'buton'; did you mean 'button'"):
            await it.ask("simulate", device="buton", value=1)


async def test_stop_answers_and_then_ends_the_host(tmp_path: Path) -> None:
    async with site(app(tmp_path), tmp_path / "state") as it:
        assert not it.host.stopping.is_set()
        assert await asyncio.to_thread(control.call, tmp_path / "state", "stop") == {}
        await it.host.stopping.wait()
