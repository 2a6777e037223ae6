"""Check what `edge.yaml` says of shadows: which have a twin in the cloud, and which devices have a place in one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edge_runtime.app import Device, ShadowKey, ShadowSync
from edge_runtime.loaders._edge_schema import Link, Place
from edge_runtime.loaders._yaml import Document, Where
from edge_runtime.pure import quotas
from edge_runtime.pure.shadow import RESERVED, SAFE_LEVELS
from edge_runtime.pure.shadow_device import clash
from edge_runtime.pure.shadow_sync import filters

_CLASSIC = "classic"
"""What the shadow without a name is called in the file."""
_NAME = re.compile(r"[$a-zA-Z0-9:_-]{1,64}")
"""AWS IoT API reference, UpdateThingShadow, `shadowName`."""


def synced(part: Link, down: Sequence[str], thing: str, document: Document) -> ShadowSync | None:
    """Return which shadows have a twin in the cloud; note wrong names, and more subscriptions than AWS allows."""
    if part.shadows is None:
        return None
    where: Where = ("link", "shadows", "sync")
    everything = part.shadows.sync == "all"
    written = [] if isinstance(part.shadows.sync, str) else part.shadows.sync
    names = tuple(_name(text, (*where, index), document) for index, text in enumerate(written))
    for index, name in enumerate(names):
        if name in names[:index]:
            document.add((*where, index), f"{written[index]!r} is there twice")
    found = ShadowSync(names, everything, part.shadows.conflict)
    count = len({*down, *filters(thing, names, everything=everything)})
    if count > quotas.SUBSCRIPTIONS >= len(set(down)):
        document.add(where, f"with those of `down` these are {count} subscriptions; AWS allows {quotas.SUBSCRIPTIONS}")
    return found


def place(part: Place | None, where: Where, document: Document) -> ShadowKey | None:
    """Return where a device stands in a shadow; note a wrong name or key."""
    if part is None:
        return None
    here: Where = (*where, "shadow")
    path = tuple(part.key.split("."))
    if not all(key and key.isprintable() for key in path):
        document.add(here, f"{part.key!r} is no key; write one, or several with dots between them: pump.on")
    elif len(path) >= SAFE_LEVELS:
        document.add(here, f"{part.key!r} is {len(path)} levels deep; a shadow takes {SAFE_LEVELS - 1} safely")
    return ShadowKey(_name(part.name, here, document), path)


def places(devices: Sequence[Device], document: Document) -> None:
    """Note devices that would stand in one place."""
    seen: list[Device] = []
    for device in devices:
        if device.shadow is None:
            continue
        for other in seen:
            if other.shadow is not None and clash(device.shadow, other.shadow):
                text = f"device {other.name!r} stands there already; each needs a key of its own"
                document.add(("devices", device.name, "shadow"), text)
        seen.append(device)


def _name(text: str, where: Where, document: Document) -> str:
    if text == RESERVED:
        document.add(where, f"{text!r} is the shadow by which Greengrass deploys; take another")
    elif not _NAME.fullmatch(text):
        document.add(where, f"{text!r} is no name of a shadow; allowed: 1 to 64 letters, digits, $ : - and _")
    return "" if text == _CLASSIC else text
