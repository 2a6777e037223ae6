"""A watched bucket, on a server of the test's own: each object once, over faults, restarts and crashes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_runtime import plugin
from edge_runtime.app import Device
from edge_runtime.devices import open_devices
from edge_runtime.errors import ConfigError, DeviceError
from tests.devices.lines import Heard
from tests.s3 import KEYS, Bucket


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


@contextmanager
def watched(bucket: Bucket, folder: Path, settled_s: float = 0.0) -> Iterator[Any]:
    """Open a bucket for a while. It is looked through when somebody begins to take its objects.

    What is told is noted at once, so that a test sees it without waiting for it.
    """
    driver = type("Quick", (plugin.load("hardware", "s3_bucket").S3Bucket,), {"settled_s": settled_s})
    device = driver(endpoint=bucket.url, bucket=bucket.name, folder=str(folder), region="snow", interval=3600)
    try:
        yield device
    finally:
        device.close()
        device.close()
    assert not [t for t in threading.enumerate() if t.name == f"s3[{bucket.name}]"]


def names(heard: Heard, count: int) -> list[str]:
    return [heard.next()["name"] for _ in range(count)]


def look(device: Any, heard: Heard, bucket: Bucket) -> None:  # noqa: ANN401 - a driver
    """Have the bucket looked through again, and wait for the list."""
    done = threading.Event()
    bucket.on_list = done.set
    device.when_read = heard
    assert done.wait(20)


def test_each_object_is_fetched_and_told_the_oldest_first(tmp_path: Path) -> None:
    with Bucket(page=2) as bucket, watched(bucket, tmp_path / "to") as device:
        with pytest.raises(DeviceError, match="/pictures: no object has come yet"):
            _ = device.value
        for key, data in (("z.jpg", b"1"), ("in/", b""), ("in/a b.jpg", b"22"), ("a.jpg", b"333")):
            bucket.put(key, data)
        heard = Heard()
        device.when_read = heard
        first = heard.next()
        assert first == {
            "path": str(tmp_path / "to" / "z.jpg"),
            "name": "z.jpg",
            "bytes": 1,
            "modified": "2026-11-23T02:30:00.000000Z",
            "bucket": "pictures",
            "etag": "c4ca4238a0b923820dcc509a6f75849b",
        }
        assert names(heard, 2) == ["in/a b.jpg", "a.jpg"]
        assert (tmp_path / "to" / "in" / "a b.jpg").read_bytes() == b"22"
        assert device.value["name"] == "a.jpg"
        assert device.wiring == f"{bucket.url}/pictures"
        bucket.put("b.jpg", b"4")
        device.when_read = heard  # begins another look
        assert names(heard, 1) == ["b.jpg"]
        assert bucket.asked == ["z.jpg", "in/a b.jpg", "a.jpg", "b.jpg"]


def test_an_object_is_told_again_when_it_is_another_one_only(tmp_path: Path) -> None:
    with Bucket() as bucket, watched(bucket, tmp_path) as device:
        bucket.put("a", b"1")
        heard = Heard()
        device.when_read = heard
        assert names(heard, 1) == ["a"]
        bucket.put("a", b"1")
        look(device, heard, bucket)
        bucket.put("a", b"2")
        device.when_read = heard
        assert heard.next()["etag"] == "c81e728d9d4c2f636f067f89cc14862c"
        del bucket.objects["a"]
        look(device, heard, bucket)
        bucket.put("a", b"2")
        bucket.put("b", b"2")
        look(device, heard, bucket)
        assert names(heard, 2) == ["a", "b"]
        assert heard.waiting == 0


def test_what_was_told_is_known_after_a_restart_also_when_the_copy_is_gone(tmp_path: Path) -> None:
    heard = Heard()
    with Bucket() as bucket:
        bucket.put("a", b"1")
        bucket.put("b", b"1")
        with watched(bucket, tmp_path) as device:
            device.when_read = heard
            assert names(heard, 2) == ["a", "b"]
        (tmp_path / "a").unlink()
        bucket.put("c", b"1")
        with watched(bucket, tmp_path) as device:
            device.when_read = heard
            assert names(heard, 1) == ["c"]
        assert heard.waiting == 0
        assert bucket.asked == ["a", "b", "c"]


def test_a_crash_tells_again_what_was_not_noted_and_a_torn_line_counts_for_nothing(tmp_path: Path) -> None:
    heard = Heard()
    with Bucket() as bucket:
        for key in ("a", "b", "c"):
            bucket.put(key, b"1")
        (tmp_path / ".told").write_text(json.dumps(["a", "c4ca4238a0b923820dcc509a6f75849b"]) + '\n["b", "c4c')
        with watched(bucket, tmp_path, settled_s=3600) as device:
            device.when_read = heard
            assert names(heard, 2) == ["b", "c"]
        with watched(bucket, tmp_path, settled_s=3600) as device:
            device.when_read = heard
            assert names(heard, 2) == ["b", "c"]
    assert (tmp_path / ".told").read_text() == '["a", "c4ca4238a0b923820dcc509a6f75849b"]\n'


def test_what_is_noted_does_not_grow_for_ever(tmp_path: Path) -> None:
    lines = "".join(json.dumps([f"old-{number}", "x"]) + "\n" for number in range(3000))
    (tmp_path / ".told").write_text(lines)
    with Bucket() as bucket, watched(bucket, tmp_path) as device:
        bucket.put("a", b"1")
        heard = Heard()
        device.when_read = heard
        assert names(heard, 1) == ["a"]
    noted = (tmp_path / ".told").read_text().splitlines()
    assert [json.loads(line)[0] for line in noted] == ["a"]


@pytest.mark.parametrize("key", ["../x", "/x", "a//b", "a/../b", ".told", "a/.b", "x" * 300, "told/below"])
def test_a_key_that_is_no_place_below_the_folder_is_left_out(key: str, tmp_path: Path) -> None:
    with Bucket() as bucket, watched(bucket, tmp_path / "to") as device:
        bucket.put("told", b"1")
        bucket.put(key, b"2")
        bucket.put("last", b"3")
        heard = Heard()
        device.when_read = heard
        assert names(heard, 2) == ["told", "last"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".told", "last", "to", "told"]


def test_a_server_that_goes_is_a_fault_until_it_is_back(tmp_path: Path) -> None:
    with Bucket() as bucket, watched(bucket, tmp_path) as device:
        heard = Heard()
        bucket.refuse = (503, "")
        bucket.put("a", b"1")
        device.when_read = heard
        assert str(heard.next()) == f"{bucket.url}/pictures: 503 Service Unavailable"
        with pytest.raises(DeviceError, match="503 Service Unavailable"):
            _ = device.value
        bucket.refuse = None
        assert names(heard, 1) == ["a"]  # by itself: after a fault it is asked sooner
        assert device.value["name"] == "a"


def test_an_object_that_is_cut_off_is_fetched_again(tmp_path: Path) -> None:
    with Bucket(cut=True) as bucket, watched(bucket, tmp_path) as device:
        bucket.put("a", b"1234")
        heard = Heard()
        device.when_read = heard
        assert "has 2 bytes and was told to have 4" in str(heard.next())
        bucket.cut = False
        assert names(heard, 1) == ["a"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".told", "a"]


def test_nothing_is_fetched_while_nobody_takes(tmp_path: Path) -> None:
    with Bucket() as bucket, watched(bucket, tmp_path) as device:
        bucket.put("a", b"1")
        heard = Heard()
        device.when_read = heard
        assert names(heard, 1) == ["a"]
        device.when_read = None
        bucket.put("b", b"1")
        assert bucket.asked == ["a"]
        device.when_read = heard
        assert names(heard, 1) == ["b"]


def test_simulated() -> None:
    options = {"endpoint": "http://192.0.2.10:8080", "bucket": "b", "folder": "/x"}
    (device,) = open_devices([Device("pictures", "s3_bucket", options)], simulate=True)
    with pytest.raises(DeviceError, match=r"/b: no object has come yet"):
        _ = device.device.value
    heard = Heard()
    device.device.when_read = heard
    device.device.simulate({"name": "a"})
    assert heard.next() == {"name": "a"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "x"}, "endpoint 'x' is no address of a server"),
        ({"bucket": ""}, "bucket '' is no text"),
        ({"interval": 0}, "interval 0 is not from 1 to 86400 s"),
        ({"ca": 1}, "ca may not be 1"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, object], message: str) -> None:
    right = {"endpoint": "http://192.0.2.10:8080", "bucket": "b", "folder": "/x"}
    with pytest.raises(ConfigError) as error:
        open_devices([Device("pictures", "s3_bucket", {**right, **options})], simulate=True)
    assert str(error.value) == f"device 'pictures' (s3_bucket): {message}"
