"""`edge run --watch`: a function runs its new code within a second of a save."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_runtime import control

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
APP = "thing: a\nfunctions:\n  f: {code: code, handler: app.handler}\n"
PROMISED_S = 1.0
ROOM = 5
"""How much longer a machine that is busy with other tests may take."""


class Log:
    """What a host logs, line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._thread.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self._lines.put(line)

    def until(self, words: str) -> list[str]:
        """Return the lines up to the one that holds the words."""
        seen: list[str] = []
        while not seen or words not in seen[-1]:
            seen.append(self._lines.get(timeout=30))
        return seen

    def close(self) -> None:
        """Return when all is read."""
        self._thread.join(10)


@contextmanager
def watching(folder: Path) -> Iterator[Log]:
    """Run the app in a folder with --watch until the block ends."""
    command = [sys.executable, "-m", "edge_runtime", "run", "--watch"]
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        log = Log(process)
        try:
            log.until("watching the code of f")
            yield log
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
            log.close()


def answer(state: Path) -> object:
    reply = control.call(state, "invoke", name="f", payload=control.pack(b"{}"))
    return json.loads(control.unpack(reply["payload"]))


def save(folder: Path, source: str) -> float:
    """Save as an editor does, and return the time."""
    new = folder / "code" / ".app.py.new"
    new.write_text(source)
    new.replace(folder / "code" / "app.py")
    return time.monotonic()


def test_new_code_runs_within_a_second_of_a_save(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text(APP)
    (tmp_path / "code").mkdir()
    save(tmp_path, "def handler(event, context):\n    return 0\n")
    state = tmp_path / ".edge"
    with watching(tmp_path) as log:
        assert answer(state) == 0
        for number in (1, 2, 3):
            saved = save(tmp_path, f"def handler(event, context):\n    return {number}\n")
            log.until("f has changed and was reloaded in")
            assert answer(state) == number
            assert time.monotonic() - saved < PROMISED_S * ROOM
        saved = save(tmp_path, "import no_such_thing\n")
        lines = log.until("f has changed and does not start: Runtime.ImportModuleError")
        assert time.monotonic() - saved < PROMISED_S * ROOM
        assert any("No module named 'no_such_thing'" in line for line in lines)
        save(tmp_path, "def handler(event, context):\n    return 'well'\n")
        log.until("f has changed and was reloaded in")
        assert answer(state) == "well"
