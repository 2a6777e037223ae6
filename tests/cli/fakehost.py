"""A host that only answers: for tests of the commands that ask one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from edge_runtime.cli import cli
from edge_runtime.control.server import Verb, serve
from edge_runtime.control.wire import SOCKET


class Verbs:
    """Answers each verb with what it was given, and notes what it was asked."""

    def __init__(self, answers: Mapping[str, object]) -> None:
        self._answers = answers
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    def table(self) -> Mapping[str, Verb]:
        """Return what `serve` takes. A list is a stream of items, an exception is raised, all else is the end."""
        return {name: self._verb(name, answer) for name, answer in self._answers.items()}

    def _verb(self, name: str, answer: object) -> Verb:
        async def stream(args: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
            self.asked.append((name, args))
            assert isinstance(answer, list)
            for item in answer:
                yield item

        async def single(args: Mapping[str, Any]) -> Mapping[str, Any]:
            self.asked.append((name, args))
            if isinstance(answer, Exception):
                raise answer
            assert isinstance(answer, Mapping)
            return answer

        return stream if isinstance(answer, list) else single


@contextlib.contextmanager
def running(state: Path, answers: Mapping[str, object]) -> Iterator[Verbs]:
    """Answer on the control socket of the folder `state` while the block runs."""
    verbs = Verbs(answers)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        server = await serve(state / SOCKET, verbs.table())
        ready.set()
        await stop.wait()
        await server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    try:
        assert ready.wait(10)
        yield verbs
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def edge(args: Sequence[object], *, stdin: bytes | None = None) -> Result:
    """Run the command line in this process. A mistake in it is raised, not swallowed."""
    result = CliRunner().invoke(cli, [str(arg) for arg in args], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
