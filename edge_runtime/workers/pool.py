"""The worker pool: runs unchanged AWS Lambda handlers in warm processes."""

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
from edge_runtime.workers._crew import SHARE_NS, Crew, Status, crew_of
from edge_runtime.workers._environment import check
from edge_runtime.workers._worker import remove_tree
from edge_runtime.workers._yard import Caller, Services, Yard, no_services, token_key
from edge_runtime.workers._zygote import Zygote
from edge_runtime.workers.isolation import Isolation, Terms, Wanted, isolation_of
from edge_runtime.workers.layers import key

__all__ = ["Caller", "Pool", "Services", "Status"]

_ALL = Wanted()
GRACE_S = 5.0
INIT_S = 10.0
"""AWS Lambda's limit for the init phase."""


class Pool:
    """Runs functions in processes that are forked from a zygote and kept warm. Needs Linux. Once closed it stays so.

    A worker is started when an invocation needs one, that of a pinned function with the pool. A runtime that is not
    installed stops nothing: the function's status and its invocations say so. `scratch` is a folder of the pool's own:
    it holds extracted archives and, while workers run, their temporary folders. `log` is called with a function's name
    (or `workers`) and whole lines of text; what a handler prints may hold anything, control characters too. `init_s` is
    what a handler's module may take to load; then it is loaded again within the function's own time, as in AWS.

    `services(function, token)` returns variables that a worker gets beside its own, for the SDK of its handler;
    `caller` knows the token. `isolation` says how the workers are to be kept apart; what the kernel lacks is left out,
    and the method of that name tells.

    Raises: ConfigError when a function's concurrency is negative.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        *,
        thing: str,
        scratch: Path,
        log: Callable[[str, str], None],
        init_s: float = INIT_S,
        services: Services | None = None,
        isolation: Wanted = _ALL,
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
        self._services = services or no_services
        self._isolation = isolation
        self._terms = Terms(functions, isolation)
        self._yard: Yard | None = None
        self._crews: dict[str, Crew] = {}

    async def start(self) -> None:
        """Begin to start the zygote, which goes on in the background. Safe to call twice.

        Removes what a crash has left in `scratch`.

        Raises: OSError when `scratch` cannot be made.
        """
        if self._yard is not None:
            return
        code, layers, tmp = (self._scratch / name for name in ("code", "layers", "tmp"))
        for folder in (self._scratch, code, layers, tmp):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        zygote = Zygote(lambda text: self._log("workers", f"{text}\n"), self._isolation.level)
        self._yard = yard = Yard(
            zygote, self._thing, code, layers, tmp.absolute(), self._log, self._init_s, self._services, self._terms
        )
        self._crews = {name: crew_of(function, yard) for name, function in self._functions.items()}
        yard.background(self._prepare(list(tmp.iterdir()), yard), "workers.prepare")
        for crew in self._crews.values():
            crew.start()

    async def _prepare(self, left_over: list[Path], yard: Yard) -> None:
        try:
            await yard.zygote.start()
        except OSError as error:  # the next invocation tries again and says so to its caller
            self._log("workers", f"the zygote cannot be started: {error}\n")
        try:
            if left_over or any(yard.code.iterdir()) or any(yard.layers.iterdir()):  # a first start needs no thread
                await asyncio.to_thread(self._clear, left_over, yard)
        finally:
            yard.pruned.set()

    def _clear(self, left_over: list[Path], yard: Yard) -> None:
        for folder in left_over:
            remove_tree(folder)
        archives = [f.code for f in self._functions.values() if unpack.is_archive(f.code)]
        with contextlib.suppress(EdgeError):  # an archive that cannot be read: its invocation says so
            unpack.prune(yard.code, {unpack.digest(archive) for archive in archives})
        with contextlib.suppress(EdgeError):  # as above
            unpack.prune(yard.layers, {key(function.layers) for function in self._functions.values()})

    async def invoke(
        self,
        name: str,
        payload: bytes,
        *,
        request_id: str,
        context: Mapping[str, object] | None = None,
        timeout_s: float | None = None,
        depth: int = 0,
        wait: bool = True,
    ) -> Result:
        """Run a function once and return its reply or, in `Result.error`, the type of its error.

        `payload` is JSON, at most 6 MiB. `request_id` must be unique. `timeout_s` replaces the function's own. `depth`
        says how many functions in a row have led to this; `caller` gives it back. With `wait=False` the error is
        `TooManyRequestsException` when all workers are busy; with a concurrency of 0 it always is.

        `context` may hold: `custom`, a mapping that becomes `client_context.custom`, with the topic as `subject`;
        `client_context` and `identity`, mappings or their JSON text; `content_type`, of a payload that the handler is
        to get as bytes; `invoked_function_arn`; `tenant_id`; `trace_id`. One of `{"custom": {"subject": ...}}` alone
        costs least.

        Waits while all workers are busy, while the back-off after failures lasts, and as long as the module of a pinned
        function runs. Cancelling kills the worker.

        Raises: NotFoundError for an unknown name, HostError when the pool is not started or is closing.
        """
        crew = self._crews.get(name)
        yard = self._yard
        if crew is None or yard is None or yard.closing.is_set():
            raise self._refusal(name)
        limit_s = crew.limit_s if timeout_s is None else timeout_s
        if yard.waited_ns > SHARE_NS:
            yard.waited_ns = 0
            await asyncio.sleep(0)
        result = crew.quick(payload, request_id, context, limit_s, depth)
        if result is None:
            return await crew.invoke(payload, request_id, context, limit_s, depth, wait=wait)
        return result if isinstance(result, Result) else await crew.finish(result, request_id, limit_s)

    async def refresh(self, name: str) -> Result:
        """Replace the workers of a function, for its code has changed: each ends after what it has in hand.

        Forgets earlier failures and starts one worker ahead. Returns when that one is ready, with a result whose
        `error` and `payload` say why it is not. The next worker of a pinned function starts in the background.

        Raises: as `invoke`.
        """
        crew = self._crews.get(name)
        if crew is None or self._yard is None or self._yard.closing.is_set():
            raise self._refusal(name)
        return await crew.refresh()

    def _refusal(self, name: str) -> EdgeError:
        if name not in self._functions:
            hint = f"functions: {', '.join(sorted(self._functions)) or 'none'}"
            return NotFoundError(f"there is no function named {name!r}{nearest(name, self._functions)}", hint=hint)
        return HostError("the worker pool is not running", hint="start the host")

    @property
    def busy(self) -> bool:
        """Whether invocations are in hand."""
        return self._yard is not None and self._yard.in_flight > 0

    def caller(self, token: str) -> Caller | None:
        """Return whose token it is and what that worker does now; None when no live worker has it."""
        if self._yard is None:
            return None
        known = self._yard.callers.get(token_key(token))
        return known and known()

    def isolation(self) -> Isolation | None:
        """Return what keeps the workers apart; None until that is known, soon after `start`."""
        found = self._yard.zygote.found if self._yard else None
        return None if found is None else isolation_of(found)

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
        await asyncio.gather(*(zygote.close() for zygote in (yard.zygote, *yard.kin.values())))
        await asyncio.gather(*(crew.gone() for crew in self._crews.values()))
        if yard.in_flight:
            await yard.quiet.wait()
