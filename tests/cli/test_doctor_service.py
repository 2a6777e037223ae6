"""doctor on a device where a service runs the host: it looks at what that service has, and not at its own shell."""

from __future__ import annotations

import grp
import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from edge_runtime import plugin
from edge_runtime.cli import _checks_machine as machine
from edge_runtime.cli._accounts import Unit, is_shared, owner_of, unit_of
from edge_runtime.cli._finding import Finding
from tests.cli.fakehost import edge, running

PACKAGED = Unit("edge-runtime.service", "edge-runtime", delegates=True)
ALL = ("limits", "files", "users", "landlock", "signals", "system calls", "memory")


def status(**missing: str) -> dict[str, Any]:
    """Return what a host says that lacks some layers."""
    layers = [
        {"name": name, "active": name not in missing, "note": missing.get(name, "given"), "fix": f"mend {name}"}
        for name in ALL
    ]
    return {"isolation": {"level": "partly", "layers": layers}}


def found(told: dict[str, Any] | None, unit: Unit | None) -> list[Finding]:
    return list(machine.isolation({}, told, unit))


def test_the_host_itself_says_what_keeps_functions_apart() -> None:
    assert found(status(landlock="no such system call"), None) == [
        Finding("isolation", "ok", "partly: limits, files, users, signals, system calls, memory"),
        Finding("isolation", "warn", "landlock is missing: no such system call", "mend landlock"),
    ]


def test_a_service_without_rights_has_one_user_and_that_is_no_fault() -> None:
    [_, one] = found(status(users="the host is not root"), PACKAGED)
    assert one == Finding("isolation", "ok", "edge-runtime.service runs the host as edge-runtime, and so each function")
    [_, other] = found(status(users="no rights"), Unit("edge.service", "root"))
    assert (other.level, other.fix) == ("warn", "mend users")


def test_the_control_group_is_that_of_the_service() -> None:
    [_, one] = found(status(memory="not handed over"), PACKAGED)
    assert (one.level, one.text) == ("warn", "memory is missing: not handed over")
    assert "cgroup_enable=memory" in one.fix
    assert "root" not in one.fix
    [_, plain] = found(status(memory="not handed over"), Unit("edge.service", "pi"))
    assert plain.fix == "mend memory"


def test_without_a_host_that_answers_its_control_group_is_not_judged() -> None:
    rows = found(None, PACKAGED)
    assert [row.level for row in rows if "memory" in row.text] in (["skip"], ["ok"])  # root may bound memory anywhere
    assert not [row for row in rows if row.level == "warn" and row.text.startswith(("memory", "users"))]


def test_a_host_that_runs_is_asked_by_the_verb(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text("thing: station\n")
    with running(tmp_path / ".edge", {"status": {"uptime_s": 1, **status(signals="an old kernel")}}):
        rows = json.loads(edge(["doctor", tmp_path, "--json"]).stdout)
    assert [row["text"] for row in rows if row["what"] == "isolation"] == [
        "partly: limits, files, users, landlock, system calls, memory",
        "signals is missing: an old kernel",
    ]


def test_the_service_of_a_state_folder(tmp_path: Path) -> None:
    me = owner_of(tmp_path)
    assert me == pwd.getpwuid(os.getuid()).pw_name
    units, state = tmp_path / "units", tmp_path / "state"
    units.mkdir()
    state.mkdir()
    unit = units / "edge-runtime.service"
    unit.write_text(f"[Service]\nUser={me}\nExecStart=/opt/edge/bin/edge run\nDelegate=memory\n")
    assert unit_of(state, (units,)) == Unit("edge-runtime.service", me, delegates=True)
    unit.write_text("[Service]\nUser=nobody-here\nExecStart=/opt/edge/bin/edge run\n")
    assert unit_of(state, (units,)) is None  # it has a state folder of its own
    assert unit_of(tmp_path / "none", (units,)) is None


def test_a_service_of_my_own(tmp_path: Path) -> None:
    units = tmp_path / ".config" / "systemd" / "user"
    units.mkdir(parents=True)
    (units / "edge-runtime.service").write_text("[Service]\nExecStart=/home/x/venv/bin/edge run\n")
    assert unit_of(tmp_path, (), tmp_path) == Unit("edge-runtime.service", owner_of(tmp_path))


def test_a_folder_of_units_that_may_not_be_read_has_none(tmp_path: Path) -> None:
    """`sudo edge` becomes the user of the service, and HOME may still be that of root."""
    (tmp_path / "file").write_text("")
    assert unit_of(tmp_path, (tmp_path / "file",), tmp_path / "file") is None


def test_the_unit_of_the_package_is_known_for_what_it_is(tmp_path: Path) -> None:
    files = next(place for place in plugin.folders("deploy")) / "deb" / "files"
    text = (files / "edge-runtime.service").read_text().replace("User=edge-runtime", f"User={owner_of(tmp_path)}")
    (tmp_path / "edge-runtime.service").write_text(text)
    unit = unit_of(tmp_path, (tmp_path,))
    assert unit is not None
    assert unit.delegates


# -- the state folder --------------------------------------------------------------------------------------------------


def test_a_folder_that_others_may_read_is_shared(tmp_path: Path) -> None:
    for mode, shared in ((0o700, False), (0o701, True), (0o704, True), (0o755, True)):
        tmp_path.chmod(mode)
        assert is_shared(tmp_path) is shared, oct(mode)
    tmp_path.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to any group")
def test_a_group_of_its_owner_alone_is_nobody_else(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    primary = {user.pw_gid for user in pwd.getpwall()}
    empty = next(one for one in grp.getgrall() if not one.gr_mem and one.gr_gid not in primary)
    other = next(user for user in pwd.getpwall() if user.pw_uid != 0 and user.pw_gid != 0)
    os.chown(tmp_path, 0, empty.gr_gid)
    assert not is_shared(tmp_path)
    [state, _] = machine.folder(tmp_path)
    assert (state.level, state.text) == ("ok", f"{tmp_path} can be written")
    os.chown(tmp_path, 0, other.pw_gid)
    assert is_shared(tmp_path)
    [state, _] = machine.folder(tmp_path)
    assert (state.level, state.fix) == ("warn", f"chmod 700 {tmp_path}")
    os.chown(tmp_path, 0, 0)


# -- before the first release ------------------------------------------------------------------------------------------


def test_a_folder_that_waits_for_its_first_release_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    result = edge(["doctor", tmp_path / "app", "--json"])
    rows = {row["what"]: row for row in json.loads(result.stdout)}
    assert rows["app"] == {
        "what": "app",
        "level": "skip",
        "text": f"there is no app to check: {tmp_path}/app waits for its first release",
        "fix": "edge deploy USER@HOST from where it is made, or here: edge install FILE",
    }
    assert rows["state"]["text"] == f"{tmp_path}/.edge will be made"
    assert not [row for row in rows.values() if row["level"] == "fail"]


def test_the_release_that_runs_is_checked_with_the_state_folder_of_its_host(tmp_path: Path) -> None:
    release = tmp_path / "app" / "releases" / "1.0.0-12345678"
    release.mkdir(parents=True)
    (release / "edge.yaml").write_text("thing: station\n")
    (tmp_path / "app" / "current").symlink_to("releases/1.0.0-12345678")
    rows = {row["what"]: row for row in json.loads(edge(["doctor", tmp_path / "app", "--json"]).stdout)}
    assert rows["app"]["text"] == f"{tmp_path}/app/current/edge.yaml declares the thing station"
    assert rows["state"]["text"] == f"{tmp_path}/.edge will be made"
