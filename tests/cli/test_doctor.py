"""doctor finds what is wrong with a machine, says what to do, and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from edge_runtime.app import App, LinkSpec, QueueLimits
from edge_runtime.cli import _checks
from edge_runtime.cli._certificates import certificates
from edge_runtime.clock import FakeClock
from edge_runtime.standin import certs
from edge_runtime.store.store import Store
from tests.cli.fakehost import edge, running

Row = tuple[str, str]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "edge.yaml").write_text("thing: station\n")
    return tmp_path / "edge.yaml"


def findings(app: Path) -> dict[str, dict[str, str]]:
    result = edge(["doctor", app, "--json"])
    found = {row["what"]: row for row in json.loads(result.stdout)}
    assert result.exit_code == (1 if any(row["level"] == "fail" for row in found.values()) else 0)
    return found


def test_a_right_machine_and_app(app: Path, tmp_path: Path) -> None:
    found = findings(app)
    assert found["versions"]["level"] == "ok"
    assert found["state"] == {"what": "state", "level": "ok", "text": f"{tmp_path}/.edge will be made", "fix": ""}
    assert found["disk"]["level"] in {"ok", "warn"}
    assert found["host"] == {"what": "host", "level": "ok", "text": "not running", "fix": ""}
    assert found["clock"]["level"] in {"ok", "warn"}
    assert found["isolation"]["level"] in {"ok", "warn"}
    assert found["app"] == {"what": "app", "level": "ok", "text": f"{app} declares the thing station", "fix": ""}
    assert list(tmp_path.iterdir()) == [app]


def test_isolation_that_is_off_says_how_to_have_it(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_ISOLATION", "off")
    rows = [row for row in json.loads(edge(["doctor", app, "--json"]).stdout) if row["what"] == "isolation"]
    assert rows == [
        {"what": "isolation", "level": "ok", "text": "off: limits", "fix": ""},
        {
            "what": "isolation",
            "level": "warn",
            "text": "isolation is missing: EDGE_ISOLATION=off",
            "fix": "unset EDGE_ISOLATION",
        },
    ]
    monkeypatch.setenv("EDGE_ISOLATION", "much")
    assert findings(app)["isolation"] == {
        "what": "isolation",
        "level": "fail",
        "text": "EDGE_ISOLATION is 'much'",
        "fix": "default or off",
    }


def test_it_prints_a_line_and_what_to_do(app: Path) -> None:
    app.write_text("thing: a b\n")
    result = edge(["doctor", app])
    assert result.exit_code == 1
    [line] = [line for line in result.stdout.splitlines() if line.startswith("FAIL")]
    assert line.startswith("FAIL  app: edge.yaml:1: thing: 'a b' is no name of a thing")


def test_each_mistake_of_the_app_is_a_finding(app: Path) -> None:
    app.write_text("thing: a b\nfoo: 1\n")
    rows = json.loads(edge(["doctor", app, "--json"]).stdout)
    assert [row["text"][:12] for row in rows if row["what"] == "app"] == ["edge.yaml:1:", "edge.yaml:2:"]


def test_without_an_app_file(tmp_path: Path) -> None:
    found = findings(tmp_path / "edge.yaml")
    assert found["app"]["level"] == "fail"
    assert "edge init" in found["app"]["fix"]


def test_a_state_folder_that_is_open_to_others(app: Path, tmp_path: Path) -> None:
    (tmp_path / ".edge").mkdir()
    (tmp_path / ".edge").chmod(0o755)
    assert findings(app)["state"] == {
        "what": "state",
        "level": "warn",
        "text": f"{tmp_path}/.edge is open to other users (755)",
        "fix": f"chmod 700 {tmp_path}/.edge",
    }


def test_a_state_folder_that_is_a_file(app: Path, tmp_path: Path) -> None:
    (tmp_path / ".edge").write_text("")
    assert findings(app)["state"]["level"] == "fail"


def test_a_damaged_database(app: Path, tmp_path: Path) -> None:
    (tmp_path / ".edge").mkdir(mode=0o700)
    (tmp_path / ".edge" / "queue.db").write_bytes(b"no database at all, but long enough to look at" * 100)
    found = findings(app)["database"]
    assert (found["level"], found["text"]) == ("fail", f"{tmp_path}/.edge/queue.db is damaged")


async def test_a_sound_database_in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await Store.open(tmp_path / ".edge", {"uplink": QueueLimits()}, clock=FakeClock())
    await store.close()
    monkeypatch.chdir(tmp_path)
    [found] = _checks.database(Path(".edge"))
    assert found.level == "ok"
    assert found.text.startswith(f"{tmp_path}/.edge/queue.db is sound, ")


def test_a_host_that_runs(app: Path, tmp_path: Path) -> None:
    with running(tmp_path / ".edge", {"status": {"uptime_s": 61}}):
        assert findings(app)["host"]["text"] == "running for 1 min 1 s"


def test_a_socket_that_a_dead_host_left(app: Path, tmp_path: Path) -> None:
    (tmp_path / ".edge").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / ".edge" / "control.sock"))
    assert findings(app)["host"]["text"] == "not running"


def test_pins_that_are_simulated(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    app.write_text("thing: a\ndevices: {lamp: {driver: LED, pin: 4}}\n")
    assert findings(app)["pins"]["fix"] == "unset GPIOZERO_PIN_FACTORY"


def test_pins_that_are_not_there(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "none-such")
    app.write_text("thing: a\ndevices: {lamp: {driver: LED, pin: 4}, load: {driver: LoadAverage, every: 1s}}\n")
    found = findings(app)["pins"]
    assert found["level"] == "fail"
    assert found["text"].startswith("lamp: GPIOZERO_PIN_FACTORY names 'none-such'")


def test_an_app_without_pins_needs_none(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "none-such")
    app.write_text("thing: a\ndevices: {load: {driver: LoadAverage, every: 1s}}\n")
    assert "pins" not in findings(app)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_bus_that_belongs_to_a_group(tmp_path: Path) -> None:
    (tmp_path / "gpiochip0").write_text("")
    (tmp_path / "gpiochip0").chmod(0)
    [found] = _checks.buses(tmp_path)
    assert (found.level, found.fix) == ("warn", "sudo usermod -aG gpio $USER, then log in again")


def test_buses_that_are_there_or_not(tmp_path: Path) -> None:
    assert list(_checks.buses(tmp_path)) == []
    (tmp_path / "i2c-1").write_text("")
    assert [(f.what, f.level, f.text) for f in _checks.buses(tmp_path)] == [("i2c", "ok", f"{tmp_path}/i2c-1")]


# -- certificates ------------------------------------------------------------------------------------------------------


OPENSSL = shutil.which("openssl") or "openssl"
DAY = 86_400


def checked(days: int = 0, **files: Path) -> list[Row]:
    """Return what is found about files, so many days from now."""
    options = {key: str(path) for key, path in files.items()}
    app = App("a", Path("/"), link=LinkSpec("paho", options))
    return [(f"{found.what} {found.level}", found.text) for found in certificates(app, time.time() + days * DAY)]


def test_an_app_without_a_link_has_no_certificates() -> None:
    assert list(certificates(App("a", Path("/")), 0)) == []


def test_certificates_that_hold_and_fit(tmp_path: Path) -> None:
    made = certs.make(tmp_path).client
    rows = checked(certificate=made.cert, key=made.key, ca=made.ca)
    assert [kind for kind, _ in rows] == ["certificate ok", "ca ok", "key ok"]
    assert f"{made.cert} holds until " in rows[0][1]
    assert rows[2][1] == f"{made.key} fits the certificate"


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    made = certs.make(tmp_path)
    rows = dict(checked(certificate=made.client.cert, key=made.server.key))
    assert rows["key fail"] == f"{made.server.key} does not fit {made.client.cert}: KEY_VALUES_MISMATCH"


def test_a_key_that_others_may_read(tmp_path: Path) -> None:
    made = certs.make(tmp_path).client
    made.key.chmod(0o644)
    assert dict(checked(certificate=made.cert, key=made.key))["key warn"] == f"{made.key} is open to other users (644)"


def test_a_key_behind_a_password_does_not_ask_for_it(tmp_path: Path) -> None:
    made = certs.make(tmp_path).client
    locked = tmp_path / "locked.key"
    subprocess.run(
        [OPENSSL, "ec", "-in", str(made.key), "-aes256", "-passout", "pass:secret", "-out", str(locked)],
        check=True, capture_output=True,
    )  # fmt: skip
    rows = dict(checked(certificate=made.cert, key=locked))
    assert "it is locked by a password" in rows["key fail"]


def test_files_that_are_not_there_or_no_certificates(tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("junk")
    assert checked(ca=tmp_path / "none") == [("ca fail", f"{tmp_path}/none is not there")]
    assert checked(ca=tmp_path / "junk") == [("ca fail", f"{tmp_path}/junk is no certificate in PEM form")]


@pytest.mark.parametrize(
    ("days", "kind", "words"),
    [
        (-2, "ca fail", " holds from "),
        (certs.DAYS - 40, "ca ok", " holds until "),
        (certs.DAYS - 20, "ca warn", " expires on "),
        (certs.DAYS + 1, "ca fail", " has expired on "),
    ],
)
def test_a_certificate_holds_for_a_time(tmp_path: Path, days: int, kind: str, words: str) -> None:
    [(found, text)] = checked(days, ca=certs.make(tmp_path).client.ca)
    assert found == kind
    assert words in text
