"""A server that lends credentials, as AWS IoT Core's credentials provider does or as a nucleus."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from edge_runtime.standin.certs import TlsFiles


class Lender:
    """What it says next, and what it was asked."""

    def __init__(self) -> None:
        self.now = datetime(2031, 5, 1, 12, 0, 0, tzinfo=UTC)
        """Its clock, which is right."""
        self.life_s = 3600.0
        self.status = 200
        self.body: bytes | None = None
        """Said in place of credentials."""
        self.flat = False
        """Say it as a nucleus does."""
        self.asked: list[tuple[str, dict[str, str], str]] = []
        """Path, headers, and the common name of the certificate."""
        self.port = 0

    def answer(self) -> bytes:
        """Return the body for a request, with keys that are numbered."""
        if self.body is not None:
            return self.body
        end, number = (self.now + timedelta(seconds=self.life_s)).strftime("%Y-%m-%dT%H:%M:%SZ"), len(self.asked)
        if self.flat:
            return json.dumps(
                {"AccessKeyId": f"ASIA{number}", "SecretAccessKey": "s", "Token": "t", "Expiration": end}
            ).encode()
        inner = {"accessKeyId": f"ASIA{number}", "secretAccessKey": "s", "sessionToken": "t", "expiration": end}
        return json.dumps({"credentials": inner}).encode()


@contextmanager
def lender(tls: TlsFiles | None = None) -> Iterator[Lender]:
    """Serve on loopback while the block runs, with mutual TLS when files are given."""
    it = Lender()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = _common_name(self.connection) if isinstance(self.connection, ssl.SSLSocket) else ""
            it.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, name))
            body = it.answer()
            self.send_response_only(it.status)
            self.send_header("Date", format_datetime(it.now, usegmt=True))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of the base class
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(tls.cert, tls.key)
        context.load_verify_locations(tls.ca)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    it.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="lender")
    thread.start()
    try:
        yield it
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _common_name(connection: ssl.SSLSocket) -> str:
    peer: Any = connection.getpeercert()  # typeshed has several shapes for what is a tuple of tuples of pairs
    return str({key: value for part in peer["subject"] for key, value in part}["commonName"])
