"""queue and ledger, on a store that a host has left and with a host that answers."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import stat
from pathlib import Path

import pytest

from edge_runtime.app import QueueLimits
from edge_runtime.clock import FakeClock, make_event
from edge_runtime.model import Feed
from edge_runtime.store.store import Store
from tests.cli.fakehost import edge, running


async def fill(state: Path) -> None:
    """Leave for function/f a dead letter (1), a delivered message (2), and two that wait (3, 4)."""
    clock = FakeClock()
    queues = {"function/f": QueueLimits(), "uplink": QueueLimits()}
    store = await Store.open(state, queues, clock=clock)
    payloads = [b'{"n": 0}', b'{"n": 1}', b"\xff\x00", b'{"n": "\x1b"}']
    await store.change([(make_event(clock, f"a/{n}", p, "cli"), (Feed("function/f"),)) for n, p in enumerate(payloads)])
    first, second = await store.queue("function/f").get(2)
    await store.change(dead=[(first, "KeyError: 'x'")], done=[second])
    await store.close()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    asyncio.run(fill(tmp_path / "state"))
    return tmp_path / "state"


def listed(state: Path) -> dict[str, tuple[int, int]]:
    rows = json.loads(edge(["queue", "ls", "--state", state, "--json"]).stdout)
    return {row["target"]: (row["queued"], row["dead"]) for row in rows}


def test_ls_says_what_waits(state: Path) -> None:
    assert listed(state) == {"function/f": (2, 1), "uplink": (0, 0)}
    assert edge(["queue", "ls", "--state", state]).stdout.splitlines() == [
        "TARGET      QUEUED  DEAD  THINNED",
        "function/f  2       1     0",
        "uplink      0       0     0",
    ]


def test_show_lists_what_waits_in_order(state: Path) -> None:
    lines = edge(["queue", "show", "function/f", "--state", state]).stdout.splitlines()
    assert lines[0].split() == ["SEQ", "TIME", "CLOCK", "TOPIC", "TRIES", "PAYLOAD"]
    assert [line.split()[0] for line in lines[1:]] == ["3", "4"]
    assert "a/2" in lines[1]
    assert lines[1].endswith("<2 bytes 0xff00>")
    assert lines[2].endswith(r'{"n": "\x1b"}')


def test_show_goes_on_where_it_ended(state: Path) -> None:
    first = edge(["queue", "show", "function/f", "--limit", "1", "--state", state]).stdout.splitlines()
    assert first[-1] == "more: --after 3"
    rows = json.loads(edge(["queue", "show", "function/f", "--after", "3", "--state", state, "--json"]).stdout)
    assert [row["seq"] for row in rows] == [4]


def test_show_of_dead_letters_says_why(state: Path) -> None:
    [row] = json.loads(edge(["queue", "show", "function/f", "--dead", "--state", state, "--json"]).stdout)
    assert (row["seq"], row["topic"], row["payload"], row["reason"]) == (1, "a/0", '{"n": 0}', "KeyError: 'x'")
    lines = edge(["queue", "show", "function/f", "--dead", "--state", state]).stdout.splitlines()
    assert "REASON" in lines[0]
    assert "KeyError: 'x'" in lines[1]


def test_show_of_nothing(state: Path) -> None:
    assert edge(["queue", "show", "uplink", "--state", state]).stdout == "nothing there\n"


def test_a_queue_that_is_not_there(state: Path) -> None:
    for verb in (["show"], ["export"], ["replay", "--all"], ["purge", "--yes"]):
        result = edge(["queue", *verb, "functon/f", "--state", state])
        assert result.exit_code == 1
        assert result.stderr.startswith("error: there is no queue named 'functon/f'")
        assert result.stderr.endswith("\nhint: known: function/f, uplink\n")


def test_export_writes_an_object_a_line_and_takes_nothing_away(state: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in edge(["queue", "export", "function/f", "--state", state]).stdout.splitlines()]
    assert [(row["seq"], row["topic"]) for row in rows] == [(3, "a/2"), (4, "a/3")]
    assert rows[0]["payload_base64"] == "/wA="
    output = tmp_path / "dead.jsonl"
    result = edge(["queue", "export", "function/f", "--dead", "-o", output, "--state", state])
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads(output.read_text())["payload"] == '{"n": 0}'
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert listed(state)["function/f"] == (2, 1)
    again = edge(["queue", "export", "function/f", "-o", output, "--state", state])
    assert (again.exit_code, again.stderr) == (1, f"error: {output} cannot be written: File exists\n")


def test_replay_puts_dead_letters_back(state: Path) -> None:
    result = edge(["queue", "replay", "function/f", "1", "--state", state])
    assert (result.exit_code, result.stdout) == (0, "1 put back into the queue of function/f\n")
    assert listed(state)["function/f"] == (3, 0)
    assert edge(["queue", "replay", "function/f", "--all", "--state", state]).stdout.startswith("0 put back")
    assert edge(["ledger", "--state", state]).exit_code == 0


@pytest.mark.parametrize("args", [[], ["1", "--all"], ["0"], ["one"]])
def test_replay_wants_to_know_which(state: Path, args: list[str]) -> None:
    assert edge(["queue", "replay", "function/f", *args, "--state", state]).exit_code == 2


def test_purge_asks_first(state: Path) -> None:
    result = edge(["queue", "purge", "function/f", "--state", state], stdin=b"n\n")
    assert result.exit_code == 1
    assert "drop all messages that wait for function/f?" in result.stderr
    assert listed(state)["function/f"] == (2, 1)


def test_purge_drops_and_the_ledger_still_balances(state: Path) -> None:
    assert edge(["queue", "purge", "function/f", "--yes", "--state", state]).stdout == "2 dropped\n"
    assert listed(state)["function/f"] == (0, 1)
    assert edge(["queue", "purge", "function/f", "--dead", "--state", state], stdin=b"y\n").stdout == "1 dropped\n"
    assert listed(state)["function/f"] == (0, 0)
    [row, _] = json.loads(edge(["ledger", "--state", state, "--json"]).stdout)
    assert (row["produced"], row["delivered"], row["dropped"], row["balanced"]) == (4, 1, 3, True)


def test_a_host_that_runs_replays_and_purges_itself(state: Path) -> None:
    with running(state, {"queue.replay": {"replayed": 7}, "queue.purge": {"purged": 9}}) as host:
        replayed = edge(["queue", "replay", "function/f", "1", "5", "--state", state])
        edge(["queue", "replay", "function/f", "--all", "--state", state])
        purged = edge(["queue", "purge", "uplink", "--dead", "--yes", "--state", state])
    assert (replayed.stdout, purged.stdout) == ("7 put back into the queue of function/f\n", "9 dropped\n")
    assert host.asked == [
        ("queue.replay", {"target": "function/f", "ids": [1, 5]}),
        ("queue.replay", {"target": "function/f", "all": True}),
        ("queue.purge", {"target": "uplink", "dead": True}),
    ]
    assert listed(state)["function/f"] == (2, 1)


def test_the_ledger_accounts_for_everything(state: Path) -> None:
    result = edge(["ledger", "--state", state])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "everything is accounted for"
    [row, _] = json.loads(edge(["ledger", "--state", state, "--json"]).stdout)
    assert {k: row[k] for k in ("target", "produced", "delivered", "queued", "dead", "missing")} == {
        "target": "function/f",
        "produced": 4,
        "delivered": 1,
        "queued": 2,
        "dead": 1,
        "missing": 0,
    }


def test_a_message_that_vanished_is_found_out(state: Path) -> None:
    with sqlite3.connect(state / "queue.db") as database:
        database.execute("DELETE FROM message WHERE topic = 'a/3'")
    database.close()
    result = edge(["ledger", "--state", state])
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "function/f does not balance: 1 missing"
    assert edge(["ledger", "--state", state, "--json"]).exit_code == 1
