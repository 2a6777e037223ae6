"""Check the link and the brokers in `edge.yaml`: their options, and the quotas of AWS IoT Core."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path

from edge_runtime import plugin
from edge_runtime.app import App, Budget, RoleAlias
from edge_runtime.errors import NotFoundError
from edge_runtime.loaders._edge_checks import destinations, plain_switches, timezone, tried
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
    _token(given, hints, base, document)
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


def _token(given: dict[str, object], hints: Mapping[str, object], base: Path, document: Document) -> None:
    """Put right what is written under `pkcs11`, or take it away. Nothing that is said of it may show a PIN."""
    written = given.get("pkcs11")
    if "pkcs11" not in hints or not isinstance(written, Mapping):
        return
    where: Where = ("link", "pkcs11")
    kind = next(one for one in typing.get_args(hints["pkcs11"]) if dataclasses.is_dataclass(one))
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = written.keys() - fields.keys()
    missing = {n for n, field in fields.items() if field.default is dataclasses.MISSING} - written.keys()
    for key in sorted(unknown):
        document.add((*where, key), unknown_key(key, fields))
    for key in sorted(missing):
        document.add((*where, key), "this key is missing")
    if unknown or missing:
        del given["pkcs11"]
        return
    # A label or a PIN may be made of digits.
    token = {key: document.text((*where, key), value) for key, value in written.items()}
    for key in {"module", "pin_file"} & token.keys():
        if key == "pin_file" or "/" in token[key]:  # else a name for the system's loader
            token[key] = _path(token[key], base, (*where, key), document)
    given["pkcs11"] = token


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


def budget(part: Link, document: Document) -> Budget | None:
    """Return the data budget; note a time zone that there is not."""
    wanted = part.budget
    if wanted is None:
        return None
    timezone(wanted.timezone, ("link", "budget", "timezone"), document)
    return Budget(
        limit_bytes=wanted.bytes,
        per=wanted.per,
        urgent=wanted.urgent,
        night=typing.cast("tuple[int, int] | None", wanted.night),  # its validator has read it
        later=wanted.later or Budget(0).later,
        timezone=wanted.timezone,
        month_begins=wanted.month_begins,
    )


def role(part: Link, options: Mapping[str, object], document: Document) -> RoleAlias | None:
    """Return the role whose credentials functions get; note when nothing proves to AWS that this device may have it."""
    if part.credentials is None:
        return None
    where: Where = ("link", "credentials")
    if part.credentials.greengrass:
        if part.driver != "greengrass":
            document.add(where, "'greengrass' goes with driver greengrass; write endpoint and role_alias")
        return RoleAlias()
    if not options.get("certificate"):
        document.add(where, "they are asked for with the device's certificate: give the link a certificate and a key")
    if options.get("pkcs11"):
        document.add(where, "they are asked for with a key from a file; one in a token cannot be used for it")
    return RoleAlias(part.credentials.endpoint, part.credentials.role_alias, part.credentials.port)


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
