"""The filter, run by a small interpreter of its own; that the kernel takes it, the escape tests prove."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

import pytest

from edge_runtime.workers.inside import seccomp

ALLOWED, KILLED = "allowed", "killed"
HOST, ZYGOTE = 1234, 1235
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "arm": 0x40000028, "i386": 0x40000003}


def verdict(program: bytes, arch: str, number: int, first: int = 0) -> str | int:
    """Return what the filter says of a call: allowed, killed, or the error it fails with."""
    lines = list(struct.iter_unpack("=HBBI", program))
    data = {0: number, 4: ARCH[arch], 16: first & 0xFFFFFFFF}
    held, at = 0, 0
    while True:
        code, yes, no, operand = lines[at]
        at += 1
        if code == 0x20:
            held = data[operand]
        elif code == 0x06:
            plain = {0x7FFF0000: ALLOWED, 0x80000000: KILLED}
            return plain[operand] if operand in plain else int(operand & 0xFFFF)
        else:
            holds = {0x15: held == operand, 0x35: held >= operand, 0x45: bool(held & operand)}[code]
            at += yes if holds else no


def made(kind: str) -> bytes:
    """Return the filter of a machine."""
    program = seccomp.compose(kind, (HOST, ZYGOTE))
    assert program is not None
    return program


@pytest.mark.parametrize(
    ("kind", "arch", "numbers"),
    [
        ("x86_64", "x86_64", {"read": 0, "ptrace": 101, "mount": 165, "clone": 56, "clone3": 435, "kill": 62}),
        ("aarch64", "aarch64", {"read": 63, "ptrace": 117, "mount": 40, "clone": 220, "clone3": 435, "kill": 129}),
        ("aarch64", "arm", {"read": 3, "ptrace": 26, "mount": 21, "clone": 120, "clone3": 435, "kill": 37}),
        ("arm", "arm", {"read": 3, "ptrace": 26, "mount": 21, "clone": 120, "clone3": 435, "kill": 37}),
    ],
)
def test_what_is_refused_on_each_machine(kind: str, arch: str, numbers: dict[str, int]) -> None:
    program = made(kind)
    assert verdict(program, arch, numbers["read"], HOST) == ALLOWED
    assert verdict(program, arch, numbers["ptrace"]) == errno.EPERM
    assert verdict(program, arch, numbers["mount"]) == errno.EPERM
    assert verdict(program, arch, numbers["clone3"]) == errno.ENOSYS
    assert verdict(program, arch, numbers["clone"], 0x1200011) == ALLOWED  # what fork does
    assert verdict(program, arch, numbers["clone"], 0x3D0F00) == ALLOWED  # what a thread needs
    for namespace in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict(program, arch, numbers["clone"], namespace | 17) == errno.EPERM
    for pid in (HOST, ZYGOTE, -HOST, -ZYGOTE, -1):
        assert verdict(program, arch, numbers["kill"], pid) == errno.EPERM
    for pid in (0, HOST + 5, -HOST - 5):
        assert verdict(program, arch, numbers["kill"], pid) == ALLOWED


def test_programs_of_another_machine_are_killed() -> None:
    assert verdict(made("x86_64"), "i386", 3) == KILLED
    assert verdict(made("arm"), "aarch64", 63) == KILLED
    assert verdict(made("x86_64"), "x86_64", 0x40000000) == errno.EPERM


def test_every_refused_call_is_refused_and_its_neighbours_are_not() -> None:
    refused = set(seccomp._numbers(seccomp._REFUSED, "x86_64"))
    program = made("x86_64")
    for number in range(500):
        expected = errno.EPERM if number in refused else errno.ENOSYS if number == 435 else ALLOWED
        assert verdict(program, "x86_64", number, 7) == expected, number


def test_a_machine_that_is_not_known_has_no_filter() -> None:
    assert seccomp.compose("riscv64", ()) is None
    assert seccomp.why_not(ctypes.CDLL(None), "riscv64") == "not known for riscv64"


def test_the_machine_is_that_of_the_process() -> None:
    assert seccomp.machine() in (os.uname().machine, "arm")
