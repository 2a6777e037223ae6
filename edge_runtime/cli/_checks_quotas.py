"""The app against the quotas of AWS IoT Core, and of a Greengrass nucleus where it publishes through one.

What a file must not declare at all (a topic that is too deep, too many filters under `down`) is found when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edge_runtime.app import App, LinkSpec
from edge_runtime.cli._checks_link import is_aws
from edge_runtime.cli._finding import Finding
from edge_runtime.cli._rights import subscriptions
from edge_runtime.errors import LimitError
from edge_runtime.pure import quotas
from edge_runtime.pure.topics import matches

_LITE_BYTES, _LITE_ECHO_BYTES, _LITE_DOWN_BYTES = 7_000, 4_900, 5_000
"""What nucleus lite takes, what it brings back, and what it lets through from the cloud."""
_LEAST_MEASURED_S = 600.0


def limits(app: App, status: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Check the link of the app. `status` is that of a running host, for what is measured."""
    link = app.link
    if link is None or not (link.driver == "greengrass" or is_aws(str(link.options.get("endpoint", "")))):
        return
    found = [*_declared(app, link), *_pace(app, link, status)]
    if link.driver == "greengrass":
        found += _greengrass(link)
    yield from found
    if not any(one.level in ("warn", "fail") for one in found):
        count = sum(len(filters) for filters in subscriptions(app).values())
        text = f"within those of AWS IoT Core: {count} of {quotas.SUBSCRIPTIONS} subscriptions"
        yield Finding("quotas", "ok", f"{text}, {link.uplink.window} of {quotas.UNACKNOWLEDGED} publishes on their way")


def _declared(app: App, link: LinkSpec) -> Iterator[Finding]:
    uplink = link.uplink
    filters = list(dict.fromkeys(one for many in subscriptions(app).values() for one in many))
    try:
        quotas.check_filters(filters)
    except LimitError as error:
        by = ", ".join(f"{who} {len(many)}" for who, many in subscriptions(app).items())
        yield Finding("quotas", "fail", f"{error} ({by})", error.hint or "correct it in the app file")
    if not uplink.aws_quotas:
        text = "aws_quotas is off, but this is AWS IoT Core: what breaks a quota is dropped there without a word"
        yield Finding("quotas", "warn", text, "leave aws_quotas out")
    if uplink.window > quotas.UNACKNOWLEDGED:
        text = f"window is {uplink.window}; AWS IoT Core takes {quotas.UNACKNOWLEDGED} unacknowledged publishes"
        yield Finding("quotas", "fail", text, f"window: {quotas.UNACKNOWLEDGED}")
    if not 0 < uplink.publishes_per_s <= quotas.PUBLISHES_PER_S:
        text = f"publishes_per_s is {uplink.publishes_per_s or 'unbounded'}; AWS discards what is above "
        yield Finding("quotas", "fail", f"{text}{quotas.PUBLISHES_PER_S}", f"publishes_per_s: {quotas.PUBLISHES_PER_S}")
    if not 0 < uplink.bytes_per_s <= quotas.BYTES_PER_S:
        text = f"bytes_per_s is {uplink.bytes_per_s or 'unbounded'}; AWS delays what is above {quotas.BYTES_PER_S}"
        yield Finding("quotas", "warn", text, "leave bytes_per_s out")
    least, most = quotas.KEEP_ALIVE_S
    keep_alive = link.options.get("keep_alive_s", 60)
    if isinstance(keep_alive, int | float) and not least <= keep_alive <= most:
        text = f"keep_alive_s is {keep_alive}; AWS IoT Core takes {least} to {most} and makes the nearest of it"
        yield Finding("quotas", "warn", text, "leave keep_alive_s out")
    client_id = link.options.get("client_id")
    if client_id is not None and client_id != app.thing:
        text = f"client_id is {client_id} and thing is {app.thing}: policies by thing name do not hold then"
        yield Finding("client id", "warn", text, "leave client_id out, or attach the certificate exclusively")


def _pace(app: App, link: LinkSpec, status: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Check that no more is measured than can leave."""
    uplink = link.uplink
    most = (uplink.publishes_per_s or quotas.PUBLISHES_PER_S) * uplink.pack
    up = [rule.filter for rule in uplink.up]
    read = [one for one in app.devices if one.every_s > 0 and any(matches(f, f"device/{one.name}") for f in up)]
    rate, how = sum(1 / one.every_s for one in read), "the devices are read"
    if (measured := _measured(status or {})) > rate:
        rate, how = measured, "the host publishes"
    if rate > most:
        text = f"{how} {rate:.0f} times a second, and {most:.0f} messages can leave: the queue only grows"
        pack = int(rate / quotas.PUBLISHES_PER_S) + 1
        yield Finding("quotas", "fail", text, f"pack: {pack * 2} under link:, or read them less often")
    elif rate > most / 2:
        text = f"{how} {rate:.0f} times a second, of {most:.0f} messages that can leave: a backlog drains slowly"
        yield Finding("quotas", "warn", text, "pack: 50 under link:")


def _measured(status: Mapping[str, Any]) -> float:
    """Return how many messages a second a host has published since it started; 0 when that was only just."""
    up_s = float(status.get("uptime_s") or 0)
    published = float((status.get("link") or {}).get("published") or 0)
    return published / up_s if up_s >= _LEAST_MEASURED_S else 0.0


def _greengrass(link: LinkSpec) -> Iterator[Finding]:
    """Say what a nucleus takes: the figures of the lite one were measured, see `links/greengrass.py`."""
    if str(link.options.get("nucleus", "lite")) != "lite":
        return
    confirmed = bool(link.options.get("confirm_topic"))
    most = f"{_LITE_BYTES} bytes" if confirmed else f"{_LITE_ECHO_BYTES} bytes, topic included"
    text = f"nucleus lite takes payloads of {most}, and lets {_LITE_DOWN_BYTES} bytes come down"
    yield Finding("nucleus", "ok", text)
    if not confirmed and not link.options.get("echo") and link.uplink.up:
        free = quotas.SUBSCRIPTIONS - len(link.uplink.down)
        text = f"each topic that is published on takes a subscription for its echo; {free} are left"
        yield Finding("nucleus", "warn", text, f"echo: [{', '.join(rule.filter for rule in link.uplink.up)}]")
