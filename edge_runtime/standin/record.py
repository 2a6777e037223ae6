"""The record of every accepted PUBLISH: the oracle of loss tests.

It is written before the PUBACK leaves. A broker that acknowledges first and records afterwards hides losses.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from edge_runtime.errors import ConfigError, StoreError


class Published(NamedTuple):
    """One PUBLISH that was accepted."""

    topic: str
    payload: bytes
    user: tuple[tuple[str, str], ...]
    """The MQTT 5 user properties, in order."""
    qos: int
    retain: bool
    dup: bool
    packet_id: int
    """0 with QoS 0."""
    connection: int
    """Which connection it came on, counted from 1."""
    client_id: str
    arrived_ns: int
    """When its bytes were read, by the steady clock."""
    acked_ns: int
    """When its PUBACK was handed to the transport, by the steady clock; 0 when none was sent (QoS 0, or lost on
    purpose). An injected delay comes on top. That the client received it is for the client to say."""
    wall_ns: int
    """When its bytes were read, by the wall clock."""

    def line(self) -> bytes:
        """Return this as one line of JSON, the payload in base64."""
        fields = {**self._asdict(), "payload": base64.b64encode(self.payload).decode()}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"


class Record:
    """Keeps entries in memory, appends them to a file, or both.

    `path` is appended to and made when missing; each batch is one write to the operating system, so that a killed
    process loses nothing it has acknowledged (a machine without power does).

    Raises: ConfigError when the file cannot be opened.
    """

    def __init__(self, path: Path | None = None, *, keep: bool = True) -> None:
        self.entries: list[Published] = []
        self.count = 0
        """How many were recorded, kept in memory or not."""
        self._keep = keep
        self._file: FileIO | None = None
        if path is not None:
            try:
                self._file = FileIO(path, "ab")
            except OSError as error:
                raise ConfigError(f"the record file {path} cannot be opened: {error.strerror}") from error

    def extend(self, entries: Iterable[Published]) -> None:
        """Add a batch; when this returns, it is in the file.

        Raises: StoreError when it could not be written; nothing of the batch may then be acknowledged.
        """
        batch = list(entries)
        if self._file is not None and batch:
            self._write(b"".join([entry.line() for entry in batch]))
        self.count += len(batch)
        if self._keep:
            self.entries += batch

    def _write(self, data: bytes) -> None:
        assert self._file is not None  # noqa: S101 - narrows the type; the caller has looked
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise StoreError(f"the record file {self._file.name!r} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_record(path: Path) -> list[Published]:
    """Return the entries of a record file; a last line that was cut off by a crash is left out."""
    entries: list[Published] = []
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        fields = json.loads(line)
        fields["payload"] = base64.b64decode(fields["payload"])
        fields["user"] = tuple((key, value) for key, value in fields["user"])
        entries.append(Published(**fields))
    return entries
