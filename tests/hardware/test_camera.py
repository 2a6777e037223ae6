"""The camera driver: a stand-in for picamera2, a folder of frames, made-up pictures."""

from __future__ import annotations

import hashlib
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edge_runtime.app import Device
from edge_runtime.devices import OpenDevice, close, open_devices
from edge_runtime.devices.simulation import Simulated
from edge_runtime.devices.wiring import board_for, check
from edge_runtime.errors import ConfigError, DeviceError


def opened(folder: Path, *, simulate: bool = False, **options: Any) -> OpenDevice:  # noqa: ANN401 - keys of a device
    (device,) = open_devices([Device("gate", "camera", {"folder": str(folder), **options})], simulate=simulate)
    return device


def pixels(data: bytes) -> tuple[int, int, bytes]:
    """Return width, height and rows of a PNG, each part of which is as it must be."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, parts = 8, {}
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(kind + body)
        parts[kind] = body
        at += 12 + size
    assert list(parts) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *kind_of = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    assert kind_of == [8, 2, 0, 0, 0]
    return width, height, zlib.decompress(parts[b"IDAT"])


class Picamera2:
    """What the driver uses of picamera2's class of that name, as its manual (chapters 4 and 6) has it."""

    calls: list[object] = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, number: int) -> None:
        self.calls.append(("open", number))

    @staticmethod
    def global_camera_info() -> list[dict[str, object]]:
        """Return one camera."""
        return [{"Model": "imx708", "Num": 0}]

    def create_still_configuration(self, main: dict[str, object]) -> dict[str, object]:
        """Return a configuration."""
        return {"main": main}

    def configure(self, configuration: dict[str, object]) -> None:
        """Take a configuration."""
        self.calls.append(("configure", configuration))

    def start(self) -> None:
        """Start."""
        self.calls.append("start")

    def capture_file(self, path: str, format: str) -> None:  # noqa: A002 - as picamera2 calls it
        """Save a picture."""
        self.calls.append(("capture", format))
        Path(path).write_bytes(b"a picture")

    def stop(self) -> None:
        """Stop."""
        self.calls.append("stop")

    def close(self) -> None:
        """Close."""
        self.calls.append("close")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Picamera2]]:
    module = ModuleType("picamera2")
    module.Picamera2 = Picamera2  # type: ignore[attr-defined]  # what the module is for
    monkeypatch.setitem(sys.modules, "picamera2", module)
    Picamera2.calls.clear()
    yield Picamera2
    Picamera2.calls.clear()


def test_a_picture_of_a_camera(tmp_path: Path, library: type[Picamera2]) -> None:
    device = opened(tmp_path, width=640, height=480)
    told = device.device.value
    assert Path(told["path"]).read_bytes() == b"a picture"
    assert Path(told["path"]).suffix == ".jpg"
    assert (told["bytes"], told["sha256"]) == (9, hashlib.sha256(b"a picture").hexdigest())
    assert (device.has_readings, device.is_output, device.device.wiring) == (False, False, "CAM0")
    close([device])
    device.device.close()
    assert library.calls == [
        ("open", 0),
        ("configure", {"main": {"size": (640, 480)}}),
        "start",
        ("capture", "jpeg"),
        "stop",
        "close",
    ]
    with pytest.raises(DeviceError, match="the camera is closed"):
        _ = device.device.value


def test_a_camera_that_is_not_there(tmp_path: Path, library: type[Picamera2]) -> None:
    with pytest.raises(ConfigError, match="camera 1 is not there; found: imx708"):
        opened(tmp_path, camera=1)
    assert library.calls == []


def test_without_its_library_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(ConfigError, match="the library picamera2 is missing") as error:
        opened(tmp_path)
    assert error.value.hint == "apt install python3-picamera2, in a venv made with --system-site-packages"


def test_frames_of_a_folder_go_round(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    device = opened(tmp_path / "out", source=str(source))
    with pytest.raises(DeviceError, match=r"there are no \.jpg or \.png files in"):
        _ = device.device.value
    for name in ("b.png", "a.JPG", "notes.txt"):
        (source / name).write_bytes(name.encode())
    told = [device.device.value for _ in range(3)]
    assert [Path(one["path"]).read_bytes() for one in told] == [b"a.JPG", b"b.png", b"a.JPG"]
    assert [Path(one["path"]).suffix for one in told] == [".jpg", ".png", ".jpg"]
    (source / "a.JPG").unlink()
    (source / "b.png").unlink()
    source.joinpath("notes.txt").unlink()
    source.rmdir()
    with pytest.raises(DeviceError, match="cannot be read: No such file or directory"):
        _ = device.device.value
    close([device])


def test_made_up_pictures_are_pictures(tmp_path: Path) -> None:
    device = opened(tmp_path / "out", simulate=True, keep=2)
    told = [device.device.value for _ in range(3)]
    assert len({one["sha256"] for one in told}) == 3
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert pixels(Path(told[2]["path"]).read_bytes()) == (
        32,
        32,
        b"".join(b"\0" + bytes((80, 48, 128)) * 32 for _ in range(32)),
    )
    hand = Simulated([device])
    hand.set("gate", told[2]["path"])
    assert device.device.value["sha256"] == told[2]["sha256"]
    with pytest.raises(ConfigError, match="'nothing' is no picture"):
        hand.set("gate", "nothing")


def test_what_is_wrong_and_what_two_cameras_cannot_share(tmp_path: Path) -> None:
    folder = str(tmp_path)
    for options, message in (
        ({"folder": folder, "width": 1}, "width 1 is no whole number from 16 to 16384"),
        ({"folder": folder, "source": folder}, "source and folder are the same"),
        ({"folder": folder, "keep_bytes": "much"}, "keep_bytes: 'much' is no size"),
    ):
        spec = Device("gate", "camera", options)
        assert [p.text.startswith(message) for p in check([spec], board_for("pi-4")).problems] == [True]
        with pytest.raises(ConfigError, match=f"camera.: {message}"):
            open_devices([spec], simulate=True)
    two = [Device("a", "camera", {"folder": "/x"}), Device("b", "camera", {"folder": "/y"})]
    three = [*two, Device("c", "camera", {"folder": "/x", "source": "/z"})]
    assert [p.device for p in check(three, board_for("pi-4")).problems] == ["b", "c"]
