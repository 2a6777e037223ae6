"""An app that is deployed to a device again and again, and what is asked of it there."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.deploy.ssh.machine import PATIENCE_S, USER, Machine

BASE = f"/home/{USER}/.local/share/edge-runtime"
EDGE = f"{BASE}/venv/bin/edge"
WHERE = f"--state {BASE}/state"
APP = """thing: station
functions:
  say: {code: ./say, handler: app.handler, on_success: out/said}
  count: {code: ./count, handler: app.handler, environment: {PLACE: PLACE_OF_COUNT}, events: [{topic: count/me}]}
"""
COUNT = """import os
def handler(event, context):
    with open(os.environ["PLACE"] + "/counted", "a") as file:
        file.write(event["n"] + "\\n")
"""


class Site:
    """An app, and the device it goes to."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine, self.folder = machine, folder
        self.app = folder / "app"
        self.text = APP
        self.base = f"{machine.home}/.local/share/edge-runtime"
        self.edge = shlex.quote(f"{self.base}/venv/bin/edge")
        self.where = shlex.join(["--state", f"{self.base}/state"])
        self.say("first")

    def say(self, word: str, more: str = "") -> None:
        """Let the app's function say this from the next deployment on."""
        self.write("say/app.py", f"{more}\n# {'x' * 400}\ndef handler(event, context):\n    return {word!r}\n")
        self.write("say/large.bin", os.urandom(1).hex() and "0123456789abcdef" * 20_000)
        self.write("count/app.py", COUNT)
        self.write("edge.yaml", self.text.replace("PLACE_OF_COUNT", json.dumps(f"{self.base}/state")))

    def write(self, path: str, text: str) -> None:
        """Write a file of the app."""
        file = self.app / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def command(self, *words: object) -> list[str]:
        """Return the command line of a deployment."""
        given = [str(word) for word in words]
        return [sys.executable, "-m", "edge_runtime", "deploy", "--ssh-config", str(self.machine.config), *given]

    def deploy(self, *words: object, status: int = 0) -> dict[str, Any]:
        """Deploy, and return what it reports."""
        done = subprocess.run(
            self.command("device", f"{self.app}/", "--json", *words),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found[0]

    def on_terminal(self, password: str, *words: object) -> tuple[int, str]:
        """Deploy in a terminal, and answer its question. Return the exit status and what was on the screen."""
        outer, inner = pty.openpty()
        process = subprocess.Popen(
            self.command("device", f"{self.app}/", "--health", "0", *words), stdin=inner, stdout=inner, stderr=inner
        )
        os.close(inner)
        screen, asked, end_s = "", False, time.monotonic() + PATIENCE_S
        try:
            while time.monotonic() < end_s:
                if not select.select([outer], [], [], 1.0)[0]:
                    continue
                try:
                    data = os.read(outer, 65536)
                except OSError:  # the other side has ended
                    break
                if not data:
                    break
                screen += data.decode(errors="replace")
                if not asked and "password for sudo on device: " in screen:
                    asked = True
                    os.write(outer, f"{password}\n".encode())
            return process.wait(PATIENCE_S), screen
        finally:
            process.kill()
            process.wait()
            os.close(outer)

    def said(self) -> str:
        """Return what the function on the device says."""
        found: dict[str, Any] = json.loads(
            self.machine.run(f"echo '{{}}' | {self.edge} invoke say {self.where} --json --event -")
        )
        return str(found["payload"])

    def releases(self) -> dict[str, Any]:
        """Return what the device says of its releases."""
        found: dict[str, Any] = json.loads(
            self.machine.run(f"{self.edge} releases {self.where} --app {shlex.quote(f'{self.base}/app')} --json")
        )
        return found

    def await_host(self) -> dict[str, Any]:
        """Return what the running host says of its releases, once one answers and nothing is about to change."""
        end_s = time.monotonic() + PATIENCE_S
        while True:
            done = self.machine.ssh(f"{self.edge} releases {self.where} --json")
            if done.returncode == 0:
                found: dict[str, Any] = json.loads(done.stdout)
                if found["trial"] is None and found["runs"] == found["current"]:
                    return found
            assert time.monotonic() < end_s, done.stdout + done.stderr + self.log()
            time.sleep(0.05)

    def log(self) -> str:
        """Return the end of the host's log."""
        return self.machine.run_as_root("tail -c 3000 /host.log 2>/dev/null || :")
