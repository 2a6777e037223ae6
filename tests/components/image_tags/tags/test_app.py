"""The image tagger: images that are made here have the tags that a person would give them, and each counts once."""

from __future__ import annotations

import io
import json
import random
import struct
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_plus

import pytest

pytest.importorskip("PIL", reason="Pillow is not installed")

from PIL import Image, ImageDraw, ImageFilter

from components.image_tags.tags.app import TAGS, analysed, handler
from edge_runtime.pure.events.samples import s3


def saved(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:  # noqa: ANN401 - what Pillow takes
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


def noise(width: int, height: int) -> Image.Image:
    """Return an image with detail in every pixel, the same each time."""
    return Image.frombytes("L", (width, height), random.Random(1).randbytes(width * height))  # noqa: S311 - no secret


def plain(color: str, width: int = 100, height: int = 100) -> Image.Image:
    return Image.new("RGB", (width, height), color)


@pytest.mark.parametrize(
    ("color", "tags"),
    [
        ("#d01010", ["red", "flat", "colourful", "square", "tiny"]),
        ("#ff8c00", ["orange", "flat", "colourful", "square", "tiny"]),
        ("#7a4a20", ["brown", "flat", "colourful", "square", "tiny"]),
        ("#f0e020", ["yellow", "bright", "flat", "colourful", "square", "tiny"]),
        ("#208030", ["green", "flat", "colourful", "square", "tiny"]),
        ("#20c0c8", ["cyan", "flat", "colourful", "square", "tiny"]),
        ("#2040d0", ["blue", "flat", "colourful", "square", "tiny"]),
        ("#8030c0", ["purple", "flat", "colourful", "square", "tiny"]),
        ("#ff60b0", ["pink", "flat", "colourful", "square", "tiny"]),
        ("#000000", ["black", "dark", "flat", "colourless", "square", "tiny"]),
        ("#808080", ["grey", "flat", "colourless", "square", "tiny"]),
        ("#ffffff", ["white", "bright", "flat", "colourless", "square", "tiny"]),
    ],
)
def test_each_colour_has_its_name(color: str, tags: list[str]) -> None:
    assert analysed(saved(plain(color)))["tags"] == tags


def test_a_field_under_the_sky() -> None:
    image = plain("#60a0f0", 1600, 1000)
    ImageDraw.Draw(image).rectangle((0, 600, 1600, 1000), fill="#308020")
    found = analysed(saved(image, "JPEG"))
    assert found == {
        "width": 1600,
        "height": 1000,
        "format": "JPEG",
        "tags": ["green", "blue", "colourful", "blurred", "landscape", "medium"],
        "colours": {"blue": pytest.approx(0.6, abs=0.03), "green": pytest.approx(0.4, abs=0.03)},
        "brightness": pytest.approx(0.51, abs=0.02),
        "sharpness": found["sharpness"],
    }


def test_detail_is_sharp_until_it_is_smoothed() -> None:
    image = noise(32, 25).resize((256, 200), Image.Resampling.NEAREST)
    assert "sharp" in analysed(saved(image))["tags"]
    assert "blurred" in analysed(saved(image.filter(ImageFilter.GaussianBlur(4))))["tags"]


@pytest.mark.parametrize(
    ("size", "tags"),
    [
        ((100, 200), {"portrait", "tiny"}),
        ((400, 300), {"landscape", "small"}),
        ((1000, 1040), {"square", "medium"}),
        ((3000, 3000), {"square", "large"}),
    ],
)
def test_shape_and_size(size: tuple[int, int], tags: set[str]) -> None:
    assert tags <= set(analysed(saved(plain("red", *size)))["tags"])


def test_a_camera_that_was_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = analysed(saved(plain("red", 300, 200), "JPEG", exif=exif))
    assert (found["width"], found["height"], "portrait" in found["tags"]) == (200, 300, True)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_pixels(mode: str) -> None:
    image = Image.new("L", (80, 60), 255)
    made = Image.new("I;16", (80, 60), 65535) if mode == "I;16" else image.convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert {"white", "bright", "landscape"} <= set(analysed(saved(made, kind))["tags"])


def test_what_is_transparent_is_white() -> None:
    assert "white" in analysed(saved(Image.new("RGBA", (10, 10), (255, 0, 0, 0))))["tags"]


def claiming(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes whose header says that it is so large."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    whole = saved(Image.new("1", (1, 1)))
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


# -- events ------------------------------------------------------------------------------------------------------------


class ShadowError(Exception):
    """What the SDK raises."""

    code = "ResourceNotFoundException"


class Shadows:
    """The client of shadows: one document, as the service keeps it."""

    def __init__(self) -> None:
        self.document: dict[str, Any] | None = None
        self.updates = 0

    def get_thing_shadow(self, thingName: str) -> dict[str, bytes]:  # noqa: N803 - AWS's name
        """Return the document."""
        if self.document is None:
            raise ShadowError(f"no shadow of {thingName}")
        return {"payload": json.dumps(self.document).encode()}

    def update_thing_shadow(self, thingName: str, payload: bytes) -> dict[str, bytes]:  # noqa: N803, ARG002 - same
        """Replace what is reported."""
        had = {"version": 0} if self.document is None else self.document
        change = json.loads(payload)
        assert change.get("version", 0) == had["version"]
        self.document = {"state": change["state"], "version": had["version"] + 1}
        self.updates += 1
        return {"payload": b"{}"}


@pytest.fixture
def shadows(monkeypatch: pytest.MonkeyPatch) -> Shadows:
    found = Shadows()
    monkeypatch.setenv("AWS_IOT_THING_NAME", "station")
    monkeypatch.setitem(sys.modules, "greengrasssdk", SimpleNamespace(client=lambda _service: found))
    return found


def told(path: Path, modified: str = "2026-11-23T02:30:00.000000Z") -> dict[str, Any]:
    """Return what the driver `folder` tells of a file."""
    size = path.stat().st_size if path.exists() else 0
    value = {"path": str(path), "name": path.name, "bytes": size, "modified": modified}
    return {"detail": {"device": "inbox", "event": "sample", "value": value}}


def test_files_of_a_folder_make_a_cloud(tmp_path: Path, shadows: Shadows) -> None:
    for name, color in (("a.png", "red"), ("b.png", "red"), ("c.png", "#60a0f0")):
        (tmp_path / name).write_bytes(saved(plain(color)))
    first = handler(told(tmp_path / "a.png"))
    assert first["images"][0]["image"] == "a.png"
    assert first["cloud"] == {"colourful": 1, "flat": 1, "red": 1, "square": 1, "tiny": 1}
    handler(told(tmp_path / "b.png"))
    last = handler(told(tmp_path / "c.png"))
    assert last["cloud"] == {"colourful": 3, "flat": 3, "square": 3, "tiny": 3, "red": 2, "blue": 1}
    assert last["seen"] == 3
    assert shadows.updates == 3
    # Delivered again, as after a power cut: the same answer, and nothing is counted twice.
    assert handler(told(tmp_path / "b.png"))["cloud"] == last["cloud"]
    assert shadows.updates == 3
    # The same name with other content is another image.
    (tmp_path / "b.png").write_bytes(saved(plain("#60a0f0")))
    assert handler(told(tmp_path / "b.png", "2026-11-23T02:31:00.000000Z"))["cloud"]["blue"] == 2


def test_the_cloud_fits_into_a_shadow(tmp_path: Path, shadows: Shadows) -> None:
    (tmp_path / "a.png").write_bytes(saved(plain("red")))
    for second in range(200):
        handler(told(tmp_path / "a.png", f"2026-11-23T02:30:00.{second:06}Z"))
    assert shadows.document is not None
    reported = shadows.document["state"]["reported"]["images"]
    assert (reported["seen"], reported["cloud"]["red"], len(reported["last"])) == (200, 200, 64)
    full = {**reported, "cloud": dict.fromkeys(TAGS, 10**9)}
    assert len(json.dumps({"state": {"reported": {"images": full}}})) < 8192  # AWS IoT Core: a shadow's document


def test_a_file_that_is_none_and_one_that_is_gone(tmp_path: Path, shadows: Shadows) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    whole = saved(noise(64, 64))
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    for name in ("a.png", "b.png"):
        (image,) = handler(told(tmp_path / name))["images"]
        assert image["tags"] == ["unreadable"]
        assert image["error"]
    assert handler(told(tmp_path / "c.png"))["images"][0]["tags"] == ["missing"]
    assert handler(told(tmp_path / "d.png"))["cloud"] == {"missing": 2, "unreadable": 2}
    assert shadows.updates == 4


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(claiming(14_000, 14_000))
    (image,) = handler(told(tmp_path / "a.png"))["images"]
    assert image["tags"] == ["unreadable"]
    assert image["error"].startswith("Image size (196000000 pixels) exceeds limit of 178956970 pixels")


def test_an_s3_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGES", str(tmp_path))
    (tmp_path / "pictures" / "in").mkdir(parents=True)
    (tmp_path / "pictures" / "in" / "a b+c.jpg").write_bytes(saved(plain("green"), "JPEG"))
    event = s3.put(bucket="pictures", key="in/a b+c.jpg")
    assert event["Records"][0]["s3"]["object"]["key"] == quote_plus("in/a b+c.jpg", safe="/")
    answer = handler(event)
    assert [(image["image"], image["tags"][0]) for image in answer["images"]] == [("pictures/in/a b+c.jpg", "green")]
    assert "cloud" not in answer  # no thing, no shadow
    assert handler(s3.delete(bucket="pictures", key="in/a b+c.jpg"))["images"] == []
    (image,) = handler(s3.put(bucket="pictures", key="../secret.png"))["images"]
    assert image["tags"] == ["missing"]


def test_an_event_without_an_image_is_said() -> None:
    with pytest.raises(TypeError, match="it has neither `Records` nor a value with a `path`"):
        handler({"detail": {"device": "soil", "value": 0.3}})
