"""A device that does jobs: the agent, a real store, the operations, and fakes of what they use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_runtime.app import App, JobsSpec, LinkSpec, StoreLimits
from edge_runtime.cloud.jobs import Job, Outcome
from edge_runtime.host.jobs import Health, Operations, Verdict
from edge_runtime.model import Result
from tests.cloud.jobcloud import JobCloud
from tests.cloud.jobsite import Site, site
from tests.host.hosting import FREE, function


class FakePool:
    """Runs functions as it is told to."""

    def __init__(self) -> None:
        self.result = Result(b'{"ok": true}', duration_ms=12.4)
        self.calls: list[tuple[str, bytes, Any, float | None]] = []
        self.hangs = False

    async def invoke(
        self,
        name: str,
        payload: bytes,
        *,
        request_id: str,
        context: Mapping[str, object] | None = None,
        timeout_s: float | None = None,
    ) -> Result:
        """Note the call."""
        assert request_id
        self.calls.append((name, payload, context, timeout_s))
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        return self.result


class FakeInstaller:
    """Installs nothing, and says what it is told to."""

    def __init__(self, *answers: Health | Exception) -> None:
        self.answers = list(answers)
        self.installed: list[tuple[str, bytes, float]] = []

    async def install(self, bundle: Path, release: str, *, health_check_s: float) -> Health:
        """Note what it got."""
        self.installed.append((release, await asyncio.to_thread(bundle.read_bytes), health_check_s))
        answer = self.answers.pop(0) if self.answers else Health(Verdict.RUNS, "well")
        if isinstance(answer, Exception):
            raise answer
        return answer


class Device:
    """What stays over restarts of a device, but for its disk."""

    def __init__(self, folder: Path, spec: JobsSpec, installer: FakeInstaller | None = None) -> None:
        self.folder = folder
        self.spec = spec
        self.installer = installer
        self.pool = FakePool()
        self.cloud = JobCloud()
        self.ends: list[int] = []
        self.lives = 0
        self.keep_free = 0.0

    @asynccontextmanager
    async def on(self, *, online: bool = True) -> AsyncIterator[Site]:
        """Run it until the power is cut."""
        self.lives += 1
        made: list[Operations] = []
        functions = tuple(function(self.folder, name=name) for name in ("f", "g"))
        declared = App(
            "pi-7",
            self.folder,
            functions=(functions[0], replace(functions[1], binary=True)),
            link=LinkSpec("memory", {}, FREE, jobs=self.spec),
            limits=StoreLimits(keep_free=self.keep_free),
        )

        async def hands(job: Job) -> Outcome:
            return await made[0](job)

        async with site(self.folder / "state", self.cloud, hands, online=False) as it:
            made.append(
                Operations(
                    declared,
                    it.store,
                    self.folder / "state",
                    it.clock,
                    pool=self.pool,
                    end=self.ends.append,
                    installer=self.installer,
                    life=f"life-{self.lives}",
                )
            )
            if online:
                it.connect()
            yield it

    async def do(self, document: object, status: str, *, job: str = "j") -> dict[str, str]:
        """Have a job done; return the details of its end."""
        self.cloud.create(job, document)
        async with self.on() as it:
            await it.passes(lambda: it.cloud.jobs[job].status == status and it.agent.state() is None)
        return self.cloud.jobs[job].details


def call(name: str, **more: object) -> dict[str, object]:
    """Return the document of a job that runs a function."""
    return {"version": "1.0", "operation": "edge.invoke", "function": name, **more}
