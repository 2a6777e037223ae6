"""A shadow kept here and its twin in the cloud: what has to be said that both are the same again.

Source: AWS IoT Greengrass developer guide, "Shadow manager", for who wins where both sides have changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from edge_runtime.pure import _shadow_tree as trees
from edge_runtime.pure._shadow_request import SECTIONS
from edge_runtime.pure._shadow_tree import EMPTY, Tree
from edge_runtime.pure.shadow import DESIRED, Document


def coalesce(document: Document) -> bytes | None:
    """Return the one update request that takes the twin in the cloud from where both were the same to here.

    However many updates there were meanwhile, this is all that they came to. None when they came to nothing, and for a
    shadow that was deleted: that is not said by an update.
    """
    patch = trees.patch_between(document.base or EMPTY, document.state)
    if not document.is_live or (not patch and document.base is not None):
        return None
    return trees.encode({"state": patch, **({"version": document.cloud_version} if document.cloud_version else {})})


def agreed(document: Document, cloud_version: int) -> Document:
    """Return the document with the note that the cloud has the same, as `cloud_version`."""
    base = document.state if document.is_live else None
    return replace(document, base=base, cloud_version=cloud_version if document.is_live else 0)


class Conflict(StrEnum):
    """Who wins where both sides have changed the same thing."""

    SECTION = "section"
    """In `desired` the cloud, in `reported` the device, whenever it was: Greengrass's rule."""
    LATEST_TIMESTAMP = "latest_timestamp"
    """Whoever wrote last by the timestamps in the metadata. What was deleted has none and loses; when even: SECTION."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What to do that both sides are the same. A patch is the `state` of an update request; an empty one is none."""

    state: Tree | None
    """What both sides hold then; None when there shall be no such shadow."""
    local: Tree
    """The patch for the shadow here."""
    cloud: Tree
    """The patch for its twin in the cloud."""
    delete_local: bool = False
    delete_cloud: bool = False


def reconcile(local: Document | None, cloud: Document | None, how: Conflict = Conflict.SECTION) -> Reconciled:
    """Return what brings a shadow and its twin in the cloud together, by what each has changed since `local.base`.

    What only one of them has changed is taken from that one. A shadow that was deleted on one side since both were the
    same is deleted on the other. When they never were, what only one of them has is kept, and all else is a conflict.
    """
    here = local if local is not None and local.is_live else None
    there = cloud if cloud is not None and cloud.is_live else None
    known = local is not None and local.base is not None
    if here is not None and there is not None:
        return _merged(here, there, how)
    if here is not None:
        return Reconciled(None, EMPTY, EMPTY, delete_local=True) if known else Reconciled(here.state, EMPTY, here.state)
    if there is not None:
        return (
            Reconciled(None, EMPTY, EMPTY, delete_cloud=True) if known else Reconciled(there.state, there.state, EMPTY)
        )
    return Reconciled(None, EMPTY, EMPTY)


_MISSING = object()
"""Stands for a value that is not there, where null might be one."""


def _merged(local: Document, cloud: Document, how: Conflict) -> Reconciled:
    base = local.base or EMPTY
    state: dict[str, object] = {}
    for section in SECTIONS:
        here = _Side(local.state.get(section, _MISSING), local.metadata.get(section))
        there = _Side(cloud.state.get(section, _MISSING), cloud.metadata.get(section))
        judge = _Judge(how, cloud_wins=section == DESIRED)
        if (value := judge.agree(here, there, base.get(section, _MISSING))) is not _MISSING:
            state[section] = value
    return Reconciled(state, trees.patch_between(local.state, state), trees.patch_between(cloud.state, state))


@dataclass(frozen=True, slots=True)
class _Side:
    """A value on one side, and its metadata."""

    value: object
    metadata: object

    def item(self, key: str) -> _Side:
        value = self.value.get(key, _MISSING) if isinstance(self.value, Mapping) else _MISSING
        return _Side(value, self.metadata.get(key) if isinstance(self.metadata, Mapping) else None)


@dataclass(frozen=True, slots=True)
class _Judge:
    how: Conflict
    cloud_wins: bool

    def agree(self, local: _Side, cloud: _Side, base: object) -> object:
        """Return the value that both sides shall have."""
        if isinstance(local.value, Mapping) and isinstance(cloud.value, Mapping):
            old: Mapping[str, object] = base if isinstance(base, Mapping) else EMPTY
            keys = dict.fromkeys([*local.value, *cloud.value])
            values = {key: self.agree(local.item(key), cloud.item(key), old.get(key, _MISSING)) for key in keys}
            return {key: value for key, value in values.items() if value is not _MISSING}
        if trees.same(local.value, base):
            return cloud.value
        if trees.same(cloud.value, base):
            return local.value
        return cloud.value if self._cloud_wins(local, cloud) else local.value

    def _cloud_wins(self, local: _Side, cloud: _Side) -> bool:
        here, there = trees.newest(local.metadata), trees.newest(cloud.metadata)
        return self.cloud_wins if self.how is Conflict.SECTION or here == there else there > here
