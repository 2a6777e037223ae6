"""Check the devices of `edge.yaml` against the classes that drive them. Nothing is opened."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from edge_runtime.app import Device, Guard, Interlock, Measure, Threshold
from edge_runtime.devices import OpenDevice, drivers
from edge_runtime.devices.naming import event_names
from edge_runtime.errors import ConfigError
from edge_runtime.loaders import _edge_schema as schema
from edge_runtime.loaders._edge_checks import plain_switches, words
from edge_runtime.loaders._validate import check, choices, unknown_key
from edge_runtime.loaders._yaml import Document, Where

_OF_READINGS = ("fault", "recovered")
"""What every device that is read may tell."""
_OWN_EVENTS = frozenset({"set", "refused", "deferred", "safe", "state", *_OF_READINGS})
"""What follows a device's name in topics that are not those of a threshold."""

_SWITCH_WORDS = frozenset({"yes", "no", "on", "off"})


def settings(written: Mapping[str, object], kind: OpenDevice | None, where: Where, document: Document) -> None:
    """Note what does not fit together in a device as it is written, and words that could be a text or a switch."""
    sampled = written.get("every") is not None
    reads = sampled or (kind is not None and kind.has_readings)
    for key in ("on_change", "deadband", "heartbeat"):
        if written.get(key) is not None and not reads:
            document.add((*where, key), "says which readings count, so it needs 'every'")
    for key in ("scale", "offset", "round", "unit", "range", "parts", "thresholds"):
        if written.get(key) is not None and not reads:
            document.add((*where, key), "says what a reading becomes, so it needs 'every'")
    if written.get("guard") is not None and kind is not None and not kind.is_output:
        document.add((*where, "guard"), f"is for outputs, and a {kind.spec.driver} takes no commands")
    if written.get("debounce") is not None and sampled:
        document.add((*where, "debounce"), "is for devices with events of their own; one that is read has none")
    if kind is not None and not (kind.has_events or kind.is_output or reads):
        text = f"{kind.spec.driver} has no events of its own; say how often to read it, as in every: 10s"
        document.add(where, text)
    if kind is not None and reads:
        _levels(kind, where, document)
    plain_switches({k: v for k, v in written.items() if k not in schema.Device.model_fields}, where, document)


def _levels(kind: OpenDevice, where: Where, document: Document) -> None:
    """Note thresholds that can never be crossed, or that have no one number to look at."""
    unit = getattr(kind.driver, "unit", None)
    for one in kind.spec.thresholds:
        here = (*where, "thresholds", one.name)
        if not one.part and isinstance(unit, Mapping) and unit:
            parts = ", ".join(map(str, unit))
            text = f"a reading of {kind.spec.driver} has parts; say which one, as in part: {next(iter(unit))}"
            document.add(here, f"{text}; known: {parts}")
        level, sign = (one.above, 1) if one.above is not None else (one.below or 0.0, -1)
        measure = kind.spec.measures.get(one.part) or kind.spec.measures.get("", Measure())
        if not measure.least <= level <= measure.most:
            document.add(here, f"{level:g} is out of the range of the readings, {measure.least:g} to {measure.most:g}")
        elif not measure.least <= level - sign * one.hysteresis <= measure.most:
            text = f"with a hysteresis of {one.hysteresis:g} it is never back within the range of the readings"
            document.add((*here, "hysteresis"), text)


def driver(device: Device, where: Where, document: Document, base: Path | None = None) -> OpenDevice | None:
    """Return what kind of device it is (not opened: it has no `device`); note a wrong driver or argument.

    `base` is the folder of the app file, which may hold a `hardware` folder. None when there is no such driver.
    """
    try:
        cls = drivers.find(device, base)
    except ConfigError as error:
        document.add((*where, "driver"), words(error).removeprefix(f"device {device.name!r}: "))
        return None
    allowed = drivers.arguments(cls).allowed
    for problem in drivers.problems(device, base):
        here = (*where, *problem.where)
        if document.written.get(here, "").lower() in _SWITCH_WORDS:
            plain_switches({str(here[-1]): document.written[here]}, here[:-1], document)
        elif problem.is_unknown_key and here[:-1] == where:
            ours = [key for key in schema.Device.model_fields if key not in allowed]
            document.add(here, unknown_key(str(here[-1]), [*ours, *allowed]))
        else:
            said = ConfigError(problem.text.lstrip(": "), hint=problem.hint)
            document.add(here, words(said))
    return OpenDevice(device.name, device, None, simulated=True, pin="", driver=cls)


def measures(part: schema.Device, where: Where, document: Document) -> Mapping[str, Measure]:
    """Return what readings become, by part; note what is wrong in `parts`."""
    found = {"": _measure(part)} if part.model_fields_set & schema.Measure.model_fields.keys() else {}
    for name, data in part.parts.items():
        one = check(schema.Measure, data, (*where, "parts", name), document)
        if one is not None:
            found[name] = _measure(one)
    return found


def _measure(part: schema.Measure) -> Measure:
    least, most = part.range or (-math.inf, math.inf)
    return Measure(part.scale, part.offset, part.round, part.unit or "", least, most, *part.deadband)


def thresholds(part: schema.Device, where: Where, document: Document) -> tuple[Threshold, ...]:
    """Return the levels that readings cross; note what is wrong with them."""
    found = []
    for name, data in part.thresholds.items():
        here = (*where, "thresholds", name)
        one = check(schema.Threshold, data, here, document)
        if one is None:
            continue
        if name in _OWN_EVENTS or not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) or name.startswith("no_"):
            text = f"{name!r} is no name of a threshold; allowed: small letters, digits and _, as in too_hot"
            document.add(here, f"{text}; not {', '.join(sorted(_OWN_EVENTS))} or no_...")
        found.append(Threshold(name, one.above, one.below, one.hysteresis, one.part or ""))
    return tuple(found)


def guard(data: object, where: Where, document: Document, devices: Iterable[str]) -> Guard | None:
    """Return what an output may do; note what is wrong with it.

    `where` is the key `guard` below the device; `devices` are the names of all.
    """
    part = None if data is None else check(schema.Guard, data, where, document)
    if part is None:
        return None
    interlocks, own = [], where[-2]
    for n, item in enumerate(part.interlock):
        one = check(schema.Interlock, item, (*where, "interlock", n), document)
        if one is not None:
            known(one.device, devices, (*where, "interlock", n), document)
            if one.device == own:
                document.add((*where, "interlock", n), "an output cannot be interlocked with itself")
            interlocks.append(Interlock(one.device, one.is_ == "active"))
    if part.lease is not None and part.max_on is not None and part.lease > part.max_on:
        document.add((*where, "lease"), "a lease that is longer than max_on never ends anything; make it shorter")
    for key, span in (("max_on", part.max_on), ("lease", part.lease)):
        if span is not None and part.min_on > span:
            document.add((*where, "min_on"), f"is longer than {key}, which ends it all the same")
    return Guard(
        safe=part.safe,
        lease_s=part.lease or 0.0,
        max_on_s=part.max_on or 0.0,
        min_on_s=part.min_on,
        min_off_s=part.min_off,
        max_per_minute=part.max_per_minute or 0,
        interlocks=tuple(interlocks),
    )


def event(name: str, kind: OpenDevice, where: Where, document: Document) -> None:
    """Note when the device never emits `device/<its name>/<name>`."""
    if kind.spec.every_s > 0 or kind.has_readings:
        names = [*(event for one in kind.spec.thresholds for event in (one.name, f"no_{one.name}")), *_OF_READINGS]
    else:
        names = event_names(kind.driver) if kind.has_events else []
    if name not in names:
        document.add(where, f"a {kind.spec.driver} has no event {name!r}{choices(name, names)}")


def known(name: str, devices: Iterable[str], where: Where, document: Document) -> None:
    """Note when no device has that name."""
    names = list(devices)
    if name not in names:
        document.add(where, f"there is no device {name!r}{choices(name, names)}")
