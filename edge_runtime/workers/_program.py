"""A worker that is a program of its own, in any language: it speaks the Runtime API."""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from time import monotonic_ns

from edge_runtime.workers._http import reply
from edge_runtime.workers._output import Publish
from edge_runtime.workers._runtime_api import Given, RuntimeApi, State
from edge_runtime.workers._worker import Fate, Reply, Worker, settle
from edge_runtime.workers._zygote import Zygote
from edge_runtime.workers.inside.frames import NO_CONTEXT, REQUEST, SUBJECT

_LONG_NS = 10_000_000
_NOW_AND_THEN = 15  # one in 16: to ask for the peak costs a tenth of a small invocation
_CREDENTIALS = struct.Struct("=iII")  # struct ucred, unix(7)
_UNFIT = re.compile(r"[\x00-\x1f\x7f]+")
_JSON = "application/json"


class ProgramWorker(Worker):
    """A worker that has become the program `spec["exec"]`, and asks for its events over HTTP.

    Raises: OSError as `Worker`, and when there is no address to listen at.
    """

    def __init__(self, zygote: Zygote, spec: Mapping[str, object], tmp: Path, publish: Publish) -> None:
        self._early: Reply | None = None
        self._pid_sent = 0
        self._arn = ""
        environment = dict(spec["environment"])  # type: ignore[call-overload]  # a mapping of texts
        self._api = RuntimeApi(self)
        host, port = self._api.address
        environment["AWS_LAMBDA_RUNTIME_API"] = f"{host}:{port}"
        region, name = environment.get("AWS_REGION", ""), environment.get("AWS_LAMBDA_FUNCTION_NAME", "")
        self._arn = f"arn:aws:lambda:{region}:000000000000:function:{name}"
        try:
            super().__init__(zygote, {**spec, "environment": environment}, tmp, publish)
        except BaseException:
            self._api.close()
            raise
        # The kernel then says who sends: the process as the host sees it, in whatever namespace it is.
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    async def open(self) -> None:
        """Take connections of the program. Raises: OSError."""
        self.began_ns = monotonic_ns()
        await self._api.open()

    def send(self, frame: bytes) -> bool:
        """Give the program a request, now or when it asks; False when it has gone."""
        if self.gone:
            return False
        self._api.give(self._given(frame))
        return True

    def wait(self, seconds: float) -> Reply | None:  # noqa: ARG002 - it answers through the event loop
        """Return None: the answer cannot come while the event loop stands still."""
        return None

    def roots(self) -> list[int]:
        """Return the program's process ids, as the zygote and as the kernel has told them."""
        if not self.gone and not self._pid_sent:
            self._read()  # it was sent before the program began, so it is there
        return [self._process.pid, self._pid_sent]

    def on_ready(self) -> None:
        """Take note that the program has asked for its first event."""
        self._answered("", b"")

    def on_answer(self, error: str, payload: bytes) -> None:
        """Take what became of the invocation in hand, or of the start."""
        self._answered(error, payload)

    def _answered(self, error: str, payload: bytes) -> None:
        busy_ns = monotonic_ns() - self.began_ns
        if busy_ns > _LONG_NS or not self.serial & _NOW_AND_THEN:
            self.peak_kb = max(self.peak_kb, _peak_kb(self._process.pid))
        if self._answer is not None:
            settle(self._answer, (error, payload, busy_ns))
        else:
            self._early = error, payload, busy_ns

    async def answer(self, deadline: float) -> Reply | Fate:
        """Return the answer, or why there is none at `deadline` (the loop's clock)."""
        if self._early is not None:
            early, self._early = self._early, None
            return early
        return await super().answer(deadline)

    def _given(self, frame: bytes) -> Given:
        _, payload, extra, name, kind, deadline = REQUEST.unpack_from(frame)
        start = REQUEST.size
        request_id = frame[start : (at := start + name)].decode()
        context, body = frame[at : at + extra], frame[at + extra : at + extra + payload]
        fields = self._context_fields(kind, context)
        at_ms = int(time.time() * 1e3) + max(0, deadline - monotonic_ns()) // 1_000_000
        request_id = _UNFIT.sub("", request_id)
        fields["Lambda-Runtime-Aws-Request-Id"] = request_id
        fields["Lambda-Runtime-Deadline-Ms"] = str(at_ms)
        lines = "".join(f"{key}: {value}\r\n" for key, value in fields.items())
        return Given(request_id, reply(200, body, fields=lines.encode()))

    def _context_fields(self, kind: int, context: bytes) -> dict[str, str]:
        fields = {"Content-Type": _JSON, "Lambda-Runtime-Invoked-Function-Arn": self._arn}
        if kind == NO_CONTEXT:
            return fields
        if kind == SUBJECT:
            fields["Lambda-Runtime-Client-Context"] = f'{{"custom": {{"subject": {_quoted(context.decode())}}}}}'
            return fields
        given = json.loads(context)  # the host's own, so it is sound
        client = _client_context(given)
        if client:
            fields["Lambda-Runtime-Client-Context"] = client
        if given.get("identity") is not None:
            fields["Lambda-Runtime-Cognito-Identity"] = _text(given["identity"])
        for key, name in _PLAIN.items():
            if given.get(key):
                fields[name] = _UNFIT.sub(" ", str(given[key]))
        return fields

    def _ask_to_end(self) -> None:
        if self._api.state is not State.FAILED:  # that one ends by itself
            self._zygote.terminate(self._process)

    def _why_gone(self) -> Fate:
        return Fate.UNSEEN if self._api.untouched else Fate.GONE

    def _on_readable(self) -> None:
        """Take what the process has sent on its socket."""
        if not self._read():
            self._loop.remove_reader(self._fd)

    def _read(self) -> bool:
        """Take the program's process id; then the end of the stream when it runs, or why it does not: then False."""
        try:
            data, ancillary, _, _ = self._sock.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
        except BlockingIOError:
            return True
        except OSError:
            data, ancillary = b"", []
        for level, kind, raw in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(raw) == _CREDENTIALS.size:
                self._pid_sent = self._pid_sent or _CREDENTIALS.unpack(raw)[0]
        self.fault += data.decode(errors="replace").strip("\n")
        return bool(data)

    def _disconnect(self) -> None:
        self._read()
        super()._disconnect()
        self._api.close()


_quoted = json.encoder.encode_basestring_ascii
_PLAIN = {
    "invoked_function_arn": "Lambda-Runtime-Invoked-Function-Arn",
    "tenant_id": "Lambda-Runtime-Aws-Tenant-Id",
    "trace_id": "Lambda-Runtime-Trace-Id",
    "content_type": "Content-Type",
}


def _client_context(given: Mapping[str, object]) -> str:
    client, custom = given.get("client_context"), given.get("custom")
    if custom is None:
        return "" if client is None else _text(client)
    if isinstance(client, str):
        try:
            client = json.loads(client)
        except ValueError:
            return _text(client)  # the program says what is wrong with it
    held = client if isinstance(client, dict) else {}
    own = held.get("custom")
    both = {**(own if isinstance(own, dict) else {}), **(custom if isinstance(custom, dict) else {})}
    return json.dumps({**held, "custom": both})


def _text(value: object) -> str:
    """Return JSON that fits into a header: on one line, in ASCII. What is no JSON stays as it is otherwise."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return _UNFIT.sub(" ", str(value))
    return json.dumps(value)


def _peak_kb(pid: int) -> int:
    try:
        with Path(f"/proc/{pid}/status").open("rb") as file:
            text = file.read()
    except OSError:
        return 0
    at = text.find(b"VmHWM:")
    return int(text[at + 6 : at + 30].split()[0]) if at >= 0 else 0
