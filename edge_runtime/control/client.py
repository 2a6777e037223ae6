"""The blocking side of the control socket: what a command uses to ask the running host."""

from __future__ import annotations

import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO

from edge_runtime.control.wire import LINE_LIMIT, SOCKET, address, decode, encode, error_from_json
from edge_runtime.errors import EdgeError, HostError

_NOBODY = (FileNotFoundError, NotADirectoryError, ConnectionRefusedError)
"""What connecting raises when no host listens; the last one when a dead host has left its socket."""


def ask(
    state: Path,
    verb: str,
    /,
    *,
    within_s: float | None = None,
    **args: Any,  # noqa: ANN401 - whatever JSON the verb takes
) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """Ask the host that uses the folder `state`, and yield what it sends; the generator's return value is the end.

    The request is sent at the first `next`. Closing the generator ends the request. `within_s` is how long to wait
    for each line; without it, for ever.

    Raises: HostError when no host listens or it went away; the error that the host met, by its own class.
    """
    with _connect(state, within_s) as link:
        try:
            link.sendall(encode({"verb": verb, **args}))
        except TimeoutError as error:
            raise HostError(f"the host did not read the request within {within_s:g} s") from error
        except OSError as error:
            # A host that refuses says why before it closes; only without a word the sending error counts.
            failure: OSError | None = error
        else:
            failure = None
        with link.makefile("rb") as lines:
            while True:
                message = _line(lines, verb, failure, within_s)
                if "item" in message:
                    yield message["item"]
                elif "error" in message:
                    raise error_from_json(message["error"])
                elif "done" in message:
                    return dict(message["done"])
                else:
                    raise EdgeError(f"the host answered {verb!r} with {str(message)[:60]}")


def call(state: Path, verb: str, /, *, within_s: float | None = None, **args: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON the verb takes
    """Ask the host, drop the items it sends and return the end of its answer.

    Raises: as `ask`.
    """
    answer = ask(state, verb, within_s=within_s, **args)
    while True:
        try:
            next(answer)
        except StopIteration as end:
            return dict(end.value)


def is_running(state: Path, /) -> bool:
    """Tell whether a host listens in the folder `state`.

    Raises: HostError when that cannot be told, because the folder is another user's.
    """
    try:
        _connect(state, 5.0).close()
    except HostError as error:
        if isinstance(error.__cause__, _NOBODY):
            return False
        raise
    return True


def _connect(state: Path, within_s: float | None) -> socket.socket:
    path = state / SOCKET
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(within_s)
    try:
        with address(path) as name:
            link.connect(name)
    except _NOBODY as error:
        link.close()
        raise HostError(f"no host is running with the state folder {state}", hint="start it: edge run") from error
    except PermissionError as error:
        link.close()
        raise HostError(
            f"the host with the state folder {state} belongs to another user", hint="run the command as that user"
        ) from error
    except OSError as error:
        link.close()
        raise HostError(f"the host with the state folder {state} cannot be reached: {error}") from error
    except BaseException:
        link.close()
        raise
    return link


def _line(lines: BinaryIO, verb: str, failure: OSError | None, within_s: float | None) -> dict[str, Any]:
    try:
        line = lines.readline(LINE_LIMIT + 1)
    except TimeoutError as error:
        raise HostError(f"the host did not answer {verb!r} within {within_s:g} s") from error
    except OSError as error:
        raise HostError(f"the host went away while it answered {verb!r}: {error}") from error
    if len(line) > LINE_LIMIT:
        raise HostError(f"the host answered {verb!r} with a line of more than {LINE_LIMIT} bytes")
    if not line.endswith(b"\n"):
        raise HostError(f"the host went away while it answered {verb!r}") from failure
    return decode(line)
