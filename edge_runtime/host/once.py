"""Run one function once, without a host: its workers only, no store, no devices, no link."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edge_runtime.app import App
from edge_runtime.clock import SystemClock, new_id
from edge_runtime.errors import NotFoundError
from edge_runtime.model import Result
from edge_runtime.plugin import nearest
from edge_runtime.workers.isolation import wanted
from edge_runtime.workers.pool import Pool


async def invoke_once(app: App, name: str, payload: bytes, context: Mapping[str, object] | None = None) -> Result:
    """Start the function `name` of an app, invoke it, and end it. Leaves nothing behind and touches no state folder.

    `payload` and `context` are as for `Pool.invoke`. What the handler publishes or invokes goes nowhere.

    Raises: NotFoundError for an unknown name; ConfigError, OSError when the function cannot be started.
    """
    functions = {function.name: function for function in app.functions}
    if name not in functions:
        raise NotFoundError(
            f"there is no function named {name!r}{nearest(name, functions)}",
            hint=f"functions: {', '.join(sorted(functions)) or 'none'}",
        )
    # A pinned one would start a worker of its own accord, beside the one that is asked here.
    function = dataclasses.replace(functions[name], pinned=False)
    with tempfile.TemporaryDirectory(prefix="edge-invoke-") as scratch:
        pool = Pool(
            {name: function}, thing=app.thing, scratch=Path(scratch), log=_nowhere, isolation=wanted(os.environ)
        )
        await pool.start()
        try:
            return await pool.invoke(name, payload, request_id=new_id(SystemClock().now()), context=context)
        finally:
            await pool.close(grace_s=0)


def _nowhere(_name: str, _text: str) -> None:
    """Write no log: it comes with the result."""
