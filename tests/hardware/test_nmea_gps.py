"""A satellite receiver over a pseudo-terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.app import Device
from edge_runtime.devices import OpenDevice, close, open_devices
from edge_runtime.errors import ConfigError
from edge_runtime.pure.checksums import xor
from tests.devices.lines import Heard, Plug


def sentences(second: float, *, fix: bool = True) -> bytes:
    """Return what a receiver says each second, with checksums."""
    at = f"12{int(second) // 60:02}{second % 60:05.2f}"
    place = "5128.668,N,00000.090,W" if fix else ",,,"
    status, quality = ("A", 1) if fix else ("V", 0)
    lines = [f"GPRMC,{at},{status},{place},0.0,,231126,,,", f"GPGGA,{at},{place},{quality},08,0.9,47.0,M,45.0,M,,"]
    return b"".join(b"$%s*%02X\r\n" % (line.encode(), xor(line.encode())) for line in lines)


def receiver(plug: Plug, **options: object) -> OpenDevice:
    (device,) = open_devices([Device("place", "nmea_gps", {"port": plug.port, **options})])
    return device


def test_positions_are_handed_over(tmp_path: Path) -> None:
    plug = Plug(tmp_path)
    device = receiver(plug, interval=0)
    try:
        assert (device.has_readings, device.is_output) == (True, False)
        heard = Heard()
        device.device.when_read = heard
        plug.say(sentences(0) + sentences(1, fix=False) + sentences(2))
        assert heard.next() == {
            "fix": 1,
            "latitude": 51.4778,
            "longitude": -0.0015,
            "altitude": 47.0,
            "speed": 0.0,
            "satellites": 8,
            "hdop": 0.9,
            "time": "2026-11-23T12:00:00Z",
        }
        assert heard.next() == {"fix": 0, "satellites": 8, "hdop": 0.9, "time": "2026-11-23T12:00:01Z"}
        assert heard.next()["time"] == "2026-11-23T12:00:02Z"
        plug.say(b"$GPRMC,120003,A*00\r\n$PUBX,00*33\r\n$GPRMC,1*56\r\n")
        assert "wrong checksum '00' instead of '0A'" in str(heard.next())
        assert "an NMEA sentence has 1 fields and should have 9 (bad frame 2" in str(heard.next())
        assert device.device.value["time"] == "2026-11-23T12:00:02Z"
    finally:
        close([device])
        plug.unplug()


def test_at_most_one_position_in_each_interval(tmp_path: Path) -> None:
    plug = Plug(tmp_path)
    device = receiver(plug, interval="1s")
    try:
        now_s = 100.0
        gps = device.device
        gps._now = lambda: now_s
        found = []
        for n in range(101):
            now_s = 100 + n / 10 + (0.03 if n % 3 else 0)  # ten a second, not on the dot
            for line in sentences(n / 10).split():
                position = gps._reading(line.rpartition(b"*")[0])
                if position is not None:
                    found.append(position["time"])
        assert found[0] == "2026-11-23T12:00:00Z"
        assert len(found) == 11
    finally:
        close([device])
        plug.unplug()


def test_simulated_it_stands_still_until_it_is_moved() -> None:
    (device,) = open_devices([Device("place", "nmea_gps", {"port": "/dev/serial0"})], simulate=True)
    heard = Heard()
    device.device.when_read = heard
    assert device.device.value["latitude"] == 51.4778
    device.device.simulate({"fix": 0})
    assert heard.next() == {"fix": 0}
    assert device.device.wiring == "/dev/serial0 9600 8N1"


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ConfigError, match="silence '10ms' is not from 1 to 86400 s"):
        open_devices([Device("place", "nmea_gps", {"port": "/dev/serial0", "silence": "10ms"})], simulate=True)
