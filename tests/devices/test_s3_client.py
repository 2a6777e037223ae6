"""The client of S3: what a server tells, and what it does when that is strange."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.devices.s3_client import Object, S3Client, check, keys_from
from edge_runtime.errors import ConfigError, DeviceError
from tests.s3 import KEYS, START, Bucket


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


def client(bucket: Bucket, name: str = "") -> S3Client:
    return S3Client(bucket.url, name or bucket.name, "snow")


def test_all_pages_of_a_list(tmp_path: Path) -> None:
    with Bucket(page=2) as bucket:
        for number in range(5):
            bucket.put(f"in/{number} ä&+.jpg", b"x" * number)
        bucket.put("other", b"y")
        found = list(client(bucket).objects("in/"))
        assert [item.key for item in found] == [f"in/{number} ä&+.jpg" for number in range(5)]
        assert found[0] == Object(
            "in/0 ä&+.jpg", "d41d8cd98f00b204e9800998ecf8427e", 0, round(START.timestamp()) * 10**9
        )
        assert [item.key for item in client(bucket).objects()][-1] == "other"
        client(bucket).fetch(found[3], tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"xxx"


def test_a_refusal_is_told_in_the_words_of_the_server() -> None:
    with Bucket() as bucket:
        with pytest.raises(DeviceError, match=f"^{bucket.url}/none: 404 Not Found NoSuchBucket$"):
            list(client(bucket, "none").objects())
        other = S3Client(bucket.url, bucket.name, "eu-west-1")
        with pytest.raises(DeviceError, match=r"403 Forbidden SignatureDoesNotMatch Check your key\.$"):
            list(other.objects())
        bucket.refuse = (503, "<html>busy")
        with pytest.raises(DeviceError, match=r"503 Service Unavailable$"):
            list(client(bucket).objects())


def test_what_is_no_list_is_said() -> None:
    with Bucket() as bucket:
        bucket.refuse = (200, "<html>a captive portal")
        with pytest.raises(DeviceError, match="the list cannot be read"):
            list(client(bucket).objects())
        bucket.refuse = (200, "<L><Contents><Key>a</Key><Size>x</Size></Contents></L>")
        with pytest.raises(DeviceError, match="the list has an object 'a' that cannot be read"):
            list(client(bucket).objects())


def test_a_list_that_goes_in_circles_ends() -> None:
    with Bucket() as bucket:
        entry = "<Contents><Key>a</Key><Size>1</Size><LastModified>2026-11-23T02:30:00Z</LastModified></Contents>"
        bucket.refuse = (200, f"<L><IsTruncated>true</IsTruncated>{entry}</L>")
        assert [item.key for item in client(bucket).objects()] == ["a", "a"]


def test_an_object_that_is_cut_off_is_none(tmp_path: Path) -> None:
    with Bucket(cut=True) as bucket:
        bucket.put("a", b"1234")
        (found,) = client(bucket).objects()
        with pytest.raises(DeviceError, match="/a has 2 bytes and was told to have 4"):
            client(bucket).fetch(found, tmp_path / "copy")


def test_a_server_that_is_not_there() -> None:
    with Bucket() as bucket:
        pass
    with pytest.raises(DeviceError, match="Connection refused"):
        list(client(bucket).objects())
    secure = S3Client(bucket.url.replace("http:", "https:"), "b", "snow", ca="/nowhere/ca.pem")
    with pytest.raises(DeviceError, match=r"the certificates in /nowhere/ca\.pem cannot be read"):
        list(secure.objects())


def test_keys_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials"
    with pytest.raises(DeviceError, match=r"cannot be read: .*No such file"):
        keys_from(str(file), os.environ)
    file.write_text("[other]\naws_access_key_id = A\n")
    with pytest.raises(DeviceError, match=r"has no aws_access_key_id and aws_secret_access_key in \[default\]"):
        keys_from(str(file), os.environ)
    file.write_text("no section")
    with pytest.raises(DeviceError, match="cannot be read"):
        keys_from(str(file), os.environ)
    file.write_text("[default]\naws_access_key_id = A\naws_secret_access_key = b%c\naws_session_token = t\n")
    assert keys_from(str(file), {}) == ("A", "b%c", "t")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(DeviceError, match="the environment has no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        keys_from("", os.environ)


@pytest.mark.parametrize("endpoint", ["", "192.0.2.10:8080", "ftp://192.0.2.10", "http://", "http://a:b", "http://a/b"])
def test_an_address_that_is_none(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="is no address of a server"):
        check(endpoint)
