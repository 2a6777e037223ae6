"""The commands of the control channel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError, LimitError, NotFoundError
from edge_runtime.standin.registry import Registry
from edge_runtime.standin.services.account import Account
from edge_runtime.standin.services.control import Reply, carry_out, commands
from tests.standin.harness import Bench
from tests.standin.services.test_files import PEM, POLICY
from tests.standin.services.test_templates import BODY


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    made = Account(Bench().broker, Registry())
    yield made
    await made.close()


async def run(account: Account, command: str, /, **arguments: object) -> Reply:
    noun, verb = command.split()
    return await carry_out(account, noun, verb, arguments)


def test_the_commands(account: Account) -> None:
    assert list(commands(account)) == [
        "cert list", "cert status", "claim create", "job cancel", "job create", "job delete", "job get", "job list",
        "message list", "message publish", "policy put", "shadow delete", "shadow get", "shadow list", "shadow update",
        "template put", "thing list", "thing put",
    ]  # fmt: skip


async def test_shadows(account: Account) -> None:
    updated = await run(account, "shadow update", thing="edge-1", state={"desired": {"a": 1}}, name="n", version=0)
    assert updated["shadow"] == {
        "state": {"desired": {"a": 1}},
        "metadata": {"desired": {"a": {"timestamp": 1_700_000_000}}},
        "version": 1,
        "timestamp": 1_700_000_000,
    }
    assert await run(account, "shadow list", thing="edge-1") == {"shadows": ["n"]}
    found = await run(account, "shadow get", thing="edge-1", name="n")
    assert found["shadow"]["state"] == {"desired": {"a": 1}, "delta": {"a": 1}}  # type: ignore[index] # an object
    assert (await run(account, "shadow delete", thing="edge-1", name="n"))["shadow"] == {
        "version": 1,
        "timestamp": 1_700_000_000,
    }
    with pytest.raises(NotFoundError, match="404"):
        await run(account, "shadow get", thing="edge-1")


async def test_jobs(account: Account) -> None:
    execution = {"status": "QUEUED", "statusDetails": {}, "versionNumber": 1}
    made = await run(account, "job create", targets=["edge-1"], document={}, id="j1", timeout_minutes=5)
    assert made == {"job": {"id": "j1", "status": "IN_PROGRESS", "executions": {"edge-1": execution}}}
    assert await run(account, "job get", id="j1") == made
    canceled = await run(account, "job cancel", id="j1", force=True)
    assert canceled["job"]["executions"] == {"edge-1": {**execution, "status": "CANCELED", "versionNumber": 2}}  # type: ignore[index] # an object
    assert await run(account, "job list") == {"jobs": {"j1": "CANCELED"}}
    assert await run(account, "job delete", id="j1") == {}
    assert await run(account, "job list") == {"jobs": {}}
    with pytest.raises(LimitError):
        await run(account, "job create", targets=["edge-1"], document={"a": "x" * 40_000})


async def test_the_registry(account: Account) -> None:
    thing = {"name": "edge-1", "attributes": {}, "groups": ["garden"], "type": ""}
    assert await run(account, "thing put", name="edge-1", groups=["garden"]) == {"thing": thing}
    assert await run(account, "thing put", name="edge-1") == {"thing": thing}  # what is not named stays
    assert await run(account, "thing list") == {"things": [thing]}
    certificate = account.registry.register(PEM)
    shown = {"id": certificate.id, "status": "REVOKED", "policies": [], "things": []}
    assert await run(account, "cert status", id=certificate.id, status="REVOKED") == {"certificate": shown}
    assert await run(account, "cert list") == {"certificates": [shown]}
    with pytest.raises(ConfigError, match="status must be one of ACTIVE, INACTIVE, REVOKED, not 'OFF'"):
        await run(account, "cert status", id=certificate.id, status="OFF")


async def test_a_claim(account: Account, tmp_path: Path) -> None:
    account.ca = tmp_path
    await run(account, "policy put", name="device", document=POLICY)
    await run(account, "template put", name="fleet", body=BODY)
    claim = (await run(account, "claim create", template="fleet"))["claim"]
    assert isinstance(claim, dict)
    assert set(claim) == {"certificateId", "certificatePem", "keyPair", "expiration"}
    assert claim["certificateId"] in account.registry.certificates


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("shadow got", {}, "there is no command 'shadow got'; did you mean 'shadow get'"),
        ("shadow _account", {}, "there is no command"),
        ("shadow get", {}, "'shadow get' needs thing"),
        ("shadow get", {"thing": "t", "nam": "n"}, "'shadow get' takes thing, name, not 'nam'"),
        ("shadow get", {"thing": 1}, "'shadow get': thing may not be '1'"),
        ("shadow update", {"thing": "t", "state": {}, "version": True}, "version may not be 'True'"),
        ("job create", {"targets": ["t", 1], "document": {}}, "targets may not be"),
        ("job cancel", {"id": "j", "force": 1}, "force may not be '1'"),
        ("thing list", {"x": 1}, "'thing list' takes no arguments, not 'x'"),
    ],
)
async def test_what_is_no_command(account: Account, name: str, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        await run(account, name, **arguments)
