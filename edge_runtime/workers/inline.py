"""The worker pool's interface without processes: handlers are called in this one. For tests and simulation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from edge_runtime.app import Function
from edge_runtime.errors import NotFoundError
from edge_runtime.model import Result
from edge_runtime.plugin import nearest
from edge_runtime.workers._crew import Status
from edge_runtime.workers._environment import environment
from edge_runtime.workers._report import Usage, whole_log
from edge_runtime.workers.inside.codec import Encoder, decode_event, encode_error
from edge_runtime.workers.inside.context import LambdaContext, apply_json, common_values
from edge_runtime.workers.inside.faults import error_object

Handler = Callable[[object, LambdaContext], object]

_TIMEOUT_S = 3.0
_MEMORY_MB = 128


class InlinePool:
    """Calls handlers in this process, on the event loop's thread: `InlinePool({"soil": lambda event, context: ...})`.

    Events, replies, contexts and errors are made by the same code as in a worker. Nothing is confined or timed out,
    output goes where it goes, and the environment is this process's own.
    """

    def __init__(self, handlers: Mapping[str, Handler], *, thing: str = "inline") -> None:
        self._handlers = dict(handlers)
        self._encoder = Encoder(escape=False)
        self._common = {name: self._values(name, thing) for name in self._handlers}
        self._counts = {name: [0, 0] for name in self._handlers}
        self._last_errors = dict.fromkeys(self._handlers, "")

    @staticmethod
    def _values(name: str, thing: str) -> dict[str, object]:
        function = Function(name, Path(), "inline", timeout_s=_TIMEOUT_S, memory_mb=_MEMORY_MB)
        return common_values(environment(function, thing, Path(), Path(), "inline"))

    async def start(self) -> None:
        """Do nothing: there is nothing to start."""

    async def close(self, grace_s: float = 0.0) -> None:
        """Do nothing: there is nothing to end."""

    async def invoke(
        self,
        name: str,
        payload: bytes,
        *,
        request_id: str,
        context: Mapping[str, object] | None = None,
        timeout_s: float | None = None,
        depth: int = 0,  # noqa: ARG002 - nobody asks an inline pool who calls
        wait: bool = True,  # noqa: ARG002 - it never is busy
    ) -> Result:
        """Call a handler once; arguments and result as in `Pool.invoke`.

        Raises: NotFoundError for an unknown name.
        """
        handler = self._handlers.get(name)
        if handler is None:
            hint = f"functions: {', '.join(sorted(self._handlers)) or 'none'}"
            raise NotFoundError(f"there is no function named {name!r}{nearest(name, self._handlers)}", hint=hint)
        began = time.monotonic_ns()
        limit_s = _TIMEOUT_S if timeout_s is None else timeout_s
        given = LambdaContext(self._common[name], request_id, began + int(limit_s * 1e9))
        counts = self._counts[name]
        counts[0] += 1
        try:
            kind, _ = apply_json(given, json.dumps(dict(context or {})).encode())
            event = decode_event(payload) if kind == "application/json" else payload
            reply, error = self._encoder.encode(handler(event, given)), ""
        except Exception as exc:  # noqa: BLE001 - what a handler raises is its answer
            fault = error_object(exc, request_id)
            reply, error = encode_error(fault), str(fault["errorType"])
            counts[1] += 1
            self._last_errors[name] = f"{error}: {fault['errorMessage']}"
        took_ms = (time.monotonic_ns() - began) / 1e6
        return Result(reply, error, whole_log(request_id, "", Usage(took_ms, _MEMORY_MB, 0, 0.0)), took_ms)

    def status(self) -> list[Status]:
        """Return the counts of each function, sorted by name."""
        return [
            Status(name, "idle", 0, 0, 0, counts[0], counts[1], self._last_errors[name], 0, 0.0)
            for name, counts in sorted(self._counts.items())
        ]
