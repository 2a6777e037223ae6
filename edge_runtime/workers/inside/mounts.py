"""A small root folder in which workers see what programs need, their own files, and nothing else of the device.

The zygote makes it once, in a mount namespace of its own, and moves there; the whole device stays under `HOST`. A
worker takes a copy of the namespace, lays its own folders into it and lets go of `HOST`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import stat
import struct
from collections.abc import Iterable

HOST = "/.host"
TASK, OPT, TMP = "/var/task", "/opt", "/tmp"  # noqa: S108 - where handlers expect them, and private

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER = 0x20000, 0x4000000, 0x8000000, 0x10000000  # linux/sched.h
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _SLAVE = 1, 2, 4, 8, 4096, 16384, 1 << 19  # linux/mount.h
_DETACH = 2
_HERE_FD = -100
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same on every machine
_CLONE_TREE, _CLOEXEC, _RECURSIVE, _FROM_FD, _EMPTY_PATH = 1, 0o2000000, 0x8000, 4, 0x1000
_IDMAP = 0x100000
_FOR_ALL = 0o005

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/nix/store", "/sys")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_SHARED_MEMORY = b"size=64m,mode=1777"  # what Docker gives; AWS gives none

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _mount(source: str, target: str, kind: str, flags: int, data: bytes = b"") -> None:
    arguments = (source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data)
    _checked(_libc.mount(*arguments), f"mount {kind or 'folder'} at {target}")


def _change(path: str, add: int = 0, take: int = 0, flags: int = 0) -> None:
    """Add attributes to a mount, or take them away."""
    change = struct.pack("=QQQQ", add, take, 0, 0)
    size = ctypes.c_size_t(len(change))
    _checked(_libc.syscall(_MOUNT_SETATTR, _HERE_FD, os.fsencode(path), flags, change, size), f"mount_setattr {path}")


def _bind(source: str, target: str, attributes: int) -> None:
    arguments = (os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(_BIND | _REC), None)
    _checked(_libc.mount(*arguments), f"bind {source}")
    _change(target, attributes, flags=_RECURSIVE)


def _bind_at(path: str, attributes: int) -> None:
    """Show a file or folder of the device at its own place, if there is one."""
    source = HOST + path
    try:
        folder = stat.S_ISDIR(os.stat(source).st_mode)  # noqa: PTH116 - pathlib would cost every worker memory
    except OSError:
        return
    os.makedirs(path if folder else os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - as above
    if not folder:
        os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o644))
    _bind(source, path, attributes)


def enter_user_namespace() -> None:
    """Become able to mount without being root; files and processes stay those of the same user.

    Raises: OSError where the kernel does not allow that.
    """
    uid, gid = os.geteuid(), os.getegid()
    _checked(_libc.unshare(_NEWUSER | _NEWNS), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        _write(f"/proc/self/{name}", text)


def _write(path: str, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def enter_mount_namespace() -> None:
    """Get mounts of one's own. Raises: OSError without the privilege."""
    _checked(_libc.unshare(_NEWNS), "unshare")


def build(programs: Iterable[str], *, private_proc: bool) -> None:
    """Make the small root and move there. `programs` are folders that interpreters need.

    Must be called in a mount namespace of one's own. `private_proc`: everyone sees only his own processes; only root
    can have that.

    Raises: OSError; then the old root is still there.
    """
    _mount("none", "/", "", _REC | _SLAVE)  # what is mounted later is seen here, and not the other way round
    tree = _checked(_libc.syscall(_OPEN_TREE, _HERE_FD, b"/", _CLONE_TREE | _RECURSIVE | _CLOEXEC), "open_tree")
    try:
        place = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - a folder that is there
        _mount("tmpfs", place, "tmpfs", _NOSUID | _NODEV, b"mode=755,size=1m")
        os.mkdir(place + HOST, 0o700)  # noqa: PTH102 - as above
        target = os.fsencode(place + HOST)
        _checked(_libc.syscall(_MOVE_MOUNT, tree, b"", _HERE_FD, target, _FROM_FD), "move_mount")
    finally:
        os.close(tree)
    os.chdir(place)
    _checked(_libc.pivot_root(b".", b"."), "pivot_root")
    _checked(_libc.umount2(b".", _DETACH), "umount")  # the old root, which lies over the new one
    os.chdir("/")
    _furnish(programs, private_proc=private_proc)


def _furnish(programs: Iterable[str], *, private_proc: bool) -> None:
    for path in _SYSTEM:
        if os.path.islink(HOST + path):  # noqa: PTH114 - as above
            os.symlink(os.readlink(HOST + path), path)  # noqa: PTH115, PTH211 - as above
        else:
            _bind_at(path, _RDONLY | _NOSUID | _NODEV)
    seen = list(_SYSTEM)
    for path in sorted({*programs, *_resolver()}):
        if not any(path == above or path.startswith(f"{above}/") for above in seen):
            _bind_at(path, _RDONLY | _NOSUID | _NODEV)
            seen.append(path)
    for name in _DEVICES:
        _bind_at(f"/dev/{name}", _NOSUID | _NOEXEC)
    for name, to in _DEVICE_LINKS.items():
        os.symlink(to, f"/dev/{name}")  # noqa: PTH211 - as above
    for path in ("/proc", "/dev/shm", TASK, OPT, TMP, "/run"):  # noqa: S108 - mount points
        os.makedirs(path, exist_ok=True)  # noqa: PTH103 - as above
    os.symlink(TMP, "/var/tmp")  # noqa: S108, PTH211 - private too
    if private_proc:
        _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC, b"hidepid=2")
    else:
        _bind(f"{HOST}/proc", "/proc", _NOSUID | _NODEV | _NOEXEC)
    _change("/", _RDONLY)


def _resolver() -> list[str]:
    """Return the folder of a resolv.conf that is a link out of /etc.

    The folder and not the file, which is replaced whenever a network comes or goes.
    """
    path = "/etc/resolv.conf"
    with contextlib.suppress(OSError):
        path = os.path.normpath(os.path.join("/etc", os.readlink(HOST + path)))  # noqa: PTH115, PTH118 - as above
    folder = os.path.dirname(path)  # noqa: PTH120 - as above
    return [] if folder in ("/", "/etc", "/run") else [folder]


def _bind_as(source: str, target: str, attributes: int, user: int) -> None:
    """Show a folder in which what belongs to the folder's owner belongs to a user. The files stay as they are."""
    owner = os.stat(source)  # noqa: PTH116 - as above
    namespace = _user_namespace(f"{owner.st_uid} {user} 1", f"{owner.st_gid} {user} 1")
    tree = _checked(_libc.syscall(_OPEN_TREE, _HERE_FD, os.fsencode(source), _CLONE_TREE | _CLOEXEC), "open_tree")
    try:
        change = struct.pack("=QQQQ", attributes | _IDMAP, 0, 0, namespace)
        size = ctypes.c_size_t(len(change))
        _checked(_libc.syscall(_MOUNT_SETATTR, tree, b"", _EMPTY_PATH, change, size), f"mount_setattr {source}")
        _checked(_libc.syscall(_MOVE_MOUNT, tree, b"", _HERE_FD, os.fsencode(target), _FROM_FD), "move_mount")
    finally:
        os.close(tree)
        os.close(namespace)


def _user_namespace(uids: str, gids: str) -> int:
    """Return a descriptor of a user namespace with these maps. It takes a process to make one."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        if _libc.unshare(_NEWUSER) == 0:
            os.write(writing, b"x")
            signal.pause()
        os._exit(1)
    try:
        os.close(writing)
        if not os.read(reading, 1):
            raise PermissionError("user namespaces are not allowed")
        for name, text in (("uid_map", uids), ("gid_map", gids)):
            _write(f"/proc/{pid}/{name}", text)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _bind_code(root: str, user: int) -> None:
    source, attributes = HOST + root, _RDONLY | _NOSUID | _NODEV
    if user and os.stat(source).st_mode & _FOR_ALL != _FOR_ALL:  # noqa: PTH116 - as above
        with contextlib.suppress(OSError):  # the file system cannot; who then may not read it is told so
            _bind_as(source, TASK, attributes, user)
            return
    _bind(source, TASK, attributes)


def settle(root: str, opt: str | None, tmp: str, *, user: int, read: Iterable[str], hidden: Iterable[str]) -> None:
    """Move a worker to a copy of the small root, with its code, its layers and its own folder for files.

    The paths are the device's. `user` is who it will be, 0 when it stays who it is: code in a folder that is closed to
    others is shown as if it were that user's. `read` are further folders that it is to see; `hidden` are those that it
    must not see although they lie in its code.

    Raises: OSError.
    """
    _checked(_libc.unshare(_NEWNS | _NEWIPC | _NEWUTS), "unshare")
    _bind_code(root, user)
    if opt:
        _bind(HOST + opt, OPT, _RDONLY | _NOSUID | _NODEV)
    _bind(HOST + tmp, TMP, _NOSUID | _NODEV)
    _mount("tmpfs", "/dev/shm", "tmpfs", _NOSUID | _NODEV | _NOEXEC, _SHARED_MEMORY)  # noqa: S108 - a mount point
    for path in read:
        if not os.path.exists(path):  # noqa: PTH110 - as above
            _change("/", take=_RDONLY)  # of this copy of the mount; an empty folder is all the others get to see
            _bind_at(path, _RDONLY | _NOSUID | _NODEV)
            _change("/", _RDONLY)
    for path in hidden:
        if path.startswith(f"{root}/"):
            _cover(TASK + path.removeprefix(root))
    _checked(_libc.umount2(os.fsencode(HOST), _DETACH), f"umount {HOST}")


def _cover(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(path).st_mode):  # noqa: PTH116 - as above
            _mount("tmpfs", path, "tmpfs", _RDONLY | _NOSUID | _NODEV | _NOEXEC, b"size=4k,mode=555")
        else:
            _bind("/dev/null", path, _RDONLY)
