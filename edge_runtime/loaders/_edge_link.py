"""Check the link and the brokers in `edge.yaml`: their options, and the quotas of AWS IoT Core."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path

from edge_runtime import plugin
from edge_runtime.app import App
from edge_runtime.errors import NotFoundError
from edge_runtime.loaders._edge_checks import destinations, plain_switches, tried
from edge_runtime.loaders._edge_schema import Broker, Link
from edge_runtime.loaders._validate import choices, unknown_key, value_of
from edge_runtime.loaders._yaml import Document, Where
from edge_runtime.pure import quotas, topics

_BROKER = frozenset({"host", "port", "topics", "prefix"})
"""What every broker has; the rest are options of the trigger."""


def options(part: Link, thing: str, base: Path, document: Document) -> dict[str, object]:
    """Return the options for the link's driver; note those that it does not know.

    Relative paths are resolved against `base`, and a `client_id` that is left out is the thing's name.
    """
    where: Where = ("link",)
    given: dict[str, object] = dict(part.model_extra or {})
    plain_switches(given, where, document)
    try:
        module = plugin.load("links", part.driver)
    except NotFoundError:
        text = f"there is no link {part.driver!r}{choices(part.driver, plugin.names('links'))}"
        document.add((*where, "driver"), text)
        return given
    except ImportError:
        return given  # its library is not on this machine: the host says so when it starts
    known = {f.name: f for f in dataclasses.fields(module.LINK) if f.init}
    hints = typing.get_type_hints(module.LINK)
    for key, value in given.items():
        here = (*where, key)
        if key not in known:
            ours = [k for k in Link.model_fields if k not in known]
            document.add(here, unknown_key(key, [*ours, *known]))
            continue
        value_of(hints[key], value, here, document)
        if isinstance(value, str) and value and Path in (hints[key], *typing.get_args(hints[key])):
            given[key] = _path(value, base, here, document)
    if "client_id" in known:
        given.setdefault("client_id", thing)
    for name, field in known.items():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and name not in given:
            document.add((*where, name), f"this key is missing; the link {part.driver} needs it")
    return given


def broker_options(part: Broker, base: Path, where: Where, document: Document) -> dict[str, object]:
    """Return the options for the `mqtt` trigger, those that are written."""
    given = {key: getattr(part, key) for key in part.model_fields_set if key not in _BROKER}
    for key in ("ca", "certificate", "key"):
        if key in given:
            given[key] = _path(given[key], base, (*where, key), document)
    for key in ("username", "password", "client_id", "version"):
        if key in given:
            given[key] = document.text((*where, key), given[key])  # a password may be made of digits
    return given


def _path(value: str, base: Path, where: Where, document: Document) -> str:
    if value.startswith("~"):
        document.add(where, "what ~ means depends on who runs the host; write the path in full")
    return str(base / value)


def pack(part: Link, document: Document) -> None:
    """Note parcels that the nucleus of Greengrass would refuse whole: it takes a few thousand bytes at a time."""
    if part.driver == "greengrass" and part.pack > 1:
        document.add(("link", "pack"), f"{part.pack}: with driver greengrass each message goes by itself; take it away")


def is_aws(driver: str, options: Mapping[str, object]) -> bool:
    """Tell whether a link leads to AWS IoT Core: by its endpoint, or through the nucleus of Greengrass."""
    if driver == "greengrass":
        return True
    host = str(options.get("endpoint", "")).lower().rstrip(".")
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def quotas_hold(app: App, document: Document) -> None:
    """Note topics that AWS IoT Core would refuse, and more subscriptions than it allows."""
    if app.link is None or not app.link.uplink.aws_quotas:
        return
    uplink = app.link.uplink
    for index, one in enumerate(uplink.down):
        tried(lambda text: quotas.check_filters([text]), one, ("link", "down", index), document)
    if len(set(uplink.down)) > quotas.SUBSCRIPTIONS:
        tried(lambda _: quotas.check_filters(uplink.down), "", ("link", "down"), document)
    for index, rule in enumerate(uplink.up):
        least = rule.filter.replace("+", "x").replace("#", "x")  # the shortest topic that matches
        tried(lambda text: quotas.check_publish(text, 0), least, ("link", "up", index), document)
    for function in app.functions:
        for key, text in destinations(function):
            if any(topics.matches(rule.filter, text) for rule in uplink.up):
                tried(lambda t: quotas.check_publish(t, 0), text, ("functions", function.name, key), document)
    client_id = app.link.options.get("client_id")
    if isinstance(client_id, str):
        tried(quotas.check_client_id, client_id, ("link", "client_id"), document)
    if uplink.window > quotas.UNACKNOWLEDGED:
        document.add(
            ("link", "window"),
            f"AWS IoT Core allows {quotas.UNACKNOWLEDGED} unacknowledged publishes, not {uplink.window}",
        )
