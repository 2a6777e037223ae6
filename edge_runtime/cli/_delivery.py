"""One device of `edge deploy`: ask what it has, install what it lacks, tell what came of it.

What is only needed once the device has answered is imported then: until it does, there is time.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import edge_runtime
from edge_runtime.building import device as devices
from edge_runtime.building.device import SYSTEM, Device, Place
from edge_runtime.building.ssh import Answer, Connection, Progress
from edge_runtime.cli._common import say
from edge_runtime.errors import ConfigError, DeniedError, EdgeError, HostError

if TYPE_CHECKING:
    from edge_runtime.building.parcel import Parcel
    from edge_runtime.building.plan import Plan, Remote

_ROOM = 4
"""How many times a runtime's file it takes when it is installed, with the one before beside it."""
_SPARE = 8 << 20
_OWN = ("edge-install: ", "edge-runtime: ")
"""How lines begin that the installer and the package write."""
_LINES = 5


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for."""

    release: str = ""
    key: Path | None = None
    health_s: float = 2.0
    runtime: str = "auto"
    """`auto`, `always`, `never`, or a file."""
    for_user: bool = False
    dry_run: bool = False
    config: Path | None = None


@dataclass(slots=True)
class Report:
    """What came of it."""

    host: str
    release: str = ""
    was: str = ""
    verdict: str = ""
    """`runs`, `unchanged`, `staged` until the runtime starts, or `rolled back`."""
    text: str = ""
    files: int = 0
    files_sent: int = 0
    bytes_sent: int = 0
    runtime: str = ""
    """The version that was installed; empty when none was."""
    runtime_bytes: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


class Delivery:
    """What is done on one device."""

    def __init__(self, host: str, wish: Wish) -> None:
        """Begin to ask the device at once, beside what else there is to do. `close` has to be called in the end."""
        self._host, self._wish = host, wish
        self._link = Connection(host, wish.config)
        self._asking = ThreadPoolExecutor(1, "deploy.probe").submit(self._link.run, devices.probe())
        self._report = Report(host)
        self._answer = Answer(0, "", "", 0)
        self._begun_s = time.monotonic()

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(EdgeError):  # who wanted the answer has got it, or an error of his own
            self._asking.result()
        self._link.close()

    def run(self, parcel: Parcel | None) -> Report:
        """Install the runtime where it is needed, and an app if there is one.

        Raises: EdgeError; what ran there before runs on.
        """
        with tempfile.TemporaryDirectory(prefix="edge-deploy-") as work:
            self._deliver(parcel, Path(work))
        self._report.seconds = round(time.monotonic() - self._begun_s, 3)
        return self._report

    def _deliver(self, parcel: Parcel | None, work: Path) -> None:
        found = devices.read(self._host, self._asking.result().out)
        self._link.sudo.is_root = found.sudo == "root"
        place = self._place(found)
        self._report.notes += devices.advice(found, place, time.time())
        has = found.system_edge if place is SYSTEM else found.user_edge
        if found.refusal and "error: " not in found.refusal:  # it is not the command that says so, but what runs it
            has = "broken"
        asks = bool(place.user) and found.sudo == "asks"
        if asks and not (self._wish.dry_run and not has):
            self._ask_password()
        if has and asks:
            found = self._with_releases(found, place)
        if self._needs_runtime(has):
            self._install_runtime(found, place, has)
            if not self._wish.dry_run:
                found = self._with_releases(found, place)
        if parcel is not None:
            self._install_release(found, place, parcel, work)

    # -- where -----------------------------------------------------------------------------------------------------

    def _place(self, found: Device) -> Place:
        """Return where the runtime is, or is to be. Raises: DeniedError when whoever logs in may not change it."""
        mine = devices.place_of_user(found.home)
        if self._wish.for_user:
            return mine
        if found.system_edge:
            if found.sudo == "none":
                raise DeniedError(
                    f"the runtime on {self._host} is the system's, and {found.user} may not use sudo there",
                    hint=f"let root say once: usermod -aG sudo {found.user}; or install one of your own: --user",
                )
            return SYSTEM
        if found.user_edge or found.sudo == "none" or not (found.debian and found.has_systemd):
            return mine
        return SYSTEM

    def _ask_password(self) -> None:
        if not sys.stdin.isatty():
            raise DeniedError(
                f"sudo on {self._host} asks for a password",
                hint="run this in a terminal, or install for that user alone: --user",
            )
        self._link.sudo.password = click.prompt(f"password for sudo on {self._host}", hide_input=True, err=True)
        self._link.run("true", user="root")

    def _with_releases(self, found: Device, place: Place) -> Device:
        answer = self._link.run(devices.probe_releases(place), user=place.user)
        releases, refusal = devices.read_releases(self._host, answer.out)
        return replace(found, releases=releases, refusal=refusal)

    # -- the runtime -----------------------------------------------------------------------------------------------

    def _needs_runtime(self, has: str) -> bool:
        wish = self._wish.runtime
        if wish == "never":
            if not has:
                raise ConfigError(f"{self._host} has no runtime", hint="leave out --runtime never")
            return False
        if wish != "auto" or has in {"", "broken"}:
            return True
        if _order(has) > _order(edge_runtime.__version__):
            self._report.notes.append(f"its runtime {has} is newer than this one, {edge_runtime.__version__}: it stays")
        return _order(has) < _order(edge_runtime.__version__)

    def _install_runtime(self, found: Device, place: Place, has: str) -> None:
        file = self._runtime_file(found, place)
        size = file.stat().st_size if file.is_file() else 0
        room = found.system_bytes if place is SYSTEM else found.home_bytes
        devices.check_room(self._host, place.base, room, size * _ROOM)
        target = _target()
        starts = found.has_user_systemd
        step = target.Runtime(file, size, starts)
        self._carry(target.plan(self._host, place, found.user, step, None))
        self._report.runtime, self._report.runtime_bytes = edge_runtime.__version__, size
        if not place.user and not starts:
            again = "start it again" if has else "start it"
            self._report.notes.append(
                f"no service manager of {found.user}'s runs there, so {again} yourself: "
                + shlex.join([place.edge, "run", f"{place.base}/app", "--state", f"{place.base}/state"])
            )

    def _runtime_file(self, found: Device, place: Place) -> Path:
        from edge_runtime.building import runtimes  # noqa: PLC0415 - most devices have it

        if self._wish.runtime not in {"auto", "always"}:
            return Path(self._wish.runtime)
        if place is SYSTEM:
            return runtimes.package(found.debian, found.architecture, self._carry)
        return runtimes.bundle(found.architecture, self._carry)

    # -- the release -----------------------------------------------------------------------------------------------

    def _install_release(self, found: Device, place: Place, parcel: Parcel, work: Path) -> None:
        from edge_runtime.building.parcel import next_release  # noqa: PLC0415 - see above

        if found.refusal:
            raise _said(self._host, found.refusal)
        facts, report = found.releases, self._report
        report.was = str(facts.get("current") or "").rpartition("-")[0]
        report.files = len(parcel.files)
        release = self._wish.release or next_release(facts)
        if facts.get("content") == parcel.manifest(release).content and self._wish.release in {"", report.was}:
            report.release, report.verdict = report.was, "unchanged"
            report.text = f"release {report.was} is this already"
            return
        file = work / f"{parcel.name}-{release}.edge".replace(":", "_")
        report.release, report.files_sent = release, parcel.write(file, release, self._wish.key, facts.get("here", {}))
        size = sum(one.size for one in parcel.files)
        room = found.system_bytes if place is SYSTEM else found.home_bytes
        devices.check_room(self._host, "the folder of releases", room, size + file.stat().st_size + _SPARE)
        target = _target()
        step = target.Release(file, file.stat().st_size, self._wish.health_s)
        self._carry(target.plan(self._host, place, found.user, None, step))
        report.bytes_sent = file.stat().st_size
        if self._wish.dry_run:
            return
        told = _json(self._host, self._answer.out)
        report.verdict, report.text = str(told.get("verdict")), str(told.get("text"))

    # -- steps -----------------------------------------------------------------------------------------------------

    def _carry(self, plan: Plan) -> None:
        from edge_runtime.building.plan import shown  # noqa: PLC0415 - see above
        from edge_runtime.cli._carry import run_plan  # noqa: PLC0415 - see above

        if self._wish.dry_run:
            say(shown(plan).rstrip("\n"))
        else:
            run_plan(plan, self._far)

    def _far(self, step: Remote, progress: Progress) -> None:
        """Run a step there. Raises: EdgeError when it fails; a release that was rolled back is no failure of it."""
        answer = self._link.run(step.script, user=step.user, source=step.source, progress=progress)
        self._answer = answer
        if answer.status == 0 or (answer.status == 1 and answer.out.lstrip().startswith("{")):
            self._report.notes += [line for line in answer.out.splitlines() if step.source is None and line.strip()]
            return
        target = _target()
        if answer.status == target.BUSY:
            raise HostError(f"another deployment to {self._host} is under way", hint="wait for it, and run this again")
        if answer.status == target.CUT:
            raise HostError(f"not all of it came to {self._host}", hint="nothing was changed: run the same again")
        raise _said(self._host, answer.err or answer.out, f"{step.what} failed with status {answer.status}")


def _target() -> Any:  # noqa: ANN401 - a module that is found by its name
    from edge_runtime import plugin  # noqa: PLC0415 - see above

    return plugin.load("deploy", "ssh")


def _order(version: str) -> tuple[int, ...]:
    """Return what versions of the runtime are compared by."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _said(host: str, text: str, else_: str = "") -> EdgeError:
    """Return the error that an `edge` command there, or another program, has written."""
    text = text.replace(" hint: ", "\nhint: ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    hints = [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]
    own = [line for line in lines if line.startswith(_OWN)]  # apt and dpkg say more, and less
    words = "; ".join(errors) or ": ".join(part for part in (else_, "; ".join((own or lines)[-_LINES:])) if part)
    return EdgeError(f"{host}: {words}", hint="; ".join(hints))


def _json(host: str, text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise HostError(f"{host} has not said what came of the release", hint=f"ssh {host} sudo edge releases")
    return found
