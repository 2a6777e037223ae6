"""The parts of the demo: a stand-in for the cloud, a host that may be killed, and a world that goes on."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from edge_runtime import plugin
from edge_runtime.control import call, pack
from edge_runtime.errors import EdgeError, HostError, NotFoundError

THING = "field-station-1"
_START_S = 180.0
"""A small device takes half a minute. A host that ends by itself is told at once."""
_CPU_SENSOR = Path("/sys/class/thermal/thermal_zone0/temp")


def app_text(port: int, code: Path) -> str:
    """Return the app file of the field station. What this machine really has is read; the board is simulated."""
    driver = "awscrt" if importlib.util.find_spec("awscrt") else "paho"
    cpu = "\n  cpu:    {driver: CPUTemperature, every: 2s}" if _CPU_SENSOR.exists() else ""
    return f"""thing: {THING}
devices:
  load:   {{driver: LoadAverage, every: 1s}}
  disk:   {{driver: DiskUsage, every: 2s}}{cpu}
  soil:   {{driver: MCP3008, channel: 0, every: 500ms}}
  button: {{driver: Button, pin: 17}}
functions:
  irrigate:
    code: {code / "irrigate"}
    handler: app.handler
    environment: {{THRESHOLD: "0.3"}}
    events: [{{device: soil}}]
    on_success: dt/{{thing}}/irrigate
  digest:
    code: {code / "digest"}
    handler: app.handler
    events: [{{device: button, on: pressed}}, {{device: load}}, {{device: disk}}]
    on_success: dt/{{thing}}/digest
link:
  driver: {driver}
  endpoint: 127.0.0.1
  port: {port}
  up: ["dt/{{thing}}/#"]
  publishes_per_s: 90
queue: {{limit: 64MB, ttl: 1d}}
"""


def handlers() -> Path:
    """Return the folder of the handlers that the demo runs. Raises: NotFoundError when the package lacks it."""
    for folder in plugin.folders("components"):
        if (folder / "field_station").is_dir():
            return folder / "field_station"
    raise NotFoundError("the handlers of the demo are missing", hint="install edge-runtime again")


class Cloud:
    """The stand-in for AWS IoT Core, a process of its own, with a record of every message it accepted."""

    def __init__(self, folder: Path) -> None:
        """Start it. Raises: HostError when it does not come up."""
        self.record = folder / "cloud.jsonl"
        command = [sys.executable, "-m", "edge_runtime.standin", "--port", "0", "--control", "stdin"]
        self._process = subprocess.Popen(
            [*command, "--record", str(self.record)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.port = int(self._read().get("port", 0))

    def do(self, **command: object) -> Mapping[str, Any]:
        """Send a command of `standin.control` and return the answer."""
        self._pipe(self._process.stdin).write(json.dumps(command).encode() + b"\n")
        self._pipe(self._process.stdin).flush()
        return self._read()

    def entries(self) -> list[dict[str, Any]]:
        """Return what was accepted, in order."""
        if not self.record.exists():
            return []
        lines = self.record.read_bytes().split(b"\n")
        return [json.loads(line) for line in lines[:-1]]  # the last one may be half written

    def close(self) -> None:
        """End it."""
        self._pipe(self._process.stdin).close()
        self._process.wait(10)
        self._pipe(self._process.stdout).close()

    def _read(self) -> dict[str, Any]:
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise HostError("the stand-in for AWS IoT Core ended by itself", hint="try it alone: edge standin")
        answer: dict[str, Any] = json.loads(line)
        return answer

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None  # noqa: S101 - both were asked for above; this is for the type checker
        return pipe


class Station:
    """The field station: a host in a process of its own, started as a user starts it."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / ".edge"
        self._app = folder / "edge.yaml"
        self._log = folder / "host.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        """Start the host and return when it answers. Raises: HostError when it does not."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "edge_runtime", "run", str(self._app), "--simulate"], stdout=log, stderr=log
            )
        self.starts += 1
        end_s = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(HostError):
                call(self.state, "status", within_s=5)
                return
            if self._process.poll() is not None or time.monotonic() > end_s:
                tail = self._log.read_text(errors="replace")[-2000:]
                raise HostError(f"the host did not start; its log ends with:\n{tail}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill the host with SIGKILL, as a crash or a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def kill_worker(self) -> int:
        """Kill a worker of it, and return its process id; 0 when there is none."""
        for function in self.ask("status").get("functions", []):
            for pid in [function.get("pid"), *function.get("pids", [])]:
                if pid:
                    os.kill(int(pid), signal.SIGKILL)
                    return int(pid)
        return 0

    def stop(self) -> None:
        """End the host in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)

    def ask(self, verb: str, **args: object) -> dict[str, Any]:
        """Ask the host; an empty answer when it is not there."""
        try:
            return call(self.state, verb, within_s=5, **args)
        except HostError:
            return {}


class World:
    """What goes on at the station: soil that dries, a button that is pressed, and numbered messages."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._random = random.Random(17)  # noqa: S311 - soil is no secret
        self._moisture = 0.6
        self._beat = 0
        self.accepted: list[str] = []
        """The ids of the messages that the host said are safe: the demo's own memory, outside of the host."""

    def beat(self) -> None:
        """Let a tenth of a second's worth of things happen."""
        self._beat += 1
        self._moisture = min(0.95, max(0.05, self._moisture + self._random.uniform(-0.05, 0.045)))
        if self._beat % 5 == 0:
            self._set("soil", round(self._moisture, 3))
        if self._beat % 10 == 0:
            self._set("button", self._beat // 10 % 2)
        payload = pack(json.dumps({"n": self._beat, "moisture": round(self._moisture, 3)}).encode())
        answer = self._station.ask("publish", topic=f"dt/{THING}/probe", payload=payload)
        if "id" in answer:
            self.accepted.append(str(answer["id"]))

    def _set(self, device: str, value: float) -> None:
        # Just after a start the devices are still being opened.
        with contextlib.suppress(EdgeError):
            self._station.ask("simulate", device=device, value=value)
