"""What a program finds when a worker becomes it."""

from __future__ import annotations

from pathlib import Path

from tests.workers.conftest import Log, value
from tests.workers.programs import ask, program, running
from tests.workers.test_runtimes import LOOP, function

LOOKS = f"""{LOOP}
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
id, headers, body = next()
seen = {{
    "fds": sorted(fd for fd in map(int, os.listdir("/proc/self/fd")) if fd < 3),
    "leader": os.getpid() == os.getsid(0),
    "privileges": status["NoNewPrivs"].strip(),
    "here": os.getcwd() == os.environ["LAMBDA_TASK_ROOT"],
    "own": os.environ["OWN"],
    "host": os.environ.get("HOME"),
}}
call("POST", f"invocation/{{id}}/response", json.dumps(seen))
"""


async def test_it_is_confined_like_every_worker_and_has_its_own_environment(tmp_path: Path, log: Log) -> None:
    code = program(tmp_path / "code", LOOKS)
    async with running(tmp_path, log, function(code, environment={"OWN": "a=b"})) as pool:
        seen = value(await ask(pool))
    assert seen == {"fds": [0, 1, 2], "leader": True, "privileges": "1", "here": True, "own": "a=b", "host": None}


async def test_signals_that_the_zygote_ignores_are_the_programs_again(tmp_path: Path, log: Log) -> None:
    # Python ignores SIGPIPE itself, so a shell looks. Signals 32 and 33 are the C library's own.
    source = """
mask=$(sed -n 's/^SigIgn:[[:space:]]*//p' /proc/self/status)
echo "ignored $((0x$mask & ~0x180000000))"
exit 1
"""
    async with running(tmp_path, log, function(program(tmp_path / "code", source, "/bin/sh"))) as pool:
        assert "ignored 0\n" in (await ask(pool)).log
