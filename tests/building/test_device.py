"""What a device says of itself, and what is made of it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from edge_runtime.building.device import (
    SYSTEM,
    Device,
    advice,
    check_room,
    place_of_user,
    probe,
    probe_releases,
    read,
    read_releases,
)
from edge_runtime.errors import ConfigError, HostError, StoreError

ANSWER = """Welcome to my Pi=1
kernel=Linux
architecture=aarch64
system=Debian GNU/Linux 13 (trixie)
python=3.13.5
user=pi
home=/home/pi
groups=pi sudo gpio
owner_groups=
has_group=gpio
has_group=i2c
sudo=asks
dpkg=arm64
bits=64
systemd=yes
user_systemd=yes
time=1000000
home_kb=2048
system_kb=1024
user_edge=0.1.0
releases={"current": "1.0.0-abc", "here": {}}
end=1
"""


def test_an_answer_is_read() -> None:
    assert read("pi@device", ANSWER) == Device(
        architecture="aarch64",
        system="Debian GNU/Linux 13 (trixie)",
        python=(3, 13, 5),
        user="pi",
        home="/home/pi",
        sudo="asks",
        debian="arm64",
        has_systemd=True,
        has_user_systemd=True,
        missing_groups=["i2c"],
        owner_missing_groups=[],
        time_s=1_000_000,
        home_bytes=2 << 20,
        system_bytes=1 << 20,
        user_edge="0.1.0",
        releases={"current": "1.0.0-abc", "here": {}},
    )


def test_programs_of_32_bits_under_a_kernel_of_64() -> None:
    assert read("device", ANSWER.replace("bits=64", "bits=32")).architecture == "armv7l"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (("end=1\n", ""), HostError, "device does not answer as a shell does: "),
        (("kernel=Linux", "kernel=Darwin"), ConfigError, "device runs Darwin; devices run Linux"),
        (("=aarch64", "=riscv64"), ConfigError, "device is a riscv64, which the runtime is not built for"),
        (("python=3.13.5", "python="), ConfigError, "device has no python3"),
        (("python=3.13.5", "python=3.9.2"), ConfigError, r"device has Python 3\.9\.2, and 3\.11 is needed"),
        (("=3.13.5", "=3.13.5 without venv"), ConfigError, "Python on device has no module venv"),
        (('"here": {}}', ""), HostError, "is no JSON"),
    ],
)
def test_what_will_not_do_is_told(change: tuple[str, str], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        read("device", ANSWER.replace(*change))


def test_nothing_at_all_is_no_answer() -> None:
    with pytest.raises(HostError, match=r"device does not answer as a shell does$"):
        read("device", "")


def test_the_probe_runs_in_any_shell_and_tells_of_this_machine() -> None:
    done = subprocess.run(["sh", "-c", probe()], capture_output=True, text=True, check=True)  # noqa: S607 - as over ssh
    found = read("here", done.stdout)
    uname = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S607 - same
    assert found.architecture == uname
    assert found.python >= (3, 9)
    assert found.home_bytes > 0
    assert done.stderr == ""


def test_what_is_asked_for_as_root_is_read_too() -> None:
    script = probe_releases(SYSTEM).replace("/usr/bin/edge", "/bin/false")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)  # noqa: S607 - same
    assert read_releases("device", done.stdout) == ({}, "")
    facts = {"current": "2-x"}
    assert read_releases("device", f"releases={json.dumps(facts)}\nend=1\n") == (facts, "")
    assert read_releases("device", "refusal=error: no \nend=1\n") == ({}, "error: no")


def test_a_path_of_any_signs_reaches_the_command_whole(tmp_path: Path) -> None:
    place = place_of_user(f'{tmp_path}/it\'s "my" $HOME')
    edge = Path(place.edge)
    edge.parent.mkdir(parents=True)
    edge.write_text('#!/usr/bin/env python3\nimport json, sys\nprint(json.dumps({"told": sys.argv[1:]}, indent=1))\n')
    edge.chmod(0o755)
    done = subprocess.run(["sh", "-c", probe_releases(place)], capture_output=True, text=True, check=True)  # noqa: S607 - same
    told = ["releases", "--files", "--json", "--state", f"{place.base}/state", "--app", f"{place.base}/app"]
    assert read_releases("device", done.stdout) == ({"told": told}, "")
    everything = {**os.environ, "HOME": f'{tmp_path}/it\'s "my" $HOME'}
    done = subprocess.run(["sh", "-c", probe()], capture_output=True, text=True, check=True, env=everything)  # noqa: S607 - same
    assert read("device", done.stdout).releases == {"told": told}


def test_advice() -> None:
    found = read("device", ANSWER)
    assert advice(found, place_of_user("/home/pi"), 1_000_060) == [
        "pi is not in i2c, so those devices stay closed: sudo usermod -aG i2c pi, and start the runtime again"
    ]
    assert advice(found, SYSTEM, 1_003_600) == ["its clock is 60 min behind: sudo timedatectl set-ntp true"]
    assert advice(found, SYSTEM, 996_400) == ["its clock is 60 min ahead: sudo timedatectl set-ntp true"]


def test_room() -> None:
    check_room("device", "/home/pi", 10, 10)
    with pytest.raises(StoreError, match=r"device has no room: 100 MB are needed in /home/pi, and 1 MB are free"):
        check_room("device", "/home/pi", 1 << 20, 100 << 20)
