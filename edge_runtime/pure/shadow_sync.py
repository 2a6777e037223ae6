"""A shadow kept here and its twin in the cloud: what has to be said that both are the same again.

What is known of the twin is `Document.base`, its state as `Document.cloud_version`. `meet` takes in a newer one and
leaves here what was changed here; what then differs from the base is for the cloud, and `outgoing` says it.

Source: AWS IoT Greengrass developer guide, "Shadow manager", for who wins where both sides have changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from edge_runtime.pure import _shadow_tree as trees
from edge_runtime.pure import shadow
from edge_runtime.pure._shadow_request import SECTIONS
from edge_runtime.pure._shadow_tree import EMPTY, Tree
from edge_runtime.pure.shadow import DESIRED, Accepted, Document

_MOST_SINGLE = 8
"""Named shadows that are subscribed to one by one; of more, all are."""


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


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What the cloud is to be told of a shadow."""

    delete: bool
    patch: Tree
    """The `state` of an update request."""
    version: int
    """The version that the request is meant for; 0: there is none, leave it out."""


def outgoing(document: Document | None) -> Outgoing | None:
    """Return what the cloud is to be told; None when it knows."""
    if document is None or not document.dirty:
        return None
    if not document.is_live:
        return Outgoing(delete=True, patch=EMPTY, version=0)
    return Outgoing(False, trees.patch_between(document.base or EMPTY, document.state), document.cloud_version)


DELETION: Tree = dict.fromkeys(SECTIONS)
"""What `Document.sent` holds while a deletion is under way."""


@dataclass(frozen=True, slots=True)
class News:
    """An update of the twin, as `.../update/accepted` tells it: what was changed, and which version that made."""

    patch: Tree
    metadata: Tree
    version: int


def news_of(answer: Tree) -> News | None:
    """Read an update from its `accepted`; None when that is not understood."""
    match answer:
        case {"state": dict() as patch, "version": int(version)} if all(
            patch.get(name) is None or isinstance(patch[name], Mapping) for name in SECTIONS
        ):
            return News(_sections(patch), _sections(answer.get("metadata")), version)
    return None


def twin_of(answer: Tree) -> Document | None:
    """Read the twin from the `accepted` of a get; None when that is not understood."""
    found = news_of(answer)
    return None if found is None else Document(trees.merge(EMPTY, found.patch), found.metadata, found.version)


def _sections(tree: object) -> Tree:
    return {key: tree[key] for key in SECTIONS if key in tree} if isinstance(tree, Mapping) else EMPTY


def is_old(document: Document | None, news: News) -> bool:
    """Tell whether the twin as it is known here has this update in it."""
    return document is not None and news.version <= document.cloud_version


def after(document: Document | None, news: News) -> Document | None:
    """Return the twin as an update made it; None when an earlier one is missing, and the twin is to be asked for."""
    base, version = (document.base, document.cloud_version) if document is not None else (None, 0)
    if news.version != version + 1:
        return None
    return Document(trees.merge(base or EMPTY, news.patch), news.metadata, news.version)


@dataclass(frozen=True, slots=True)
class Met:
    """What has become of a shadow here."""

    document: Document | None
    """To be stored if it is not the one that was handed in; None when there was never one."""
    answer: Accepted | None
    """What is to be said of it, as of any update or deletion; None when nothing of its state has changed."""
    deleted: bool = False


def meet(
    local: Document | None,
    cloud: Document | None,
    now: int,
    how: Conflict = Conflict.SECTION,
    *,
    touched: Tree = EMPTY,
) -> Met:
    """Return the shadow that has taken in what the cloud has; what is still `dirty` then is for the cloud.

    Args:
        local: the shadow here, None when there was never one.
        cloud: its twin, None when there is no such shadow.
        now: seconds since the epoch.
        how: who wins a conflict.
        touched: what somebody else has just set there. It counts as set here too where it is so already, as it would
            in the cloud: whoever asks for `on` a second time means it.
    """
    if cloud is None and local is not None and local.is_live and local.sent == DELETION:
        return Met(_unknown(local), None)  # made anew here since its deletion was sent, which arrived
    found = reconcile(_assume(local, cloud), cloud, how)
    if found.delete_local and local is not None:
        gone = shadow.delete(local, b"", now)
        if isinstance(gone, Accepted):
            return Met(_unknown(gone.document), gone, deleted=True)
    if cloud is None:
        if local is None or (local.is_live and local.base is None):
            return Met(local, None)
        return Met(_unknown(local), None)
    if found.delete_cloud and local is not None:
        return Met(_knowing(local, cloud), None)
    patch = trees.overlay(found.local, trees.agreeing(touched, found.state or EMPTY))
    is_new = local is None or not local.is_live
    answer = shadow.follow(local, patch, now) if patch or is_new else None
    document = local if answer is None else answer.document
    return Met(None if document is None else _knowing(document, cloud), answer)


def _knowing(document: Document, cloud: Document) -> Document:
    return replace(document, base=cloud.state, cloud_version=cloud.version, sent=None)


def _unknown(document: Document) -> Document:
    return replace(document, base=None, cloud_version=0, sent=None)


def _assume(local: Document | None, cloud: Document | None) -> Document | None:
    """Return the shadow here with what of the last patch that was sent has arrived, as far as the twin tells.

    Where the twin has it, it is no change of somebody else: a later change here that goes back to what was before is
    then the only one.
    """
    if local is None or cloud is None or local.sent is None:
        return local
    sent = trees.merge(local.base or EMPTY, local.sent)
    if local.base is None and not local.is_live and not trees.same(sent, cloud.state):
        return local  # made here, sent, deleted here; and what is there was made by somebody else
    return replace(local, base=_arrived(local.base or EMPTY, sent, cloud.state))


def _arrived(base: Tree, sent: Tree, cloud: Tree) -> Tree:
    """Return the base with what of `sent` the cloud has."""
    result: dict[str, object] = {}
    for key in dict.fromkeys([*base, *sent]):
        before, mine, there = (tree.get(key, _MISSING) for tree in (base, sent, cloud))
        if isinstance(mine, Mapping) and isinstance(there, Mapping):
            result[key] = _arrived(before if isinstance(before, Mapping) else EMPTY, mine, there)
            continue
        value = mine if trees.same(mine, there) else before
        if value is not _MISSING:
            result[key] = value
    return result


def since(document: Document | None) -> int | None:
    """Return when the first change was made here of which the cloud does not know, in seconds since the epoch."""
    if document is None or not document.dirty:
        return None
    if not document.is_live:
        return document.deleted_s
    changed = trees.patch_between(document.base or EMPTY, document.state)
    return trees.oldest(trees.pick(document.metadata, changed))


def filters(thing: str, names: Sequence[str], *, everything: bool = False) -> tuple[str, ...]:
    """Return the topic filters by which the cloud's answers and the updates of others come.

    Two for each shadow, and no more than 18 in all; `delta` and `documents` say nothing that `accepted` does not.
    """
    root = f"$aws/things/{thing}/shadow"
    named = [name for name in names if name]
    places = [root] if everything or "" in names else []
    single = not everything and len(named) <= _MOST_SINGLE
    places += [f"{root}/name/{name}" for name in (named if single else ["+"])]
    return tuple(f"{place}/+/{end}" for place in places for end in ("accepted", "rejected"))


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
