"""Shadows in a running host: by topic and by SDK, offline, over a restart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.app import Permissions, Rule
from edge_runtime.endpoints import Outsider, Who
from edge_runtime.errors import DeniedError
from edge_runtime.host.shadows import TARGET, shadow_rules
from edge_runtime.pure.shadow import Accepted, Rejected
from tests.host.hosting import app, function, site

ROOT = "$aws/things/pi-7/shadow"
PUMP = b'{"state":{"desired":{"pump":"on"}}}'


def test_requests_are_fed_to_the_keeper() -> None:
    assert shadow_rules("pi-7") == (Rule(f"{ROOT}/+", (TARGET,)), Rule(f"{ROOT}/name/+/+", (TARGET,)))


async def test_a_request_on_a_topic_is_answered_and_kept(tmp_path: Path) -> None:
    listening = app(tmp_path, function(tmp_path), rules=(Rule(f"{ROOT}/update/delta", ("function/f",)),))
    one = replace(listening, thing="pi-7")
    async with site(one, tmp_path / "state") as it:
        await it.emit(f"{ROOT}/update", PUMP)
        await it.emit(f"{ROOT}/name/door/update", b'{"state":{"reported":{"open":true}}}')
        await it.emit(f"{ROOT}/update", b"no json")
        await it.settled(TARGET, 3)
        await it.settled("function/f", 1)  # whoever listens learns what is wanted of the device
    async with site(one, tmp_path / "state") as it:
        got = await it.host.services.shadow(Outsider, "get", "", b"")
        assert isinstance(got, Accepted)
        assert json.loads(got.payload)["state"] == {"desired": {"pump": "on"}, "delta": {"pump": "on"}}
        assert await it.host.services.shadow_names(Outsider, "", 25) == (("door",), "")
        gone = await it.host.services.shadow(Outsider, "delete", "door", b"")
        assert isinstance(gone, Accepted)
        missing = await it.host.services.shadow(Outsider, "get", "door", b"")
        assert isinstance(missing, Rejected)
        assert missing.code == 404


async def test_rights_to_a_shadow_are_those_to_its_topics(tmp_path: Path) -> None:
    narrow = function(tmp_path, allow=Permissions(publish=(f"{ROOT}/get",)))
    async with site(replace(app(tmp_path, narrow), thing="pi-7"), tmp_path / "state") as it:
        who = Who(narrow, "r-1", 0)
        assert isinstance(await it.host.services.shadow(who, "get", "", b""), Rejected)
        with pytest.raises(DeniedError, match="shadow/update"):
            await it.host.services.shadow(who, "update", "", PUMP)
        with pytest.raises(DeniedError):
            await it.host.services.shadow(who, "get", "door", b"")
        assert await it.host.services.shadow_names(who, "", 25) == ((), "")
        mute = Who(function(tmp_path, allow=Permissions(publish=())), "r-1", 0)
        with pytest.raises(DeniedError, match="shadow/get"):
            await it.host.services.shadow_names(mute, "", 25)
