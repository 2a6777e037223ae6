"""What must hold whatever a network or a broker does, and a site that is exposed to them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_runtime.app import Uplink
from edge_runtime.errors import HostError
from edge_runtime.standin import certs
from edge_runtime.standin.server import Standin
from tests.brokers import Mosquitto, start_mosquitto
from tests.chaos import Chaos, start_chaos
from tests.system.oracle import Verdict
from tests.system.rig import FULL, USUAL, Setup, Site, site
from tests.system.takers import Behind, Cloud, Subscriber

HOME = "127.0.0.1"
DRIVERS = ["awscrt", "paho"]
SCALE = 1.0 if FULL else 0.06
"""Of the times for which a link is up or down."""
CLEAN_S = 10.0
"""So soon after a link is clean, nothing is queued any more."""
_APART_S = 0.9
"""Two connects are a second apart where they leave; where they arrive, this machine's load takes part."""
WINDOW = Uplink().window


def drivers(short: str) -> pytest.MarkDecorator:
    """Have a test done by every driver, or in the short form by this one: the drivers take turns there."""
    return pytest.mark.parametrize("driver", DRIVERS if FULL else [short])


class Exposed:
    """A site behind a network."""

    def __init__(self, it: Site, net: Chaos) -> None:
        self.site, self.net = it, net
        self.host, self.producer = it.host, it.producer
        self.drained_s: list[float] = []
        """How long each drain took."""

    async def begin(self) -> None:
        """Start the host and wait until the first events have arrived in the cloud."""
        await self.host.start()
        self.site.produce()
        await self.producer.accepted(20)
        await self.site.fence()

    async def clean(self) -> None:
        """Check that nothing is queued soon after this moment, at which the link and the broker are clean.

        Meanwhile nothing more is produced; afterwards it goes on.
        """
        await self.site.quiet()
        begin = time.monotonic()
        rows = await self._queued()
        while rows:
            assert time.monotonic() - begin < CLEAN_S, f"{rows} after {CLEAN_S} s; {await self.link()}"
            await asyncio.sleep(0.02)  # nothing but asking tells
            rows = await self._queued()
        self.drained_s.append(round(time.monotonic() - begin, 1))
        self.site.produce()

    async def says(self, words: str) -> None:
        """Return when the state of the link says so."""
        async with asyncio.timeout(CLEAN_S):
            while words not in str((await self.link())["last_error"]):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)  # nothing but asking tells

    async def link(self) -> dict[str, object]:
        """Return the state of the link, as `edge status` has it."""
        return dict((await self.host.ask("status"))["link"])

    async def finish(self) -> Verdict:
        """End it all and judge: nothing lost, in order, no more twice than can be, no more connects than may be."""
        verdict = await self.site.finish()
        connects = self.net.connects
        apart = [b - a for a, b in itertools.pairwise(connects)]
        assert not apart or min(apart) >= _APART_S, f"connects only {min(apart):.2f} s apart"
        assert verdict.repeats <= WINDOW * max(0, self.net.attempts - 1), verdict
        return verdict

    async def _queued(self) -> int:
        try:
            return sum(row["queued"] for row in (await self.host.ask("ledger"))["rows"])
        except HostError as error:
            raise AssertionError("\n".join(self.host.log)) from error


@contextlib.asynccontextmanager
async def exposed(
    folder: Path,
    driver: str,
    *,
    more: str = "",
    tls: certs.TlsFiles | None = None,
    setup: Setup = USUAL,
    own: str = HOME,
) -> AsyncIterator[tuple[Exposed, Standin]]:
    """Run a stand-in, a network before it that is entered at the address `own`, and a site that is not started yet."""
    if driver == "awscrt":
        pytest.importorskip("awscrt")
    standin = Standin(quotas="none")
    await standin.start(tls=tls)
    try:
        async with start_chaos(HOME, standin.port, own=own) as net:
            taker = Behind(Cloud(standin), net)
            async with site(folder, taker, driver=driver, more=more, setup=setup) as it:
                yield Exposed(it, net), standin
    finally:
        await standin.close()


@contextlib.asynccontextmanager
async def exposed_to_mosquitto(folder: Path, driver: str) -> AsyncIterator[tuple[Exposed, Mosquitto]]:
    """Run a mosquitto, a network before it, and a site that is not started yet."""
    if driver == "awscrt":
        pytest.importorskip("awscrt")
    async with start_mosquitto(folder) as broker, start_chaos(broker.host, broker.port) as net:
        subscriber = Subscriber(broker)
        await subscriber.subscribe()
        try:
            async with site(folder, Behind(subscriber, net), driver=driver) as it:
                yield Exposed(it, net), broker
        finally:
            subscriber.close()
