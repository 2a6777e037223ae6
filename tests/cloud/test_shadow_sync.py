"""Shadows and their twins in the cloud: what is said, how often, and what is said of it when it does not work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edge_runtime.app import ShadowSync as Spec
from edge_runtime.cloud.shadow_sync import ShadowSync
from edge_runtime.cloud.shadows import Shadows
from edge_runtime.errors import LinkError, RefusedError
from tests.cloud.shadow_cloud import ROOT, THING, World

CLASSIC = Spec(("",))


@asynccontextmanager
async def world(spec: Spec = CLASSIC) -> AsyncIterator[World]:
    it = World(spec)
    try:
        yield it
    finally:
        await it.cut()


def ends(it: World, start: int = 0) -> list[str]:
    """Return what the cloud was asked."""
    return [end for end, _ in it.cloud.asked[start:]]


async def together(it: World) -> None:
    """Connect and come together."""
    await it.connect()
    await it.flow()


async def test_what_changed_offline_goes_up_as_one_update_and_comes_down(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as it:
        for level in range(20):
            await it.set_here("", reported={"level": level})
        it.cloud.change("", desired={"pump": "on"})
        await together(it)
        assert it.cloud.asked == [
            ("get", {"clientToken": it.cloud.asked[0][1]["clientToken"]}),
            (
                "update",
                {
                    "state": {"reported": {"level": 19}},
                    "version": 1,
                    "clientToken": it.cloud.asked[1][1]["clientToken"],
                },
            ),
        ]
        assert it.cloud.state() == {"desired": {"pump": "on"}, "reported": {"level": 19}}
        assert await it.state_here() == it.cloud.state()
        assert caplog.text == ""
        row = await it.row()
        assert (row["state"], row["cloud_version"], row["since_s"], row["last_error"]) == ("in sync", 2, None, "")


async def test_what_comes_from_the_cloud_is_emitted_as_any_update_and_marked() -> None:
    async with world() as it:
        it.cloud.change("", desired={"pump": "on"})
        await together(it)
        said = {event.topic.removeprefix(f"{ROOT}/"): event for event in it.memo.events}
        assert set(said) == {"update/accepted", "update/delta", "update/documents"}
        assert json.loads(said["update/delta"].payload)["state"] == {"pump": "on"}
        assert {event.headers["edge-asked-by"] for event in said.values()} == {"link"}
        assert ends(it) == ["get"]  # it is no change of ours


async def test_changes_go_up_and_come_down_at_once() -> None:
    async with world(Spec(("", "door"))) as it:
        await together(it)
        start = len(it.cloud.asked)
        await it.set_here("door", reported={"open": True})
        await it.flow()
        assert it.cloud.state("door") == {"reported": {"open": True}}
        it.hear(it.cloud.change("door", desired={"open": False}))
        it.hear(it.cloud.change("door", desired={"light": 1}))
        await it.flow()
        assert await it.state_here("door") == {"desired": {"open": False, "light": 1}, "reported": {"open": True}}
        assert ends(it, start) == ["name/door/update"]


async def test_one_update_of_a_shadow_is_under_way_at_a_time() -> None:
    async with world() as it:
        await together(it)
        for level in range(30):
            await it.set_here("", reported={"level": level})
        assert len(it.up) == 1
        start = len(it.cloud.asked)
        await it.flow()
        assert [body["state"] for _, body in it.cloud.asked[start:]] == [
            {"reported": {"level": 0}},
            {"reported": {"level": 29}},
        ]


async def test_never_more_than_20_requests_a_second_nor_10_without_an_answer() -> None:
    async with world(Spec(everything=True)) as it:
        for n in range(40):
            await it.set_here(f"s{n}", reported={"n": n})
        await it.connect()
        await it.clock.advance(5)
        assert len(it.up) == 10
        sent = []
        for _ in range(80):
            before = len(it.cloud.asked)
            while it.up or it.down:
                await it.carry_up()
                await it.carry_down()
            sent.append(len(it.cloud.asked) - before)
            await it.clock.advance(0.1)
        assert max(sum(sent[n : n + 10]) for n in range(1, 70)) <= 20
        assert it.most_up <= 10
        assert it.cloud.state("s39") == {"reported": {"n": 39}}
        assert len(it.agent.filters) == 4


async def test_a_conflict_is_asked_for_again_and_settled_by_section() -> None:
    async with world() as it:
        await it.set_here("", desired={"a": 0}, reported={"b": 0})
        await together(it)
        await it.set_here("", desired={"a": 1}, reported={"b": 1})
        it.hear(it.cloud.change("", desired={"a": 2}, reported={"b": 2}))
        it.down.clear()  # lost; the version tells all the same
        start = len(it.cloud.asked)
        await it.flow()
        assert ends(it, start) == ["update", "get", "update"]
        assert it.cloud.state() == await it.state_here() == {"desired": {"a": 2}, "reported": {"b": 1}}


async def test_the_latest_wins_on_request() -> None:
    async with world(Spec(("",), conflict="latest_timestamp")) as it:
        await it.set_here("", desired={"a": 0, "b": 0})
        await together(it)
        await it.cut()
        await it.set_here("", desired={"a": 1})
        await it.clock.advance(10)
        it.cloud.change("", desired={"a": 2, "b": 2})
        await it.clock.advance(10)
        await it.set_here("", desired={"b": 1})
        await together(it)
        assert it.cloud.state() == await it.state_here() == {"desired": {"a": 2, "b": 1}}


async def test_deletions_go_both_ways() -> None:
    async with world(Spec(everything=True)) as it:
        await it.set_here("a", reported={"n": 1})
        await it.set_here("b", reported={"n": 2})
        await together(it)
        await it.shadows.delete("a")
        it.hear(it.cloud.delete("b"))
        await it.flow()
        assert (it.cloud.state("a"), await it.state_here("b")) == (None, None)
        assert f"{ROOT}/name/b/delete/accepted" in [event.topic for event in it.memo.events]
        await it.cut()
        await together(it)
        assert await it.shadows.untold() == [""]


async def test_a_deletion_offline_is_told_also_after_a_restart() -> None:
    async with world(Spec(everything=True)) as it:
        await it.set_here("a", reported={"n": 1})
        await together(it)
        await it.cut()
        await it.shadows.delete("a")
        it.boot()
        await together(it)
        assert it.cloud.state("a") is None


async def test_a_shadow_made_anew_while_its_deletion_is_under_way_stays() -> None:
    async with world(Spec(("a",))) as it:
        await it.set_here("a", reported={"n": 1})
        await together(it)
        await it.shadows.delete("a")
        await it.rest()
        await it.carry_up()
        await it.set_here("a", reported={"m": 2})
        it.boot()
        await it.cut()
        await together(it)
        assert it.cloud.state("a") == await it.state_here("a") == {"reported": {"m": 2}}


async def test_a_kill_after_the_update_was_sent_loses_no_later_change() -> None:
    """The cloud has 1, and nobody here heard so; meanwhile it is 0 again, as it was when both were the same."""
    async with world() as it:
        await it.set_here("", desired={"a": 0})
        await together(it)
        await it.set_here("", desired={"a": 1})
        await it.carry_up()
        await it.cut()
        it.boot()
        await it.set_here("", desired={"a": 0})
        await together(it)
        assert it.cloud.state() == await it.state_here() == {"desired": {"a": 0}}


async def test_whoever_asks_a_second_time_for_the_same_is_heard() -> None:
    async with world() as it:
        it.cloud.change("", desired={"pump": "on"})
        await together(it)
        await it.set_here("", reported={"pump": "off"})
        await it.flow()
        it.memo.events.clear()
        start = len(it.cloud.asked)
        it.hear(it.cloud.change("", desired={"pump": "on"}))
        await it.flow()
        assert f"{ROOT}/update/delta" in [event.topic for event in it.memo.events]
        assert ends(it, start) == []


async def test_an_answer_that_does_not_come_is_asked_for_again_and_in_the_end_given_up() -> None:
    async with world() as it:
        await it.connect()
        it.up.clear()
        await it.clock.advance(24)
        assert [topic for topic, _ in it.up] == [f"{ROOT}/get"]
        assert "no answer within 20 s" in str((await it.row())["last_error"])
        sent = 1
        for _ in range(600):
            sent += len(it.up)
            it.up.clear()
            await it.clock.advance(1)
        assert sent == 8
        row = await it.row()
        assert (row["last_error"], row["next"]) == (
            "given up for now: no answer within 20 s",
            "it is tried again at the next change or connection",
        )
        await it.set_here("", reported={"a": 1})
        await it.flow()
        assert it.cloud.state() == {"reported": {"a": 1}}
        assert (await it.row())["last_error"] == ""


@pytest.mark.parametrize(("code", "message"), [(429, "Too many requests"), (500, "Internal service failure")])
async def test_what_may_pass_is_tried_again_later(code: int, message: str) -> None:
    async with world() as it:
        it.cloud.refusals.extend([(code, message)] * 3)
        await it.set_here("", reported={"a": 1})
        await together(it)
        assert f"{code} {message}" in str((await it.row())["last_error"])
        await it.flow(30)
        assert it.cloud.state() == {"reported": {"a": 1}}


async def test_what_the_cloud_does_not_take_is_said_once_and_not_again_until_it_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as it:
        await together(it)
        it.cloud.refusals.append((413, "The payload exceeds the maximum size allowed"))
        await it.set_here("", reported={"a": "too large"})
        await it.flow()
        start = len(it.cloud.asked)
        it.hear(it.cloud.change("", desired={"b": 1}))
        await it.flow(100)
        assert ends(it, start) == []
        row = await it.row()
        assert (row["state"], row["next"]) == ("refused", "make it smaller: AWS takes 8 KB, and more on request")
        assert row["last_error"] == "update was refused: 413 The payload exceeds the maximum size allowed"
        assert caplog.text.count("413") == 1
        assert await it.state_here() == {"desired": {"b": 1}, "reported": {"a": "too large"}}
        await it.set_here("", reported={"a": "small"})
        await it.flow()
        assert it.cloud.state() == {"desired": {"b": 1}, "reported": {"a": "small"}}
        assert (await it.row())["state"] == "in sync"


async def test_what_is_forbidden_is_not_asked_again_on_this_connection() -> None:
    async with world() as it:
        it.cloud.refusals.append((403, "Forbidden"))
        await together(it)
        await it.set_here("", reported={"a": 1})
        await it.flow(100)
        assert ends(it) == ["get"]
        assert (await it.row())["next"] == f"allow iot:Publish on topic {ROOT}/get in the device's policy"
        await it.cut()
        await together(it)
        assert it.cloud.state() == {"reported": {"a": 1}}


async def test_a_publish_that_the_broker_refuses_is_forbidden_too() -> None:
    async with world() as it:

        async def refuse(topic: str, _: bytes) -> None:
            raise RefusedError(f"not authorised to publish on {topic}")

        task = asyncio.create_task(it.agent.run(refuse))
        await it.clock.advance(60)
        assert (await it.row())["last_error"] == f"not authorised to publish on {ROOT}/get"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_publish_that_did_not_get_through_is_tried_again() -> None:
    async with world() as it:
        tries = []

        async def stumble(topic: str, _: bytes) -> None:
            tries.append(topic)
            raise LinkError("the link stands, and yet")

        task = asyncio.create_task(it.agent.run(stumble))
        await it.clock.advance(600)
        assert len(tries) == 8
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def asked_within(it: World, seconds: int) -> bool:
    """Tell whether something is asked of the cloud by then; a second at a time, for an answer is waited for 20 s."""
    for _ in range(seconds):
        if it.up:
            return True
        await it.clock.advance(1)
    return bool(it.up)


async def cut_off(it: World, times: int) -> None:
    """Have the connection end each time when shadows are asked for."""
    for _ in range(times):
        await it.connect()
        assert len(it.up) == 1
        await it.cut()
        await it.clock.advance(1)


async def test_a_link_that_breaks_whenever_shadows_are_asked_for_is_spared(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as it:
        await cut_off(it, 3)
        await it.connect()
        assert not it.up
        assert "the last 3 connections were lost while shadows were asked for" in caplog.text
        assert await asked_within(it, 60)
        await it.flow()
        assert (await it.row())["state"] == "in sync"
        await it.cut()
        await it.clock.advance(1)
        await it.connect()
        assert len(it.up) == 1


async def test_connections_too_short_to_ask_make_the_wait_no_longer(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as it:
        await cut_off(it, 3)
        for _ in range(8):
            await it.connect()
            if it.up:
                break
            await it.cut()
            await it.clock.advance(1)
        else:
            await it.connect()
        assert await asked_within(it, 60)
        assert caplog.text.count("lost while shadows were asked for") == 1


async def test_messages_late_and_twice_do_no_harm() -> None:
    async with world() as it:
        await together(it)
        old = it.cloud.change("", desired={"a": 1})
        new = it.cloud.change("", desired={"a": 2})
        it.hear([*new, *old, *new, *old])  # a gap, then what is known by then
        start = len(it.cloud.asked)
        await it.flow()
        assert await it.state_here() == {"desired": {"a": 2}}
        assert ends(it, start) == ["get"]


async def test_more_than_can_be_followed_is_asked_for() -> None:
    async with world() as it:
        await it.set_here("", reported={"x": 1})
        await together(it)
        await it.set_here("", reported={"x": 2})  # under way: what comes meanwhile waits
        for n in range(30):
            it.hear(it.cloud.change("", desired={"n": n}))
        while it.down:
            await it.carry_down()
        await it.flow(30)
        assert it.cloud.state() == await it.state_here() == {"desired": {"n": 29}, "reported": {"x": 2}}


async def test_a_shadow_made_anew_there_goes_on_counting_and_is_asked_for() -> None:
    async with world(Spec(("a",))) as it:
        it.cloud.change("a", reported={"n": 1})
        it.cloud.delete("a")
        await it.set_here("a", reported={"m": 2})
        await together(it)
        assert ends(it) == ["name/a/get", "name/a/update", "name/a/get"]
        assert it.cloud.state("a") == await it.state_here("a") == {"reported": {"m": 2}}


async def test_every_message_below_the_shadow_is_taken_and_none_else() -> None:
    async with world() as it:
        await together(it)
        for end in ("get", "update/delta", "update/documents", "name/x/get/accepted", "name", "a/b/c/d/e"):
            assert await it.agent.received(f"{ROOT}/{end}", b'{"state": 1}')
        for payload in (b"no json", b"[]", b'{"state": 1, "version": 9}', b'{"clientToken": 5}', b"[" * 100_000):
            assert await it.agent.received(f"{ROOT}/update/accepted", payload)
            assert await it.agent.received(f"{ROOT}/get/rejected", payload)
        for topic in (f"$aws/things/{THING}x/shadow/get/accepted", f"$aws/things/{THING}/jobs/notify", "cmd/a"):
            assert not await it.agent.received(topic, b"{}")
        await it.flow()
        assert (await it.row())["state"] == "in sync"


async def test_an_answer_that_is_not_understood_is_said() -> None:
    async with world() as it:
        await it.connect()
        _, payload = it.up.popleft()
        token = json.loads(payload)["clientToken"]
        await it.agent.received(f"{ROOT}/get/accepted", json.dumps({"state": [], "clientToken": token}).encode())
        await it.flow()
        assert (await it.row())["last_error"] == "the cloud's document of the shadow is not understood"


async def test_a_larger_shadow_from_the_cloud_is_taken() -> None:
    async with world() as it:
        it.cloud.change("", desired={"a": "x" * 5000})
        await it.set_here("", reported={"a": "y" * 5000})
        await it.connect()
        await it.flow()
        here: Any = await it.state_here()
        assert here["desired"] == {"a": "x" * 5000}
        assert (await it.row())["state"] == "refused"  # the cloud takes no more than 8 KB


async def test_a_new_shadow_is_told_at_once_where_all_are() -> None:
    async with world(Spec(everything=True)) as it:
        await together(it)
        await it.set_here("new", reported={"a": 1})
        await it.flow()
        assert it.cloud.state("new") == {"reported": {"a": 1}}
        assert [row["shadow"] for row in await it.agent.rows()] == ["classic", "new"]


async def test_a_shadow_that_is_made_while_the_others_are_listed_is_told_too() -> None:
    class Racing(Shadows):
        """Somebody makes a shadow as soon as they have been listed."""

        async def untold(self) -> list[str]:
            names = await super().untold()
            await self.update("late", b'{"state": {"reported": {"a": 1}}}')
            return names

    async with world(Spec(everything=True)) as it:
        store: Any = it.memo
        it.agent = ShadowSync(Racing(store, THING, it.clock, it.memo.emit), it.spec, it.clock)
        await together(it)
        assert it.cloud.state("late") == {"reported": {"a": 1}}


async def test_how_long_something_has_waited() -> None:
    async with world() as it:
        await it.set_here("", reported={"a": 1})
        await it.clock.advance(90)
        await it.set_here("", reported={"b": 1})
        assert await it.agent.rows() == [
            {
                "shadow": "classic",
                "state": "changed here",
                "since_s": 90,
                "version": 2,
                "cloud_version": None,
                "last_error": "",
                "next": "",
            }
        ]


@pytest.mark.parametrize(
    ("spec", "count"), [(Spec(("",)), 2), (Spec(("", "a", "b")), 6), (Spec(tuple("abcdefghi")), 2), (Spec((), True), 4)]
)
def test_few_subscriptions_and_no_hash(spec: Spec, count: int) -> None:
    filters = World(spec).agent.filters
    assert len(filters) == len(set(filters)) == count
    assert not any("#" in one for one in filters)
