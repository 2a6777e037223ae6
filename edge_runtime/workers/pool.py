"""The worker pool: runs unchanged AWS Lambda Python handlers in warm processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

from edge_runtime.app import Function
from edge_runtime.errors import ConfigError, EdgeError, HostError, NotFoundError
from edge_runtime.model import Result
from edge_runtime.plugin import nearest
from edge_runtime.workers import unpack
from edge_runtime.workers._crew import SHARE_NS, Crew, Status
from edge_runtime.workers._environment import check
from edge_runtime.workers._worker import remove_tree
from edge_runtime.workers._yard import Yard
from edge_runtime.workers._zygote import Zygote

__all__ = ["Pool", "Status"]

GRACE_S = 5.0
INIT_S = 10.0
"""AWS Lambda's limit for the init phase."""


class Pool:
    """Runs functions in processes that are forked from a zygote and kept warm. Needs Linux. Once closed it stays so.

    A worker is started when an invocation needs one. `scratch` is a folder of the pool's own: it holds extracted
    archives and, while workers run, their temporary folders. `log` is called with a function's name (or `workers`) and
    whole lines of text; what a handler prints may hold anything, control characters too. `init_s` is what a handler's
    module may take to load; then it is loaded again within the function's own time, as in AWS.

    Raises: ConfigError when a function's runtime is not Python or its concurrency is negative.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        *,
        thing: str,
        scratch: Path,
        log: Callable[[str, str], None],
        init_s: float = INIT_S,
    ) -> None:
        for function in functions.values():
            if function.concurrency < 0:
                raise ConfigError(f"function {function.name!r}: concurrency must not be negative")
            check(function, log)
        self._functions = dict(functions)
        self._thing = thing
        self._scratch = scratch
        self._log = log
        self._init_s = init_s
        self._yard: Yard | None = None
        self._crews: dict[str, Crew] = {}

    async def start(self) -> None:
        """Begin to start the zygote, which goes on in the background. Safe to call twice.

        Removes what a crash has left in `scratch`.

        Raises: OSError when `scratch` cannot be made.
        """
        if self._yard is not None:
            return
        code, tmp = self._scratch / "code", self._scratch / "tmp"
        for folder in (self._scratch, code, tmp):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        zygote = Zygote(lambda text: self._log("workers", f"{text}\n"))
        self._yard = yard = Yard(zygote, self._thing, code, tmp.absolute(), self._log, self._init_s)
        self._crews = {name: Crew(function, yard) for name, function in self._functions.items()}
        yard.background(self._prepare(list(tmp.iterdir()), yard), "workers.prepare")

    async def _prepare(self, left_over: list[Path], yard: Yard) -> None:
        try:
            await yard.zygote.start()
        except OSError as error:  # the next invocation tries again and says so to its caller
            self._log("workers", f"the zygote cannot be started: {error}\n")
        try:
            if left_over or any(yard.code.iterdir()):  # a first start needs no thread for this
                await asyncio.to_thread(self._clear, left_over, yard.code)
        finally:
            yard.pruned.set()

    def _clear(self, left_over: list[Path], code: Path) -> None:
        for folder in left_over:
            remove_tree(folder)
        archives = [f.code for f in self._functions.values() if unpack.is_archive(f.code)]
        with contextlib.suppress(EdgeError):  # an archive that cannot be read: its invocation says so
            unpack.prune(code, {unpack.digest(archive) for archive in archives})

    async def invoke(
        self,
        name: str,
        payload: bytes,
        *,
        request_id: str,
        context: Mapping[str, object] | None = None,
        timeout_s: float | None = None,
    ) -> Result:
        """Run a function once and return its reply or, in `Result.error`, the type of its error.

        `payload` is JSON, at most 6 MiB. `request_id` must be unique. `timeout_s` replaces the function's own.

        `context` may hold: `custom`, a mapping that becomes `client_context.custom`, with the topic as `subject`;
        `client_context` and `identity`, mappings or their JSON text; `content_type`, of a payload that the handler is
        to get as bytes; `invoked_function_arn`; `tenant_id`; `trace_id`. One of `{"custom": {"subject": ...}}` alone
        costs least.

        Waits while all workers are busy, and while the back-off after failures lasts. Cancelling kills the worker.

        Raises: NotFoundError for an unknown name, HostError when the pool is not started or is closing.
        """
        crew = self._crews.get(name)
        yard = self._yard
        if crew is None or yard is None or yard.closing.is_set():
            raise self._refusal(name)
        limit_s = crew.function.timeout_s if timeout_s is None else timeout_s
        if yard.waited_ns > SHARE_NS:
            yard.waited_ns = 0
            await asyncio.sleep(0)
        result = crew.quick(payload, request_id, context, limit_s)
        if result is None:
            return await crew.invoke(payload, request_id, context, limit_s)
        return result if isinstance(result, Result) else await crew.finish(result, request_id, limit_s)

    def _refusal(self, name: str) -> EdgeError:
        if name not in self._functions:
            hint = f"functions: {', '.join(sorted(self._functions)) or 'none'}"
            return NotFoundError(f"there is no function named {name!r}{nearest(name, self._functions)}", hint=hint)
        return HostError("the worker pool is not running", hint="start the host")

    def status(self) -> list[Status]:
        """Return how each function is doing, sorted by name; empty before `start`."""
        return [crew.status() for _, crew in sorted(self._crews.items())]

    async def close(self, grace_s: float = GRACE_S) -> None:
        """Wait up to `grace_s` for running invocations, then kill; leave no process, descriptor or temporary file.

        Invocations that wait for a worker raise HostError. Safe to call twice.
        """
        yard = self._yard
        if yard is None:
            return
        yard.closing.set()
        for crew in self._crews.values():
            crew.close()
        if yard.in_flight:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(yard.quiet.wait(), grace_s)
            for crew in self._crews.values():
                crew.close()
        # A worker that idles out meanwhile is waited for too, and whatever still runs ends with the zygote.
        while yard.tasks:
            await asyncio.wait(yard.tasks)
        await yard.zygote.close()
        await asyncio.gather(*(crew.gone() for crew in self._crews.values()))
        if yard.in_flight:
            await yard.quiet.wait()
