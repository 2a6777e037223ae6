"""The zygote by itself, driven over its socket."""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.workers.inside import frames, zygote
from edge_runtime.workers.inside.mounts import TMP
from tests.workers.conftest import exists
from tests.workers.inside.driving import Driver

WAIT_MS = 10_000


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    driver = Driver(tmp_path)
    yield driver
    assert driver.close() == 0


def test_a_worker_answers_and_its_end_is_reported(driver: Driver, tmp_path: Path) -> None:
    sock, output = driver.fork(7, "import os\ndef handler(event, context):\n    return [event, dict(os.environ)]\n")
    started = driver.report()
    assert started["id"] == 7
    assert frames.REPLY.unpack(sock.recv(100))[0] == frames.READY
    sock.send(frames.REQUEST.pack(1, 2, 0, 1, frames.NO_CONTEXT, 0) + b"r" + b"42")
    reply = sock.recv(1000)
    serial, size, peak_kb, kind, _ = frames.REPLY.unpack_from(reply)
    assert (serial, kind) == (1, 0)
    assert json.loads(reply[-size:]) == [
        42,
        {"A": "b", "TMPDIR": TMP if driver.isolation["files"] else str(tmp_path / "tmp7")},
    ]
    sock.close()
    ended = driver.report()
    assert (ended["id"], ended["status"]) == (7, 0)
    assert ended["peak_kb"] >= peak_kb > 0
    assert os.read(output, 10) == b""
    os.close(output)


def test_a_kill_takes_all_descendants_before_it_is_reported(driver: Driver) -> None:
    source = """
import os, time
pids = []
for n in range(5):
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, str(os.getpid()).encode())
            time.sleep(1000)
        os._exit(0)
    pids.append(os.read(read, 20).decode())
    os.wait()
print(" ".join(pids), flush=True)
def handler(event, context): pass
"""
    sock, output = driver.fork(1, source)
    pid = driver.report()["pid"]
    children = os.read(output, 1000).decode().split()
    assert len(children) == 5
    assert all(exists(f"/proc/{child}") for child in children)
    driver.tell(id=1, kill=True)
    ended = driver.report()
    assert (ended["id"], os.waitstatus_to_exitcode(ended["status"])) == (1, -signal.SIGKILL)
    assert not any(exists(f"/proc/{child}") for child in [*children, pid])
    sock.close()
    os.close(output)


def test_other_workers_and_their_children_are_left_alone(driver: Driver) -> None:
    source = """
import os, subprocess
child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
print(child.pid, flush=True)
def handler(event, context): return "here"
"""
    made = [driver.fork(number, source) for number in (1, 2)]
    for _ in made:
        driver.report()
    children = [os.read(output, 100).decode().strip() for _, output in made]
    driver.tell(id=1, kill=True)
    assert driver.report()["id"] == 1
    assert [exists(f"/proc/{child}") for child in children] == [False, True]
    sock = made[1][0]
    sock.recv(100)
    sock.send(frames.REQUEST.pack(1, 1, 0, 0, frames.NO_CONTEXT, 0) + b"1")
    assert sock.recv(1000).endswith(b'"here"')
    for end, output in made:
        end.close()
        os.close(output)


def test_the_end_of_the_host_is_the_end_of_all(driver: Driver) -> None:
    sock, output = driver.fork(1, "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(1000)\n")
    pid = os.read(output, 20).decode().strip()
    driver.control.close()
    assert driver.popen.wait(WAIT_MS / 1000) == 0
    assert not exists(f"/proc/{pid}")
    sock.close()
    os.close(output)


def test_signals_that_are_meant_for_the_host_do_not_end_it(driver: Driver) -> None:
    sock, output = driver.fork(1, "def handler(event, context): return 1\n")
    driver.report()
    driver.popen.send_signal(signal.SIGTERM)
    driver.tell(id=99, kill=True)  # of nobody: void
    sock.recv(100)
    sock.send(frames.REQUEST.pack(1, 1, 0, 0, frames.NO_CONTEXT, 0) + b"1")
    assert sock.recv(100).endswith(b"1")
    sock.close()
    os.close(output)


def test_a_large_frame_comes_in_pieces(driver: Driver) -> None:
    sock, output = driver.fork(1, "def handler(event, context): return len(event)\n")
    sock.recv(100)
    body = json.dumps("x" * 3_000_000).encode()
    sock.sendall(struct.pack("=IIIHBQ", 1, len(body), 0, 0, 0, 0) + body)
    assert sock.recv(100).endswith(b"3000000")
    sock.close()
    os.close(output)


def test_children_are_found_without_the_kernels_list() -> None:
    child = subprocess.Popen(["sleep", "1000"])  # noqa: S607 - found in PATH on every system
    try:
        assert child.pid in zygote._children(os.getpid())
        assert zygote._parent(str(child.pid)) == os.getpid()
        assert zygote._parent("0") == 0
    finally:
        handle = os.pidfd_open(child.pid)
        zygote._kill(child.pid)
        select.select([handle], [], [], WAIT_MS / 1000)
        os.close(handle)
        assert child.wait() == -signal.SIGKILL


def test_what_multiplies_without_end_is_ended_by_its_user_or_one_by_one(driver: Driver) -> None:
    source = """
import os
def handler(event, context):
    while True:
        try:
            if os.fork() == 0:
                os.setsid()
        except OSError:
            pass
"""
    sock, output = driver.fork(1, source)
    driver.report()
    sock.recv(100)
    sock.send(frames.REQUEST.pack(1, 1, 0, 0, frames.NO_CONTEXT, 0) + b"1")
    select.select([], [], [], 0.2)
    driver.tell(id=1, kill=True)
    ended = driver.report()
    assert (ended["id"], os.waitstatus_to_exitcode(ended["status"])) == (1, -signal.SIGKILL)
    assert zygote._descendants({driver.popen.pid}) == {driver.popen.pid}
    sock.close()
    os.close(output)


def test_a_layer_that_fails_ends_the_worker_and_says_so(driver: Driver) -> None:
    sock, output = driver.fork(1, "def handler(event, context): pass\n", root="/no/such/folder")
    driver.report()
    assert sock.recv(100) == b""
    text = os.read(output, 1000).decode()
    if driver.isolation["files"]:
        assert text == "the worker cannot be isolated: [Errno 2] No such file or directory: '/.host/no/such/folder'\n"
    assert os.waitstatus_to_exitcode(driver.report()["status"]) == 1
    sock.close()
    os.close(output)
