"""What a worker is confined to, as a handler sees it."""

from __future__ import annotations

import json
import os
import resource

import pytest

from edge_runtime.workers.inside.confine import HEADROOM_MB
from edge_runtime.workers.isolation import Wanted
from tests.workers.conftest import OFF, Hire, jail

SOURCE = """
import os, resource, signal
def handler(event, context):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {
        "fds": sorted(fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{fd}")),
        "in": os.readlink("/proc/self/fd/0"),
        "same": os.readlink("/proc/self/fd/1") == os.readlink("/proc/self/fd/2"),
        "leader": [os.getpid() == os.getsid(0), os.getpid() == os.getpgid(0)],
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "data": resource.getrlimit(resource.RLIMIT_DATA),
        "privileges": status["NoNewPrivs"].strip(),
        "oom": open("/proc/self/oom_score_adj").read().strip(),
        "umask": status["Umask"].strip(),
        "blocked": status["SigBlk"].strip().strip("0"),
        "child": signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
        "tmp": oct(os.stat(os.environ["TMPDIR"]).st_mode),
        "nice": os.nice(0),
    }
"""


@pytest.mark.parametrize("isolation", [OFF, jail()])
async def test_a_worker_has_what_it_needs_and_no_more(hire: Hire, isolation: Wanted) -> None:
    pool = await hire(SOURCE, memory_mb=100, isolation=isolation)
    seen = json.loads((await pool.invoke("f", b"null", request_id="r")).payload)
    data = (100 + HEADROOM_MB) * 1024 * 1024
    assert seen == {
        "fds": [0, 1, 2, 3],
        "in": "/dev/null",
        "same": True,
        "leader": [True, True],
        "core": [0, 0],
        "files": [1024, 1024],
        "data": [data, data],
        "privileges": "1",
        "oom": "500",
        "umask": "0022",
        "blocked": "",
        "child": True,
        "tmp": "0o40700",
        "nice": os.nice(0),
    }


async def test_threads_fit_into_the_smallest_function(hire: Hire) -> None:
    source = """
from concurrent.futures import ThreadPoolExecutor
def handler(event, context):
    with ThreadPoolExecutor(10) as pool:
        return sum(pool.map(lambda n: len(bytearray(1_000_000)), range(40)))
"""
    pool = await hire(source, memory_mb=128)
    assert (await pool.invoke("f", b"null", request_id="r")).payload == b"40000000"


async def test_a_host_with_lower_limits_passes_them_on(hire: Hire) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    source = "import resource\ndef handler(e, c):\n    return resource.getrlimit(resource.RLIMIT_CORE)\n"
    pool = await hire(source)
    assert (await pool.invoke("f", b"null", request_id="r")).payload == b"[0, 0]"
    assert resource.getrlimit(resource.RLIMIT_CORE) == (soft, hard)
