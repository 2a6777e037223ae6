"""A release that an AWS IoT job brings, over a real connection: it takes over, or is rolled back with its reason."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.standin import certs
from edge_runtime.standin.server import Standin
from edge_runtime.standin.services.executions import State
from tests.host.bundles import Shop, Signer, serving
from tests.host.releasesite import ILL, Site, running


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    files = certs.make(tmp_path / "certs")
    monkeypatch.setenv("SSL_CERT_FILE", str(files.client.ca))
    with serving(files) as it:
        yield it


async def test_jobs_bring_releases(tmp_path: Path, shop: Shop) -> None:
    """One that is well, one that does not start, and one that is older than what was there."""
    signer = Signer(tmp_path / "signer")
    key = base64.b64encode(signer.key).decode()
    async with Standin(quotas="none") as cloud:
        link = f"endpoint: 127.0.0.1, port: {cloud.port}, client_id: pi-7, aws_quotas: no, jobs: {{keys: ['{key}']}}"
        more = f"link: {{driver: paho, {link}}}\n"

        def create(site: Site, job: str, release: str, code: str) -> None:
            shop.data = site.bundle(release, code, signer=signer, more=more).read_bytes()
            document = signer.document(shop.url, shop.data, release=release)
            cloud.jobs.create(["pi-7"], {**document, "rollback": {"healthCheckSeconds": 1}}, job)

        async with running(tmp_path, more=more) as site:
            create(site, "better", "2", "def handler(event, context):\n    return {'release': '2'}\n")
            await cloud.until(lambda: cloud.jobs.executions["pi-7", "better"].state is State.SUCCEEDED)
            assert await site.call() == {"release": "2"}
            create(site, "worse", "3", ILL)
            await cloud.until(lambda: cloud.jobs.executions["pi-7", "worse"].state is State.FAILED)
            reason = cloud.jobs.executions["pi-7", "worse"].details["reason"]
            assert reason.startswith("function 'f' does not start: Runtime.ImportModuleError")
            assert await site.call() == {"release": "2"}
            create(site, "older", "1.5", "")
            await cloud.until(lambda: cloud.jobs.executions["pi-7", "older"].state is State.REJECTED)
            assert len(site.hosts) == 4
