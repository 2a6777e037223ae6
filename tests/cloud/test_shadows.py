"""Shadows over a real store: what is answered, what is emitted, and what is there after a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Overflow, QueueLimits
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.cloud.shadows import Page, Shadows
from edge_runtime.errors import ConfigError, LimitError, QueueFullError, StoreError
from edge_runtime.model import NO_HEADERS, Event, Feed
from edge_runtime.pure.shadow import RESERVED, Accepted, Document, Rejected
from edge_runtime.pure.shadow_sync import Conflict
from edge_runtime.store.store import Store

ROOT = "$aws/things/pi-7/shadow"
NOW = 1_700_000_000


class Site:
    """A store with one queue, which takes all events, and the shadows over it."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self.events: list[Event] = []
        self.most_bytes = 1 << 20
        self.shadows = Shadows(store, "pi-7", clock, self.emit)

    async def emit(self, *events: Event, memo: Mapping[str, str] = NO_HEADERS) -> None:
        """Be the bus, with a bound for payloads."""
        if any(len(event.payload) > self.most_bytes for event in events):
            raise LimitError("too large")
        await self.store.change([(event, (Feed("a"),)) for event in events], memo=memo)
        self.events.extend(events)

    async def ask(self, end: str, *, headers: Mapping[str, str] = NO_HEADERS, **fields: object) -> dict[str, Any]:
        """Publish a request and return what is emitted, by the end of its topic."""
        self.events.clear()
        event = make_event(self.clock, f"{ROOT}/{end}", json.dumps(fields).encode(), "cli", headers)
        assert await self.shadows.handle(event)
        assert all(one.topic.startswith(f"{ROOT}/{end}/") and one.source == "shadow" for one in self.events)
        return {one.topic.removeprefix(f"{ROOT}/{end}/"): json.loads(one.payload) for one in self.events}


@asynccontextmanager
async def site(folder: Path, limits: QueueLimits | None = None) -> AsyncIterator[Site]:
    clock = FakeClock(NOW)
    store = await Store.open(folder, {"a": limits or QueueLimits()}, clock=clock)
    try:
        yield Site(store, clock)
    finally:
        await store.close()


async def test_an_update_is_answered_on_its_topics(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        found = await it.ask("update", state={"desired": {"on": True}}, clientToken="t")
        assert list(found) == ["accepted", "delta", "documents"]
        assert found["accepted"] == {
            "state": {"desired": {"on": True}},
            "metadata": {"desired": {"on": {"timestamp": NOW}}},
            "version": 1,
            "timestamp": NOW,
            "clientToken": "t",
        }
        assert found["delta"]["state"] == {"on": True}
        assert found["documents"]["current"]["version"] == 1
        found = await it.ask("update", state={"reported": {"on": True}})
        assert list(found) == ["accepted", "documents"]
        found = await it.ask("get", clientToken="u")
        assert found["accepted"]["state"] == {"desired": {"on": True}, "reported": {"on": True}}
        assert (found["accepted"]["version"], found["accepted"]["clientToken"]) == (2, "u")


async def test_a_refusal_is_answered_and_changes_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.ask("update", state={"desired": {"a": 1}})
        found = await it.ask("update", state={"desired": {"a": 2}}, version=7, clientToken="t")
        refusal = {"code": 409, "message": "Version conflict", "timestamp": NOW, "clientToken": "t"}
        assert found == {"rejected": refusal}
        assert (await it.ask("get"))["accepted"]["state"]["desired"] == {"a": 1}
        found = await it.ask("name/cfg/get")
        assert found["rejected"]["message"] == "No shadow exists with name: cfg"


async def test_named_shadows_are_apart_and_listed(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        for name in ("b", "a", "c"):
            await it.ask(f"name/{name}/update", state={"reported": {"name": name}})
        await it.ask("update", state={"reported": {"name": "classic"}})
        assert (await it.ask("name/a/get"))["accepted"]["state"] == {"reported": {"name": "a"}}
        assert await it.shadows.names() == Page(("a", "b", "c"))
        assert await it.shadows.names(most=2) == Page(("a", "b"), "b")
        assert await it.shadows.names(after="b", most=1) == Page(("c",))
        assert (await it.ask("name/b/delete"))["accepted"] == {"version": 1, "timestamp": NOW}
        assert await it.shadows.names() == Page(("a", "c"))
        assert (await it.ask("name/b/get"))["rejected"]["code"] == 404
        await it.ask("name/b/update", state={})
        assert await it.shadows.names() == Page(("a", "b", "c"))
        for most in (0, 101):
            with pytest.raises(LimitError, match="1 to 100"):
                await it.shadows.names(most=most)


async def test_what_was_answered_is_there_after_a_restart(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.ask("name/cfg/update", state={"desired": {"ü": [1, "\0"]}})
        await it.ask("update", state={"reported": {"a": 1}})
        await it.ask("delete")
    async with site(tmp_path) as it:
        assert await it.shadows.names() == Page(("cfg",))
        found = await it.ask("name/cfg/get")
        assert found["accepted"]["state"]["desired"] == {"ü": [1, "\0"]}
        document = await it.shadows.document("cfg")
        assert document is not None
        assert document.dirty
        assert (await it.ask("get"))["rejected"]["message"] == "No shadow exists with name: Unnamed Shadow"
        assert (await it.ask("update", state={}))["accepted"]["version"] == 2
        assert len(it.store.queue("a")) == 3 + 2 + 1 + 1 + 1 + 2


async def test_when_its_events_cannot_be_stored_nothing_is_changed(tmp_path: Path) -> None:
    async with site(tmp_path, QueueLimits(limit_bytes=3000, when_full=Overflow.REJECT_NEW)) as it:
        await it.ask("update", state={"reported": {"a": 1}})
        with pytest.raises(QueueFullError):
            await it.ask("update", state={"reported": {"a": "x" * 2000}})
        with pytest.raises(QueueFullError):
            await it.ask("name/n/update", state={"reported": {"a": "x" * 2000}})
        answer = await it.shadows.get()
        assert json.loads(answer.payload)["state"] == {"reported": {"a": 1}}
        assert json.loads(answer.payload)["version"] == 1
        assert await it.shadows.names() == Page(())


async def test_what_can_never_be_said_is_refused(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.most_bytes = 500
        found = await it.ask("update", state={"reported": {"a": "x" * 400}})
        assert found["rejected"]["code"] == 413
        assert await it.shadows.document() is None


async def test_the_methods_of_the_endpoint(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        answer = await it.shadows.update("cfg", b'{"state":{"desired":{"a":1}}}', headers={"edge-depth": "2"})
        assert isinstance(answer, Accepted)
        assert [one.topic for one in it.events] == [
            f"{ROOT}/name/cfg/update/{end}" for end in ("accepted", "delta", "documents")
        ]
        assert {one.headers["edge-depth"] for one in it.events} == {"2"}
        it.events.clear()
        refused = await it.shadows.update("cfg", b"{}")
        assert isinstance(refused, Rejected)
        assert refused.code == 400
        assert json.loads((await it.shadows.get("cfg")).payload)["state"]["delta"] == {"a": 1}
        assert it.events == []  # AWS tells of a refusal, and answers a get, only where it was asked
        assert json.loads((await it.shadows.delete("cfg")).payload)["version"] == 1
        assert [one.topic for one in it.events] == [f"{ROOT}/name/cfg/delete/accepted"]


@pytest.mark.parametrize(("name", "code"), [(RESERVED, 403), ("a b", 400), ("x" * 65, 400), ("$x", 404)])
async def test_names(tmp_path: Path, name: str, code: int) -> None:
    async with site(tmp_path) as it:
        for answer in (await it.shadows.get(name), await it.shadows.delete(name)):
            assert isinstance(answer, Rejected)
            assert answer.code == code
        assert (await it.ask(f"name/{name}/get"))["rejected"]["code"] == code


@pytest.mark.parametrize(
    "topic",
    [
        "device/soil",
        "$aws/things/pi-8/shadow/get",
        ROOT,
        f"{ROOT}/",
        f"{ROOT}/get/accepted",
        f"{ROOT}/update/delta",
        f"{ROOT}/name",
        f"{ROOT}/name/cfg",
        f"{ROOT}/name//get",
        f"{ROOT}/name/cfg/update/accepted",
        f"{ROOT}/list",
    ],
)
async def test_other_topics_are_none_of_its_business(tmp_path: Path, topic: str) -> None:
    async with site(tmp_path) as it:
        assert not await it.shadows.handle(make_event(it.clock, topic, b"{}", "cli"))
        assert it.events == []


async def test_its_filters_name_the_requests_and_no_answers(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        assert it.shadows.filters == (f"{ROOT}/+", f"{ROOT}/name/+/+")


async def test_updates_at_once_are_counted_one_by_one(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        asked = [it.shadows.update("", json.dumps({"state": {"reported": {f"k{n}": n}}}).encode()) for n in range(20)]
        answers = await asyncio.gather(*asked)
        assert sorted(json.loads(one.payload)["version"] for one in answers) == list(range(1, 21))
        document = await it.shadows.document()
        assert document is not None
        assert document.state == {"reported": {f"k{n}": n for n in range(20)}}


async def test_more_than_200_requests_a_second_are_throttled(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        answers = await asyncio.gather(*(it.shadows.get() for _ in range(201)))
        codes = [one.code for one in answers if isinstance(one, Rejected)]
        assert codes == [404] * 200 + [429]
        refused = (await it.ask("update", state={"reported": {"a": 1}}, clientToken="t"))["rejected"]
        assert (refused["code"], refused["message"], refused["clientToken"]) == (429, "Too Many Requests", "t")
        assert isinstance(await it.shadows.update("", b'{"state":{}}', throttled=False), Accepted)
        await it.clock.advance(1)
        assert isinstance(await it.shadows.get(), Accepted)


async def test_who_watches_learns_what_was_set(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        watch = it.shadows.watch()
        await it.ask("update", state={"desired": {"a": 1, "b": 1}}, headers={"edge-depth": "3"})
        await it.ask("update", state={"desired": {"a": None}, "reported": {"c": 1}}, headers={"edge-depth": "2"})
        await it.ask("update", state={"desired": {"a": 1}}, version=9)
        await it.ask("name/door/update", state={"reported": {"open": True}})
        await it.ask("get")
        assert await watch.take() == {
            "": ({"desired": {"a": None, "b": 1}, "reported": {"c": 1}}, {"edge-depth": "3"}),
            "door": ({"reported": {"open": True}}, {}),
        }
        waiting = asyncio.create_task(watch.take())
        await it.shadows.delete("door")
        assert await waiting == {"door": ({}, {})}
        it.shadows.unwatch(watch)


async def test_what_the_cloud_has_is_taken_in_and_kept(tmp_path: Path) -> None:
    twin = Document({"desired": {"a": 1}}, {}, 7)
    async with site(tmp_path) as it:
        await it.shadows.meet("cfg", twin, Conflict.SECTION)
        assert [one.topic.removeprefix(f"{ROOT}/name/cfg/") for one in it.events] == [
            "update/accepted",
            "update/delta",
            "update/documents",
        ]
        assert {one.headers["edge-asked-by"] for one in it.events} == {"link"}
        await it.shadows.meet("cfg", twin, Conflict.SECTION)
        assert len(it.events) == 3
        await it.shadows.update("cfg", b'{"state":{"reported":{"a":1}}}')
        await it.shadows.sending("cfg", {"reported": {"a": 1}})
        await it.shadows.sending("none", {})
    async with site(tmp_path) as it:
        document = await it.shadows.document("cfg")
        assert document is not None
        assert (document.cloud_version, document.base, document.sent) == (7, twin.state, {"reported": {"a": 1}})
        assert await it.shadows.untold() == ["", "cfg"]
        assert await it.shadows.there() == ["cfg"]
        it.most_bytes = 10
        met = await it.shadows.meet("cfg", Document({"desired": {"a": 2}}, {}, 8), Conflict.SECTION)
        assert met is not None
        assert met.state == {"desired": {"a": 2}, "reported": {"a": 1}}  # also when nothing can be said of it
        assert it.events == []
        await it.shadows.meet("cfg", None, Conflict.SECTION)
        assert await it.shadows.untold() == [""]
        assert await it.shadows.meet("none", None, Conflict.SECTION) is None


async def test_a_chain_over_a_shadow_is_still_a_chain(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.ask("update", state={"desired": {"a": 1}}, headers={"edge-depth": "3", "edge-cause": "x", "own": "1"})
        for event in it.events:
            assert event.headers["edge-depth"] == "3"
            assert set(event.headers) == {"edge-depth", "edge-cause"}
        await it.ask("get")
        assert set(it.events[0].headers) == {"edge-cause"}


async def test_six_levels_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path) as it:
        await it.ask("update", state={"desired": {"1": {"2": {"3": {"4": {}}}}}})
        assert caplog.text == ""
        await it.ask("update", state={"desired": {"1": {"2": {"3": {"4": {"5": {}}}}}}})
        assert "nested 6 levels deep" in caplog.text


async def test_a_larger_shadow_on_request(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        request = json.dumps({"state": {"reported": {"a": "x" * 20_000}}}).encode()
        refused = await it.shadows.update("", request)
        assert isinstance(refused, Rejected)
        assert refused.code == 413
        large = Shadows(it.store, "pi-7", it.clock, it.emit, most_bytes=30 << 10)
        assert isinstance(await large.update("", request), Accepted)


async def test_what_it_cannot_be_made_with(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        for thing in ("", "a/b", "x" * 129):
            with pytest.raises(ConfigError, match="no name of a thing"):
                Shadows(it.store, thing, it.clock, it.emit)
        with pytest.raises(ConfigError, match="up to 30720"):
            Shadows(it.store, "pi", it.clock, it.emit, most_bytes=30721)


async def test_a_document_of_another_kind_is_told(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.store.change(memo={"shadow/pi-7/": "{}"})
        with pytest.raises(StoreError, match="thing 'pi-7'"):
            await it.shadows.get()
