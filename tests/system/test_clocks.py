"""Clocks that are wrong, and clocks that jump: 1970 at boot, ten years either way, 2038 and 2106, while it sends.

Each host has a wall clock of its own, by a library that is loaded before all others. The cloud has the right time.
"""

from __future__ import annotations

import asyncio
import functools
import json
import mmap
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.standin import certs
from edge_runtime.standin.server import Standin
from tests.system.oracle import CALLED, DIRECT, REPLIED
from tests.system.rig import DRIVER, FULL, Site, site
from tests.system.takers import Cloud

S = 1_000_000_000
YEAR_S = 365.25 * 86_400
UNKNOWN, RIGHT, MAY_NOT_BE_ASKED = range(3)
ROUNDS = 10 if FULL else 1
DRIVERS = sorted({DRIVER, "paho"})
TIMESYNCD = Path("/run/systemd/timesync").exists()
_CONTROL = struct.Struct("=qq")
_PATIENCE_S = 60.0


@functools.cache
def library() -> Path | None:
    """Build the shim, once; None where there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        return None
    built = Path(tempfile.mkdtemp(prefix="clockshim-")) / "clockshim.so"
    source = Path(__file__).with_name("clockshim.c")
    subprocess.run([compiler, "-Wall", "-Wextra", "-shared", "-fPIC", "-O2", "-o", built, source], check=True)
    return built


class WallClock:
    """The wall clock of a host."""

    def __init__(self, folder: Path) -> None:
        shim = library()
        if shim is None:
            pytest.skip("no C compiler: a host cannot be given a clock of its own (apt-get install gcc)")
        self._path = folder / "clock"
        self._path.write_bytes(_CONTROL.pack(0, UNKNOWN))
        self.environment = {"LD_PRELOAD": str(shim), "CLOCKSHIM": str(self._path)}

    def step(self, off_s: float, state: int = UNKNOWN) -> None:
        """Set the clock, so that it is off by this, as `date` or NTP does."""
        handle = os.open(self._path, os.O_WRONLY)
        os.pwrite(handle, _CONTROL.pack(int(off_s * S), state), 0)
        os.close(handle)

    def step_to(self, wall_s: float, state: int = UNKNOWN) -> None:
        """Set the clock to a time."""
        self.step(wall_s - time.time(), state)

    def become(self, state: int) -> None:
        """Have the kernel know something else of the clock, which itself stays as it is."""
        with self._path.open("r+b") as file, mmap.mmap(file.fileno(), _CONTROL.size) as mapped:
            mapped[8:16] = struct.pack("=q", state)


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> certs.Certificates:
    """Certificates that begin to hold today, and end within ten years."""
    return certs.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def identity(files: certs.Certificates) -> str:
    client = files.client
    return f"  certificate: {client.cert}\n  key: {client.key}\n  ca: {client.ca}\nqueue: {{ttl: 1h}}\n"


@asynccontextmanager
async def running(
    folder: Path, clock: WallClock, *, more: str, tls: certs.TlsFiles | None, driver: str
) -> AsyncIterator[tuple[Site, Standin]]:
    """Run a cloud with the right time, and make a site whose host has a clock of its own."""
    standin = Standin(quotas="none")
    await standin.start(tls=tls)
    try:
        async with site(folder, Cloud(standin), driver=driver, more=more) as it:
            it.host.environment = dict(clock.environment)
            yield it, standin
    finally:
        await standin.close()


async def link_state(it: Site, wanted: str, word: str = "") -> Mapping[str, Any]:
    """Return the state of the link as soon as it is `wanted`, and its last error says `word`."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            link: Mapping[str, Any] = (await it.host.ask("status"))["link"]
            if link["state"] == wanted and word in link["last_error"]:
                return link
            await asyncio.sleep(0.02)  # nothing but asking tells


def stamps(cloud: Standin, since_s: float) -> Iterator[tuple[str, float]]:
    """Yield the mark of every event, and when it happened, in seconds since the test began."""
    for one in cloud.record:
        if one.topic in (DIRECT, REPLIED):
            user = dict(one.user)
            yield user.get("edge-clock", "synced"), int(user["edge-time"]) / 1e3 - since_s


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_host_that_boots_in_1970_keeps_everything_and_connects_when_the_clock_is_set(
    tmp_path: Path, clock: WallClock, files: certs.Certificates, identity: str, driver: str
) -> None:
    began_s = time.time()
    async with running(tmp_path, clock, more=identity, tls=files.server, driver=driver) as (it, cloud):
        clock.step_to(60)
        await it.host.start()
        it.produce()
        await it.producer.accepted(100)
        waits = await link_state(it, "waiting", "waiting for the time")
        assert waits["last_error"].startswith("the clock says 1970-01-01; waiting for the time (it was 20")
        assert waits["connects"] == 0
        await it.host.kill()
        await it.host.start()
        await it.producer.accepted(100)
        status = await it.host.ask("status")
        assert status["clock"]["fault"].startswith("the clock says 1970-01-01, which is wrong")
        assert cloud.counts["connections"] == 0
        assert cloud.counts["connected"] == 0
        set_s = time.monotonic()
        clock.step(0, RIGHT)
        await link_state(it, "up")
        assert time.monotonic() - set_s < 20  # it takes well below a second on a machine with nothing else to do
        assert cloud.counts["connected"] == 1
        await it.producer.accepted(50)
        verdict = await it.finish()
        assert verdict.accepted > 250
        marks = list(stamps(cloud, began_s))
        assert {mark for mark, _ in marks} == {"corrected", "synced"}
        assert all(-1 < happened_s < time.time() - began_s for _, happened_s in marks)
        direct = [int(dict(one.user)["edge-time"]) for one in cloud.record if one.topic == DIRECT]
        assert direct == sorted(direct)


@pytest.mark.long
@pytest.mark.timeout(ROUNDS * 120 + 120)
@pytest.mark.parametrize("driver", DRIVERS)
async def test_ten_years_either_way_while_it_sends_over_tls(
    tmp_path: Path, clock: WallClock, files: certs.Certificates, identity: str, driver: str
) -> None:
    async with running(tmp_path, clock, more=identity, tls=files.server, driver=driver) as (it, cloud):
        clock.become(RIGHT)
        await it.host.start()
        it.produce()
        await it.fence()
        for number in range(ROUNDS):
            if number:
                await it.host.kill()  # a new one does not wait longer and longer because connections did not last
                await it.host.start()
                await it.producer.accepted(25)
            clock.step(-10.5 * YEAR_S)
            await it.producer.accepted(50)  # the connection stands: nobody asks for the time
            cloud.faults.drop()
            await link_state(it, "waiting", "waiting for the time")
            await it.producer.accepted(50)
            clock.step(0, RIGHT)
            await it.fence()
            clock.step(10.5 * YEAR_S)
            await it.producer.accepted(50)
            cloud.faults.drop()
            said = (await link_state(it, "waiting", "as the clock of this machine says"))["last_error"]
            assert "certificate has expired" in said
            await it.producer.accepted(50)
            set_s = time.monotonic()
            clock.step(0, RIGHT)
            await it.fence()
            assert time.monotonic() - set_s < _PATIENCE_S
        verdict = await it.finish()
        assert verdict.accepted > 200 * ROUNDS
        events = [json.loads(one.payload) for one in cloud.record if one.topic == DIRECT]
        assert len(events) >= 100 * ROUNDS


@pytest.mark.long
@pytest.mark.timeout(ROUNDS * 120 + 120)
async def test_the_ends_of_time_while_it_sends_and_restarts(tmp_path: Path, clock: WallClock) -> None:
    began_s = time.time()
    async with running(tmp_path, clock, more="queue: {ttl: 1h}\n", tls=None, driver=DRIVER) as (it, cloud):
        clock.step_to(2**31 - 3)  # 2038-01-19T03:14:05Z
        await it.host.start()
        it.produce()
        await it.fence()
        for _ in range(ROUNDS):
            for wall_s in (2**31 - 1, 2**32 - 1, 60, began_s - 10 * YEAR_S, began_s + 10 * YEAR_S, 2**33):
                clock.step_to(wall_s)
                await it.producer.accepted(25)
            cloud.faults.drop()
            await it.fence()
            await it.host.kill()
            clock.step_to(5)
            await it.host.start()
            await it.producer.accepted(50)
        clock.step(0, RIGHT)
        await it.producer.accepted(25)
        verdict = await it.finish()
        assert verdict.accepted > 225 * ROUNDS
        last = [mark for mark, _ in stamps(cloud, began_s)][-1]
        assert last == "synced"
        assert all(one.topic in (DIRECT, REPLIED, CALLED) for one in cloud.record)


async def test_a_machine_whose_kernel_may_not_be_asked_asks_systemd(tmp_path: Path, clock: WallClock) -> None:
    """As a unit with ProtectClock, on a machine with chrony in place of timesyncd."""
    if TIMESYNCD:
        pytest.skip("timesyncd runs here, and says itself whether the clock is right")
    tool, code = (
        tmp_path / "timedatectl",
        (
            "import asyncio\nfrom edge_runtime.clock import SystemClock, wall_is_synced\n"
            "print(wall_is_synced(), asyncio.run(SystemClock().is_right()))"
        ),
    )
    clock.become(MAY_NOT_BE_ASKED)
    environment = {**os.environ, **clock.environment, "PATH": str(tmp_path)}
    for answer in (True, False):
        word = "yes" if answer else "no"
        tool.write_text(f'#!/bin/sh\n[ "$2" = --property=NTPSynchronized ] && echo {word}\n', encoding="ascii")
        tool.chmod(0o755)
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=subprocess.PIPE, env=environment
        )
        said, _ = await program.communicate()
        assert said.decode().split() == [str(answer)] * 2
