"""A camera of a Raspberry Pi, or a folder of frames in its place: each reading is a picture, saved in a folder.

    gate:
      driver: camera
      folder: /var/lib/edge/gate
      every: 1m
      width: 1280
      height: 720
      keep: 500
      keep_bytes: 200MB

A reading is `{"path": "/var/lib/edge/gate/20261123T023527.120000Z.jpg", "bytes": 48211, "sha256": "..."}`: never the
picture itself, which is for a function to read. A file has its name only when it is whole. `edge devices`, which shows
what every device measures, takes a picture, too.

- `folder`: where pictures are saved. The newest `keep` (100) and `keep_bytes` (100MB) of them stay; other files in it
  are left alone.
- `camera`: which one, by its number: 0. `width`, `height`: 1280 and 720.
- `source`: a folder with `.jpg` and `.png` files, taken one after the other by name, again and again, in place of a
  camera. To try an app, or for a program that writes frames.

In a simulation, without a `source`, pictures are small squares whose colour changes.

Wiring: the ribbon cable with the power off; a Pi 5 and a Zero take the narrow one (22 pins). `rpicam-hello
--list-cameras` shows what is found. The user must be in the group `video`. Install `python3-picamera2` by apt, and make
the venv with `--system-site-packages`. A USB camera is not for this driver.
"""

from __future__ import annotations

import itertools
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from edge_runtime.devices import arguments
from edge_runtime.devices.driver import need
from edge_runtime.devices.frames import Frames
from edge_runtime.errors import ConfigError, DeviceError

_ENDINGS = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png"}
_MOST_PIXELS = 16_384
_SIDE = 32


class _Source(Protocol):
    """Where pictures come from."""

    def next(self) -> tuple[str, Callable[[Path], object]]:
        """Return the ending of the next picture, and what writes it to a path."""

    def close(self) -> None:
        """Give back what is held."""


class Camera:
    """A camera. The module says what its arguments are."""

    def __init__(
        self,
        *,
        folder: str,
        camera: int = 0,
        width: int = 1280,
        height: int = 720,
        source: str = "",
        keep: int = 100,
        keep_bytes: str | int = "100MB",
    ) -> None:
        bound = _bound(folder, camera, width, height, source, keep, keep_bytes)
        self.wiring = source or f"CAM{camera}"
        self._frames = Frames(Path(folder).absolute(), keep, bound)
        self._source = self._open(camera, (width, height), source)

    def _open(self, camera: int, pixels: tuple[int, int], source: str) -> _Source:
        return _Folder(source) if source else _Picamera(camera, pixels)

    @classmethod
    def wires(
        cls,
        *,
        folder: str,
        camera: int = 0,
        width: int = 1280,
        height: int = 720,
        source: str = "",
        keep: int = 100,
        keep_bytes: str | int = "100MB",
    ) -> list[str]:
        """Return the camera, and the folder: two that saved there would remove each other's pictures.

        Raises: ConfigError for a wrong argument.
        """
        _bound(folder, camera, width, height, source, keep, keep_bytes)
        return [*([] if source else [f"CAM{camera}"]), str(Path(folder).absolute())]

    @classmethod
    def simulated(cls, **options: Any) -> Camera:  # noqa: ANN401 - as the constructor's
        """Return one that saves pictures of the `source`, or made-up ones."""
        return _Simulated(**options)

    @property
    def value(self) -> dict[str, object]:
        """A picture that is taken now. Raises: DeviceError when there is none, or it cannot be saved."""
        ending, write = self._source.next()
        return self._frames.save(ending, write)

    def close(self) -> None:
        """Let go of the camera. Safe to call twice."""
        self._source.close()


class _Simulated(Camera):
    def _open(self, camera: int, pixels: tuple[int, int], source: str) -> _Source:  # noqa: ARG002 - there is none
        return _Folder(source) if source else _MadeUp()

    def simulate(self, value: object) -> None:
        """Take this file for each picture from now on."""
        path = Path(str(value))
        if path.suffix.lower() not in _ENDINGS or not path.is_file():
            raise ConfigError(f"{value!r} is no picture", hint="set the path of a .jpg or .png file")
        self._source = _Folder(str(path))


class _Picamera:
    """libcamera's own, through picamera2."""

    def __init__(self, camera: int, pixels: tuple[int, int]) -> None:
        library = need("picamera2", "apt:python3-picamera2")
        found = library.Picamera2.global_camera_info()
        if camera >= len(found):
            raise DeviceError(
                f"camera {camera} is not there; found: {', '.join(str(one.get('Model')) for one in found) or 'none'}",
                hint="check the cable with the power off; `rpicam-hello --list-cameras` shows what is found",
            )
        self._camera: Any = library.Picamera2(camera)
        try:
            self._camera.configure(self._camera.create_still_configuration(main={"size": pixels}))
            self._camera.start()
        except BaseException:
            self._camera.close()
            raise

    def next(self) -> tuple[str, Callable[[Path], object]]:
        """Return how to take a picture."""
        if self._camera is None:
            raise DeviceError("the camera is closed")
        camera = self._camera
        return "jpg", lambda path: camera.capture_file(str(path), format="jpeg")

    def close(self) -> None:
        """Stop it."""
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.stop()
            camera.close()


class _Folder:
    """Pictures of a folder, by name, again and again; or one file."""

    def __init__(self, place: str) -> None:
        self._place = Path(place)
        self._last = ""

    def next(self) -> tuple[str, Callable[[Path], object]]:
        """Return how to copy the next one."""
        try:
            names = [self._place] if self._place.is_file() else list(self._place.iterdir())
        except OSError as error:
            raise DeviceError(f"{self._place} cannot be read: {error.strerror}", hint="correct `source`") from error
        pictures = sorted((p for p in names if p.suffix.lower() in _ENDINGS), key=lambda path: path.name)
        if not pictures:
            raise DeviceError(f"there are no .jpg or .png files in {self._place}", hint="put some there")
        found = next((p for p in pictures if p.name > self._last), pictures[0])
        self._last = found.name
        return _ENDINGS[found.suffix.lower()], lambda path: shutil.copyfile(found, path)

    def close(self) -> None:
        """Do nothing: nothing is held."""


class _MadeUp:
    """Small squares, each of another colour."""

    def __init__(self) -> None:
        self._count = itertools.count()

    def next(self) -> tuple[str, Callable[[Path], object]]:
        """Return how to write the next one."""
        n = next(self._count)
        return "png", lambda path: path.write_bytes(_square((n * 40 % 256, n * 24 % 256, 128)))

    def close(self) -> None:
        """Do nothing: nothing is held."""


def _square(colour: tuple[int, int, int]) -> bytes:
    """Return a picture of one colour as PNG (PNG specification, sections 5 and 11)."""
    rows = (b"\0" + bytes(colour) * _SIDE) * _SIDE

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _bound(*given: Any) -> int:  # noqa: ANN401 - as the constructor's
    """Check the arguments, in their order, and return `keep_bytes` as a number. Raises: ConfigError."""
    folder, camera, width, height, source, keep, keep_bytes = given
    arguments.text("folder", folder)
    arguments.whole("camera", camera, 0, 15)
    arguments.whole("width", width, 16, _MOST_PIXELS)
    arguments.whole("height", height, 16, _MOST_PIXELS)
    arguments.text("source", source, empty=True)
    if source and Path(source).absolute() == Path(folder).absolute():
        raise ConfigError("source and folder are the same", hint="save the pictures in another folder")
    arguments.whole("keep", keep, 1, 1_000_000)
    return arguments.size("keep_bytes", keep_bytes, 1)
