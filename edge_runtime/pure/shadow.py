"""Device shadows as AWS IoT keeps them: documents in, documents and messages out, without any I/O.

`update`, `get` and `delete` answer a request as the cloud would. `shadow_sync` brings a shadow that is kept here
together with its twin in the cloud.

Sources: AWS IoT developer guide, "Device Shadow service documents", "Device Shadow error messages" and "Interacting
with shadows".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from edge_runtime.pure import _shadow_tree as trees
from edge_runtime.pure._shadow_request import (
    MOST_LEVELS,
    TOO_LARGE,
    RefusalError,
    check,
    read,
    token_if_any,
    token_of,
)
from edge_runtime.pure._shadow_tree import EMPTY, Tree

DESIRED = "desired"
REPORTED = "reported"
RESERVED = "AWSManagedGreengrassV2Deployment"
"""The shadow by which Greengrass deploys; nobody else may touch it."""
STATE_BYTES = 8 << 10
"""Of `desired` and `reported` together as compact JSON; metadata does not count."""
MOST_STATE_BYTES = 30 << 10
"""The most that AWS grants on request."""
SAFE_LEVELS = MOST_LEVELS - 1
"""Greengrass's shadow manager counts `state` as a level too, and so takes one less."""
KEPT_S = 48 * 3600
"""A shadow made anew so soon after it was deleted goes on counting its versions."""


@dataclass(frozen=True, slots=True)
class Document:
    """A shadow. One that was deleted stays as a mark, for its version and for the cloud, which has yet to learn of it.

    `state` holds `desired` and `reported`, each only if somebody has set it, and no null; `metadata` has the same shape
    with `{"timestamp": seconds}` for each leaf.
    """

    state: Tree
    metadata: Tree
    version: int
    """One more with every accepted update, from 1."""
    deleted_s: int | None = None
    """When it was deleted, seconds since the epoch; None while it is there."""
    cloud_version: int = 0
    """The last version of its twin in the cloud that is known here; 0 for none."""
    base: Tree | None = None
    """The state of its twin as `cloud_version`, from which on this one may have changed; None for none."""
    sent: Tree | None = None
    """The patch of `base` that was last sent to the cloud and of which it is not known whether it arrived."""

    @property
    def is_live(self) -> bool:
        """Whether it is there."""
        return self.deleted_s is None

    @property
    def dirty(self) -> bool:
        """Whether the cloud does not know it as it is."""
        if not self.is_live:
            return self.base is not None
        return self.base is None or not trees.same(self.base, self.state)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that was granted."""

    document: Document
    """The shadow as it is now. It is to be stored if it is not the one that was handed in."""
    payload: bytes
    """For topic `.../accepted`, and the answer of the REST API."""
    delta: bytes | None = None
    """For topic `.../update/delta`; None when nothing desired is missing in what is reported."""
    documents: bytes | None = None
    """For topic `.../update/documents`; None unless it was an update."""
    levels: int = 0
    """How deep the state that was sent is nested; warn above SAFE_LEVELS."""
    patch: Tree = field(default_factory=dict)
    """The `state` of an update."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A request that was refused: nothing has changed."""

    code: int
    """An HTTP status."""
    message: str
    payload: bytes
    """For topic `.../rejected`."""


def update(
    document: Document | None, request: bytes, now: int, *, most_bytes: int = STATE_BYTES
) -> Accepted | Rejected:
    """Return the shadow as a request changes it, or why it does not.

    Args:
        document: the shadow, None when there was never one.
        request: `{"state": {"desired": {...}, "reported": {...}}, "clientToken": "...", "version": 7}`; only `state`
            must be there. A version must be the current one, 0 for a shadow that is not there.
        now: seconds since the epoch.
        most_bytes: bound of the state.
    """
    token: str | None = None
    try:
        tree = read(request)
        token = token_of(tree)
        asked = check(tree)
        after = _apply(document, asked.state, asked.version, now)
        _check_size(after.state, most_bytes)
    except RefusalError as refusal:
        return reject(refusal.code, str(refusal), now, token)
    return _accept(document, after, asked.state, now, token=token, levels=asked.levels)


def follow(document: Document | None, patch: Tree, now: int) -> Accepted:
    """Return the shadow as a patch changes it that the cloud has granted: none of our bounds holds for it."""
    return _accept(document, _apply(document, patch, None, now), patch, now)


def get(document: Document | None, request: bytes, now: int, *, name: str = "") -> Accepted | Rejected:
    """Return the whole shadow. Of the request, only a `clientToken` matters; `name` is for the error's words."""
    token = token_if_any(request)
    if document is None or not document.is_live:
        return _missing(name, now, token)
    state = dict(document.state)
    if delta := delta_of(document.state):
        state["delta"] = delta
    shown = {"state": state, "metadata": document.metadata, "version": document.version}
    return Accepted(document, _message(shown, now, token))


def delete(document: Document | None, request: bytes, now: int, *, name: str = "") -> Accepted | Rejected:
    """Return the mark of a deleted shadow. Of the request, only a `clientToken` matters."""
    token = token_if_any(request)
    if document is None or not document.is_live:
        return _missing(name, now, token)
    mark = replace(document, state=EMPTY, metadata=EMPTY, deleted_s=now)
    return Accepted(mark, _message({"version": document.version}, now, token))


def reject(code: int, message: str, now: int, token: str | None = None) -> Rejected:
    """Return a refusal: AWS's code and words for it, and the token that the request had."""
    return Rejected(code, message, _message({"code": code, "message": message}, now, token))


def delta_of(state: Tree) -> Tree:
    """Return what is desired and not, or not so, reported."""
    return trees.difference(_section(state, DESIRED), _section(state, REPORTED))


def to_text(document: Document) -> str:
    """Return the document as JSON, for `from_text`."""
    fields = {name: getattr(document, name) for name in Document.__slots__}
    return trees.encode(fields).decode()


def from_text(text: str) -> Document:
    """Return the document that `to_text` wrote. Raises: ValueError for anything else."""
    match trees.parse(text.encode()):
        case {
            "state": dict() as state,
            "metadata": dict() as metadata,
            "version": int(version),
            "deleted_s": int() | None as deleted_s,
            "cloud_version": int(cloud_version),
            "base": dict() | None as base,
            **rest,
        } if isinstance(sent := rest.get("sent"), dict | None):
            return Document(state, metadata, version, deleted_s, cloud_version, base, sent)
    raise ValueError("this is no stored shadow")


def _apply(document: Document | None, patch: Tree, version: int | None, now: int) -> Document:
    before = document or Document(EMPTY, EMPTY, 0)
    if before.deleted_s is not None:
        if now - before.deleted_s >= KEPT_S:
            before = replace(before, version=0)
        version = version or None
    if version not in (None, before.version):
        raise RefusalError(409, "Version conflict")
    state = trees.merge(before.state, patch)
    metadata = cast("Tree", trees.restamp(state, patch, before.metadata, now))
    return replace(before, state=state, metadata=metadata, version=before.version + 1, deleted_s=None)


def _accept(
    before: Document | None, after: Document, patch: Tree, now: int, *, token: str | None = None, levels: int = 0
) -> Accepted:
    echo = {"state": patch, "metadata": trees.stamp(patch, now), "version": after.version}
    return Accepted(
        after,
        _message(echo, now, token),
        _delta_message(after, now, token),
        _message({"previous": _shown(before), "current": _shown(after)}, now, token),
        levels,
        patch,
    )


def _check_size(state: Tree, most: int) -> None:
    if sum(len(trees.encode(section)) for section in state.values()) > most:
        raise RefusalError(413, TOO_LARGE)


def _missing(name: str, now: int, token: str | None) -> Rejected:
    return reject(404, f"No shadow exists with name: {name or 'Unnamed Shadow'}", now, token)


def _section(state: Tree, name: str) -> Tree:
    section = state.get(name)
    return section if isinstance(section, Mapping) else EMPTY


def _delta_message(document: Document, now: int, token: str | None) -> bytes | None:
    if not (delta := delta_of(document.state)):
        return None
    metadata = trees.pick(document.metadata.get(DESIRED), delta)
    return _message({"version": document.version, "state": delta, "metadata": metadata}, now, token)


def _shown(document: Document | None) -> Tree | None:
    if document is None or not document.is_live:
        return None
    return {"state": document.state, "metadata": document.metadata, "version": document.version}


def _message(fields: Tree, now: int, token: str | None) -> bytes:
    more = {"timestamp": now} if token is None else {"timestamp": now, "clientToken": token}
    return trees.encode({**fields, **more})
