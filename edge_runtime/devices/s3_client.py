"""What a driver needs of S3 and of what speaks like it: list a bucket, fetch an object. By the standard library.

It uses the oldest forms, which all understand: path style, `ListObjects` of version 1 (the S3 adapter of a Snowball
Edge has no version 2), signature version 4.
"""

from __future__ import annotations

import configparser
import http.client
import os
import shutil
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import SplitResult, urlsplit
from xml.etree import ElementTree as ET

from edge_runtime.errors import ConfigError, DeviceError
from edge_runtime.pure.sigv4 import Keys, encoded, path_of, signed_get

_ANSWER_S = 30.0
_MOST_XML = 8 << 20
"""Bytes of one page of a list: 1000 keys of 1 KiB each, escaped, and more."""
_SECTION = "default"


@dataclass(frozen=True, slots=True)
class Object:
    """An object of a bucket, as a list tells it."""

    key: str
    etag: str
    size: int
    modified_ns: int


def keys_from(file: str, environment: Mapping[str, str]) -> Keys:
    """Return the keys in a file as the AWS CLI has it (section `default`), or in the environment without a file.

    Raises: DeviceError when there are none: they may come later.
    """
    if not file:
        found = {name: environment.get(f"AWS_{name.upper()}", "") for name in ("access_key_id", "secret_access_key")}
        found["session_token"] = environment.get("AWS_SESSION_TOKEN", "")
        where = "the environment has no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    else:
        parser = configparser.ConfigParser(interpolation=None)
        try:
            with Path(file).open(encoding="utf-8") as lines:
                parser.read_file(lines)
        except (OSError, UnicodeDecodeError, configparser.Error) as error:
            raise DeviceError(f"the credentials file {file} cannot be read: {error}") from error
        section = parser[_SECTION] if parser.has_section(_SECTION) else {}
        found = {name: section.get(f"aws_{name}", "") for name in ("access_key_id", "secret_access_key")}
        found["session_token"] = section.get("aws_session_token", "")
        where = f"{file} has no aws_access_key_id and aws_secret_access_key in [{_SECTION}]"
    if not found["access_key_id"] or not found["secret_access_key"]:
        raise DeviceError(where)
    return Keys(found["access_key_id"], found["secret_access_key"], found["session_token"])


class S3Client:
    """One bucket. `credentials` is a file of keys, empty for those of the environment; they are read anew each time."""

    def __init__(self, endpoint: str, bucket: str, region: str, credentials: str = "", ca: str = "") -> None:
        parts = _split(endpoint)
        self._bucket, self._region, self._credentials, self._ca = bucket, region, credentials, ca
        self._https = parts.scheme == "https"
        self._host = parts.netloc
        self.name = f"{endpoint.rstrip('/')}/{bucket}"

    def objects(self, prefix: str = "") -> Iterator[Object]:
        """Yield all objects whose keys begin so, in the order of the keys. Raises: DeviceError."""
        marker = ""
        while True:
            query = {
                "max-keys": "1000",
                **({"prefix": prefix} if prefix else {}),
                **({"marker": marker} if marker else {}),
            }
            with self._asked("", query) as answer:
                page = _parsed(answer.read(_MOST_XML + 1), self.name)
            last = marker
            for entry in page.iterfind("{*}Contents"):
                found = _object(entry, self.name)
                last = found.key
                yield found
            marker = page.findtext("{*}NextMarker") or last
            if page.findtext("{*}IsTruncated") != "true" or marker <= (query.get("marker") or ""):
                return

    def fetch(self, found: Object, path: Path) -> None:
        """Write an object into a file and have it on disk. Raises: DeviceError, also when it is not as long as told."""
        with self._asked(found.key, {}) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
            if file.tell() != found.size:
                raise DeviceError(f"{self.name}/{found.key} has {file.tell()} bytes and was told to have {found.size}")

    @contextmanager
    def _asked(self, key: str, query: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
        """Ask for an object, or for the bucket, and yield the answer. Raises: DeviceError."""
        keys = keys_from(self._credentials, os.environ)
        path, text = path_of(self._bucket, key), encoded(query)
        headers = signed_get(self._host, path, text, keys, region=self._region, epoch_s=time.time())
        connection = self._connection()
        try:
            connection.request("GET", f"{path}?{text}" if text else path, headers=headers)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise DeviceError(f"{self.name}: {_refusal(answer)}")
            yield answer
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, DeviceError):
                raise
            raise DeviceError(f"{self.name}: {error or type(error).__name__}") from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if not self._https:
            return http.client.HTTPConnection(self._host, timeout=_ANSWER_S)
        try:
            context = ssl.create_default_context(cafile=self._ca or None)
        except OSError as error:
            raise DeviceError(f"{self.name}: the certificates in {self._ca} cannot be read: {error}") from error
        return http.client.HTTPSConnection(self._host, timeout=_ANSWER_S, context=context)


def check(endpoint: str) -> None:
    """See that it is the address of a server. Raises: ConfigError."""
    _split(endpoint)


def _split(endpoint: str) -> SplitResult:
    parts = urlsplit(endpoint)
    try:
        has_port = parts.port != 0
    except ValueError:
        has_port = False
    if parts.scheme not in ("http", "https") or not parts.hostname or not has_port or parts.path.strip("/"):
        raise ConfigError(f"endpoint {endpoint!r} is no address of a server", hint="as in http://192.0.2.10:8080")
    return parts


def _parsed(data: bytes, name: str) -> ET.Element:
    try:
        if len(data) > _MOST_XML:
            raise DeviceError(f"{name}: the list has more than {_MOST_XML} bytes a page")
        return ET.fromstring(data)  # noqa: S314 - expat bounds what entities may grow to, and loads nothing
    except ET.ParseError as error:
        raise DeviceError(f"{name}: the list cannot be read: {error}") from error


def _object(entry: ET.Element, name: str) -> Object:
    said = {part: entry.findtext(f"{{*}}{part}") or "" for part in ("Key", "ETag", "Size", "LastModified")}
    try:
        moment = datetime.fromisoformat(said["LastModified"])
        return Object(said["Key"], said["ETag"].strip('"'), int(said["Size"]), round(moment.timestamp() * 1e6) * 1000)
    except ValueError as error:
        raise DeviceError(f"{name}: the list has an object {said['Key']!r} that cannot be read: {error}") from error


def _refusal(answer: http.client.HTTPResponse) -> str:
    """Return why: S3 says it as XML, what stands in between says it in whatever way."""
    try:
        said = ET.fromstring(answer.read(1 << 16))  # noqa: S314 - as above
    except ET.ParseError:
        said = ET.Element("Error")
    code, text = said.findtext("{*}Code") or "", said.findtext("{*}Message") or ""
    return " ".join(filter(None, (f"{answer.status} {answer.reason}", code, text)))
