"""A stand-in for AWS IoT Core set up with the files of deploy/iot, as its README says: policies hold.

async with start_fleet(tmp_path) as fleet:
    run("edge", "provision", "--endpoint", "localhost", "--port", fleet.port, "--ca", fleet.ca, ...)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from edge_runtime.standin import certs
from edge_runtime.standin.registry import Status
from edge_runtime.standin.server import Standin

FILES = Path(__file__).parent.parent / "deploy" / "iot"
TEMPLATE = "edge-runtime"


class Fleet:
    """The stand-in, and what somebody with an AWS account would do."""

    def __init__(self, standin: Standin, tls: certs.Certificates) -> None:
        self.standin = standin
        self.ca = tls.server.ca

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.standin.port

    @property
    def arguments(self) -> list[str]:
        """What `edge provision` is told of it."""
        where = ["--endpoint", "localhost", "--port", str(self.port), "--ca", str(self.ca)]
        return ["--template", TEMPLATE, "--serial", "1234", *where]

    def claim(self) -> str:
        """Return what `aws iot create-provisioning-claim` prints. Called from another thread."""
        return json.dumps(self._on_loop(self._claim))

    async def _claim(self) -> dict[str, Any]:
        made = await self.standin.provisioning.create_claim(TEMPLATE)
        return {
            "certificateId": made.certificate_id,
            "certificatePem": made.certificate,
            "keyPair": {"PublicKey": "", "PrivateKey": made.key},
            "expiration": made.expires_s,
        }

    def long_claim(self, folder: Path) -> list[str]:
        """Make a claim with claim-policy.json; return the arguments that name it. Called from another thread."""
        found: list[str] = self._on_loop(lambda: self._long_claim(folder))
        return found

    async def _long_claim(self, folder: Path) -> list[str]:
        authority = certs.Authority(self.ca.parent)
        pem, key = await asyncio.to_thread(authority.issue, "claim")
        registry = self.standin.registry
        registry.put_policy("edge-runtime-claim", load("claim-policy.json"))
        certificate = registry.register(pem, status=Status.ACTIVE)
        registry.attach_policy(certificate.id, "edge-runtime-claim")
        files = folder / "claim.pem.crt", folder / "claim.pem.key"
        for path, text in zip(files, (pem, key), strict=True):
            path.write_text(text)
        return ["--claim-certificate", str(files[0]), "--claim-key", str(files[1])]

    def bind(self) -> None:
        """Remember the loop of the stand-in."""
        self._loop = asyncio.get_running_loop()

    def _on_loop(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - what `work` returns
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(30)


def load(name: str) -> Mapping[str, Any]:
    """Return a file of deploy/iot, filled in for the stand-in."""
    text = (FILES / name).read_text(encoding="utf-8")
    found: Mapping[str, Any] = json.loads(text.replace("REGION", "eu-west-1").replace("ACCOUNT", "123456789012"))
    return found


@contextlib.asynccontextmanager
async def start_fleet(folder: Path, quotas: Literal["aws", "none"] = "none") -> AsyncIterator[Fleet]:
    """Run a stand-in with TLS, the template and its policies."""
    tls = await asyncio.to_thread(certs.make, folder / "tls")
    standin = Standin(quotas=quotas, policies=True)
    for name in ("device", "rotate"):
        standin.registry.put_policy(f"edge-runtime-{name}", load(f"{name}-policy.json"))
    standin.provisioning.put_template(TEMPLATE, load("template.json"))
    await standin.start(tls=tls.server)
    async with standin:
        fleet = Fleet(standin, tls)
        fleet.bind()
        yield fleet
