"""A filter that refuses the system calls by which a handler could reach other processes or the kernel itself.

What it refuses fails with EPERM; `clone3` fails with ENOSYS, as its flags lie where a filter cannot look, and the C
library then uses `clone`. The numbers are those of the kernel's tables (arch/*/entry/syscalls); what a table lacks is
left out. Source of the layout: linux/filter.h, linux/seccomp.h, Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

# The columns are x86-64, arm64 and arm; -1: it does not exist there.
_REFUSED = """
ptrace 101 117 26                process_vm_readv 310 270 376     process_vm_writev 311 271 377
process_madvise 440 440 440      pidfd_getfd 438 438 438          kcmp 312 272 378
kexec_load 246 104 347           kexec_file_load 320 294 401      init_module 175 105 128
finit_module 313 273 379         delete_module 176 106 129        mount 165 40 21
umount2 166 39 52                pivot_root 155 41 218            chroot 161 51 61
move_mount 429 429 429           open_tree 428 428 428            fsopen 430 430 430
fsconfig 431 431 431             fsmount 432 432 432              fspick 433 433 433
mount_setattr 442 442 442        add_key 248 217 309              request_key 249 218 310
keyctl 250 219 311               bpf 321 280 386                  perf_event_open 298 241 364
userfaultfd 323 282 388          unshare 272 97 337               setns 308 268 375
reboot 169 142 88                swapon 167 224 87                swapoff 168 225 115
acct 163 89 51                   quotactl 179 60 131              quotactl_fd 443 443 443
open_by_handle_at 304 265 371    iopl 172 -1 -1                   ioperm 173 -1 -1
lookup_dcookie 212 18 249        fanotify_init 300 262 367        settimeofday 164 170 79
clock_settime 227 112 262        clock_settime64 -1 -1 404        sethostname 170 161 74
setdomainname 171 162 121        syslog 103 116 103               vhangup 153 58 111
nfsservctl 180 42 169            io_uring_setup 425 425 425
"""
# Their first argument is a process.
_ABOUT_A_PROCESS = """
kill 62 129 37         tkill 200 130 238         tgkill 234 131 268
rt_sigqueueinfo 129 138 178    rt_tgsigqueueinfo 297 240 363    pidfd_open 434 434 434
"""
_CLONE = (56, 220, 120)
_CLONE3 = 435
_INSTALL = {"x86_64": 317, "aarch64": 277, "arm": 383}
_COLUMN = {"x86_64": 0, "aarch64": 1, "arm": 2}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "arm": 0x40000028}
_ALSO = {"x86_64": ("x86_64",), "aarch64": ("aarch64", "arm"), "arm": ("arm",)}
"""Whose programs a kernel runs; those of another kind are killed."""

_LOAD, _EQUAL, _GREATER_EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _FIRST = 0, 4, 16  # offsets in struct seccomp_data; all machines here are little-endian
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_X32 = 0x40000000  # a second numbering on x86-64
_NEW_NAMESPACES = 0x7E020000  # all CLONE_NEW* but CLONE_NEWTIME, which `clone` does not take
_SET_MODE_FILTER, _SPEC_ALLOW = 1, 4
"""SPEC_ALLOW: without it older kernels switch off speculation for the process, which slows all it does."""

_Line = tuple[int, int | str, int | str, int]  # code, where to if true, where to if not, operand


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))


def machine() -> str:
    """Return which of the three machines this process is of, or the kernel's name of another."""
    name = os.uname().machine
    if name.startswith("arm") or (name == "aarch64" and ctypes.sizeof(ctypes.c_void_p) == 4):  # noqa: PLR2004 - bytes
        return "arm"
    return name


def _numbers(table: str, kind: str) -> list[int]:
    words = table.split()
    found = (int(words[n + 1 + _COLUMN[kind]]) for n in range(0, len(words), 4))
    return [one for one in found if one >= 0]


def compose(kind: str, guarded: tuple[int, ...]) -> bytes | None:
    """Return the filter for a machine, None for one that is not known.

    No signal reaches a process in `guarded`, or all processes at once. That is a fence and no wall: threads of theirs
    have numbers of their own.
    """
    if kind not in _ALSO:
        return None
    parts = b""
    for other in reversed(_ALSO[kind]):
        body = _section(other, guarded)
        parts = _assemble([(_EQUAL, 0, len(body) // 8, _AUDIT_ARCH[other])]) + body + parts
    return _assemble([(_LOAD, 0, 0, _ARCH)]) + parts + _assemble([(_RETURN, 0, 0, _KILL)])


def _section(kind: str, guarded: tuple[int, ...]) -> bytes:
    about = _numbers(_ABOUT_A_PROCESS, kind)
    lines: list[_Line] = [(_LOAD, 0, 0, _NUMBER)]
    if kind == "x86_64":
        lines.append((_GREATER_EQUAL, "refuse", 0, _X32))
    lines += [(_EQUAL, "refuse", 0, one) for one in _numbers(_REFUSED, kind)]
    lines.append((_EQUAL, "missing", 0, _CLONE3))
    lines.append((_EQUAL, "clone", 0, _CLONE[_COLUMN[kind]]))
    lines += [(_EQUAL, "signal", 0, one) for one in about]
    lines.append((_RETURN, 0, 0, _ALLOW))
    marks = {"clone": len(lines)}
    lines += [(_LOAD, 0, 0, _FIRST), (_ANY_BIT, "refuse", "allow", _NEW_NAMESPACES)]
    marks["signal"] = len(lines)
    lines.append((_LOAD, 0, 0, _FIRST))
    for pid in (*guarded, *(-pid for pid in guarded), -1):
        lines.append((_EQUAL, "refuse", 0, pid & 0xFFFFFFFF))
    for name, action in (("allow", _ALLOW), ("refuse", _ERRNO | errno.EPERM), ("missing", _ERRNO | errno.ENOSYS)):
        marks[name] = len(lines)
        lines.append((_RETURN, 0, 0, action))
    return _assemble(
        [
            (
                code,
                marks[yes] - at - 1 if isinstance(yes, str) else yes,
                marks[no] - at - 1 if isinstance(no, str) else no,
                operand,
            )
            for at, (code, yes, no, operand) in enumerate(lines)
        ]
    )


def _assemble(lines: list[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def install(libc: ctypes.CDLL, program: bytes, kind: str) -> None:
    """Put this process and all it starts under the filter. It must have no_new_privs.

    Raises: OSError.
    """
    argument = _Program(len(program) // 8, program)
    if libc.syscall(_INSTALL[kind], _SET_MODE_FILTER, _SPEC_ALLOW, ctypes.byref(argument)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"seccomp: {os.strerror(code)}")


def why_not(libc: ctypes.CDLL, kind: str) -> str:
    """Return why the kernel takes no filter, empty when it does. Changes nothing."""
    if kind not in _INSTALL:
        return f"not known for {kind}"
    # Without a program: a kernel that has filters finds fault with the address.
    libc.syscall(_INSTALL[kind], _SET_MODE_FILTER, _SPEC_ALLOW, None)
    code = ctypes.get_errno()
    return "" if code == errno.EFAULT else os.strerror(code)
