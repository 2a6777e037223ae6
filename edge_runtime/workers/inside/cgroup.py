"""A bound on the memory that a worker really uses, by a control group, where this process may make one.

With version 2 the group of the host must be delegated (systemd: `Delegate=yes`) and hold nothing but the host: its
processes move to a group beside those of the workers, since only groups without processes can have bounded ones below
them. With version 1 a folder is enough. Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

import contextlib
import errno
import os

_MB = 1024 * 1024
_PROCESSES, _CONTROLLERS, _BELOW = "cgroup.procs", "cgroup.controllers", "cgroup.subtree_control"
_LIMIT = {1: "memory.limit_in_bytes", 2: "memory.max"}
_SWAP = {1: "memory.memsw.limit_in_bytes", 2: "memory.swap.max"}
_OURS = "edge-"
_HOST = f"{_OURS}host"


class Groups:
    """The control groups of one zygote's workers, all below one of its own.

    The zygote finds them and removes them at the end; the host puts the workers in. To move a process the kernel waits
    up to some 20 ms for all processors, for which no invocation shall wait: until then the limit on data stands alone.
    """

    def __init__(self, folder: str) -> None:
        """Use a folder that was made for this. It stays open, so that it can be reached from any root folder."""
        self.path = folder
        self._version = 2 if os.path.exists(f"{folder}/{_CONTROLLERS}") else 1  # noqa: PTH110 - as below
        self._name = os.path.basename(folder)  # noqa: PTH119 - pathlib would cost every worker memory
        self._above = os.open(os.path.dirname(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH120
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def make(self, number: int, memory_mb: int) -> None:
        """Make the group of a worker. Raises: OSError."""
        name, size = str(number), memory_mb * _MB
        os.mkdir(name, 0o700, dir_fd=self._folder)
        self._write(f"{name}/{_LIMIT[self._version]}", str(size))
        # No swap on top; a kernel that does not count it has no such file.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            self._write(f"{name}/{_SWAP[self._version]}", str(size) if self._version == 1 else "0")

    def put(self, pid: int, number: int) -> None:
        """Put a process, and all that it will start, into a group. Raises: OSError."""
        self._write(f"{number}/{_PROCESSES}", str(pid))

    def remove(self, number: int) -> None:
        """Remove the group of a worker of which nothing is left."""
        with contextlib.suppress(OSError):  # the kernel may still be at it: `clean` comes by later
            os.rmdir(str(number), dir_fd=self._folder)

    def close(self) -> None:
        """Remove all, when no worker is left."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self._folder):  # noqa: PTH208 - as above
                if name.isdigit():
                    self.remove(int(name))
            os.rmdir(self._name, dir_fd=self._above)

    def release(self) -> None:
        """Let go of the folder, and leave it to the others who have it."""
        os.close(self._folder)
        os.close(self._above)

    def _write(self, path: str, text: str) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._folder)
        try:
            os.write(handle, text.encode())
        finally:
            os.close(handle)


def find(host: int, listed: str = "/proc/self/cgroup", mount: str = "/sys/fs/cgroup") -> Groups:
    """Return the groups for this process's workers. `host` is the process that may share its group.

    Raises: OSError, whose text says why there can be none.
    """
    with open(listed, encoding="ascii") as file:  # noqa: PTH123 - as above
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    for _, controllers, path in lines:
        if "memory" in controllers.split(","):
            return _version_1(f"{mount}/memory", path)
    for number, _, path in lines:
        if number == "0":
            return _version_2(mount + path.rstrip("/"), host)
    raise OSError(errno.ENOENT, "there are no control groups")


def _version_1(top: str, path: str) -> Groups:
    base = top + path.rstrip("/")
    if not os.path.isdir(base):  # noqa: PTH112 - as above. In a container only its own part is to be seen, as the top
        base = top
    return Groups(_own(base))


def _version_2(base: str, host: int) -> Groups:
    # An earlier zygote has made way already: the group of the host is the one above.
    base = base.removesuffix(f"/{_HOST}")
    if "memory" not in _read(f"{base}/{_CONTROLLERS}"):
        raise OSError(errno.ENOENT, "the memory controller is not handed to the host's control group")
    if "memory" not in _read(f"{base}/{_BELOW}"):
        _make_way(base, host)
        _enable(base)
    own = _own(base)
    _enable(own)
    return Groups(own)


def _make_way(base: str, host: int) -> None:
    """Move the host and this process to a group below their own. Raises: OSError when others are there too."""
    inside = set(_read(f"{base}/{_PROCESSES}"))
    if strangers := inside - {str(host), str(os.getpid())}:
        raise OSError(errno.EBUSY, f"{len(strangers)} other processes share the host's control group")
    aside = f"{base}/{_HOST}"
    with contextlib.suppress(FileExistsError):
        os.mkdir(aside)  # noqa: PTH102 - as above
    for pid in sorted(inside):
        _put(f"{aside}/{_PROCESSES}", pid)


def _enable(folder: str) -> None:
    _put(f"{folder}/{_BELOW}", "+memory")


def _own(base: str) -> str:
    clean(base)
    folder = f"{base}/{_OURS}{os.getpid()}"
    os.mkdir(folder, 0o700)  # noqa: PTH102 - as above
    return folder


def clean(base: str) -> None:
    """Remove the groups of zygotes that are gone."""
    for name in os.listdir(base):  # noqa: PTH208 - as above
        owner = name.removeprefix(_OURS)
        if name.startswith(_OURS) and owner.isdigit() and not os.path.exists(f"/proc/{owner}"):  # noqa: PTH110
            with contextlib.suppress(OSError):  # in use after all, or not ours to remove
                for inner in os.listdir(f"{base}/{name}"):  # noqa: PTH208 - as above
                    if inner.isdigit():
                        os.rmdir(f"{base}/{name}/{inner}")  # noqa: PTH106 - as above
                os.rmdir(f"{base}/{name}")  # noqa: PTH106 - as above


def _read(path: str) -> list[str]:
    with open(path, encoding="ascii") as file:  # noqa: PTH123 - as above
        return file.read().split()


def _put(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123 - as above
        file.write(text)
