"""The gpiochips, asked through a kernel that answers as linux/gpio.h lays it down."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

from edge_runtime.devices.chips import Chip, ask_kernel, chips, holder, with_label

CHIP_INFO, LINE_INFO = 0x8044B401, 0xC100B405
LABELS = {"gpiochip0": b"pinctrl-rp1", "gpiochip10": b"gpio-brcmstb@107d508500"}


def kernel(path: Path, request: int, data: bytes) -> bytes:
    """Answer for two chips; line 17 of the first is held, line 18 by nobody who has a name."""
    if request == CHIP_INFO:
        assert len(data) == 68
        return struct.pack("32s32sI", path.name.encode(), LABELS[path.name], 54)
    assert (request, len(data)) == (LINE_INFO, 256)
    line = struct.unpack_from("I", data, 64)[0]
    consumer, flags = {17: (b"gpio-keys", 5), 18: (b"", 1)}.get(line, (b"", 4))
    return struct.pack("32s32sIIQ160s16s", b"GPIO17", consumer, line, 0, flags, b"", b"")


def dev(root: Path, *names: str) -> Path:
    """Make device files and return their root."""
    (root / "dev").mkdir()
    for name in names:
        (root / "dev" / name).touch()
    return root


def test_chips_are_found_by_their_labels(tmp_path: Path) -> None:
    root = dev(tmp_path, "gpiochip10", "gpiochip0", "gpiomem", "gpiochipx")
    (root / "dev" / "gpiochip4").symlink_to("gpiochip0")  # as udev makes them for old programs
    found = chips(root, kernel)
    assert found == [
        Chip(0, root / "dev/gpiochip0", "pinctrl-rp1", 54),
        Chip(10, root / "dev/gpiochip10", "gpio-brcmstb@107d508500", 54),
    ]
    assert with_label(found, ["pinctrl-bcm2711", "pinctrl-rp1"]) == found[0]
    assert with_label(found, ["pinctrl-bcm2711"]) is None


def test_a_chip_that_cannot_be_asked_says_why(tmp_path: Path) -> None:
    root = dev(tmp_path, "gpiochip0", "gpiochip1")

    def refuse(path: Path, request: int, data: bytes) -> bytes:
        if path.name == "gpiochip1":
            raise OSError(errno.ENODEV, "No such device")
        raise PermissionError(request, data)

    assert [chip.fault for chip in chips(root, refuse)] == [
        f"{root}/dev/gpiochip0 may not be opened by this user",
        f"{root}/dev/gpiochip1 cannot be opened: No such device",
    ]


def test_a_machine_without_chips(tmp_path: Path) -> None:
    assert chips(tmp_path, kernel) == []


def test_who_holds_a_line() -> None:
    path = Path("/dev/gpiochip0")
    assert [holder(path, line, kernel) for line in (17, 18, 19)] == ["gpio-keys", "?", None]


def test_a_file_that_is_no_chip(tmp_path: Path) -> None:
    path = dev(tmp_path, "gpiochip0") / "dev/gpiochip0"
    [chip] = chips(tmp_path, ask_kernel)
    assert chip.fault == f"{path} cannot be opened: Inappropriate ioctl for device"
    assert holder(path, 17, ask_kernel) is None
