"""Signed bundles, and a server that hands them out over https as badly as it is told to."""

from __future__ import annotations

import base64
import hashlib
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edge_runtime.pure.jobs import public_key
from edge_runtime.standin.certs import Certificates

BUNDLE = bytes(range(256)) * 1000


class Signer:
    """An Ed25519 key, made with openssl."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._run("genpkey", "-algorithm", "ed25519", "-out", "key.pem")
        self.public = folder / "public.pem"
        self._run("pkey", "-in", "key.pem", "-pubout", "-out", "public.pem")
        self.key = public_key(self.public.read_text())

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message."""
        (self._folder / "message").write_bytes(message)
        self._run(*["pkeyutl", "-sign", "-inkey", "key.pem", "-rawin", "-in", "message", "-out", "signature"])
        return (self._folder / "signature").read_bytes()

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True)  # noqa: S607 - by PATH, as the host does

    def document(self, url: str, data: bytes = BUNDLE, **change: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Return a job document for a bundle."""
        digest = hashlib.sha256(data).digest()
        bundle = {
            "url": url,
            "sha256": digest.hex(),
            "size": len(data),
            "signature": base64.b64encode(self.sign(digest)).decode(),
            "release": "1.4.0",
        }
        return {"version": "1.0", "operation": "edge.deploy", "bundle": {**bundle, **change}}


class Shop:
    """What the server does with a request, and what it was asked."""

    def __init__(self) -> None:
        self.data = BUNDLE
        self.cut: list[int] = []
        """After how many bytes the next answers break off."""
        self.statuses: list[int] = []
        """Of the next answers, in place of the bundle."""
        self.location = ""
        self.ranges = True
        self.wrong_range = ""
        self.asked: list[tuple[str, str]] = []
        """Path and range of each request."""
        self.url = ""
        self.before: Callable[[], None] = lambda: None


@contextmanager
def serving(files: Certificates) -> Iterator[Shop]:
    """Serve on a free port of 127.0.0.1."""
    shop = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, shop)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.server.cert, files.server.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    shop.url = f"https://127.0.0.1:{server.server_address[1]}/app.zip?X-Amz-Signature=secret"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield shop
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(request: BaseHTTPRequestHandler, shop: Shop) -> None:
    wanted = request.headers.get("Range", "")
    shop.asked.append((request.path, wanted))
    shop.before()
    if shop.statuses:
        request.send_response(shop.statuses.pop(0))
        if shop.location:
            request.send_header("Location", shop.location)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and shop.ranges else 0
    if begin >= len(shop.data):
        request.send_error(416)
        return
    request.send_response(206 if wanted and shop.ranges else 200)
    if wanted and shop.ranges:
        found = f"bytes {begin}-{len(shop.data) - 1}/{len(shop.data)}"
        request.send_header("Content-Range", shop.wrong_range or found)
    body = shop.data[begin:]
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if shop.cut:
        request.wfile.write(body[: shop.cut.pop(0)])
        request.close_connection = True
        return
    request.wfile.write(body)
