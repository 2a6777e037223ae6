"""All checks of `edge doctor`, one after the other or side by side. They change nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from edge_runtime.app import App
from edge_runtime.cli import _checks_aws as aws
from edge_runtime.cli import _checks_devices as devices
from edge_runtime.cli import _checks_link as link
from edge_runtime.cli import _checks_machine as machine
from edge_runtime.cli._accounts import service, unit_of
from edge_runtime.cli._certificates import certificates, token
from edge_runtime.cli._checks_clock import clock
from edge_runtime.cli._checks_policy import policies
from edge_runtime.cli._checks_quotas import limits
from edge_runtime.cli._checks_status import Status, host, running
from edge_runtime.cli._common import is_releases
from edge_runtime.cli._finding import Case, Finding
from edge_runtime.cli._together import Check, Together
from edge_runtime.errors import ConfigError
from edge_runtime.loaders import overlay_in, read_app

_LOCAL_S, _DATABASE_S = 20.0, 60.0
_STEPS = 6
"""How many answers the network part may have to wait for, one after the other."""
_DIALED = ("awscrt", "paho", "greengrass")


def everything(case: Case) -> Iterator[Finding]:
    """Yield what all checks find. No check takes for ever, and none needs a network."""
    yield machine.versions()
    yield from machine.folder(case.state)
    found, status = host(case.state)
    yield found
    account = service(case.state)
    beside = Together([
        ("clock", partial(clock, case.state), _LOCAL_S),
        ("isolation", partial(machine.isolation, os.environ, status, unit_of(case.state)), _LOCAL_S),
        ("database", partial(machine.database, case.state), _DATABASE_S),
    ])  # fmt: skip
    app, wrong = _read(case)
    network = Together(_network(case, app, status)) if app is not None else None
    yield from devices.buses(Path("/dev"), account)
    yield from wrong
    if status:
        yield from running(status, app)
    if app is not None:
        yield Finding("app", "ok", f"{case.path} declares the thing {app.thing}")
        yield from devices.pins(app)
        yield from certificates(app, time.time(), account)
        yield from limits(app, status)
        yield from policies(app, case.policies)
        yield from aws.rival(app)
    yield from beside.findings()
    if network is not None:
        yield from network.findings()


def _read(case: Case) -> tuple[App | None, list[Finding]]:
    """Return the app, or what is wrong with it."""
    if is_releases(case.path):
        text = f"there is no app to check: {case.path} waits for its first release"
        return None, [
            Finding("app", "skip", text, "edge deploy USER@HOST from where it is made, or here: edge install FILE")
        ]
    try:
        return read_app(case.path, overlay_in(case.state)), []
    except ConfigError as error:
        return None, [Finding("app", "fail", line, error.hint) for line in str(error).splitlines()]


def _network(case: Case, app: App, status: Status | None) -> list[tuple[str, Check, float]]:
    """Return the checks that wait for others. With a host that runs, nobody connects under its name."""
    if app.link is None:
        return []
    within_s = case.patience_s * _STEPS
    return [
        ("link", partial(_link, case, app, is_alone=status is None), within_s + _LOCAL_S),
        ("token", partial(token, app.link.options, in_use=status is not None), _LOCAL_S),
        ("credentials", partial(aws.credentials, app), 2 * case.patience_s + 1),
    ]


def _link(case: Case, app: App, *, is_alone: bool) -> Iterator[Finding]:
    """Go the way to the broker, and then ask it."""
    if app.link is None:
        return
    is_open = True
    try:
        doors = link.doors_of(app.link)
    except ConfigError as error:
        yield Finding("link", "fail", str(error), error.hint)
        return
    if doors is not None:
        way = link.Way(app, doors, case.patience_s)
        yield from way.walk()
        is_open = way.is_open
    for finding in aws.nucleus(app, case.patience_s):
        yield finding
        is_open = finding.level == "ok"
    if app.link.driver in _DIALED:
        yield from _probe(case, app, is_alone=is_alone, is_open=is_open)


def _probe(case: Case, app: App, *, is_alone: bool, is_open: bool) -> Iterator[Finding]:
    from edge_runtime.cli._checks_probe import probe  # noqa: PLC0415 - most runs need no link

    if case.publish and not (case.probe and is_alone and is_open):
        yield Finding("publish", "skip", f"nothing was published on {case.publish}: there is no connection")
    if not case.probe:
        yield Finding("connect", "skip", "left out by --no-probe", "edge doctor --policy FILE needs no network")
    elif not is_alone:
        text = "a host is running: to connect under its name would end its connection"
        yield Finding("connect", "skip", text, "what the host itself has seen is above; edge doctor --policy FILE")
    elif not is_open:
        yield Finding("connect", "skip", "the broker cannot be reached", "edge doctor --policy FILE needs no network")
    else:
        yield from probe(app, case.patience_s, case.publish)
