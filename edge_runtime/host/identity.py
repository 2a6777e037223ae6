"""Keeps the link's certificate fresh: a new one on disk is taken up without a restart, and one that ends soon is noted.

The kernel tells of changes to the files, or of the links that lead to them, as `edge provision` switches one. What does
not serve is tried again after a while; the connection with the one before it goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge_runtime.clock import Clock
from edge_runtime.cloud.identity import DAY_S, day, read
from edge_runtime.errors import ConfigError, LinkError
from edge_runtime.host._changes import Compared, Places, Told, bursts, watch
from edge_runtime.pure.backoff import Backoff
from edge_runtime.threads import in_thread

SOON_S = 30 * DAY_S
"""A certificate that ends within this time is to be replaced."""
_COMPARE_S = 30.0
"""Where the kernel tells nothing, so often the files are looked at: nobody waits for a certificate, and cards sleep."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class CertificateState:
    """What is known of the link's certificate, for `edge status`."""

    id: str = ""
    """The one on disk, as AWS IoT Core names it; empty when there is none that can be read."""
    until: str = ""
    """The last day on which it holds, in UTC."""
    renewals: int = 0
    """How often another one was taken up while connected."""
    note: str = ""
    """What is to be done about it, or empty."""


class IdentityKeeper:
    """Watches the certificate and the key of one link."""

    def __init__(self, options: Mapping[str, object], renew: Callable[[], Awaitable[bool]], clock: Clock) -> None:
        """`options` are the link's, with a certificate; `renew` is that of the link."""
        self.state = CertificateState()
        self._certificate = str(options["certificate"])
        self._key = str(options.get("key") or "")
        self._renew = renew
        self._clock = clock
        self._backoff = Backoff(60.0, 3600.0)

    async def run(self) -> None:
        """Look after it, for ever."""
        while True:
            # Anew each time: another folder may lie behind a link now. What changed before it began is looked at here.
            look = partial(watch, Places(list(self._roots())), _COMPARE_S)
            watched = await in_thread("certificate.watch", look, undo=lambda late: late.close())
            try:
                wait_s = await self._look()
                await self._until_changed(watched, wait_s)
            finally:
                watched.close()

    async def _look(self) -> float:
        """Take up what is on disk and say how it is; return after how many seconds to look again by oneself."""
        state, wait_s = self.state, DAY_S
        note = await in_thread("certificate.read", self._about)
        try:
            if await self._renew():
                state.renewals += 1
                _log.info("the link goes on with the certificate %s", state.id[:12])
            self._backoff.reset()
        except LinkError as error:
            fix = f"; {error.hint}" if error.hint else ""
            note = f"the new certificate does not serve, the one before it goes on: {error}{fix}"
            wait_s = self._backoff.next()
        if note and note != state.note:
            _log.warning("%s", note)
        state.note = note
        return wait_s

    def _about(self) -> str:
        """Read the files; return what is wrong with them, or empty."""
        state, now_s = self.state, self._clock.now().wall_ns / 1e9
        state.id = state.until = ""
        try:
            found = read(self._certificate, self._key or None)
        except ConfigError as error:
            return f"{error}: {error.hint}"
        state.id, state.until = found.id, day(found.end_s)
        if amiss := found.amiss(now_s):
            fix = (
                "run: edge provision --force, with a new claim"
                if now_s > found.end_s
                else "check the clock: timedatectl"
            )
            return f"the certificate {self._certificate} {amiss}; {fix}"
        if found.end_s - now_s < SOON_S:
            days = int((found.end_s - now_s) / DAY_S)
            return (
                f"the certificate {self._certificate} expires in {days} days, on {state.until};"
                " run: edge provision --rotate"
            )
        return ""

    async def _until_changed(self, watched: Told | Compared, wait_s: float) -> None:
        """Return when the files have changed, or after so many seconds."""
        async with aclosing(bursts(watched)) as told:
            either = [
                asyncio.ensure_future(anext(told)),
                asyncio.create_task(self._clock.sleep(wait_s), name="certificate.again"),
            ]
            try:
                done, _ = await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in either:
                    task.cancel()
                await asyncio.gather(*either, return_exceptions=True)
        for task in done:
            task.result()

    def _roots(self) -> Iterator[Path]:
        """Yield the files, and every link on the way to them: to switch one is to replace the file."""
        for name in filter(None, (self._certificate, self._key)):
            path = Path(name).expanduser().absolute()
            yield path
            yield from (part for part in (path, *path.parents) if part.is_symlink())
            yield path.resolve()
