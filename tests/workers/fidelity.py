"""Runs the same handlers in AWS's own runtime client and in a worker of ours, and shows both in the same shape."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from edge_runtime.app import Function
from edge_runtime.model import Result
from edge_runtime.workers._environment import environment
from edge_runtime.workers.pool import Pool

REQUEST = "11111111-2222-3333-4444-555555555555"
ARN = "arn:aws:lambda:local:000000000000:function:f"
NOTHING: Mapping[str, str] = {}
_HEADERS = {
    "client_context": "Lambda-Runtime-Client-Context",
    "identity": "Lambda-Runtime-Cognito-Identity",
    "trace_id": "Lambda-Runtime-Trace-Id",
    "tenant_id": "Lambda-Runtime-Aws-Tenant-Id",
    "content_type": "Content-Type",
}
_BETWEEN = re.compile(r'\{"time":[^\n]*"type":"platform\.[^\n]*\n|(START|END|REPORT) RequestId: [^\n]*\n')
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
_STREAM = re.compile(r"\d{4}/\d\d/\d\d/\[\$LATEST\]\w+")
_OWN = r"[^\"\r\n\\]*(?:awslambdaric|workers/inside)/"
_FRAMES = (
    (re.compile(rf'"  File \\"{_OWN}(?:[^"\\]|\\.)*"'), '"RUNTIME"'),  # in JSON
    (re.compile(rf'\xa0\xa0File "{_OWN}[^\r\n]*\r[^\r\n]*'), "RUNTIME"),  # in the log
    (re.compile(rf'  File "(?:<frozen runpy>|{_OWN})[^\n]*\n(?:    [^\n]*\n)*'), ""),  # as Python prints it
    (re.compile(r"Previous line repeated \d+ more"), "Previous line repeated MANY more"),  # below the same bound
)
_ADVICE = re.compile(r"\[WARNING\]\tTIME\t\tLAMBDA_WARNING: [^\n]*\n")
"""AWS's client says before an error of the init phase that an update of its runtime may be to blame. Here is none."""


class Step(NamedTuple):
    """One event."""

    event: object
    given: Mapping[str, str] = NOTHING
    """What comes with it, by the names that `Pool.invoke` has for it."""
    raw: bytes | None = None
    """The payload, if it is not the event as JSON."""

    @property
    def payload(self) -> bytes:
        """The bytes of the event."""
        return json.dumps(self.event).encode() if self.raw is None else self.raw


class Seen(NamedTuple):
    """What became of an event."""

    reply: str
    kind: str
    """`response`, `error`, `init/error`, or how the process ended."""
    output: str


class _Api:
    """As much of the Lambda Runtime API as the client needs to be given some events."""

    def __init__(self, steps: Sequence[Step], output: Path) -> None:
        self._steps = list(steps)
        self._output = output
        self._from = 0
        self.seen: list[Seen] = []
        self.done = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                size = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                if re.search(r"transfer-encoding: chunked", head, re.IGNORECASE):
                    body = await self._chunks(reader)
                else:
                    body = await reader.readexactly(int(size[1])) if size else b""
                answer = self._answer(head, body)
                if not answer:
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()

    @staticmethod
    async def _chunks(reader: asyncio.StreamReader) -> bytes:
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return body

    def text(self) -> str:
        """Return what was printed since the last time."""
        raw = self._output.read_bytes()
        self._from, before = len(raw), self._from
        return raw[before:].decode(errors="replace")

    def _answer(self, head: str, body: bytes) -> bytes:
        verb, path, _ = head.split(" ", 2)
        if verb == "POST":
            self.seen.append(Seen(body.decode(errors="backslashreplace"), path.rsplit("/", 1)[1], self.text()))
            return (
                b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"OK"}'
            )
        if len(self.seen) == len(self._steps):
            self.done.set()
            return b""
        step = self._steps[len(self.seen)]
        lines = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": REQUEST,
            "Lambda-Runtime-Deadline-Ms": str(time.time_ns() // 1_000_000 + 3000),
            "Lambda-Runtime-Invoked-Function-Arn": ARN,
            **{_HEADERS[name]: value for name, value in step.given.items()},
            "Content-Length": str(len(step.payload)),
        }
        return (
            "\r\n".join(["HTTP/1.1 200 OK", *(f"{k}: {v}" for k, v in lines.items()), "", ""]).encode() + step.payload
        )


async def theirs(function: Function, steps: Sequence[Step]) -> list[Seen]:
    """Give the events to one process of AWS's client. One that ends early has no more answers."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch, "output")
        api = _Api(steps, output)
        async with await asyncio.start_server(api.serve, "127.0.0.1", 0, limit=1 << 24) as server:
            host, port = server.sockets[0].getsockname()
            values = environment(function, "pi-7", function.code, Path("/tmp"), "1")  # noqa: S108 - read, not written
            values["AWS_LAMBDA_RUNTIME_API"] = f"{host}:{port}"
            handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "awslambdaric", function.handler),
                cwd=function.code,
                env=values,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
            )
            os.close(handle)
            ended, done = asyncio.ensure_future(process.wait()), asyncio.ensure_future(api.done.wait())
            async with asyncio.timeout(30):
                await asyncio.wait([ended, done], return_when=asyncio.FIRST_COMPLETED)
            done.cancel()
            if ended.done():
                if not (api.seen and api.seen[-1].kind == "error" and len(api.seen) == len(steps)):
                    api.seen.append(Seen("", _how(ended.result()), api.text()))
            else:
                process.send_signal(signal.SIGKILL)
                await ended
        return [_neutral(seen, function.code) for seen in api.seen]


def _how(code: int) -> str:
    return f"exit status {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


async def ours(pool: Pool, function: Function, steps: Sequence[Step]) -> list[Seen]:
    """Give the events to a worker of ours."""
    found = []
    for step in steps:
        result = await pool.invoke(
            function.name, step.payload, request_id=REQUEST, context={"invoked_function_arn": ARN, **step.given}
        )
        found.append(_neutral(_seen(result), function.code))
    return found


def _seen(result: Result) -> Seen:
    reply, kind = result.payload.decode(errors="backslashreplace"), "error" if result.error else "response"
    output = _BETWEEN.sub("", result.log)
    if result.error == "Runtime.ExitError":
        reason = json.loads(reply)["errorMessage"].partition("Error: Runtime exited ")[2]
        output = output[: output.index(f"RequestId: {REQUEST} Error:")]
        name = {"signal: killed": "SIGKILL", "signal: aborted": "SIGABRT", "signal: interrupt": "SIGINT"}
        reason = reason.removeprefix("with error: ")
        kind = (
            f"signal {name[reason]}"
            if reason in name
            else reason.replace("without providing a reason", "exit status 0")
        )
        reply = ""
    return Seen(reply, kind, output)


def _neutral(seen: Seen, root: Path) -> Seen:
    def plain(text: str) -> str:
        text = _STREAM.sub("STREAM", _TIME.sub("TIME", text)).replace(str(root), "ROOT").replace("/var/task", "ROOT")
        for frame, name in _FRAMES:
            text = frame.sub(name, text)
        return _ADVICE.sub("", text)

    # A worker's output ends with a line; the client's may not.
    output = plain(seen.output)
    return Seen(plain(seen.reply), seen.kind, output if output.endswith("\n") or not output else f"{output}\n")
