"""A metadata service as a Snowball Edge has it: one connection on standard input and output, in a process of its own.

    python metadata.py FOLDER

`FOLDER/meta-data`, `dynamic` and `user-data` are what it tells. `FOLDER/mode` is `v1`: whoever asks is answered, and a
token is refused as services of before tokens did; or `v2`: nobody is answered without a token. Requests are added to
`FOLDER/asked`. What is there is what AWS documents: Snowball Edge developer guide, "Supported instance metadata and
user data".
"""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path

VERSIONS = ("latest", "2009-04-04")
TOKEN = "AQAEAFake=="  # noqa: S105 - it opens nothing


def put(folder: Path, user_data: bytes, key: str, mode: str = "v1") -> Path:
    """Write down what a machine is told; return the folder."""
    mac = "52:54:00:12:34:56"
    about = {
        "ami-id": "s.ami-0123456789abcdef0",
        "hostname": "field-7.local",
        "instance-id": "s.i-0123456789abcdef0",
        "instance-type": "sbe-c.large",
        "local-hostname": "field-7.local",
        "local-ipv4": "169.254.169.15",
        "mac": mac,
        f"network/interfaces/macs/{mac}/local-hostname": "field-7.local",
        f"network/interfaces/macs/{mac}/local-ipv4s": "169.254.169.15",
        f"network/interfaces/macs/{mac}/mac": mac,
        "public-keys/0/openssh-key": key,
        "reservation-id": "s.r-0123456789abcdef0",
    }
    document = {"instanceId": about["instance-id"], "instanceType": about["instance-type"], "region": None}
    files = {f"meta-data/{name}": text for name, text in about.items()}
    files["dynamic/instance-identity/document"] = json.dumps(document)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "user-data").write_bytes(user_data)
    (folder / "mode").write_text(mode)
    return folder


class Service(BaseHTTPRequestHandler):
    """One connection of it."""

    folder: Path

    def setup(self) -> None:
        """Take standard input and output in place of a socket."""
        self.rfile, self.wfile = sys.stdin.buffer, sys.stdout.buffer  # type: ignore[assignment] # as good as theirs

    def do_PUT(self) -> None:
        """Give a token away, or not."""
        if self._mode == "v1":
            self._answer(HTTPStatus.NOT_FOUND)
        elif self.path != "/latest/api/token" or "X-aws-ec2-metadata-token-ttl-seconds" not in self.headers:
            self._answer(HTTPStatus.BAD_REQUEST)
        else:
            self._answer(HTTPStatus.OK, TOKEN.encode())

    def do_GET(self) -> None:
        """Tell what a path holds."""
        version, _, rest = self.path.removeprefix("/").partition("/")
        if self._mode == "v2" and self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
            self._answer(HTTPStatus.UNAUTHORIZED)
            return
        place = self.folder / rest.rstrip("/")
        if version not in VERSIONS or rest.split("/")[0] not in ("meta-data", "user-data", "dynamic") or ".." in rest:
            self._answer(HTTPStatus.NOT_FOUND)
        elif place.is_file():
            self._answer(HTTPStatus.OK, place.read_bytes())
        elif place.name == "public-keys" and place.is_dir():
            self._answer(HTTPStatus.OK, b"0=edge")
        elif place.is_dir():
            names = (f"{path.name}/" if path.is_dir() else path.name for path in sorted(place.iterdir()))
            self._answer(HTTPStatus.OK, "\n".join(names).encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Keep what was asked, and what was answered."""
        with (self.folder / "asked").open("a") as file:
            file.write(f"{format % args}\n")

    @property
    def _mode(self) -> str:
        return (self.folder / "mode").read_text()

    def _answer(self, status: HTTPStatus, data: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(data)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()
        self.close_connection = True


if __name__ == "__main__":
    Service.folder = Path(sys.argv[1])
    Service(None, ("", 0), None)  # type: ignore[arg-type] # there is neither a socket nor a server
