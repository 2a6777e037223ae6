"""A small server that speaks as S3 does: lists of version 1 a page at a time, objects, signatures that are proved."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from edge_runtime.pure.sigv4 import Keys, signed_get

KEYS = Keys("AKIAEXAMPLE", "secret")
START = datetime(2026, 11, 23, 2, 30, tzinfo=UTC)


@dataclass
class Bucket:
    """A server with one bucket. `objects` are its content; each gets its time when it is put."""

    name: str = "pictures"
    page: int = 1000
    objects: dict[str, bytes] = field(default_factory=dict)
    refuse: tuple[int, str] | None = None
    """A status and a body with which all is refused."""
    cut: bool = False
    """Objects end before their end."""
    listed: int = 0
    asked: list[str] = field(default_factory=list)
    on_list: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        bucket = self
        self.times: dict[str, datetime] = {}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, body, size = bucket.answer(self.path, dict(self.headers.items()))
                self.send_response(status)
                self.send_header("content-length", str(size))
                self.send_header("connection", "close")
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of the base class
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Self:
        """Serve."""
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def put(self, key: str, data: bytes) -> None:
        """Put an object, a second later than the one before."""
        self.times[key] = datetime.fromtimestamp(START.timestamp() + len(self.times), UTC)
        self.objects[key] = data

    def answer(self, target: str, headers: dict[str, str]) -> tuple[int, bytes, int]:
        """Return status, body and the length that is told."""
        if self.refuse is not None:
            return self.refuse[0], self.refuse[1].encode(), len(self.refuse[1])
        parts = urlsplit(target)
        if not _is_signed(parts.path, parts.query, headers):
            body = b"<Error><Code>SignatureDoesNotMatch</Code><Message>Check your key.</Message></Error>"
            return 403, body, len(body)
        _, name, *rest = unquote(parts.path).split("/", 2)
        if name != self.name:
            body = b"<Error><Code>NoSuchBucket</Code></Error>"
            return 404, body, len(body)
        if not rest:
            body = self._list(dict(parse_qsl(parts.query))).encode()
            return 200, body, len(body)
        self.asked.append(rest[0])
        data = self.objects[rest[0]]
        return 200, data[: len(data) // 2] if self.cut else data, len(data) // 2 if self.cut else len(data)

    def _list(self, query: dict[str, str]) -> str:
        if "marker" not in query:
            self.listed += 1
            if self.on_list is not None:
                self.on_list()
        after, prefix = query.get("marker", ""), query.get("prefix", "")
        keys = sorted(key for key in self.objects if key > after and key.startswith(prefix))
        page = "".join(self._entry(key) for key in keys[: self.page])
        more = "true" if len(keys) > self.page else "false"
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{self.name}</Name><IsTruncated>{more}</IsTruncated>{page}</ListBucketResult>"
        )

    def _entry(self, key: str) -> str:
        data = self.objects[key]
        etag = md5(data, usedforsecurity=False).hexdigest()
        when = self.times[key].strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return (
            f"<Contents><Key>{escape(key)}</Key><LastModified>{when}</LastModified><ETag>&quot;{etag}&quot;</ETag>"
            f"<Size>{len(data)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )


def _is_signed(path: str, query: str, headers: dict[str, str]) -> bool:
    given = {name.lower(): value for name, value in headers.items()}
    if "x-amz-date" not in given:
        return False
    moment = datetime.strptime(given["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    wanted = signed_get(given["host"], path, query, KEYS, region="snow", epoch_s=moment)
    return given.get("authorization") == wanted["authorization"]
