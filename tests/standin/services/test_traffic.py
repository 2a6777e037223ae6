"""What passed through a broker is shown, and a person can publish."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from edge_runtime.errors import LimitError
from edge_runtime.standin.registry import Registry
from edge_runtime.standin.services.account import Account
from edge_runtime.standin.services.control import Reply, carry_out
from edge_runtime.standin.services.traffic import MOST, MOST_BYTES
from tests.standin.harness import Bench


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    made = Account(Bench().broker, Registry())
    yield made
    await made.close()


async def run(account: Account, verb: str, **arguments: object) -> Reply:
    return await carry_out(account, "message", verb, arguments)


async def listed(account: Account, **arguments: object) -> list[object]:
    found = (await run(account, "list", **arguments))["messages"]
    assert isinstance(found, list)
    return found


async def test_the_last_messages_by_topic(account: Account) -> None:
    for payload in ({"on": True}, "plain", ["a"], 7, 0.5, None):
        await run(account, "publish", topic="edge/a/down", payload=payload)
    await run(account, "publish", topic="other")
    shown = [one["payload"] for one in await listed(account, topic="edge/+/down")]  # type: ignore[index] # objects
    assert shown == [{"on": True}, "plain", ["a"], 7, 0.5, None]
    assert await listed(account, count=1) == [{"topic": "other", "payload": "", "from": "aws"}]
    assert await listed(account, count=0) == []


async def test_what_a_person_publishes_reaches_the_services(account: Account) -> None:
    await run(account, "publish", topic="$aws/things/a/shadow/update", payload={"state": {"desired": {"x": 1}}})
    assert account.shadows.get("a", "")["state"] == {"desired": {"x": 1}, "delta": {"x": 1}}
    topics = [one["topic"] for one in await listed(account, topic="$aws/things/a/#")]  # type: ignore[index] # as above
    assert topics[0] == "$aws/things/a/shadow/update"
    assert "$aws/things/a/shadow/update/accepted" in topics


async def test_it_is_kept_within_bounds(account: Account) -> None:
    for number in range(MOST + 1):
        account.traffic.publish("a", b"%d" % number)
    assert [one.payload for one in account.traffic.last("#", MOST + 1)][:1] == [b"1"]
    account.traffic.publish("a", bytes([0xFF]) * (MOST_BYTES + 1))
    (last,) = account.traffic.last("a", 1)
    assert len(last.payload) == MOST_BYTES
    assert str(last.shown()["payload"]).startswith("////")


async def test_topics_that_cannot_be(account: Account) -> None:
    with pytest.raises(LimitError):
        await run(account, "publish", topic="a/#")
    with pytest.raises(LimitError):
        await run(account, "list", topic="a/#/b")
