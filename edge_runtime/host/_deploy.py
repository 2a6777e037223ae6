"""`edge.deploy`: fetch a bundle, prove who has signed it, and hand it to whoever installs it."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from edge_runtime.app import App, JobsSpec
from edge_runtime.clock import Clock
from edge_runtime.cloud.jobs import FAILED, SUCCEEDED, Job, Outcome
from edge_runtime.errors import EdgeError, LinkError, RefusedError
from edge_runtime.host._fetch import ExpiredError, File, fetch
from edge_runtime.pure.backoff import Backoff
from edge_runtime.pure.jobs import Deploy, RefusalError, release_order
from edge_runtime.signatures import is_signed
from edge_runtime.store.store import Store
from edge_runtime.threads import in_thread

_log = logging.getLogger(__name__)
FOLDER = "jobs"
"""In the state folder: bundles."""
_GIVE_UP_S = 6 * 3600.0
"""A download that has not got a byte for so long is given up."""
_MOST_EXPIRED = 3


class Verdict(StrEnum):
    """What became of an installation."""

    RUNS = "runs"
    """The new release runs and is well."""
    ROLLED_BACK = "rolled back"
    """It was not well: the one before runs again."""
    RESTART = "restart"
    """The host is to be ended and started anew; then `install` is called again with the same bundle."""


class Health(NamedTuple):
    """What an installer found."""

    verdict: Verdict
    text: str = ""
    """For a person."""


class Installer(Protocol):
    """Puts a bundle in the place of what runs."""

    async def install(self, bundle: Path, release: str, *, health_check_s: float) -> Health:
        """Install, watch for `health_check_s` whether it is well, and go back to what ran before if it is not.

        `bundle` is a file that is whole and whose SHA-256 is signed; what it holds is unknown, and it is removed when
        this has returned RUNS or ROLLED_BACK. The signature does not cover `release`: a bundle whose own manifest names
        another one must be refused, or an old bundle could pass for a new one.

        It may be cut off at any point by a power cut or by being cancelled, and is called again with the same
        arguments then. At every moment either the old release or the new one must be what a start of the host runs.

        Raises: EdgeError when the old release runs on; its text is told to the cloud.
        """


class Deployments:
    """Carries out deployments; see `Operations`."""

    def __init__(
        self,
        app: App,
        store: Store,
        state: Path,
        clock: Clock,
        *,
        installer: Installer | None,
        restart: Callable[[Job], Awaitable[Outcome]],
    ) -> None:
        """`restart` ends the host to be started anew, and never returns."""
        self._thing = app.thing
        self._spec = (app.link.jobs if app.link is not None else None) or JobsSpec()
        self._keep_free = app.limits.keep_free
        self._store = store
        self._folder = state / FOLDER
        self._clock = clock
        self._installer = installer
        self._restart = restart

    async def carry_out(self, job: Job) -> Outcome:
        """Fetch a bundle and hand it over. All that speaks against it is looked at before a byte is fetched."""
        action, installer = job.order.action, self._installer
        if not isinstance(action, Deploy) or installer is None:
            raise RefusalError("this device has no installer for bundles")
        if job.step != "installing":  # else it was proved before, and a release that runs now may know other keys
            await self._prove(action)
        file = File(self._folder, action.size, action.sha256)
        if job.step != "installing":
            await job.reach("downloading")
        try:
            await in_thread("jobs.room", partial(self._make_room, file))
            await self._download(job, file)
        except EdgeError:
            raise
        except OSError as error:
            raise EdgeError(f"the bundle cannot be kept: {error.strerror or error}") from error
        await job.reach("installing")
        health = await installer.install(file.path, action.release, health_check_s=action.health_check_s)
        if health.verdict is Verdict.RESTART:
            return await self._restart(job)
        await in_thread("jobs.clear", partial(_clear, self._folder))
        if health.verdict is Verdict.ROLLED_BACK:
            return Outcome(FAILED, {"release": action.release, "reason": health.text})
        memo = json.dumps({"release": action.release, "sha256": action.sha256})
        told = {"release": action.release, "result": health.text}
        return Outcome(SUCCEEDED, told, {release_memo(self._thing): memo})

    async def _prove(self, action: Deploy) -> None:
        """Return when a bundle may be installed, if it is the one that is said. Raises: RefusalError, ConfigError."""
        if not self._spec.keys:
            raise RefusalError("there is no key in link.jobs.keys, so no bundle can be proved")
        known = await self._store.recall(release_memo(self._thing))
        if known is not None:
            last = json.loads(known)
            new, old = release_order(action.release), release_order(last["release"])
            if new < old:
                raise RefusalError(
                    f"release {action.release} is older than {last['release']}, which was installed before"
                )
            if new == old and action.sha256 != last["sha256"]:
                raise RefusalError(f"release {action.release} was installed before, with another content")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = [bytes.fromhex(key) for key in self._spec.keys]
        digest = bytes.fromhex(action.sha256)
        if not await in_thread("jobs.verify", partial(is_signed, digest, action.signature, keys, self._folder)):
            raise RefusalError("the signature of the bundle is by none of the keys in link.jobs.keys")

    def _make_room(self, file: File) -> None:
        """Remove what earlier jobs have left. Raises: EdgeError when there is no room even so."""
        _clear(self._folder, file)
        disk = shutil.disk_usage(self._folder)
        needed = file.size - min(file.size, file.have())
        if disk.free - needed < disk.total * self._keep_free:
            raise EdgeError(f"the disk has no room: the bundle needs {needed} more bytes, and {disk.free} are free")

    async def _download(self, job: Job, file: File) -> None:
        """Fetch, for as long as it takes. Raises: LinkError when it is given up; StoppedError, OSError, StoreError."""
        backoff = Backoff(2.0, 300.0)
        most, expired, since_ns = file.have(), 0, self._clock.now().mono_ns
        while True:
            try:
                await job.unless_stopped(self._fetch(job, file))
            except ExpiredError:
                expired += 1
                if expired > _MOST_EXPIRED:
                    raise
                await job.fresh()
            except RefusedError:
                raise
            except LinkError as error:
                _log.warning("job %s: %s", job.record.id, error)
                if (self._clock.now().mono_ns - since_ns) / 1e9 > _GIVE_UP_S:
                    raise LinkError(f"given up after {_GIVE_UP_S / 3600:g} hours without a byte: {error}") from error
                await job.unless_stopped(self._clock.sleep(backoff.next()))
            else:
                return
            if (have := file.have()) > most:
                most, expired, since_ns = have, 0, self._clock.now().mono_ns
                backoff.reset()
                if job.step == "downloading":
                    await job.reach("downloading", bytes=str(have))

    async def _fetch(self, job: Job, file: File) -> None:
        action, stop = job.order.action, threading.Event()
        url = action.url if isinstance(action, Deploy) else ""
        try:
            await in_thread("jobs.fetch", partial(fetch, file, url, stop))
        finally:
            stop.set()


def release_memo(thing: str) -> str:
    """Return the key under which the store keeps what was installed last: `{"release": "1.4.0", "sha256": "..."}`."""
    return f"release/{thing}"


def _clear(folder: Path, but: File | None = None) -> None:
    """Remove what lies in the folder, but for one file."""
    kept = {but.path, but.part} if but is not None else set()
    for path in folder.iterdir():
        if path in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
