"""The pool: warm workers, turns, timeouts, restarts, its end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from edge_runtime.app import Function
from edge_runtime.errors import ConfigError, HostError, NotFoundError
from edge_runtime.workers.inside.frames import LIMIT
from edge_runtime.workers.pool import Pool
from tests.workers.conftest import COUNT, GATE, Hire, Log, call, exists, status, until, value


async def test_a_worker_stays_warm_and_keeps_its_state(hire: Hire) -> None:
    pool = await hire(COUNT)
    assert [value(await call(pool)) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert status(pool).invocations == 5
    assert status(pool).workers == 1
    assert status(pool).restarts == 0


async def test_a_result_says_what_an_invocation_took(hire: Hire, log: Log) -> None:
    pool = await hire("def handler(event, context):\n    print('hello')\n    return {'a': 1}\n")
    first = await call(pool)
    assert first.payload == b'{"a": 1}'
    assert first.init_ms > 0
    assert first.peak_kb > 5000
    report = (
        r"START RequestId: r-1 Version: \$LATEST\nhello\nEND RequestId: r-1\n"
        r"REPORT RequestId: r-1\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
        r"Max Memory Used: \d+ MB\tInit Duration: \d+\.\d\d ms\t\n"
    )
    assert re.fullmatch(report, first.log)
    assert log.text() == first.log.replace("hello", "r-1\thello")
    second = await call(pool)
    assert second.init_ms == 0
    assert "Init Duration" not in second.log


async def test_an_unknown_function_is_not_found(hire: Hire) -> None:
    pool = await hire(COUNT)
    with pytest.raises(NotFoundError, match=r"there is no function named 'g'"):
        await pool.invoke("g", b"{}", request_id="r")


async def test_a_pool_that_is_not_started_or_closed_refuses(hire: Hire) -> None:
    pool = await hire(COUNT)
    await call(pool)
    await pool.close()
    with pytest.raises(HostError, match="not running"):
        await call(pool)
    await pool.close()
    assert value_of_unstarted(pool._functions)


def value_of_unstarted(functions: dict[str, Function]) -> bool:
    idle = Pool(functions, thing="t", scratch=Path("/nonexistent"), log=lambda _name, _text: None)
    return idle.status() == []


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (Function("f", Path(), "a.b", concurrency=-1), "concurrency must not be negative"),
    ],
)
def test_what_cannot_run_is_refused_at_once(function: Function, text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        Pool({"f": function}, thing="t", scratch=Path(), log=lambda _name, _text: None)


async def test_another_python_version_is_run_here_and_said(hire: Hire, log: Log) -> None:
    source = "import os\ndef handler(event, context):\n    return os.environ['AWS_EXECUTION_ENV']\n"
    pool = await hire(source, runtime="python3.7")
    assert value(await call(pool)) == "AWS_Lambda_python3.7"
    assert log.text().startswith("declared for python3.7, runs on python3")


async def test_the_environment_is_lambdas_and_holds_nothing_of_the_hosts(hire: Hire, tmp_path: Path) -> None:
    source = "import os\ndef handler(event, context):\n    return [dict(os.environ), os.getcwd()]\n"
    pool = await hire(source, environment={"A": "b=c", "N": 5, "AWS_REGION": "eu-west-1", "_HANDLER": "no"})
    environment, folder = value(await call(pool))
    code = str(tmp_path / "code")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert folder == code
    stream = environment.pop("AWS_LAMBDA_LOG_STREAM_NAME")
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream)
    assert exists(environment.pop("TMPDIR"))
    assert environment.pop("LAMBDA_RUNTIME_DIR").endswith("/workers/inside")
    assert environment.pop("GGC_VERSION")
    assert environment == {
        "A": "b=c",
        "N": "5",
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_IOT_THING_NAME": "pi-7",
        "_HANDLER": "app.handler",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{version}",
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": "Text",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
        "LAMBDA_TASK_ROOT": code,
        "LD_LIBRARY_PATH": f"{code}:{code}/lib",
    }


async def test_a_large_environment_is_said_and_works(hire: Hire, log: Log) -> None:
    pool = await hire(
        "import os\ndef handler(e, c):\n    return len(os.environ['BIG'])\n", environment={"BIG": "x" * 5000}
    )
    assert value(await call(pool)) == 5000
    assert "its environment has 5003 bytes; AWS Lambda allows 4096" in log.text()


async def test_the_context_reaches_the_handler(hire: Hire) -> None:
    source = """
def handler(event, context):
    client = context.client_context
    left = context.get_remaining_time_in_millis()
    identity = context.identity.cognito_identity_id
    return [context.aws_request_id, client and client.custom, client and client.env, identity, 0 < left <= 3000,
            context.invoked_function_arn, context.memory_limit_in_mb]
"""
    pool = await hire(source)
    arn = "arn:aws:lambda:local:000000000000:function:f"
    assert value(await call(pool)) == ["r-1", None, None, None, True, arn, "128"]
    topic = {"custom": {"subject": "a/é"}}
    assert value(await call(pool, context=topic)) == ["r-1", {"subject": "a/é"}, None, None, True, arn, "128"]
    full = {
        "custom": {"subject": "t"},
        "client_context": {"custom": {"k": 1}, "env": {"e": "v"}},
        "identity": '{"cognitoIdentityId": "me"}',
        "invoked_function_arn": "arn:x",
    }
    assert value(await call(pool, context=full)) == [
        "r-1",
        {"k": 1, "subject": "t"},
        {"e": "v"},
        "me",
        True,
        "arn:x",
        "128",
    ]
    bad = await call(pool, context={"client_context": "{"})
    assert bad.error == "Runtime.LambdaContextUnmarshalError"
    assert json.loads(bad.payload)["errorMessage"].startswith("Unable to parse Client Context JSON: ")


async def test_a_trace_id_is_there_for_its_invocation_only(hire: Hire) -> None:
    pool = await hire("import os\ndef handler(e, c):\n    return os.environ.get('_X_AMZN_TRACE_ID')\n")
    assert value(await call(pool, context={"trace_id": "Root=1-2-3"})) == "Root=1-2-3"
    assert value(await call(pool)) is None


async def test_a_binary_payload_comes_as_bytes(hire: Hire) -> None:
    pool = await hire("def handler(event, context):\n    return event[::-1]\n")
    result = await pool.invoke("f", b"\x00\xff", request_id="r", context={"content_type": "application/octet-stream"})
    assert result.payload == b"\xff\x00"


async def test_large_payloads_pass_both_ways(hire: Hire) -> None:
    pool = await hire("def handler(event, context):\n    return event\n", timeout_s=30.0)
    text = "x" * (5 * 1024 * 1024)
    for _ in range(2):
        assert value(await call(pool, text)) == text
    refused = await pool.invoke("f", b"x" * (LIMIT + 1), request_id="r")
    assert refused.error == "RequestEntityTooLarge"
    assert json.loads(refused.payload)["errorMessage"] == "Exceeded maximum allowed payload size (6291556 bytes)."


async def test_invocations_wait_in_order_for_one_worker(hire: Hire) -> None:
    pool = await hire("seen = []\ndef handler(event, context):\n    seen.append(event)\n    return seen\n")
    results = await asyncio.gather(*(call(pool, number) for number in range(20)))
    assert [value(result) for result in results] == [list(range(n + 1)) for n in range(20)]
    assert status(pool).workers == 1


async def test_as_many_run_at_once_as_the_function_allows(hire: Hire, tmp_path: Path) -> None:
    pool = await hire(GATE, concurrency=2, timeout_s=20.0)
    gates = [tmp_path / f"gate{n}" for n in range(3)]
    for gate in gates:
        os.mkfifo(gate)
    running = [asyncio.create_task(call(pool, str(gate))) for gate in gates]
    for gate in gates[:2]:
        await until(Path(f"{gate}.ready").exists)
    assert (status(pool).workers, status(pool).waiting, status(pool).state) == (2, 1, "busy")
    assert not exists(f"{gates[2]}.ready")
    for gate in gates:
        await asyncio.to_thread(gate.write_text, "open")
    assert [value(await task) for task in running] == ["open"] * 3
    assert status(pool).workers == 2


async def test_concurrency_of_nothing_throttles(hire: Hire) -> None:
    pool = await hire(COUNT, concurrency=0)
    assert (await call(pool)).error == "TooManyRequestsException"


async def test_a_timeout_ends_the_worker_and_the_next_invocation_has_a_fresh_one(hire: Hire) -> None:
    source = COUNT.replace(
        "    return n", "    if event == 'hang':\n        import time\n        time.sleep(60)\n    return n"
    )
    pool = await hire(source, timeout_s=0.2)
    assert value(await call(pool)) == 1
    before = status(pool).pid
    late = await call(pool, "hang")
    assert late.error == "Sandbox.Timedout"
    message = json.loads(late.payload)["errorMessage"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z r-1 Task timed out after 0\.20 seconds", message)
    assert 200 <= late.duration_ms <= 450
    assert late.log.endswith(f"\tStatus: timeout\n{message}\n")
    assert not exists(f"/proc/{before}")
    assert value(await call(pool)) == 1
    assert status(pool).restarts == 1
    assert value(await call(pool, timeout_s=5.0)) == 2


async def test_the_caller_may_set_another_timeout(hire: Hire) -> None:
    pool = await hire("import time\ndef handler(event, context):\n    time.sleep(60)\n", timeout_s=60.0)
    late = await call(pool, timeout_s=0.05)
    assert "Task timed out after 0.05 seconds" in late.log


async def test_cancelling_ends_the_worker(hire: Hire, tmp_path: Path) -> None:
    pool = await hire(GATE, timeout_s=20.0)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    task = asyncio.create_task(call(pool, str(gate)))
    waiting = asyncio.create_task(call(pool, str(gate)))
    await until(Path(f"{gate}.ready").exists)
    pid = status(pool).pid
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not exists(f"/proc/{pid}")
    await asyncio.to_thread(gate.write_text, "on")
    assert value(await waiting) == "on"


async def test_cancelling_while_waiting_gives_the_turn_to_the_next(hire: Hire, tmp_path: Path) -> None:
    pool = await hire(GATE, timeout_s=20.0)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    tasks = [asyncio.create_task(call(pool, str(gate))) for _ in range(3)]
    await until(lambda: status(pool).waiting == 2)
    tasks[1].cancel()
    for task in (tasks[0], tasks[2]):
        await asyncio.to_thread(gate.write_text, "on")
        assert value(await task) == "on"
    assert status(pool).waiting == 0


async def test_an_idle_worker_is_ended_by_itself(hire: Hire, tmp_path: Path) -> None:
    mark = tmp_path / "bye"
    source = f"import atexit, pathlib\natexit.register(pathlib.Path({str(mark)!r}).touch)\n{COUNT}"
    pool = await hire(source, idle_s=0.05)
    assert value(await call(pool)) == 1
    await until(lambda: status(pool).workers == 0)
    assert mark.exists()
    assert value(await call(pool)) == 1
    assert status(pool).restarts == 0


async def test_an_idle_worker_that_dies_is_replaced_unseen(hire: Hire) -> None:
    pool = await hire(COUNT)
    assert value(await call(pool)) == 1
    worker = os.pidfd_open(status(pool).pid)
    os.kill(status(pool).pid, signal.SIGKILL)
    select.select([worker], [], [])  # the loop stands still, so the pool has not noticed
    os.close(worker)
    assert value(await call(pool)) == 1
    await until(lambda: status(pool).restarts == 1)
    assert value(await call(pool)) == 2
    assert status(pool).errors == 0


async def test_a_function_that_cannot_start_backs_off_and_shows(
    pools: Callable[..., Awaitable[Pool]], tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text("def handler(event, context):\n    return 1\n", encoding="utf-8")
    pool = await pools(Function("bad", tmp_path, "nowhere.handler"), Function("good", tmp_path, "app.handler"))
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(5):
        result = await pool.invoke("bad", b"{}", request_id="r")
        assert result.error == "Runtime.ImportModuleError"
        assert (await pool.invoke("good", b"{}", request_id="r")).payload == b"1"
    assert 0.75 <= loop.time() - began < 5  # half of 0.1 + 0.2 + 0.4 + 0.8 at least
    bad, good = pool.status()
    assert (bad.state, bad.errors, bad.restarts) == ("BROKEN", 5, 5)
    assert bad.last_error == "Runtime.ImportModuleError: Unable to import module 'nowhere': No module named 'nowhere'"
    assert 0.6 < bad.next_start_s <= 1.6
    assert (good.state, good.invocations, good.next_start_s) == ("idle", 5, 0.0)


async def test_code_that_is_missing_is_an_error_result(pools: Callable[..., Awaitable[Pool]], tmp_path: Path) -> None:
    pool = await pools(
        Function("f", tmp_path / "none", "app.handler"), Function("z", tmp_path / "no.zip", "app.handler")
    )
    for name in ("f", "z"):
        result = await pool.invoke(name, b"{}", request_id="r")
        assert result.error == "Runtime.ExitError"
        assert f"function '{name}' cannot be started: " in json.loads(result.payload)["errorMessage"]


async def test_an_archive_is_extracted_once_and_runs(pools: Callable[..., Awaitable[Pool]], tmp_path: Path) -> None:
    import zipfile  # noqa: PLC0415 - only here

    archive = tmp_path / "app.zip"
    for number in (1, 2):
        with zipfile.ZipFile(archive, "w") as bundle:
            bundle.writestr("pkg/__init__.py", "")
            bundle.writestr("pkg/app.py", f"import os\ndef handler(e, c):\n    return [{number}, os.getcwd()]\n")
        pool = await pools(Function("f", archive, "pkg/app.handler"))
        number_seen, folder = value(await call(pool))
        assert number_seen == number
        assert Path(folder).parent == tmp_path / "scratch" / "code"
        await pool.close()
    pool = await pools(Function("f", archive, "pkg/app.handler"))
    await call(pool)
    await pool.close()
    assert [p.name for p in (tmp_path / "scratch" / "code").iterdir()] == [Path(folder).name]


async def test_a_fast_function_that_is_slow_for_once_answers_all_the_same(hire: Hire) -> None:
    source = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"
    pool = await hire(source)
    for seconds in (0, 0, 0, 0, 0, 0.05, 0, 0, 0.01, 0, 0):
        assert value(await call(pool, seconds)) == seconds
    assert status(pool).workers == 1
    assert status(pool).restarts == 0


async def test_fast_invocations_leave_the_loop_its_turns(hire: Hire) -> None:
    pool = await hire(COUNT)
    await call(pool)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    for _ in range(500):
        await call(pool)
    counting.cancel()
    assert turns > 20


async def test_a_retried_request_may_have_the_same_id(hire: Hire, log: Log) -> None:
    pool = await hire("def handler(event, context):\n    print('try')\n    return 1/event\n")
    for event in (0, 1):
        result = await call(pool, event)
        assert result.log.startswith("START RequestId: r-1 Version: $LATEST\ntry\n")
    assert log.text().count("START RequestId: r-1 Version: $LATEST\nr-1\ttry\n") == 2
