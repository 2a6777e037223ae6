"""How the machine itself does: heat, throttling, load, memory, disk, network, time since its start.

    machine:
      driver: system
      disk: /var/lib
      interfaces: [wlan0]
      every: 5m
      parts:
        cpu_temperature: {round: 1, deadband: 2}
      thresholds:
        hot: {above: 75, hysteresis: 5, part: cpu_temperature}
        disk_full: {below: 500000000, hysteresis: 100000000, part: disk_free}

A reading has these parts, as far as the machine knows them:
- `cpu_temperature` in degrees Celsius.
- `under_voltage`, `frequency_capped`, `throttled`, `soft_temperature_limit`: true while it is so; and each of them with
  `_since_boot`: true if it was ever so. On a Raspberry Pi only. Under-voltage is a weak power supply or cable.
- `load`: how many processes ran or waited to run, the mean of a minute.
- `memory_available` and `disk_free` in bytes; `disk_free` is what is left for users without privileges.
- `wlan0_sent`, `wlan0_received`: bytes since the start of the machine, for each network interface. They begin at 0
  again when an interface is plugged in anew.
- `uptime`: seconds since the start.

Arguments:
- `only`: the parts that are wanted: [cpu_temperature, throttled, load, memory_available, disk_free, network, uptime].
  `throttled` stands for its eight parts, `network` for two of each interface. All, if it is left out.
- `disk`: a folder on the disk that is meant; `/`, if it is left out.
- `interfaces`: those that count; if it is left out, those that are hardware: no lo, no bridges, no tunnels.
- `root`: the folder that holds `proc`, `sys` and `usr`, for a machine that is simulated.

A part that the machine does not know or that cannot be read is left out, the latter logged once. It is a fault when it
was asked for: by `only`, `disk`, `interfaces`, `parts` or `thresholds`.

It needs no wiring and no library. Facts: proc(5), the kernel's Documentation/ABI/testing/sysfs-class-thermal and
sysfs-class-net-statistics, and the documentation of `vcgencmd get_throttled`.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from edge_runtime.devices.driver import SimulatedDevice
from edge_runtime.errors import ConfigError, DeviceError
from edge_runtime.plugin import nearest

_log = logging.getLogger(__name__)
_BITS = {"under_voltage": 0, "frequency_capped": 1, "throttled": 2, "soft_temperature_limit": 3}
_SINCE_BOOT = 16
"""How much further up the same bit stands for ever since the start."""
_THROTTLED_FILES = (
    "sys/devices/platform/soc/soc:firmware/get_throttled",
    "sys/bus/platform/drivers/raspberrypi-firmware/*/get_throttled",
)
"""The file of Raspberry Pi's kernels, by its place on most boards and by that of its driver on any."""
_CPU_ZONES = ("cpu", "x86_pkg_temp", "soc", "k10temp", "acpitz")
"""How the type of a thermal zone begins that is the processor's, the best first."""
_VCGENCMD_S = 5.0


class System:
    """The machine."""

    unit: ClassVar = {
        "cpu_temperature": "C",
        "memory_available": "B",
        "disk_free": "B",
        "uptime": "s",
    }

    def __init__(
        self,
        *,
        only: list[str] | None = None,
        disk: str = "/",
        interfaces: list[str] | None = None,
        root: str = "/",
    ) -> None:
        self.wires(only=only, disk=disk, interfaces=interfaces, root=root)
        self._root = Path(root)
        self._disk = self._root / disk.lstrip("/")
        self._interfaces = interfaces
        self._groups = {name: part for name, part in _PARTS.items() if only is None or name in only}
        self._asked = {*(only or ()), *(["disk_free"] if disk != "/" else ()), *(["network"] if interfaces else ())}
        self._logged: set[str] = set()

    @classmethod
    def wires(
        cls,
        *,
        only: list[str] | None = None,
        disk: str = "/",
        interfaces: list[str] | None = None,
        root: str = "/",
    ) -> list[str]:
        """Return nothing: it takes hold of nothing. Raises: ConfigError for a wrong argument."""
        for name, texts in (("only", only), ("interfaces", interfaces)):
            if texts is not None and not (isinstance(texts, list) and texts and all(isinstance(t, str) for t in texts)):
                raise ConfigError(f"{name} {texts!r} is no list of names", hint=f"as in {name}: [{_EXAMPLES[name]}]")
        for name in only or ():
            if name not in _PARTS:
                raise ConfigError(f"only: there is no {name!r}{nearest(name, _PARTS)}", hint=", ".join(_PARTS))
        for name in interfaces or ():
            if "/" in name or name.startswith("."):
                raise ConfigError(f"interfaces: {name!r} is no name of one")
        for name, text in (("disk", disk), ("root", root)):
            if not isinstance(text, str) or not text.startswith("/"):
                raise ConfigError(f"{name} {text!r} is no absolute folder", hint=f"as in {name}: /")
        return []

    @classmethod
    def simulated(
        cls,
        *,
        only: list[str] | None = None,
        disk: str = "/",
        interfaces: list[str] | None = None,
        root: str = "/",
    ) -> SimulatedDevice:
        """Return a machine that has little to do."""
        cls.wires(only=only, disk=disk, interfaces=interfaces, root=root)
        value: dict[str, object] = {}
        for name in only or _PARTS:
            if name == "throttled":
                value |= _decoded(0)
            elif name == "network":
                value |= {f"{i}_{way}": 0 for i in interfaces or ["eth0"] for way in ("sent", "received")}
            else:
                value[name] = _QUIET[name]
        return SimulatedDevice(value)

    @property
    def value(self) -> object:
        """The parts. Raises: DeviceError when one that was asked for is missing, or all are."""
        found: dict[str, object] = {}
        unknown: list[str] = []
        for name, part in self._groups.items():
            try:
                parts = part(self)
            except FileNotFoundError:  # this machine does not know it
                parts = {}
            except (OSError, ValueError, IndexError) as error:
                if name in self._asked:
                    raise DeviceError(f"the machine's {name} cannot be read: {error}") from error
                if name not in self._logged:
                    _log.warning("the machine's %s cannot be read and is left out: %s", name, error)
                self._logged.add(name)
                continue
            found |= parts
            if not parts and name in self._asked:
                unknown.append(name)
        if unknown or not found:
            raise DeviceError(f"this machine does not know its {', '.join(unknown or self._groups)}")
        return found

    def close(self) -> None:
        """Do nothing: nothing is held."""

    def _cpu_temperature(self) -> dict[str, object]:
        zones = {zone.parent: _text(zone) for zone in sorted(self._root.glob("sys/class/thermal/thermal_zone*/type"))}
        for kind in _CPU_ZONES:
            for zone, name in zones.items():
                if name.startswith(kind):
                    return {"cpu_temperature": int(_text(zone / "temp")) / 1000}
        return {}

    def _throttled(self) -> dict[str, object]:
        for pattern in _THROTTLED_FILES:
            for path in self._root.glob(pattern):
                return _decoded(int(_text(path), 16))
        command = self._root / "usr/bin/vcgencmd"
        if not command.exists():
            return {}
        try:
            done = subprocess.run(
                [command, "get_throttled"], capture_output=True, text=True, timeout=_VCGENCMD_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise OSError(f"{command} does not end") from error
        name, _, number = done.stdout.strip().partition("=")
        if done.returncode or name != "throttled":
            said = (done.stderr or done.stdout).strip()
            raise OSError(f"{command} says {said!r}; the user must be in the group video")
        return _decoded(int(number, 16))

    def _load(self) -> dict[str, object]:
        return {"load": float(_text(self._root / "proc/loadavg").split()[0])}

    def _memory_available(self) -> dict[str, object]:
        for line in _text(self._root / "proc/meminfo").splitlines():
            if line.startswith("MemAvailable:"):
                return {"memory_available": int(line.split()[1]) * 1024}
        return {}

    def _disk_free(self) -> dict[str, object]:
        try:
            disk = os.statvfs(self._disk)
        except FileNotFoundError:
            raise OSError(f"there is no folder {self._disk}") from None
        return {"disk_free": disk.f_bavail * disk.f_frsize}

    def _network(self) -> dict[str, object]:
        counts: dict[str, object] = {}
        for name in self._interfaces or self._hardware():
            folder = self._root / "sys/class/net" / name / "statistics"
            try:
                sent, received = int(_text(folder / "tx_bytes")), int(_text(folder / "rx_bytes"))
            except FileNotFoundError:  # not plugged in just now
                continue
            counts |= {f"{name}_sent": sent, f"{name}_received": received}
        return counts

    def _hardware(self) -> Iterator[str]:
        for path in sorted(self._root.glob("sys/class/net/*")):
            if (path / "device").exists():
                yield path.name

    def _uptime(self) -> dict[str, object]:
        return {"uptime": float(_text(self._root / "proc/uptime").split()[0])}


_PARTS: dict[str, Callable[[System], dict[str, object]]] = {
    "cpu_temperature": System._cpu_temperature,  # noqa: SLF001 - the class's own table
    "throttled": System._throttled,  # noqa: SLF001 - same
    "load": System._load,  # noqa: SLF001 - same
    "memory_available": System._memory_available,  # noqa: SLF001 - same
    "disk_free": System._disk_free,  # noqa: SLF001 - same
    "network": System._network,  # noqa: SLF001 - same
    "uptime": System._uptime,  # noqa: SLF001 - same
}
_QUIET = {
    "cpu_temperature": 45.0,
    "load": 0.1,
    "memory_available": 300_000_000,
    "disk_free": 20_000_000_000,
    "uptime": 3600.0,
}
_EXAMPLES = {"only": "cpu_temperature, throttled", "interfaces": "eth0, wlan0"}


def _decoded(bits: int) -> dict[str, object]:
    now: dict[str, object] = {name: bool(bits >> bit & 1) for name, bit in _BITS.items()}
    return now | {f"{name}_since_boot": bool(bits >> bit + _SINCE_BOOT & 1) for name, bit in _BITS.items()}


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace").strip()
