"""What a client asks of a shadow: read, checked, and refused in the words of AWS.

Source: AWS IoT developer guide, "Device Shadow error messages"; where it says no more than that something is invalid,
what comes after the colon says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_runtime.pure._shadow_tree import Tree, null_in_array, parse
from edge_runtime.pure.nesting import levels
from edge_runtime.pure.quotas import PAYLOAD_BYTES

SECTIONS = ("desired", "reported")
MOST_LEVELS = 6
"""Of objects and arrays inside each other, the section itself being the first."""
TOKEN_BYTES = 64
TOO_LARGE = "The payload exceeds the maximum size allowed"
_TOO_DEEP = f"JSON contains too many levels of nesting; maximum is {MOST_LEVELS}"


class RefusalError(Exception):
    """Why a request is refused, on its way to `shadow.Rejected`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """A request to update, all of it valid."""

    state: Tree
    version: int | None
    levels: int


def read(payload: bytes) -> Tree:
    """Return the object that a request is. Raises: RefusalError."""
    if not payload:
        raise RefusalError(400, "Missing update payload")
    if len(payload) > PAYLOAD_BYTES:
        raise RefusalError(413, TOO_LARGE)
    try:
        tree = parse(payload)
    except UnicodeDecodeError:
        raise RefusalError(415, "Unsupported documented encoding; supported encoding is UTF-8") from None
    except ValueError as error:
        raise RefusalError(400, f"Invalid JSON: {error}") from None
    except RecursionError:
        raise RefusalError(400, _TOO_DEEP) from None
    if not isinstance(tree, Mapping):
        raise RefusalError(400, "Invalid JSON: it is no object")
    return tree


def token_of(tree: Tree) -> str | None:
    """Return the client token of a request, None without one. Raises: RefusalError."""
    token = tree.get("clientToken")
    if token is None or (isinstance(token, str) and len(token.encode()) <= TOKEN_BYTES):
        return token
    raise RefusalError(400, "Invalid clientToken")


def token_if_any(payload: bytes) -> str | None:
    """Return the client token of a request of which AWS ignores all else, whatever it is."""
    try:
        return token_of(read(payload))
    except RefusalError:
        return None


def check(tree: Tree) -> Request:
    """Return what a request to update asks for. Raises: RefusalError."""
    if "state" not in tree:
        raise RefusalError(400, "Missing required node: state")
    state, version = tree["state"], tree.get("version")
    if not isinstance(state, Mapping):
        raise RefusalError(400, "State node must be an object")
    if (deep := levels(state) - 1) > MOST_LEVELS:
        raise RefusalError(400, _TOO_DEEP)
    for key, section in state.items():
        _check_section(key, section)
    if version is not None and (not isinstance(version, int) or isinstance(version, bool) or version < 0):
        raise RefusalError(400, "Invalid version")
    return Request(state, version, deep)


def _check_section(key: str, section: object) -> None:
    if key not in SECTIONS:
        raise RefusalError(400, f"State contains an invalid node: {key!r}")
    if section is not None and not isinstance(section, Mapping):
        raise RefusalError(400, f"{key.capitalize()} node must be an object")
    if path := null_in_array(section, key):
        raise RefusalError(400, f"State contains an invalid node: the array {path!r} holds null")
