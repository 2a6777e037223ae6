"""doctor finds what is wrong with a machine, says what to do, and changes nothing."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.app import App, LinkSpec, QueueLimits
from edge_runtime.cli import _checks_machine as machine
from edge_runtime.cli._accounts import READ, READ_WRITE, Account, service
from edge_runtime.cli._certificates import certificates, token
from edge_runtime.cli._checks_clock import clock, mend
from edge_runtime.cli._checks_devices import buses
from edge_runtime.cli._finding import Finding, summary
from edge_runtime.cli._together import Together
from edge_runtime.clock import FakeClock
from edge_runtime.host.timekeeper import NO_FLOOR, Floor
from edge_runtime.standin import certs
from edge_runtime.standin.registry import id_of_pem
from edge_runtime.store.store import Store
from tests.cli.fakehost import edge, running
from tests.identities import Authority, put
from tests.tokens import softhsm

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
    [found] = machine.database(Path(".edge"))
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
    [found] = buses(tmp_path)
    group = grp.getgrgid((tmp_path / "gpiochip0").stat().st_gid).gr_name
    assert (found.level, found.fix) == ("warn", f"sudo usermod -aG {group} $USER, then log in again")


def test_buses_that_are_there_or_not(tmp_path: Path) -> None:
    assert list(buses(tmp_path)) == []
    for name in ("i2c-1", "ttyAMA0", "ttyS0", *(f"video{n}" for n in range(6))):
        (tmp_path / name).write_text("")
    assert [(f.what, f.level, f.text) for f in buses(tmp_path)] == [
        ("i2c", "ok", f"{tmp_path}/i2c-1"),
        ("dialout", "ok", f"{tmp_path}/ttyAMA0"),
        ("video", "ok", ", ".join(f"{tmp_path}/video{n}" for n in range(4)) + " and 2 more"),
    ]


def test_a_bus_that_the_service_may_not_open(tmp_path: Path) -> None:
    chip = tmp_path / "gpiochip0"
    chip.write_text("")
    chip.chmod(0o660)
    found = list(buses(tmp_path, Account("edge", 65_533, frozenset({65_533}), unit="edge.service")))
    assert [(f.what, f.level) for f in found] == [("gpio", "warn")]
    assert found[0].text == f"{chip} cannot be opened by edge, as whom the host runs"
    assert found[0].fix.endswith(" edge, then sudo systemctl restart edge.service")


def test_what_an_account_may_open(tmp_path: Path) -> None:
    path = Path("/dev/null")
    assert Account("edge", 65_533, frozenset()).may(path, READ_WRITE)
    assert not Account("edge", 65_533, frozenset()).may(tmp_path / "none", READ)
    secret = tmp_path / "key"
    secret.write_text("")
    secret.chmod(0o640)
    owner = secret.stat()
    assert Account("root", 0, frozenset()).may(secret, READ_WRITE)
    assert not Account("edge", 65_533, frozenset()).may(secret, READ)
    assert not Account("edge", 65_533, frozenset({owner.st_gid})).may(secret, READ_WRITE)


def test_the_user_of_the_service(tmp_path: Path) -> None:
    other = next(user for user in pwd.getpwall() if user.pw_uid not in (0, os.getuid()))
    units = tmp_path / "units"
    units.mkdir()
    assert service(tmp_path, (units, tmp_path / "none")) is None
    (units / "a.service").write_text("[Service]\nExecStart=/usr/bin/sledge run\nUser=nobody-here\n")
    (units / "broken.service").symlink_to(tmp_path / "nowhere")
    assert service(tmp_path, (units,)) is None
    group = next(one for one in grp.getgrall() if one.gr_name != other.pw_name)
    (units / "edge.service").write_text(
        f"[Service]\nExecStart=/opt/edge/bin/edge run /etc/edge\nUser={other.pw_name}\n"
        f"SupplementaryGroups={group.gr_name} no-such-group\n"
    )
    found = service(tmp_path, (units,))
    assert found is not None
    assert (found.name, found.uid, found.unit) == (other.pw_name, other.pw_uid, "edge.service")
    assert group.gr_gid in found.groups
    (units / "edge.service").write_text("[Service]\nExecStart=/opt/edge/bin/edge run\nUser=no-such-user\n")
    assert service(tmp_path, (units,)) is None


# -- the clock ---------------------------------------------------------------------------------------------------------


def told(state: Path, machine: FakeClock, floor: Floor = NO_FLOOR) -> Finding:
    [found] = clock(state, machine, floor)
    return found


def test_a_clock_that_is_right_or_not(tmp_path: Path) -> None:
    machine = FakeClock()
    assert told(tmp_path, machine) == Finding("clock", "ok", "synchronized")
    machine.right = False
    found = told(tmp_path, machine)
    assert (found.level, found.text[:17], bool(found.fix)) == ("warn", "not synchronized:", True)


def test_a_clock_behind_what_has_been(tmp_path: Path) -> None:
    machine = FakeClock(wall_s=1000)
    machine.right = False
    found = told(tmp_path, machine, Floor(sure_ns=1_700_000_000 * 10**9))
    assert found.level == "fail"
    assert found.text.startswith("the clock says 1970-01-01, which is wrong: it was 2023-11-14 before")
    assert list(tmp_path.iterdir()) == []


def test_the_command_that_sets_the_clock(tmp_path: Path) -> None:
    def has(*names: str) -> Callable[[str], str | None]:
        return lambda name: name if name in names else None

    (tmp_path / "rtc0").write_text("")
    assert mend(has("chronyc", "timedatectl"), tmp_path / "rtc0") == "chronyc tracking; sudo chronyc makestep"
    assert mend(has("timedatectl"), tmp_path / "none") == "sudo timedatectl set-ntp true"
    assert mend(has("timedatectl"), tmp_path / "rtc0").endswith("sudo hwclock --systohc")
    assert mend(has(), tmp_path / "rtc0") == "sudo apt install systemd-timesyncd; or from the hardware: sudo hwclock -s"


# -- side by side ------------------------------------------------------------------------------------------------------


def test_a_check_that_fails_or_hangs_hurts_no_other() -> None:
    never = threading.Event()

    def hang() -> list[Finding]:
        never.wait(60)
        return []

    def fail() -> list[Finding]:
        raise RuntimeError("strange")

    try:
        together = Together([("a", hang, 0.05), ("b", fail, 20), ("c", lambda: [Finding("c", "ok", "well")], 20)])
        assert list(together.findings()) == [
            Finding("a", "skip", "it was given up after 0.05 s"),
            Finding("b", "skip", "the check itself failed: RuntimeError('strange')", "please report this"),
            Finding("c", "ok", "well"),
        ]
    finally:
        never.set()


def test_the_summary_begins_with_the_worst() -> None:
    found = [Finding("a", "ok", ""), Finding("b", "warn", ""), Finding("c", "fail", ""), Finding("d", "fail", "")]
    assert summary(found) == "2 fail, 1 warn, 1 ok"
    assert summary([Finding("a", "skip", "")]) == "1 not checked"


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
    assert rows[0][1].startswith(f"{made.cert} ({id_of_pem(made.cert.read_text())}) holds until ")
    assert rows[2][1] == f"{made.key} (600) fits the certificate"


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    made = certs.make(tmp_path)
    rows = dict(checked(certificate=made.client.cert, key=made.server.key))
    text = f"the key {made.server.key} is not that of the certificate {made.client.cert}: KEY_VALUES_MISMATCH"
    assert rows["key fail"] == text


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
        (-2, "ca fail", ", and this machine believes it is "),
        (certs.DAYS - 40, "ca ok", " holds until "),
        (certs.DAYS - 20, "ca warn", " expires on "),
        (certs.DAYS + 1, "ca fail", " has expired on "),
    ],
)
def test_a_certificate_holds_for_a_time(tmp_path: Path, days: int, kind: str, words: str) -> None:
    [(found, text)] = checked(days, ca=certs.make(tmp_path).client.ca)
    assert found == kind
    assert words in text


def test_of_several_cas_one_that_holds_is_enough(tmp_path: Path) -> None:
    made = certs.make(tmp_path / "tls")
    authority = Authority(made, tmp_path / "ca")
    old = authority.issue("old", begin="20200101000000Z", end="20210101000000Z").certificate
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(old + made.client.ca.read_bytes())
    assert [kind for kind, _ in checked(ca=bundle)] == ["ca ok"]
    bundle.write_bytes(old)
    assert checked(ca=bundle) == [("ca fail", f"{bundle} has expired on 2021-01-01")]


def test_a_certificate_that_ends_names_itself_and_what_renews_it(tmp_path: Path) -> None:
    authority = Authority(certs.make(tmp_path / "tls"), tmp_path / "ca")
    pair = authority.issue("station", begin="20200101000000Z", end="20210101000000Z")
    certificate, key = put(tmp_path / "device", pair)
    app = App("a", Path("/"), link=LinkSpec("paho", {"certificate": str(certificate), "key": str(key)}))
    found, of_key = certificates(app, time.time())
    assert found.text == f"{certificate} ({id_of_pem(pair.certificate.decode())}) has expired on 2021-01-01"
    assert found.fix == "edge provision --rotate, or --force with a new claim"
    assert of_key.level == "ok"


def test_files_that_the_service_cannot_read(tmp_path: Path) -> None:
    made = certs.make(tmp_path).client
    app = App("a", Path("/"), link=LinkSpec("paho", {"certificate": str(made.cert), "key": str(made.key)}))
    found = list(certificates(app, time.time(), Account("edge", 65_533, frozenset())))
    assert [(f.what, f.level) for f in found] == [
        ("certificate", "ok"),
        ("key", "ok"),
        ("certificate", "fail"),
        ("key", "fail"),
    ]
    assert found[-1].text == f"{made.key} cannot be read by edge, as whom the host runs"


# -- a token -----------------------------------------------------------------------------------------------------------


def test_a_key_in_a_token(tmp_path: Path) -> None:
    pytest.importorskip("awscrt")
    hsm = softhsm()
    authority = Authority(certs.make(tmp_path / "tls"), tmp_path / "ca")
    pair = authority.issue("station")
    hsm.keep("doctor", pair.key)
    certificate, _ = put(tmp_path / "device", pair)
    options = {"certificate": str(certificate), "pkcs11": hsm.settings("doctor")}
    assert list(token(options, in_use=False)) == [
        Finding("token", "ok", "the key doctor in the token edge-tests can be used")
    ]
    [found] = token(options, in_use=True)
    assert (found.level, found.text) == ("skip", "the host has the token edge-tests in use")
    [found] = token({**options, "pkcs11": hsm.settings("none-such")}, in_use=False)
    assert (found.level, f"--module {hsm.module} --list-slots" in found.fix) == ("fail", True)


def test_a_token_whose_settings_are_wrong(tmp_path: Path) -> None:
    (tmp_path / "pin").write_text("1234")
    (tmp_path / "pin").chmod(0o644)
    module = {"module": "softhsm2.so", "token": "t"}
    [found] = token({"pkcs11": {**module, "pin_file": str(tmp_path / "pin")}}, in_use=True)
    assert (found.level, found.fix) == ("fail", f"chmod 600 {tmp_path}/pin")
    [found] = token({"pkcs11": {**module, "module": "/none/x.so"}}, in_use=True)
    assert found.text == "link: pkcs11 module '/none/x.so' does not exist"
    assert list(token({}, in_use=False)) == []
