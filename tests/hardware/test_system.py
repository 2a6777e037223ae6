"""The machine: a tree of files like those of /proc and /sys, and this machine's own."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Device
from edge_runtime.devices.drivers import find
from edge_runtime.errors import ConfigError, DeviceError

System = find(Device("machine", "system"))
OK = dict.fromkeys(("under_voltage", "frequency_capped", "throttled", "soft_temperature_limit"), False)
NEVER = OK | {f"{name}_since_boot": False for name in OK}


class _Machine:
    """A machine made of files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/loadavg", "0.42 0.33 0.28 2/188 4711\n")
        self.write("proc/meminfo", "MemTotal:  948280 kB\nMemFree:  100 kB\nMemAvailable:  512000 kB\n")
        self.write("proc/uptime", "3600.25 7000.11\n")
        self.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        self.write("sys/class/thermal/thermal_zone0/temp", "48312\n")
        for name, sent, received in (("eth0", 10, 20), ("wlan0", 30, 40), ("lo", 50, 60)):
            self.write(f"sys/class/net/{name}/statistics/tx_bytes", f"{sent}\n")
            self.write(f"sys/class/net/{name}/statistics/rx_bytes", f"{received}\n")
            if name != "lo":
                (root / f"sys/class/net/{name}/device").mkdir()

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def vcgencmd(self, script: str) -> None:
        self.write("usr/bin/vcgencmd", f"#!/bin/sh\n{script}\n").chmod(0o755)

    def value(self, **options: object) -> dict[str, Any]:
        value: dict[str, Any] = System(root=str(self.root), **options).value
        return value


@pytest.fixture(name="machine")
def a_machine(tmp_path: Path) -> _Machine:
    return _Machine(tmp_path)


def test_all_parts(machine: _Machine) -> None:
    value = machine.value()
    disk = shutil.disk_usage(machine.root)
    assert abs(value.pop("disk_free") - disk.free) < 100_000_000  # others write, too
    assert value == {
        "cpu_temperature": 48.312,
        "load": 0.42,
        "memory_available": 524_288_000,
        "eth0_sent": 10,
        "eth0_received": 20,
        "wlan0_sent": 30,
        "wlan0_received": 40,
        "uptime": 3600.25,
    }


@pytest.mark.parametrize(
    ("only", "names"),
    [
        (["load"], ["load"]),
        (["uptime", "cpu_temperature"], ["cpu_temperature", "uptime"]),
        (["network"], ["eth0_sent", "eth0_received", "wlan0_sent", "wlan0_received"]),
    ],
)
def test_only_some(machine: _Machine, only: list[str], names: list[str]) -> None:
    assert list(machine.value(only=only)) == names


def test_network_interfaces_by_name(machine: _Machine) -> None:
    assert machine.value(only=["network"], interfaces=["lo", "wwan0"]) == {"lo_sent": 50, "lo_received": 60}


@pytest.mark.parametrize(
    ("bits", "true"),
    [
        ("0", set()),
        ("50005", {"under_voltage", "under_voltage_since_boot", "throttled", "throttled_since_boot"}),
        ("0x80008", {"soft_temperature_limit", "soft_temperature_limit_since_boot"}),
        ("20002", {"frequency_capped", "frequency_capped_since_boot"}),
    ],
)
def test_what_the_firmware_says(machine: _Machine, bits: str, true: set[str]) -> None:
    expected = {name: name in true for name in NEVER}
    file = machine.write("sys/devices/platform/soc/soc:firmware/get_throttled", f"{bits}\n")
    assert machine.value(only=["throttled"]) == expected
    file.unlink()
    file = machine.write("sys/bus/platform/drivers/raspberrypi-firmware/soc@1:firmware/get_throttled", f"{bits}\n")
    assert machine.value(only=["throttled"]) == expected
    file.unlink()
    machine.vcgencmd(f'[ "$1" = get_throttled ] && echo throttled=0x{bits.removeprefix("0x")}')
    assert machine.value(only=["throttled"]) == expected


def test_a_command_that_is_refused(machine: _Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.vcgencmd("echo VCHI initialization failed >&2; exit 255")
    with pytest.raises(DeviceError, match=r"VCHI initialization failed'; the user must be in the group video"):
        machine.value(only=["throttled"])
    system = System(root=str(machine.root))
    assert (system.value["load"], system.value["uptime"]) == (0.42, 3600.25)
    assert "throttled" not in system.value
    assert len(caplog.records) == 1
    assert "throttled cannot be read and is left out" in caplog.text


def test_the_zone_of_the_processor_is_found(machine: _Machine) -> None:
    machine.write("sys/class/thermal/thermal_zone0/type", "gpu-thermal")
    machine.write("sys/class/thermal/thermal_zone1/type", "cpu-thermal")
    machine.write("sys/class/thermal/thermal_zone1/temp", "51000")
    assert machine.value(only=["cpu_temperature"]) == {"cpu_temperature": 51.0}


def test_what_a_machine_does_not_know(machine: _Machine) -> None:
    shutil.rmtree(machine.root / "sys")
    assert set(machine.value()) == {"load", "memory_available", "disk_free", "uptime"}
    with pytest.raises(DeviceError, match=r"^this machine does not know its cpu_temperature, throttled$"):
        machine.value(only=["throttled", "cpu_temperature"])


def test_what_was_asked_for_is_never_left_out_in_silence(machine: _Machine) -> None:
    (machine.root / "proc/loadavg").unlink()
    for options, missing in (
        ({"only": ["uptime", "load"]}, "load"),
        ({"only": ["uptime", "throttled"]}, "throttled"),
        ({"interfaces": ["wwan0"]}, "network"),
    ):
        with pytest.raises(DeviceError, match=f"^this machine does not know its {missing}$"):
            machine.value(**options)


def test_what_makes_no_sense_is_a_fault_when_it_was_asked_for(machine: _Machine) -> None:
    machine.write("proc/loadavg", "many")
    with pytest.raises(DeviceError, match="the machine's load cannot be read: could not convert string to float"):
        machine.value(only=["load"])
    assert "load" not in machine.value()
    with pytest.raises(DeviceError, match=r"disk_free cannot be read: there is no folder .*/data"):
        machine.value(disk="/data")


def test_this_machine() -> None:
    system = System(interfaces=["lo"])
    value = system.value
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert value["uptime"] > 0
    assert 0 < value["memory_available"] <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert value["lo_received"] == value["lo_sent"]
    assert system.value["uptime"] >= value["uptime"]
    system.close()


def test_simulated() -> None:
    value = System.simulated(only=["throttled", "network", "load"], interfaces=["wwan0"]).value
    assert value == NEVER | {"wwan0_sent": 0, "wwan0_received": 0, "load": 0.1}
    assert "eth0_sent" in System.simulated().value


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"only": ["lod"]}, "only: there is no 'lod'; did you mean 'load'?"),
        ({"only": "load"}, "only 'load' is no list of names"),
        ({"only": []}, r"only \[\] is no list of names"),
        ({"interfaces": [5]}, r"interfaces \[5\] is no list of names"),
        ({"interfaces": ["../x"]}, "interfaces: '../x' is no name of one"),
        ({"disk": "var"}, "disk 'var' is no absolute folder"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], words: str) -> None:
    for call in (System.wires, System.simulated, System):
        with pytest.raises(ConfigError, match=words):
            call(**options)
