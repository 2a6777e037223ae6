"""The real program as a user runs it: `python -m edge_runtime run`, killed and started again, and who speaks to it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

from edge_runtime.control import LINE_LIMIT, SOCKET, pack
from edge_runtime.control.wire import address, decode, encode, error_from_json
from edge_runtime.errors import HostError
from edge_runtime.standin.server import Standin
from tests.system.oracle import CALLED, DIRECT, REPLIED, Promises, Verdict, judge
from tests.system.takers import Cloud, Taker

FULL = os.environ.get("EDGE_TORTURE") == "full"
"""The long form: hours rather than a minute."""
DRIVER = "awscrt" if importlib.util.find_spec("awscrt") else "paho"
_FENCE = "fence"
_PATIENCE_S = 60.0
_LONGEST_WAIT_S = 300.0
"""The uplink's, between two tries to connect."""

_APP = """
thing: pi-7
functions:
  f:
    code: ./code
    handler: app.handler
    timeout: 30s
    retries: 50
    retry_wait: 20ms
    events: [{{topic: "in/#"}}]
    on_success: {replied}
link:
  driver: {driver}
  endpoint: {endpoint}
  port: {port}
  keep_alive_s: {keep_alive_s}
  up: ["out/#"]
"""
_HANDLER = """
def handler(event, context):
    return event
"""


class Setup(NamedTuple):
    """How the host stands to the broker."""

    endpoint: str = "127.0.0.1"
    keep_alive_s: int = 30
    inside: tuple[str, ...] = ()
    """The command that it is run by, as in `ip netns exec`."""


USUAL = Setup()


class HostProcess:
    """A host in a process of its own, with an app of one function and one uplink."""

    def __init__(self, folder: Path, port: int, *, driver: str = DRIVER, more: str = "", setup: Setup = USUAL) -> None:
        """`more` is added to the app file, below `link`."""
        self._inside = setup.inside
        self.environment: dict[str, str] = {}
        """What it has in its environment beside ours."""
        self.state = folder / "state"
        self.up = asyncio.Event()
        """Set while it accepts events, as far as is known."""
        self.log: deque[str] = deque(maxlen=400)
        """Its last words, over all runs."""
        self.started_s = 0.0
        self.accepted_s: list[float] = []
        """How long each start took, from its first moment to the first accepted event."""
        self._folder = folder / "app"
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        (self._folder / "code").mkdir(parents=True)
        (self._folder / "code" / "app.py").write_text(_HANDLER, encoding="utf-8")
        link = {"driver": driver, "port": port, "endpoint": setup.endpoint, "keep_alive_s": setup.keep_alive_s}
        text = _APP.format(replied=REPLIED, **link) + more
        (self._folder / "edge.yaml").write_text(text, encoding="utf-8")

    @property
    def pid(self) -> int:
        """The process id. Raises: AssertionError when it was not started."""
        assert self._process is not None
        return self._process.pid

    async def start(self, failpoint: str = "") -> None:
        """Start it; returns at once. `failpoint` is where it kills itself, as in `edge_runtime.failpoint`."""
        self.started_s = time.monotonic()
        self._process = await asyncio.create_subprocess_exec(
            *(
                *self._inside,
                sys.executable,
                "-m",
                "edge_runtime",
                "run",
                str(self._folder),
                "--state",
                str(self.state),
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                **self.environment,
                "EDGE_FAILPOINT": failpoint,
                "EDGE_LOG": "warning" if failpoint else "info",
            },
        )
        self._reader = asyncio.create_task(self._read(self._process), name="host.log")

    def freeze(self) -> None:
        """Stop it where it is."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    async def kill(self) -> None:
        """End it as a power cut does, and return when it is gone."""
        self.up.clear()
        os.kill(self.pid, signal.SIGKILL)
        assert await self.died() == -signal.SIGKILL

    async def stop(self) -> None:
        """End it in order, and return when it is gone."""
        self.up.clear()
        os.kill(self.pid, signal.SIGTERM)
        assert await self.died() == 0, "\n".join(self.log)

    async def died(self) -> int:
        """Return its exit status, once it has ended."""
        assert self._process is not None
        async with asyncio.timeout(_PATIENCE_S):
            status = await self._process.wait()
        if self._reader is not None:
            await self._reader
        return status

    async def close(self) -> None:
        """End it, however it is."""
        if self._process is not None and self._process.returncode is None:
            os.kill(self.pid, signal.SIGCONT)
            await self.kill()

    async def ask(self, verb: str, **args: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Ask as `edge` does. Raises: HostError when it is not there or dies meanwhile; what the host raised."""
        try:
            with address(self.state / SOCKET) as name:
                reader, writer = await asyncio.open_unix_connection(name, limit=LINE_LIMIT)
        except OSError as error:
            raise HostError("it does not listen") from error
        try:
            writer.write(encode({"verb": verb, **args}))
            line = await reader.readline()
        except OSError as error:
            raise HostError("it died") from error
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        if not line:
            raise HostError("it died")
        answer = decode(line)
        if "error" in answer:
            raise error_from_json(answer["error"])
        return dict(answer["done"])

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self.log.append(line)
            if line.endswith(f"state in {self.state}"):
                self.up.set()
        self.up.clear()


class Producer:
    """Publishes numbered events, one after the other, and remembers those that were acknowledged."""

    def __init__(self, host: HostProcess) -> None:
        self.promises = Promises()
        self.unknown = 0
        """Events of which nobody knows whether they were accepted: the host died meanwhile."""
        self._host = host
        self._numbers = itertools.count()
        self._pad = "x" * 60
        self._more = asyncio.Event()

    async def run(self) -> None:
        """Publish for ever, by turns what goes up as it is and what sets off the function."""
        while True:
            number = next(self._numbers)
            await self.publish(CALLED if number % 2 else DIRECT, {"n": number, "pad": self._pad})

    async def publish(self, topic: str, event: object) -> str:
        """Publish one event; return its id, or an empty text when the host died."""
        payload = json.dumps(event).encode()
        started_s = self._host.started_s
        try:
            answer = await self._host.ask("publish", topic=topic, payload=pack(payload))
        except HostError:
            self.unknown += 1
            await self._retry_soon()
            return ""
        if not self._host.up.is_set():
            self._host.up.set()  # it accepts, whether or not it has said so
        if len(self._host.accepted_s) == 0 or self._last_start != started_s:
            self._last_start = started_s
            self._host.accepted_s.append(time.monotonic() - started_s)
        self.promises.accepted[answer["id"]] = (topic, payload)
        self._more.set()
        return str(answer["id"])

    _last_start = 0.0

    async def accepted(self, count: int) -> None:
        """Return when so many more events were acknowledged."""
        wanted = len(self.promises.accepted) + count
        async with asyncio.timeout(_PATIENCE_S):
            while len(self.promises.accepted) < wanted:
                self._more.clear()
                await self._more.wait()

    async def _retry_soon(self) -> None:
        """Wait for the host, without taking part in its start; some failpoints strike before it says that it is up."""
        self._host.up.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                await self._host.up.wait()


class Site:
    """A host, its producer, and who takes what comes up."""

    def __init__(self, folder: Path, taker: Taker, driver: str, more: str = "", *, setup: Setup = USUAL) -> None:
        self.taker = taker
        self.host = HostProcess(folder, taker.port, driver=driver, more=more, setup=setup)
        self.producer = Producer(self.host)
        self._producing: asyncio.Task[None] | None = None

    def produce(self) -> None:
        """Begin to publish events."""
        self._producing = asyncio.create_task(self.producer.run(), name="producer")

    async def quiet(self) -> None:
        """Publish no more."""
        if self._producing is not None:
            self._producing.cancel()
            await asyncio.gather(self._producing, return_exceptions=True)

    async def finish(self, *, in_order: bool = True) -> Verdict:
        """Let everything drain, end the host in order, and judge."""
        await self.quiet()
        await self.fence()
        await self.drained()
        await self.host.stop()
        return judge(self.producer.promises, self.taker.deliveries, self.host.state / "queue.db", in_order=in_order)

    async def drained(self) -> None:
        """Return when nothing is queued, which is soon after the fence: nothing but asking tells."""
        async with asyncio.timeout(_PATIENCE_S):
            while any(row["queued"] for row in (await self.host.ask("ledger"))["rows"]):
                pass

    async def fence(self) -> None:
        """Return when a last event of each kind, and so all before it, has reached the cloud."""
        await asyncio.wait_for(self.host.up.wait(), _PATIENCE_S)
        number = 10**9 + len(self.producer.promises.accepted)
        for topic, arrived in ((CALLED, REPLIED), (DIRECT, DIRECT)):
            payload = {"n": number, _FENCE: topic}
            assert await self.producer.publish(topic, payload)
            async with asyncio.timeout(_LONGEST_WAIT_S + _PATIENCE_S):
                await self.taker.until(self._has(arrived, payload))

    def _has(self, topic: str, payload: dict[str, Any]) -> Callable[[], bool]:
        looked = 0

        def has() -> bool:
            nonlocal looked
            taken = self.taker.deliveries
            fresh, looked = taken[looked:], len(taken)
            return any(one.topic == topic and json.loads(one.payload) == payload for one in fresh)

        return has


@contextlib.asynccontextmanager
async def site(
    folder: Path, taker: Taker, *, driver: str = DRIVER, more: str = "", setup: Setup = USUAL
) -> AsyncIterator[Site]:
    """End whatever host runs in the end, and show its last words when something failed. `more`: as `HostProcess`."""
    it = Site(folder, taker, driver, more, setup=setup)
    try:
        yield it
    except BaseException:
        sys.stderr.write("\n".join([*it.host.log][-40:]) + "\n")
        raise
    finally:
        await it.quiet()
        await it.host.close()


@contextlib.asynccontextmanager
async def cloud_site(folder: Path, *, driver: str = DRIVER) -> AsyncIterator[tuple[Site, Standin]]:
    """Run a stand-in for the cloud, and a site that speaks to it."""
    async with Standin(quotas="none") as standin, site(folder, Cloud(standin), driver=driver) as it:
        yield it, standin
