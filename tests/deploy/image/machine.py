"""A machine made from the image, in QEMU: as near to a Snowball Edge as it gets, BIOS, IDE root and a virtio volume.

Without KVM it is emulated, a hundred times slower than it would be. It has no network but a port to log in by SSH and,
if asked for, a metadata service as a Snowball Edge has it.
"""

from __future__ import annotations

import math
import queue
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.deploy.image import metadata

PROGRAMS = ("qemu-system-x86_64", "qemu-img", "ssh", "ssh-keygen")
BOOT_S = 420.0
"""So long a start may take, emulated, on a machine that does other things too."""
_EC2 = "ec2e1916-9099-7caf-fd21-012345abcdef"
"""An id as EC2 gives it to machines; cloud-init knows its cloud by it."""
_STAMP = re.compile(r"\[ *(\d+\.\d+)\] ")
_SSH = (
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
    "-o",
    "LogLevel=ERROR",
    "-o",
    "BatchMode=yes",
)


def missing() -> list[str]:
    """Return which programs are not there."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Disks:
    """The disks of a machine. They outlive it, as after a power cut. `data_mb` of 0: there is no volume for data.

    The image's format is the suffix of its name. It stays as it is: what a machine writes goes to a file beside.
    """

    def __init__(self, folder: Path, image: Path, seed: Path | None, *, data_mb: int = 256) -> None:
        self.folder, self.seed = folder, seed
        self.root, self.data = folder / "root.qcow2", folder / "data.raw"
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image.absolute()), "-F", image.suffix[1:]]
        subprocess.run([*command, str(self.root)], check=True)
        self.has_data = data_mb > 0
        with self.data.open("wb") as file:
            file.truncate(data_mb << 20)

    def arguments(self) -> list[str]:
        """Return how QEMU is told of them."""
        found = ["-drive", f"file={self.root},format=qcow2,if=ide"]
        if self.has_data:
            found += ["-drive", f"file={self.data},format=raw,if=virtio"]
        if self.seed is not None:
            found += ["-drive", f"file={self.seed},format=raw,if=virtio,readonly=on"]
        return found


class Machine:
    """A machine that runs. What it says on its serial console is kept in `said`."""

    def __init__(self, disks: Disks, key: Path, *, told: Path | None = None, ec2: bool = False) -> None:
        """Put it together. `told` is the folder of its metadata, `ec2` gives it ids as machines in EC2 have them."""
        self._key = key
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        network = f"user,model=virtio,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22"
        if told is not None:  # each connection is a process of its own, and what it says goes to standard output
            serve = f"{sys.executable} {metadata.__file__} {told}"
            network += f",net=169.254.169.0/24,guestfwd=tcp:169.254.169.254:80-cmd:{serve}"
        self._command = ["qemu-system-x86_64", "-machine", "pc", "-accel", "tcg,thread=multi", "-smp", "2"]
        self._command += ["-m", "1024", "-display", "none", "-monitor", "none", "-serial", "stdio"]
        self._command += ["-no-reboot", "-nic", network, *disks.arguments()]
        if ec2:
            self._command += ["-smbios", f"type=1,uuid={_EC2},serial={_EC2}"]
        self.said: list[str] = []
        self.kernel_s = math.inf
        """Seconds from switching on until the clock of its kernel began, as far as the console has told it."""
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        """Switch it on."""
        self._started_s = time.monotonic()
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, name="console")
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Cut its power."""
        self.cut()

    def cut(self) -> None:
        """Cut its power: nothing that it has not written is on its disks."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def until(self, text: str, within_s: float = BOOT_S) -> str:
        """Wait for a line on the console with a text in it, and return it. Raises: TimeoutError with the last lines."""
        end_s = time.monotonic() + within_s
        while (left_s := end_s - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left_s)
            except queue.Empty:
                break
            if line is None:
                break
            if text in line:
                return line
        raise TimeoutError(f"the machine did not say {text!r}:\n" + "\n".join(self.said[-40:]))

    def do(self, script: str, *, stdin: bytes = b"", within_s: float = 240.0) -> str:
        """Run a shell script in it, as who may become root, and return what it prints.

        Raises: AssertionError with its errors when it fails.
        """
        where: Sequence[str] = ("-i", str(self._key), "-p", str(self._port), "debian@127.0.0.1")
        done = subprocess.run(
            ["/usr/bin/env", "ssh", *_SSH, *where, script],
            input=stdin,
            capture_output=True,
            timeout=within_s,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout.decode()}\n{done.stderr.decode()}"
        return done.stdout.decode()

    @property
    def ended(self) -> bool:
        """Whether it has switched itself off, or wanted to start again."""
        return self._process.poll() is not None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            line = raw.decode(errors="replace").strip()
            if stamp := _STAMP.match(line):
                self.kernel_s = min(self.kernel_s, time.monotonic() - self._started_s - float(stamp[1]))
            self.said.append(line)
            self._lines.put(line)
        self._lines.put(None)
