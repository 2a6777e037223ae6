"""Commands as lines of JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from edge_runtime.standin.codes import Code
from edge_runtime.standin.control import Control
from edge_runtime.standin.server import Standin
from tests.mqtt import RawClient


class Told:
    """A stand-in and its control."""

    def __init__(self, standin: Standin) -> None:
        self.standin = standin
        self.stopped = 0
        self.control = Control(standin, self._stop)

    def _stop(self) -> None:
        self.stopped += 1

    async def tell(self, command: object) -> dict[str, object]:
        """Give a command and return the reply."""
        line = command if isinstance(command, bytes) else json.dumps(command).encode()
        reply = await self.control.line(line)
        assert reply.endswith(b"\n")
        found: dict[str, object] = json.loads(reply)
        return found


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    async with Standin(quotas="none") as standin:
        yield Told(standin)


async def test_faults_with_their_arguments(told: Told) -> None:
    faults = told.standin.faults
    for command in (
        {"fault": "delay", "seconds": 1},
        {"fault": "lose_pubacks", "count": 3, "share": 0.5, "seed": 9},
        {"fault": "reject", "topic_filter": "up/#", "code": 153},
        {"fault": "refuse", "code": 0x89},
        {"fault": "freeze"},
    ):
        assert await told.tell(command) == {"ok": True}
    assert (faults.delay_s, faults.rejected, faults.connack, faults.frozen) == (
        1,
        {"up/#": Code.PAYLOAD_FORMAT_INVALID},
        Code.SERVER_BUSY,
        True,
    )
    assert (faults.lost_pubacks.count, faults.lost_pubacks.share, faults.lost_pubacks.seed) == (3, 0.5, 9)
    assert await told.tell({"fault": "clear"}) == {"ok": True}
    assert (faults.delay_s, faults.frozen) == (0.0, False)


async def test_counts_and_waiting_for_them(told: Told) -> None:
    waiting = asyncio.create_task(told.tell({"wait": "recorded", "count": 2}))
    client = await RawClient.connect(told.standin.port)
    await client.publish("a")
    assert not waiting.done()
    await client.publish("a")
    assert await waiting == {"ok": True, "counts": {"connected": 1, "connections": 1, "recorded": 2}}
    assert await told.tell({"fault": "drop"}) == {"ok": True, "dropped": 1}
    await client.closed()
    assert await told.tell({"counts": True}) == {"ok": True, "counts": {"connected": 1, "recorded": 2}, "refusals": []}


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ({"fault": "late_acks", "seconds": 2, "count": 1}, "late_pubacks"),
        ({"fault": "wrong_acks", "count": 1}, "wrong_pubacks"),
        ({"fault": "repeat_acks", "share": 0.5}, "repeated_pubacks"),
        ({"fault": "fail_acks", "code": 0x83, "count": 1}, "failed_pubacks"),
    ],
)
async def test_acknowledgements_that_go_wrong(told: Told, command: object, name: str) -> None:
    assert await told.tell(command) == {"ok": True}
    assert getattr(told.standin.faults, name).live


async def test_other_faults(told: Told) -> None:
    assert await told.tell({"fault": "cut", "after": 3, "acked": True}) == {"ok": True}
    assert await told.tell({"fault": "reject_filter", "topic_filter": "a/#"}) == {"ok": True}
    assert await told.tell({"fault": "break_credentials", "status": 500, "down": False}) == {"ok": True}
    faults = told.standin.faults
    assert (faults.cuts.after, faults.rejected_filters, faults.credentials_status) == (3, {"a/#": 0x87}, 500)


async def test_services_are_told_by_noun_and_verb(told: Told) -> None:
    made = await told.tell({"thing": "put", "name": "edge-1", "groups": ["edge"]})
    assert made["ok"] is True
    changed = await told.tell({"shadow": "update", "thing": "edge-1", "state": {"desired": {"led": "on"}}})
    assert changed["ok"] is True
    found = await told.tell({"shadow": "get", "thing": "edge-1"})
    assert isinstance(found["shadow"], dict)
    assert found["shadow"]["state"]["desired"] == {"led": "on"}
    missing = await told.tell({"shadow": "get", "thing": "nobody"})
    assert (missing["ok"], "404" in str(missing["error"])) == (False, True)


async def test_stop(told: Told) -> None:
    assert await told.tell({"stop": True}) == {"ok": True}
    assert told.stopped == 1


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (b"", "must be one JSON object"),
        (b"[1]", "must be one JSON object"),
        (b"[" * 100_000, "must be one JSON object"),
        (b"\xff", "must be one JSON object"),
        ({"hello": 1}, "is no command; known are fault, counts, wait with count, stop, and cert, claim"),
        ({"fault": 7}, "is no command"),
        ({}, "is no command"),
        ({"thing": 7}, "is no command"),
        ({"shadow": "gat", "thing": "a"}, "there is no command 'shadow gat'"),
        ({"shadow": "get"}, "'shadow get' needs thing"),
        ({"fault": "cut", "acked": 1}, "acked may not be 1"),
        ({"fault": "frieze"}, "there is no fault 'frieze'; did you mean 'freeze'?"),
        ({"fault": "_reset"}, "there is no fault '_reset'"),
        ({"fault": "delay"}, "fault 'delay' needs seconds"),
        ({"fault": "delay", "seconds": "1"}, "fault 'delay': seconds may not be \"1\""),
        ({"fault": "delay", "seconds": True}, "seconds may not be true"),
        ({"fault": "delay", "second": 1}, "fault 'delay' takes seconds, not 'second'"),
        ({"fault": "freeze", "count": 1}, "fault 'freeze' takes no arguments, not 'count'"),
        ({"fault": "delay", "seconds": -1}, "before they are sent"),
        ({"fault": "refuse", "code": 1}, "1 is no reason code of a failure"),
        ({"fault": "restart", "keep_sessions": 1}, "keep_sessions may not be 1"),
    ],
)
async def test_what_cannot_be_done_is_answered(told: Told, command: object, words: str) -> None:
    reply = await told.tell(command)
    assert reply["ok"] is False
    assert words in str(reply["error"])
