"""A connection, with a program in the place of ssh that does what each test says. The real one: tests/deploy/ssh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_runtime.building.ssh import Connection, Sudo
from edge_runtime.errors import ConfigError, DeniedError, EdgeError, HostError

Fake = Callable[[str], Path]
Dial = Callable[..., Connection]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put a script in the place of ssh; it gets the same arguments. What it is called with stands in `calls`."""

    def put(script: str) -> Path:
        program = tmp_path / "bin" / "ssh"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n{script}\n')
        program.chmod(0o755)
        return tmp_path / "calls"

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return put


@pytest.fixture
def dial() -> Iterator[Dial]:
    """Make connections that are closed in the end."""
    made: list[Connection] = []

    def make(host: str, config: Path | None = None) -> Connection:
        made.append(Connection(host, config))
        return made[-1]

    yield make
    for link in made:
        link.close()


def test_what_a_script_answers(fake: Fake, dial: Dial, tmp_path: Path) -> None:
    calls = fake("cat; echo problem >&2; exit 3")
    (tmp_path / "file").write_bytes(b"x" * 200_000)
    shares: list[float] = []
    link = dial("pi@device", tmp_path / "config")
    answer = link.run("echo 'a b'", source=tmp_path / "file", progress=shares.append)
    assert answer == (3, "x" * 200_000, "problem\n", 200_000)
    assert shares[-1] == 1.0
    words = calls.read_text().strip()
    assert words.startswith(f"-F {tmp_path / 'config'} ")
    assert words.endswith("-T -- pi@device sh -c 'echo '\"'\"'a b'\"'\"''")
    assert "BatchMode=yes" in words


def test_a_script_that_does_not_take_its_input(fake: Fake, dial: Dial, tmp_path: Path) -> None:
    fake("exec 0<&-; exit 75")
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    assert dial("device").run("x", source=tmp_path / "file").status == 75


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("ssh: Could not resolve hostname x: Name or service not known", HostError, "there is no host of that name"),
        ("ssh: connect to host x port 22: Connection refused", HostError, "no SSH server answers there"),
        ("ssh: connect to host x port 22: Connection timed out", HostError, "it does not answer"),
        ("pi@x: Permission denied (publickey,password).", HostError, "it refuses this user, key or password"),
        ("Host key verification failed.", HostError, "its host key is not known"),
        ("Connection to x closed by remote host.", HostError, "the connection to device broke"),
        ("something new", HostError, "device cannot be reached: something new"),
        ("", HostError, "ssh has not said why"),
    ],
)
def test_what_ssh_cannot_do_is_told(fake: Fake, dial: Dial, said: str, error: type[EdgeError], words: str) -> None:
    fake(f"echo '{said}' >&2; exit 255")
    with pytest.raises(error, match=words) as caught:
        dial("device").run("true")
    assert caught.value.hint
    assert "HOST" not in caught.value.hint


def test_a_connection_that_was_there_and_broke(fake: Fake, dial: Dial) -> None:
    link = dial("device")
    fake("exit 0")
    link.run("true")
    fake("echo 'Timeout, server device not responding.' >&2; exit 255")
    with pytest.raises(HostError, match=r"the connection to device broke: Timeout, server device not responding"):
        link.run("true")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("sudo: 1 incorrect password attempt", "does not take this password"),
        ("pi is not in the sudoers file.", "may not use sudo there"),
        ("sudo: a password is required", "asks for a password"),
    ],
)
def test_what_sudo_refuses_is_told(fake: Fake, dial: Dial, said: str, words: str) -> None:
    fake(f"echo '{said}' >&2; exit 1")
    with pytest.raises(DeniedError, match=words):
        dial("device").run("true", user="root")


def test_a_password_goes_over_the_input_alone(fake: Fake, dial: Dial, tmp_path: Path) -> None:
    calls = fake("cat")
    (tmp_path / "file").write_text("data")
    link = dial("device")
    link.sudo.password = "secret"  # noqa: S105 - of the test
    assert link.run("true", user="root", source=tmp_path / "file").out == "secret\ndata"
    assert link.run("true", source=tmp_path / "file").out == "data"
    assert "secret" not in calls.read_text()


def test_who_runs_a_script() -> None:
    assert Sudo().command("a", "") == "sh -c a"
    assert Sudo().command("a", "root") == "LC_ALL=C sudo -n sh -c a"
    assert Sudo(password="x").command("a", "root") == "LC_ALL=C sudo -k -S -p '' sh -c a"  # noqa: S106 - of the test
    assert Sudo(is_root=True).command("a b", "root") == "sh -c 'a b'"
    assert Sudo(is_root=True).command("a", "other") == "runuser -u other -- sh -c a"


@pytest.mark.parametrize("host", ["", "-oProxyCommand=reboot", "a b", "a\nb"])
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(ConfigError, match="is no host"):
        Connection(host)


def test_without_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="the ssh command is missing"):
        Connection("device")


def test_its_folder_goes_with_it(fake: Fake) -> None:
    fake("exit 0")
    before = set(Path("/tmp").glob("edge-ssh-*"))  # noqa: S108 - where it is
    link = Connection("device")
    made = set(Path("/tmp").glob("edge-ssh-*")) - before  # noqa: S108 - same
    assert len(made) == 1
    link.close()
    link.close()
    assert not made & set(Path("/tmp").glob("edge-ssh-*"))  # noqa: S108 - same
