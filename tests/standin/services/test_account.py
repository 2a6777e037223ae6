"""An account: its services together, and where they are kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.standin.registry import Registry, Thing
from edge_runtime.standin.services.account import Account
from edge_runtime.standin.services.executions import State
from tests.standin.harness import Bench
from tests.standin.services.talk import device


def account(path: Path | None = None) -> tuple[Bench, Account]:
    bench = Bench()
    made = Account(bench.broker, Registry())
    if path is not None:
        made.keep_in(path)
    return bench, made


async def test_each_topic_has_its_service() -> None:
    bench, made = account()
    edge = device(bench, "$aws/things/edge-1/shadow/get/+")
    assert edge.ask("$aws/things/edge-1/shadow/get")[0][0] == "$aws/things/edge-1/shadow/get/rejected"
    assert edge.ask("$aws/things/edge-1/jobs/get")[0][0] == "$aws/things/edge-1/jobs/get/accepted"
    assert edge.ask("$aws/provisioning-templates/t/provision/json")[0][1]["errorCode"] == (
        "InvalidCertificateOwnershipToken"
    )
    assert edge.ask("$aws/things/edge-1/other") == []
    await made.close()


async def test_changes_are_in_the_file_a_moment_later(tmp_path: Path) -> None:
    path = tmp_path / "account.json"
    bench, made = account(path)
    made.registry.put_thing(Thing("edge-1"))
    made.shadows.update("edge-1", "", {"desired": {"a": 1}})
    made.jobs.create(["edge-1"], {}, "j1")
    assert not path.exists()
    await bench.clock.advance(0.2)
    kept = json.loads(path.read_text())
    assert (list(kept["things"]), list(kept["shadows"]), list(kept["jobs"])) == (["edge-1"], ["edge-1"], ["j1"])
    made.jobs.cancel("j1")
    await made.close()
    _, again = account(path)
    assert again.jobs.status_of("j1") == "CANCELED"
    assert again.shadows.get("edge-1")["version"] == 1
    await again.close()


def test_what_is_filled_before_it_runs_is_kept_too(tmp_path: Path) -> None:
    path = tmp_path / "account.json"
    _, made = account(path)
    made.registry.put_thing(Thing("edge-1"))
    asyncio.run(made.close())
    assert list(json.loads(path.read_text())["things"]) == ["edge-1"]


async def test_a_timer_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "account.json"
    bench, made = account(path)
    made.jobs.create(["edge-1"], {}, "j1", timeout_minutes=1)
    device(bench).ask("$aws/things/edge-1/jobs/start-next")
    await made.close()
    await bench.broker.close()
    bench, again = account(path)
    await bench.clock.advance(61)
    assert [one.state for one in again.jobs.executions_of("j1")] == [State.TIMED_OUT]
    await again.close()
    await bench.broker.close()


async def test_a_file_that_cannot_be_written_is_told_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "folder" / "account.json"
    bench, made = account(path)
    made.registry.put_thing(Thing("edge-1"))
    await bench.clock.advance(0.2)
    assert "cannot be written: No such file or directory" in caplog.text
    path.parent.mkdir()
    made.registry.put_thing(Thing("edge-2"))
    await made.close()
    assert list(json.loads(path.read_text())["things"]) == ["edge-1", "edge-2"]
    await bench.broker.close()


def test_a_file_with_a_fault_is_named(tmp_path: Path) -> None:
    path = tmp_path / "account.json"
    path.write_text('{"thing": {}}')
    with pytest.raises(ConfigError, match=r"account\.json: there is no section 'thing'"):
        account(path)


def test_a_ca_of_its_own_goes_with_it() -> None:
    _, made = account()
    authority = made._authority()
    folder = Path(made._temporary)
    assert (folder / "ca.key").is_file()
    assert authority.issue()[0].startswith("-----BEGIN CERTIFICATE-----")
    asyncio.run(made.close())
    assert not folder.exists()
