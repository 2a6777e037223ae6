"""The running host is asked how it does: what keeps it from the broker, what the broker refuses, who else has its name.

With a host running, nobody else may connect under its name: the broker would end the host's own connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_runtime import control
from edge_runtime.app import App
from edge_runtime.cli._checks_probe import duel_fix
from edge_runtime.cli._common import duration
from edge_runtime.cli._finding import Finding
from edge_runtime.cli._rights import statement, subscribe, subscriptions
from edge_runtime.errors import EdgeError
from edge_runtime.links import _codes

Status = Mapping[str, Any]
_TAKEN = _codes.describe(_codes.TAKEN_OVER)
_OLD_S = 3600.0
"""What ended a connection before this one is old news when this one has held so long."""
_RESTLESS, _RESTLESS_S = 4, 60.0
"""So many connections, each of them shorter than this on the average."""


def host(state: Path) -> tuple[Finding, Status | None]:
    """Check whether a host runs and answers; return its status, too."""
    try:
        if not control.is_running(state):
            return Finding("host", "ok", "not running"), None
        answer = control.call(state, "status", within_s=5)
    except EdgeError as error:
        return Finding("host", "fail", str(error), error.hint or "edge run"), {}
    return Finding("host", "ok", f"running for {duration(answer.get('uptime_s', 0))}"), answer


def running(status: Status, app: App | None) -> Iterator[Finding]:
    """Say what the status of a host shows. Without an app there is less to say about what would mend it."""
    if link := status.get("link"):
        yield from duel(status, app)
        yield _link(link)
        for name, said in (link.get("agents") or {}).items():
            if str(said).startswith(("off:", "failed:", "waiting:")):
                yield Finding(f"agent {name}", "warn", str(said), _agent_fix(str(name), str(said), app))
        if refused := link.get("refused"):
            text = f"the broker has refused {refused} messages for good; they are dead letters"
            fix = "edge queue show uplink --dead; when the policy allows them: edge queue replay uplink --all"
            yield Finding("refused", "warn", text, fix)
    if note := (status.get("certificate") or {}).get("note"):
        yield Finding("certificate", "warn", str(note), "edge provision --rotate")
    if error := (status.get("credentials") or {}).get("last_error"):
        yield Finding("credentials", "warn", f"the host says: {error}", "see what is found about credentials below")
    if (status.get("store") or {}).get("disk_tight"):
        yield Finding("disk", "fail", "the host accepts nothing: the disk is full", "free some space")
    for part in status.get("parts") or ():
        if part.get("state") != "running":
            text = f"{part.get('name')} is {part.get('state')}: {part.get('last_error')}"
            yield Finding("part", "warn", text, "see the log of the host: edge status, journalctl")


def duel(status: Status, app: App | None) -> Iterator[Finding]:
    """Recognise two devices with one client id: each connect ends the other's connection."""
    link = status["link"]
    connects, up_s = int(link.get("connects") or 0), float(status.get("uptime_s") or 0)
    is_calm = link.get("state") == "up" and float(link.get("since_s") or 0) >= _OLD_S
    is_restless = connects >= _RESTLESS and up_s / connects < _RESTLESS_S and not is_calm
    error = str(link.get("last_error") or "")
    fix = duel_fix(app) if app is not None else "give each device a client_id of its own"
    if _TAKEN in error:
        text = f"another device connects under the same name: connected {connects} times in {duration(up_s)}; {error}"
        yield Finding("client id", "warn" if is_calm or not is_restless else "fail", text, fix)
    elif is_restless:
        text = f"connections do not last: {connects} in {duration(up_s)}, the last one ended so: {error or 'unknown'}"
        more = "or the policy denies what the host does after each connect: edge doctor --policy FILE"
        yield Finding("client id", "warn", text, f"if another device has the same name, {fix}; {more}")


def _link(link: Mapping[str, Any]) -> Finding:
    text = f"{link.get('driver')} {link.get('state')} for {duration(link.get('since_s') or 0)}"
    if link.get("state") == "up":
        return Finding("link", "ok", f"{text}, {link.get('published', 0)} messages published")
    error = str(link.get("last_error") or "")
    if "not authorized" in error or "closed the connection" in error:
        fix = "the policy of the certificate must allow what the host does: edge doctor --policy FILE"
    else:
        fix = "see what is found about the network below"
    return Finding("link", "fail" if error else "warn", f"{text}: {error}" if error else text, fix)


def _agent_fix(name: str, said: str, app: App | None) -> str:
    if not said.startswith("off:") or app is None:
        return "see the log of the host"
    if "topic filters" in said:
        return "subscribe to less under link.down"
    mine = subscriptions(app).get(name, ())
    refused = [one for one in mine if repr(one) in said] or mine[:1]
    return "; ".join(f"add to the policy: {statement(subscribe(one, name), app)}" for one in refused)
