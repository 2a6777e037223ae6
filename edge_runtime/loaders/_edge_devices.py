"""Check the devices of `edge.yaml` against the classes that drive them. Nothing is opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from edge_runtime.app import Device
from edge_runtime.devices import OpenDevice, drivers
from edge_runtime.devices.naming import event_names
from edge_runtime.errors import ConfigError
from edge_runtime.loaders import _edge_schema as schema
from edge_runtime.loaders._edge_checks import plain_switches, words
from edge_runtime.loaders._validate import choices, unknown_key
from edge_runtime.loaders._yaml import Document, Where


def settings(written: Mapping[str, object], kind: OpenDevice | None, where: Where, document: Document) -> None:
    """Note what does not fit together in a device as it is written, and words that could be a text or a switch."""
    sampled = written.get("every") is not None
    for key in ("on_change", "deadband", "heartbeat"):
        if written.get(key) is not None and not sampled:
            document.add((*where, key), "says which readings count, so it needs 'every'")
    if written.get("debounce") is not None and sampled:
        document.add((*where, "debounce"), "is for devices with events of their own; one that is read has none")
    if kind is not None and not (kind.has_events or kind.is_output or sampled):
        text = f"{kind.spec.driver} has no events of its own; say how often to read it, as in every: 10s"
        document.add(where, text)
    plain_switches({k: v for k, v in written.items() if k not in schema.Device.model_fields}, where, document)


def driver(device: Device, where: Where, document: Document, base: Path | None = None) -> OpenDevice | None:
    """Return what kind of device it is (not opened: it has no `device`); note a wrong driver or argument.

    `base` is the folder of the app file, which may hold a `hardware` folder. None when there is no such driver.
    """
    try:
        cls = drivers.find(device, base)
    except ConfigError as error:
        document.add((*where, "driver"), words(error).removeprefix(f"device {device.name!r}: "))
        return None
    takes = drivers.arguments(cls)
    allowed = [name for name in (*takes.names, takes.many) if name and name != "bounce_time"]
    known: dict[str, object] = {}
    for key, value in device.options.items():
        if key in allowed or key == "bounce_time" or (takes.open_ended and not key.startswith("_")):
            known[key] = value
        else:
            ours = [key for key in schema.Device.model_fields if key not in allowed]
            document.add((*where, key), unknown_key(key, [*ours, *allowed]))
    try:
        drivers.check(dataclasses.replace(device, options=known), base)
    except ConfigError as error:
        text = words(error).removeprefix(f"device {device.name!r} ({device.driver})").lstrip(": ")
        document.add(where, text)
    return OpenDevice(device.name, device, None, simulated=True, pin="", driver=cls)


def event(name: str, kind: OpenDevice, where: Where, document: Document) -> None:
    """Note when the device never emits `device/<its name>/<name>`."""
    names = event_names(kind.driver) if kind.has_events else []
    if name not in names:
        document.add(where, f"a {kind.spec.driver} has no event {name!r}{choices(name, names)}")


def known(name: str, devices: Iterable[str], where: Where, document: Document) -> None:
    """Note when no device has that name."""
    names = list(devices)
    if name not in names:
        document.add(where, f"there is no device {name!r}{choices(name, names)}")
