"""Say in words what an image looks like, and keep a tag cloud of all images. Runs unchanged in AWS Lambda, and offline.

It takes what a watched folder or bucket tells (`value` with a `path`), an S3 event, or `{"path": ...}`, and returns

    {"images": [{"image": "in/a.jpg", "width": 640, "height": 480, "format": "JPEG", "tags": ["blue", "dark", ...],
                 "colours": {"blue": 0.71, "white": 0.12}, "brightness": 0.21, "sharpness": 0.4}],
     "cloud": {"blue": 12, "landscape": 40, ...}, "seen": 52}

A tag is a colour that covers a sixth of the image or more, and words for its light, colour, sharpness, shape and size:
`TAGS` has them all. A file that is no image has the tag `unreadable` and says why; one that is gone has `missing`.

The cloud is in the shadow of the thing, under `reported`, so that it outlives this process and, with a link, reaches
AWS: by greengrasssdk, which the runtime brings, or by boto3. An event that comes twice is counted once. Environment:

    TAGS_THING  whose shadow it is; without it AWS_IOT_THING_NAME, which the runtime sets; if neither: there is no cloud
    IMAGES      for S3 events: a folder that has BUCKET/KEY, as an NFS mount; without it boto3 fetches the object

It needs Pillow: as a layer from its wheel, which there is for x86-64 and aarch64, else from apt (python3-pil).
"""

import colorsys
import contextlib
import hashlib
import importlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from PIL import Image, ImageFilter, ImageStat

COLOURS = ("black", "grey", "white", "red", "orange", "brown", "yellow", "green", "cyan", "blue", "purple", "pink")
TAGS = (*COLOURS, "dark", "bright", "flat", "colourless", "colourful", "sharp", "blurred", "landscape", "portrait",
        "square", "tiny", "small", "medium", "large", "unreadable", "missing")  # fmt: skip
_COVERS = 1 / 6
_SIDE = 64
_LAST = 64
"""So many images are known by name in the shadow: what comes twice comes again soon."""
_HUES = ((15, "red"), (42, "orange"), (70, "yellow"), (165, "green"), (200, "cyan"), (262, "blue"), (292, "purple"),
         (340, "pink"), (361, "red"))  # fmt: skip
"""Below which angle on the wheel of hues a colour has which name."""
_UPRIGHT = 4
"""EXIF orientations up to this one stand; 5 to 8 lie on a side."""
_DARK, _BRIGHT = 0.25, 0.75
"""Of the mean light: a quarter at each end."""
_FLAT, _SHARP = 0.04, 0.1
"""Less contrast is a plain image; more `_sharpness` has detail."""
_COLOURLESS, _COLOURFUL = 0.08, 0.5
"""Of the mean saturation, by eye."""
_BLACK, _WHITE, _GREY, _BROWN = 0.15, 0.85, 0.15, 0.65
"""Below this light people say black, above this one white, below this saturation grey; a darker orange is brown."""
_KERNEL = 5
"""Pixels a side that a kernel of three needs, with its border."""


def handler(event: dict[str, Any], _context: object = None) -> dict[str, Any]:
    """Tag every image of an event. Raises: TypeError for an event that has none."""
    images = [_one(*found) for found in _sources(event)]
    return {"images": [image for image, _ in images], **_counted(images)}


def analysed(data: bytes) -> dict[str, Any]:
    """Return what an image looks like: its size, tags in the order of `TAGS`, colours by share, light, sharpness.

    Raises: OSError, ValueError or SyntaxError, as Pillow does, for what it cannot read; Image.DecompressionBombError
    for more than 2 * Image.MAX_IMAGE_PIXELS: a file of a few bytes can claim any number, and each takes memory.
    """
    with Image.open(io.BytesIO(data)) as file:
        kind = file.format
        width, height = file.size if file.getexif().get(0x0112, 1) <= _UPRIGHT else file.size[::-1]
        file.draft("RGB", (512, 512))  # a JPEG is decoded at an eighth of its size where that is enough
        seen = _flattened(file)
    colours = _colours(seen)
    gray = seen.convert("L")
    light, spread = ImageStat.Stat(gray).mean[0] / 255, ImageStat.Stat(gray).stddev[0] / 255
    sharpness = _sharpness(gray, spread)
    vivid = ImageStat.Stat(seen.convert("HSV")).mean[1] / 255
    tags = {colour for colour, share in colours.items() if share >= _COVERS}
    tags |= {"dark"} if light < _DARK else {"bright"} if light > _BRIGHT else set()
    tags |= {"flat"} if spread < _FLAT else {"sharp" if sharpness >= _SHARP else "blurred"}
    tags |= {"colourless"} if vivid < _COLOURLESS else {"colourful"} if vivid > _COLOURFUL else set()
    tags |= {_shape(width, height), _size(width * height)}
    return {
        "width": width,
        "height": height,
        "format": kind,
        "tags": [tag for tag in TAGS if tag in tags],
        "colours": {colour: round(share, 3) for colour, share in colours.most_common(3)},
        "brightness": round(light, 3),
        "sharpness": round(sharpness, 3),
    }


def _flattened(image: Image.Image) -> Image.Image:
    """Return an image of 256 pixels a side at most, on white where it is transparent."""
    image.thumbnail((256, 256))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        clear = image.convert("RGBA")
        image = Image.new("RGBA", clear.size, "white")
        image.alpha_composite(clear)
    elif image.mode.startswith("I"):  # 16 bits a pixel, which a conversion would cut off
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    return image.convert("RGB")


def _colours(image: Image.Image) -> Counter[str]:
    """Return the share of each colour, 0 to 1."""
    small = image.resize((_SIDE, _SIDE), Image.Resampling.NEAREST).tobytes()
    counts = Counter(_name(*small[at : at + 3]) for at in range(0, len(small), 3))
    return Counter({colour: count / _SIDE**2 for colour, count in counts.items()})


def _name(red: int, green: int, blue: int) -> str:
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    if value < _BLACK:
        return "black"
    if saturation < _GREY:
        return "white" if value > _WHITE else "grey"
    name = next(name for most, name in _HUES if hue * 360 < most)
    return "brown" if name == "orange" and value < _BROWN else name


def _sharpness(gray: Image.Image, spread: float) -> float:
    """Return how strong edges are beside the contrast of the whole: 0 for a plain image, above 0.1 there is detail."""
    if spread == 0 or min(gray.size) < _KERNEL:
        return 0.0
    kernel = ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=4, offset=128)
    inner = gray.filter(kernel).crop((1, 1, gray.width - 1, gray.height - 1))
    return float(min(1.0, ImageStat.Stat(inner).stddev[0] / 255 / spread))


def _shape(width: int, height: int) -> str:
    if abs(width - height) * 20 <= max(width, height):
        return "square"
    return "landscape" if width > height else "portrait"


def _size(pixels: int) -> str:
    sizes = ((50_000, "tiny"), (1_000_000, "small"), (8_000_000, "medium"))
    return next((name for most, name in sizes if pixels < most), "large")


# -- where images come from ------------------------------------------------------------------------------------------


def _sources(event: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield a name, a mark that tells one content from another, and where it is."""
    if "Records" in event:
        for record in event["Records"]:
            if not str(record.get("eventName", "")).startswith("ObjectCreated"):
                continue
            bucket, found = record["s3"]["bucket"]["name"], record["s3"]["object"]
            key = unquote_plus(found["key"])
            mark = f"{found.get('eTag', '')} {found.get('sequencer', '')}"
            yield f"{bucket}/{key}", mark, {"bucket": bucket, "key": key}
        return
    value = event.get("detail", {}).get("value", event)
    if not isinstance(value, dict) or not isinstance(value.get("path"), str):
        raise TypeError("the event names no image: it has neither `Records` nor a value with a `path`")
    yield str(value.get("name", value["path"])), f"{value.get('modified', '')} {value.get('bytes', '')}", value


def _one(name: str, mark: str, where: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return what to tell of an image, and the id by which it is counted once."""
    key = hashlib.sha256(f"{name}\n{mark}".encode()).hexdigest()[:10]
    try:
        return {"image": name, **analysed(_read(where))}, key
    except FileNotFoundError as error:
        return {"image": name, "tags": ["missing"], "error": str(error)}, key
    except PermissionError:  # for an image that could be read tomorrow: name the folder under `read`
        raise
    # By its own word Pillow raises these for damaged files; SyntaxError is what its PNG reader has for them.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return {"image": name, "tags": ["unreadable"], "error": str(error)[:200]}, key


def _read(where: dict[str, Any]) -> bytes:
    folder = os.environ.get("IMAGES", "")
    if "bucket" not in where or "path" in where:
        return Path(where["path"]).read_bytes()
    if folder:
        base = Path(folder, where["bucket"]).resolve()
        path = Path(base, where["key"]).resolve()
        if not path.is_relative_to(base):
            raise FileNotFoundError(f"{where['key']} leads out of {base}")
        return path.read_bytes()
    import boto3  # noqa: PLC0415 - not needed where images lie in a folder

    return bytes(boto3.client("s3").get_object(Bucket=where["bucket"], Key=where["key"])["Body"].read())


# -- the cloud -------------------------------------------------------------------------------------------------------


def _counted(images: list[tuple[dict[str, Any], str]]) -> dict[str, Any]:
    """Add images to the cloud and return it. Raises what the client raises: then the whole event comes again."""
    thing = os.environ.get("TAGS_THING") or os.environ.get("AWS_IOT_THING_NAME", "")
    if not thing:
        return {}
    shadow = _client()
    document = _document(shadow, thing)
    had = document.get("state", {}).get("reported", {}).get("images", {})
    cloud, seen, last = Counter(had.get("cloud", {})), had.get("seen", 0), list(had.get("last", []))
    for image, key in images:
        if key not in last:
            cloud.update(image["tags"])
            seen += 1
            last = [*last, key][-_LAST:]
    sorted_cloud = dict(sorted(cloud.items(), key=lambda pair: (-pair[1], pair[0])))
    if seen != had.get("seen", 0):
        reported = {"images": {"cloud": sorted_cloud, "seen": seen, "last": last}}
        change: dict[str, Any] = {"state": {"reported": reported}}
        # Whoever else changed it meanwhile is not overwritten: this raises, and is tried again.
        if "version" in document:
            change["version"] = document["version"]
        shadow.update_thing_shadow(thingName=thing, payload=json.dumps(change).encode())
    return {"cloud": sorted_cloud, "seen": seen}


def _document(shadow: Any, thing: str) -> dict[str, Any]:  # noqa: ANN401 - two kinds of client
    try:
        payload = shadow.get_thing_shadow(thingName=thing)["payload"]
    except Exception as error:
        answer = getattr(error, "response", {})
        if (getattr(error, "code", "") or answer.get("Error", {}).get("Code")) == "ResourceNotFoundException":
            return {}
        raise
    found: dict[str, Any] = json.loads(payload if isinstance(payload, bytes) else payload.read())
    return found


def _client() -> Any:  # noqa: ANN401 - as above
    for library in ("greengrasssdk", "boto3"):  # on a device, and in AWS Lambda
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module(library).client("iot-data")
    raise ModuleNotFoundError("the cloud of tags is kept by greengrasssdk or boto3, and neither is there")
