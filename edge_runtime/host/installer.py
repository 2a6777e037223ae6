"""Takes a bundle as the next release of the app: proved, unpacked, tried out, and taken back when it is not well.

The host that runs gives way to one of the new release in the same process; that takes tenths of a second, in which
what arrives waits. The new one is on trial: each function's worker must start with the new code, and no part of the
host may fail for as long as it is watched. If that is not so, the release before takes over again, and the reason is
kept for whoever asks. What becomes of a release that ends the process is in `releases`.

Where keys are known (`link.jobs.keys` of the release that runs), one of them must have signed the bundle, however it
came. A release may name other keys than the one before it: so they are exchanged.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import re
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.app import App
from edge_runtime.bundles import Bundle, open_bundle
from edge_runtime.errors import ConfigError, EdgeError
from edge_runtime.host._deploy import Health, Verdict
from edge_runtime.host.watch import why_not
from edge_runtime.loaders import last_app, load_app, overlay_in, read_app
from edge_runtime.pure.bundle import BundleError
from edge_runtime.pure.jobs import release_order
from edge_runtime.releases import APP_FILE, Releases, Trial, name_of
from edge_runtime.threads import in_thread

if TYPE_CHECKING:
    from edge_runtime.host.host import Host

_log = logging.getLogger(__name__)
_LOOK_S = 0.5


def stage_offline(releases: Releases, state: Path, bundle: Path, health_s: float) -> str:
    """Put a bundle in place while no host runs, on trial from the next start; return its folder name. Blocks.

    The keys are those of the release that is in place.

    Raises: BundleError, ConfigError, StoreError; HostError when a host runs after all.
    """
    with releases.held():
        installer = BundleInstaller(releases, state)
        keys = _keys_offline(releases, state)
        opened = open_bundle(bundle, keys, state, releases.files())
        installer.check_for_here(opened)
        if keys and not opened.is_proved:
            raise _unproved(bundle)
        name = name_of(opened)
        if name != releases.current:
            installer.stage(opened, name)
            releases.put_in_place(name, health_s)
        return name


def _keys_offline(releases: Releases, state: Path) -> Sequence[bytes]:
    """Return the keys that may sign the next release; of the app that ran last where the one in place is wrong."""
    if not releases.current:
        return []
    try:
        return _keys(load_app(releases.app_file, state, keep=False))
    except ConfigError:
        last = last_app(state)
        return _keys(last) if last is not None else []


def place_for_good(releases: Releases, state: Path, bundle: Path) -> str:
    """Put a bundle in place while no host runs, without a trial, whatever its number; return its folder name. Blocks.

    It is for one who keeps proofs and versions of his own, and goes back to an older one where he must: the nucleus of
    Greengrass. `state` is a folder for temporary files.

    Raises: BundleError when it is no release of an app or not for this machine; StoreError; HostError when a host runs
    after all.
    """
    with releases.held():
        opened = open_bundle(bundle, [], state, releases.files())
        BundleInstaller.check_for_here(opened)
        if APP_FILE not in {file.path for file in opened.manifest.files}:
            raise BundleError(f"{bundle.name} has no {APP_FILE}: it is no release of an app")
        name = name_of(opened)
        if name != releases.current or releases.record().trial is not None:
            releases.stage(opened, name)
            releases.put_in_place(name, 0.0)
            releases.confirm()
        return name


def go_back(releases: Releases, state: Path) -> tuple[str, App]:
    """Put the release before the current one in place; return its folder name and its app. Blocks.

    Raises: as `Releases.back`; ConfigError when that release is wrong now: then the current one stays.
    """
    app = read_app(releases.app_file_of(releases.before()), overlay_in(state))
    return releases.back(), app


def _keys(app: App) -> Sequence[bytes]:
    """Return the keys that may sign the release after this app."""
    spec = app.link.jobs if app.link is not None else None
    return [bytes.fromhex(key) for key in spec.keys] if spec is not None else []


def _unproved(bundle: Path) -> BundleError:
    return BundleError(
        f"{bundle.name} is signed by none of the keys in link.jobs.keys of the app that runs",
        hint="sign it with the right key: --key FILE of edge deploy and edge build bundle",
    )


class BundleInstaller:
    """`host.jobs.Installer` for the releases in one folder. It outlives the hosts that take turns in a process."""

    def __init__(self, releases: Releases, state: Path) -> None:
        self.releases = releases
        self._state = state
        self._host: Host | None = None
        self._watching: asyncio.Task[None] | None = None
        self._verdict: asyncio.Future[Health] | None = None
        self._one = asyncio.Lock()
        """One bundle at a time, until it is judged or whoever asked has gone away."""
        self._switching = asyncio.Lock()
        """No trial ends while another release is put in place: what was staged would be removed as not needed."""

    def deployed(self) -> App:
        """Return the app of the release that runs; one that does nothing when there is none yet. For a start; blocks.

        A release that cannot be loaded and is on trial makes way for the one before it.

        Raises: ConfigError when the release that runs is wrong, StoreError.
        """
        releases = self.releases
        if reason := releases.begin():
            _log.error("the release on trial was given up, the one before it goes on: %s", reason)
        if not releases.current:
            _log.warning("no app is in %s yet; send one: edge deploy, or edge install", releases.root)
            return App(_host_name(), releases.root)
        try:
            return load_app(releases.app_file, self._state)
        except ConfigError as error:
            if not releases.give_up(str(error)):
                raise
            _log.error("the release on trial was given up, the one before it goes on: %s", error)
            return load_app(releases.app_file, self._state)

    # -- the hosts -----------------------------------------------------------------------------------------------------

    def begun(self, host: Host) -> None:
        """Take notice of a host that accepts events, and watch it if its release is on trial."""
        self._host = host
        if self.releases.record().trial is not None:
            self._watching = asyncio.create_task(self._watch(host), name="release.trial")

    async def ended(self) -> None:
        """Take notice that the host is about to stop."""
        watching, self._watching, self._host = self._watching, None, None
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def refused(self, error: EdgeError, before: App) -> None:
        """Take notice that no host can start with the release that was to take over, and that this app goes on."""
        await in_thread("release.refused", partial(self.releases.stay, before.base.name, str(error)))

    # -- bundles -------------------------------------------------------------------------------------------------------

    async def install(self, bundle: Path, release: str, *, health_check_s: float, anew: bool = False) -> Health:
        """Install, as `Installer.install`. An empty `release` is whatever the bundle says.

        With `anew` a release that was rolled back gets another trial, where otherwise that is told first.
        """
        async with self._one:
            if (host := self._host) is None:
                raise EdgeError("the host is stopping", hint="try again")
            keys = _keys(host.app)
            opened = await in_thread(
                "release.open", lambda: open_bundle(bundle, keys, self._state, self.releases.files())
            )
            self.check_for_here(opened, release)
            name, record = name_of(opened), await in_thread("release.record", self.releases.record)
            if self.releases.current == name:
                if record.trial is not None:
                    return await self._judged()
                return Health(Verdict.RUNS, f"release {opened.manifest.release} runs")
            if record.failed == name and record.trial is None and not anew:
                await in_thread("release.told", self.releases.told)
                return Health(Verdict.ROLLED_BACK, record.reason)
            # Asked only for what is to be put in place: a release that runs may know other keys than the one before.
            if keys and not opened.is_proved:
                raise _unproved(bundle)
            async with self._switching:
                app = await in_thread("release.stage", partial(self.stage, opened, name))
                if self._host is not host or host.successor is not None:
                    raise EdgeError("the host is stopping", hint="try again")
                # Who asks may go away in between: what is in place takes over all the same.
                switch = partial(self.releases.put_in_place, name, health_check_s)
                await in_thread("release.switch", switch, lambda _: host.end(successor=app))
                _log.warning("release %s takes over from here, on trial", name)
                host.end(successor=app)
            return await self._judged()

    async def back(self) -> None:
        """Go back to the release before the one that runs.

        Raises: NotFoundError when none is kept, ConfigError during a trial or when that one is wrong now, StoreError.
        """
        async with self._one:
            name, app = await in_thread("release.back", partial(go_back, self.releases, self._state))
            if self._host is not None:
                _log.warning("release %s takes over again: somebody has asked for it", name)
                self._host.end(successor=app)

    @staticmethod
    def check_for_here(opened: Bundle, release: str = "") -> None:
        """Return when the bundle is for this device and is what it is said to be.

        Raises: BundleError. The signature of a job does not cover the number in the job's document.
        """
        manifest = opened.manifest
        if release and release_order(release) != release_order(manifest.release):
            raise BundleError(f"the bundle is release {manifest.release}, and was announced as {release}")
        if manifest.architecture not in {"", platform.machine()}:
            raise BundleError(f"the bundle is for {manifest.architecture}, and this machine is {platform.machine()}")

    def stage(self, opened: Bundle, name: str) -> App:
        """Unpack the release and return its app. Raises: BundleError, ConfigError, StoreError."""
        self.releases.check(opened)
        if APP_FILE not in {file.path for file in opened.manifest.files}:
            raise BundleError(f"{opened.path.name} has no {APP_FILE}: it is no release of an app")
        self.releases.stage(opened, name)
        try:
            return read_app(self.releases.app_file_of(name), overlay_in(self._state))
        except ConfigError as error:
            self.releases.discard(name)
            raise ConfigError(f"release {name} is not taken: {error}", hint=error.hint) from error

    # -- the trial -----------------------------------------------------------------------------------------------------

    async def _judged(self) -> Health:
        if self._verdict is None or self._verdict.done():
            self._verdict = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._verdict)

    def _say(self, health: Health) -> None:
        _log.log(logging.INFO if health.verdict is Verdict.RUNS else logging.ERROR, "%s", health.text)
        if self._verdict is not None and not self._verdict.done():
            self._verdict.set_result(health)

    async def _watch(self, host: Host) -> None:
        """See how a release on trial does, and end its trial."""
        trial = (await in_thread("release.record", self.releases.record)).trial
        if trial is None:
            return
        try:
            reason = await self._ill(host, trial.health_s)
            async with self._switching:
                if host.successor is None:  # else another release has the trial by now
                    await self._end(host, trial, reason)
        except EdgeError as error:
            # The trial goes on with the next start; whoever waits hears of it now.
            self._say(Health(Verdict.ROLLED_BACK, f"the trial of release {trial.new} cannot be ended: {error}"))

    async def _end(self, host: Host, trial: Trial, reason: str) -> None:
        if not reason:
            await in_thread("release.confirm", self.releases.confirm)
            self._say(Health(Verdict.RUNS, f"release {trial.new} is well"))
            return
        _log.error("release %s is not well: %s", trial.new, reason)
        old = await in_thread("release.give_up", partial(self.releases.give_up, reason))
        if not old:
            self._say(Health(Verdict.ROLLED_BACK, f"{reason}; there is no release before it, so it goes on"))
            return
        app = await in_thread("release.load", partial(read_app, self.releases.app_file, overlay_in(self._state)))
        _log.warning("release %s takes over again", old)
        host.end(successor=app)

    async def _ill(self, host: Host, health_s: float) -> str:
        """Watch for so long; return what is wrong as soon as something is."""
        end_ns = host.clock.now().mono_ns + int(health_s * 1e9)
        results = await asyncio.gather(*(self._start(host, function.name) for function in host.app.functions))
        if wrong := next((text for text in results if text), ""):
            return wrong
        while True:
            for part in host.parts:
                if part.restarts:
                    return f"{part.name} failed: {part.last_error}"
            if (left_s := (end_ns - host.clock.now().mono_ns) / 1e9) <= 0:
                return ""
            await host.clock.sleep(min(_LOOK_S, left_s))

    @staticmethod
    async def _start(host: Host, name: str) -> str:
        """Start a worker with the new code; return why it does not."""
        try:
            result = await host.pool.refresh(name)
        except EdgeError as error:
            return f"function {name!r}: {error}"
        return f"function {name!r} does not start: {why_not(result)}" if result.error else ""


def _host_name() -> str:
    """Return a name for a thing that nobody has named: that of the machine."""
    return re.sub("[^a-zA-Z0-9:_-]", "-", socket.gethostname())[:128] or "thing"
