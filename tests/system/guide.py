"""Walks a guide in `docs/guides`, command by command, as a person does it: each must say what the guide shows."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
GUIDES = ROOT / "docs" / "guides"
_SHELL = shutil.which("bash") or "/bin/sh"
_PATIENCE_S = 60.0
_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TERMINALS = ("edge standin --", "edge run")
"""What stays in a terminal of its own."""
_LOOKS = ("edge status", "edge devices", "edge ledger", "edge standin tell shadow get", "edge standin tell job get",
          "edge standin tell message list")  # fmt: skip
"""What a person looks at again, until it is so."""
_VARIES = [
    (r"\b[0-9a-f]{64}\b", "<id>"),
    (r"\b[0-9a-f]{12}\b", "<id>"),
    (r"\b(?=[a-z2-9]*[2-9])[a-km-np-z2-9]{23}\b", "<password>"),
    (r"\d{4}-\d\d-\d\d", "<day>"),
    (r"for (\d+ (min|s) ?)+", "for <time>"),
    (r'"duration_ms": "\d+"', "<time>"),
    (r"awscrt|paho", "<driver>"),
    (r"\d+ B$", "<size>"),
    (r" +", " "),
    (r"^uplink (\d+) \1 0 ", "uplink <all delivered> "),
]
"""What is otherwise each time."""


class Step(NamedTuple):
    """A command and what the guide shows of its output; or a file and what is in it."""

    command: str
    shown: str
    path: str = ""


def steps(text: str) -> Iterator[Step]:
    """Yield what the guide says to do, in order."""
    for language, path, body in _BLOCK.findall(text):
        if path:
            yield Step("", body, path)
        else:
            assert language == "console", f"a block in {language} without a path"
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, _, shown = part.partition("\n")
                yield Step(command, shown)


def plain(text: str) -> str:
    """Return a text without what is otherwise each time."""
    for pattern, word in _VARIES:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text


def is_shown(said: str, shown: str) -> bool:
    """Tell whether an output is what the guide shows; `...` there stands for anything."""
    parts = [re.escape(plain(part)) for part in re.split(r"^\.\.\.\n?|^\.\.\. | \.\.\. ", shown, flags=re.MULTILINE)]
    return re.fullmatch(r"(?s:.*)".join(parts), plain(said)) is not None


@dataclass
class Person:
    """Types commands into terminals."""

    folder: Path
    """Where it is; it begins in one that has `bin/edge` and what the checkout has."""
    ports: Mapping[str, str]
    """In the place of those in the guide."""
    programs: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._environment = {
            **os.environ,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "EDGE_LOG": "info",
        }

    def do(self, step: Step) -> None:
        """Do one step, and check what is said."""
        command, shown, path = (self._local(text) for text in step)
        if path:
            (self.folder / path).parent.mkdir(exist_ok=True)
            (self.folder / path).write_text(shown, encoding="utf-8")
        elif command.startswith(_TERMINALS) and "tell" not in command:
            self._begin(command, shown)
        else:
            self._type(command, shown)
            if " && cd " in command:
                self.folder /= command.rpartition(" cd ")[2]

    def _local(self, text: str) -> str:
        for port, ours in self.ports.items():
            text = text.replace(port, ours)
        return text

    def _begin(self, command: str, shown: str) -> None:
        output = self.folder / f"terminal-{len(self.programs)}.txt"
        with output.open("wb") as file:
            program = subprocess.Popen(
                [_SHELL, "-c", f"exec {command}"], cwd=self.folder, env=self._environment, stdout=file, stderr=file
            )
        self.programs.append(program)
        self._until(lambda: output.read_text(encoding="utf-8"), command, shown)

    def _type(self, command: str, shown: str) -> None:
        if command.startswith(_LOOKS):
            self._until(lambda: self._run(command), command, shown)
            return
        said = self._run(command)
        assert is_shown(said, shown), f"$ {command}\n{said}"

    def _run(self, command: str) -> str:
        done = subprocess.run(
            [_SHELL, "-c", command],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        return done.stdout

    def _until(self, look: Callable[[], str], command: str, shown: str) -> None:
        begun_s, said = time.monotonic(), ""
        while time.monotonic() - begun_s < _PATIENCE_S:
            if is_shown(said := look(), shown):
                return
            time.sleep(0.1)  # nothing but looking tells
        raise AssertionError(f"$ {command}\n{said}")

    def leave(self) -> Sequence[int]:
        """End what runs, as Ctrl-C does, the last first; return how each has ended."""
        for program in reversed(self.programs):
            program.send_signal(signal.SIGINT)
            program.wait(_PATIENCE_S)
        return [program.returncode for program in self.programs]


@contextmanager
def at_work(folder: Path, ports: Sequence[str]) -> Iterator[Person]:
    """Have a person begin in an empty folder, with free ports in the place of those in the guide."""
    (folder / "deploy").symlink_to(ROOT / "deploy")
    edge = folder / "bin" / "edge"
    edge.parent.mkdir()
    edge.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edge_runtime "$@"\n', encoding="utf-8")
    edge.chmod(0o755)
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in ports]
    free = [str(server.getsockname()[1]) for server in servers]
    for server in servers:
        server.close()
    someone = Person(folder, dict(zip(ports, free, strict=True)))
    try:
        yield someone
    finally:
        for program in someone.programs:
            program.kill()
            program.wait(_PATIENCE_S)
