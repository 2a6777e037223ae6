"""A process that takes releases, in this one: `serve` as `edge run` calls it, and bundles to feed it with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from edge_runtime.app import App
from edge_runtime.bundles import describe, open_bundle, write
from edge_runtime.host import Host
from edge_runtime.host.installer import BundleInstaller
from edge_runtime.host.jobs import Health
from edge_runtime.host.main import serve
from edge_runtime.loaders import load_app
from edge_runtime.pure.bundle import Manifest
from edge_runtime.releases import Releases, name_of
from tests.host.bundles import Signer

PATIENCE_S = 30.0
WELL = "def handler(event, context):\n    return {'release': RELEASE}\n"
ILL = "import no_such_module\n"


class Site:
    """A process that takes releases: `serve`, as `edge run` calls it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir()
        self.releases = Releases(folder / "app")
        self.installer = BundleInstaller(self.releases, self.state)
        self.hosts: list[Host] = []
        self.task: asyncio.Task[int] | None = None

    def bundle(
        self, release: str, code: str = WELL, *, signer: Signer | None = None, key: str = "", more: str = ""
    ) -> Path:
        """Write a bundle whose function `f` has this code."""
        source = self.folder / "source"
        shutil.rmtree(source, ignore_errors=True)
        (source / "f").mkdir(parents=True)
        (source / "f" / "app.py").write_text(code.replace("RELEASE", repr(release)))
        jobs = f"\nlink: {{driver: paho, endpoint: 127.0.0.1, port: 1, jobs: {{keys: ['{key}']}}}}" if key else ""
        (source / "edge.yaml").write_text(
            f"thing: pi-7\nfunctions:\n  f: {{code: ./f, handler: app.handler, on_success: out/f}}{jobs}\n{more}"
        )
        found = {path.relative_to(source).as_posix(): path for path in source.rglob("*") if path.is_file()}
        path = self.folder / f"{release}.edge"
        write(path, Manifest("pi-7", release, describe(found)), found, signer.sign if signer else None)
        return path

    def make(self, app: App) -> Host:
        """Make a host, as `edge run` does."""
        host = Host(app, self.state, simulate=True, installer=self.installer)
        self.hosts.append(host)
        return host

    @property
    def host(self) -> Host:
        """The one that runs now."""
        return self.hosts[-1]

    async def until(self, true: Callable[[], object]) -> None:
        """Return when it is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not true():  # noqa: ASYNC110 - hosts come and go, and there is nothing to wait for in between
                await asyncio.sleep(0.005)

    async def install(self, path: Path, health_s: float = 0.0) -> Health:
        """Install as a job does: the call ends with its host and is made again on the next one."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                host = self.host
                asking = asyncio.ensure_future(self.installer.install(path, "", health_check_s=health_s))
                ending = asyncio.ensure_future(host.stopping.wait())
                await asyncio.wait({asking, ending}, return_when=asyncio.FIRST_COMPLETED)
                ending.cancel()
                if asking.done():
                    return asking.result()
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                await self.after(host)

    async def after(self, host: Host) -> None:
        """Return when another host has taken over."""
        await self.until(lambda: self.host is not host and self.installer._host is self.host)

    async def call(self) -> Mapping[str, Any]:
        """Call function `f`."""
        result = await self.host.pool.invoke("f", b"{}", request_id="1")
        reply: Mapping[str, Any] = json.loads(result.payload)
        return reply


@asynccontextmanager
async def running(folder: Path, **first: Any) -> AsyncIterator[Site]:  # noqa: ANN401 - arguments of `bundle`
    """A process in which release 1 is well."""
    site = Site(folder)
    path = site.bundle("1", **first)
    app = await asyncio.to_thread(_first, site, path)
    site.task = asyncio.create_task(serve(app, site.make, site.installer))
    try:
        await site.until(lambda: site.hosts and site.installer._host is site.host)
        yield site
    finally:
        site.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await site.task


def _first(site: Site, path: Path) -> App:
    one = open_bundle(path, [], site.state)
    site.releases.stage(one, name_of(one))
    site.releases.put_in_place(name_of(one), 0)
    site.releases.begin()
    site.releases.confirm()
    return load_app(site.releases.app_file, site.state)
