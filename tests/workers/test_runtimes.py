"""What serves a declared runtime; programs that speak the Runtime API, official clients among them."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import shutil
import struct
import sys
import zipfile
from pathlib import Path

import pytest

from edge_runtime.app import Function
from edge_runtime.errors import ConfigError
from edge_runtime.workers import runtimes
from tests.workers.conftest import Log, until, value
from tests.workers.programs import ask, program, running

HERE = f"python{sys.version_info.major}.{sys.version_info.minor}"
LOOP = """
import http.client, json, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, body=None, headers={}):
    api.request(method, "/2018-06-01/runtime/" + path, body, headers)
    answer = api.getresponse()
    return answer.status, answer.headers, answer.read()
def next():
    _, headers, body = call("GET", "invocation/next")
    return headers["Lambda-Runtime-Aws-Request-Id"], headers, body
"""
ECHO = f"""{LOOP}
while True:
    id, headers, body = next()
    reply = {{"event": json.loads(body), "headers": dict(headers), "pid": os.getpid()}}
    call("POST", f"invocation/{{id}}/response", json.dumps(reply))
"""


def function(folder: Path, **options: object) -> Function:
    return Function("f", folder, "app.handler", **{"runtime": "provided.al2023", "timeout_s": 20.0, **options})  # type: ignore[arg-type]  # fields


@pytest.mark.parametrize(
    ("runtime", "kind"),
    [
        ("python3", runtimes.Kind.PYTHON),
        ("python2.7", runtimes.Kind.PYTHON),
        ("python3.13", runtimes.Kind.PYTHON),
        ("nodejs", runtimes.Kind.NODE),
        ("nodejs4.3-edge", runtimes.Kind.NODE),
        ("nodejs24.x", runtimes.Kind.NODE),
        ("provided", runtimes.Kind.PROGRAM),
        ("provided.al2023", runtimes.Kind.PROGRAM),
        ("go1.x", runtimes.Kind.PROGRAM),
    ],
)
def test_every_runtime_of_an_era_is_served(runtime: str, kind: runtimes.Kind) -> None:
    assert runtimes.kind(runtime) is kind


@pytest.mark.parametrize(
    ("runtime", "text"),
    [
        ("java21", "runtime 'java21' is not supported: Java does not run here"),
        ("dotnetcore3.1", "runtime 'dotnetcore3.1' is not supported: .NET does not run here"),
        ("dotnet8", "runtime 'dotnet8' is not supported: .NET does not run here"),
        ("ruby3.3", "runtime 'ruby3.3' is not supported: Ruby does not run here"),
        ("pyton3", "there is no runtime 'pyton3'; did you mean 'python3'?"),
    ],
)
def test_what_does_not_run_here_is_refused_by_name(runtime: str, text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)) as refused:
        runtimes.interpreter(runtime)
    assert "Python, Node and any `bootstrap` program" in refused.value.hint


def test_a_missing_node_is_an_error_with_the_command_that_installs_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"runtime .nodejs20\.x. needs Node, which is not installed") as missing:
        runtimes.interpreter("nodejs20.x", path=str(tmp_path))
    assert missing.value.hint == "run: sudo apt install nodejs"
    fake = tmp_path / "nodejs"
    fake.write_text("#!/bin/sh\necho v18.19.1\n", encoding="utf-8")
    fake.chmod(0o755)
    assert runtimes.interpreter("nodejs20.x", path=str(tmp_path)) == str(fake)
    assert runtimes.version(str(fake)) == "nodejs18.19.1"
    with pytest.raises(ConfigError, match="none does not run"):
        runtimes.version(str(tmp_path / "none"))
    assert runtimes.interpreter("python3.8") == HERE
    assert runtimes.interpreter("provided") == ""


def elf(machine: int, order: str = "<") -> bytes:
    return b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + bytes(10) + struct.pack(f"{order}HH", 2, machine)


@pytest.mark.parametrize(
    ("content", "mode", "text", "hint"),
    [
        (None, 0, "there is no program {}, which runtime 'provided' needs", "named bootstrap"),
        (b"#!/bin/sh\n", 0o644, "{} is not executable", "run: chmod +x {}"),
        (b"echo hello\n", 0o755, "{} is neither a Linux program nor a script", "a script begins with #!"),
        (b"\x7fELF", 0o755, "{} is neither a Linux program nor a script", "a script begins with #!"),
        (elf(22, ">"), 0o755, "{} is built for machine 22, and this machine is ", "build it for "),
        (elf(243), 0o755, "{} is built for RISC-V, and this machine is ", "build it for "),
    ],
)
@pytest.mark.skipif(platform.machine() == "riscv64", reason="the foreign machine of this test is this one")
def test_a_program_that_cannot_run_is_refused(
    tmp_path: Path, content: bytes | None, mode: int, text: str, hint: str
) -> None:
    path = tmp_path / "bootstrap"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(ConfigError, match=re.escape(text.format(path))) as refused:
        runtimes.command(function(tmp_path, runtime="provided"), tmp_path, None)
    assert hint.format(path) in refused.value.hint


def test_a_program_is_found_in_the_code_then_in_the_layers(tmp_path: Path) -> None:
    code, opt = tmp_path / "code", program(tmp_path / "opt", "")
    code.mkdir()
    found = runtimes.command(function(code), code, opt)
    assert found == runtimes.Command((f"{opt}/bootstrap",))
    program(code, "")
    assert runtimes.command(function(code), code, opt) == runtimes.Command((f"{code}/bootstrap",))
    shutil.copy(sys.executable, code / "main")
    go = Function("g", code, "main", runtime="go1.x")
    assert runtimes.command(go, code, opt) == runtimes.Command((f"{code}/main",))
    outside = Function("g", code, "../opt/bootstrap", runtime="go1.x")
    assert runtimes.command(outside, code, None) == runtimes.Command((f"{code}/bootstrap",))


async def test_a_program_gets_its_events_with_their_context_and_stays_warm(tmp_path: Path, log: Log) -> None:
    async with running(tmp_path, log, function(program(tmp_path / "code", ECHO))) as pool:
        first = value(await ask(pool, {"a": 1}, context={"custom": {"subject": "a/é"}}))
        assert first["event"] == {"a": 1}
        deadline = int(first["headers"].pop("Lambda-Runtime-Deadline-Ms"))
        assert deadline > 1_700_000_000_000
        arn = "arn:aws:lambda:local:000000000000:function:f"
        assert first["headers"] == {
            "Content-Length": "8",
            "Content-Type": "application/json",
            "Lambda-Runtime-Invoked-Function-Arn": arn,
            "Lambda-Runtime-Client-Context": json.dumps({"custom": {"subject": "a/é"}}),
            "Lambda-Runtime-Aws-Request-Id": "r-1",
        }
        full = {
            "custom": {"subject": "t"},
            "client_context": '{"custom": {"k": 1}, "env": {}}',
            "identity": {"cognitoIdentityId": "é"},
            "invoked_function_arn": "arn:x\r\nEvil: 1",
            "tenant_id": "T",
            "trace_id": "Root=1",
        }
        second = value(await ask(pool, None, context=full))
        assert second["pid"] == first["pid"]
        head = second["headers"]
        assert "Evil" not in head
        assert head["Lambda-Runtime-Invoked-Function-Arn"] == "arn:x Evil: 1"
        assert json.loads(head["Lambda-Runtime-Client-Context"]) == {"custom": {"k": 1, "subject": "t"}, "env": {}}
        assert head["Lambda-Runtime-Cognito-Identity"] == '{"cognitoIdentityId": "\\u00e9"}'
        assert (head["Lambda-Runtime-Aws-Tenant-Id"], head["Lambda-Runtime-Trace-Id"]) == ("T", "Root=1")
        plain = value(await ask(pool))
        assert "Lambda-Runtime-Client-Context" not in plain["headers"]
        (state,) = pool.status()
        assert (state.workers, state.invocations, state.errors, state.restarts) == (1, 3, 0, 0)


async def test_awslambdaric_runs_as_it_is(tmp_path: Path, log: Log) -> None:
    pytest.importorskip("awslambdaric", reason="has no wheel for this machine")
    code = program(tmp_path / "code", f'exec "{sys.executable}" -m awslambdaric "$_HANDLER"\n', "/bin/sh")
    (code / "app.py").write_text(
        """
def handler(event, context):
    print("seen", event)
    if event == "raise":
        raise KeyError("gone")
    if event == "big":
        return "x" * (7 * 1024 * 1024)
    return [event, context.client_context.custom, context.aws_request_id, 0 < context.get_remaining_time_in_millis()]
""",
        encoding="utf-8",
    )
    async with running(tmp_path, log, function(code)) as pool:
        topic = {"custom": {"subject": "t"}}
        result = await ask(pool, "é", context=topic)
        assert value(result) == ["é", {"subject": "t"}, "r-1", True]
        assert result.init_ms > 0
        assert "seen é\n" in result.log
        failed = await ask(pool, "raise")
        assert (failed.error, json.loads(failed.payload)["errorMessage"]) == ("KeyError", "'gone'")
        assert (await ask(pool, "big")).error == "Function.ResponseSizeTooLarge"
        assert value(await ask(pool, 1, context=topic))[0] == 1


async def test_a_handler_that_awslambdaric_cannot_load_is_an_init_error(tmp_path: Path, log: Log) -> None:
    pytest.importorskip("awslambdaric", reason="has no wheel for this machine")
    code = program(tmp_path / "code", f'exec "{sys.executable}" -m awslambdaric "$_HANDLER"\n', "/bin/sh")
    async with running(tmp_path, log, function(code)) as pool:
        result = await ask(pool)
        assert result.error == "Runtime.ImportModuleError"
        assert json.loads(result.payload)["errorMessage"] == "Unable to import module 'app': No module named 'app'"


async def test_the_ends_of_a_program_are_told_apart(tmp_path: Path, log: Log) -> None:
    source = f"""{LOOP}
import sys, time, subprocess
while True:
    id, headers, body = next()
    event = json.loads(body)
    if event == "exit":
        sys.exit(3)
    if event == "hang":
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        time.sleep(1000)
    call("POST", f"invocation/{{id}}/response", body)
    if event == "last":
        sys.exit(0)
"""
    async with running(tmp_path, log, function(program(tmp_path / "code", source))) as pool:
        exited = await ask(pool, "exit")
        text = "RequestId: r-1 Error: Runtime exited with error: exit status 3"
        assert (exited.error, json.loads(exited.payload)["errorMessage"]) == ("Runtime.ExitError", text)
        late = await ask(pool, "hang", timeout_s=0.5)
        assert late.error == "Sandbox.Timedout"
        assert value(await ask(pool, "last")) == "last"
        assert value(await ask(pool, "again")) == "again"  # whoever was given it first, and left without it


async def test_a_program_that_never_asks_is_loaded_again_and_then_timed_out(tmp_path: Path, log: Log) -> None:
    code = program(tmp_path / "code", "import time\nwhile True: time.sleep(1000)\n")
    async with running(tmp_path, log, function(code)) as pool:
        assert pool._yard is not None
        pool._yard.init_s = 0.2
        result = await ask(pool, timeout_s=0.3)
        assert result.error == "Sandbox.Timedout"
        assert "INIT_REPORT Init Duration: 200.00 ms\tPhase: init\tStatus: timeout" in log.text()


async def test_a_program_that_cannot_be_started_says_why(tmp_path: Path, log: Log) -> None:
    code = program(tmp_path / "code", "", "/nowhere/sh")
    async with running(tmp_path, log, function(code), Function("g", tmp_path, "x", runtime="provided")) as pool:
        result = await ask(pool)
        message = json.loads(result.payload)["errorMessage"]
        assert message.endswith(
            f"{code}/bootstrap cannot be started: what its first line names, or its loader, is not here"
        )
        missing = await ask(pool, name="g")
        assert "there is no program" in json.loads(missing.payload)["errorMessage"]


async def test_no_worker_answers_for_another(tmp_path: Path, log: Log) -> None:
    """It knows the address and the request id, and still gets no connection."""
    thief = f"""{LOOP}
while True:
    id, headers, body = next()
    other = http.client.HTTPConnection(json.loads(body))
    try:
        other.request("POST", "/2018-06-01/runtime/invocation/r-1/response", '"stolen"')
        reply = other.getresponse().status
    except OSError as error:
        reply = "refused"
    call("POST", f"invocation/{{id}}/response", json.dumps(reply))
"""
    victim = f"""{LOOP}
while True:
    id, headers, body = next()
    place = json.loads(body)
    if place:
        with open(place, "w") as file:
            file.write(os.environ["AWS_LAMBDA_RUNTIME_API"])
        with open(place + ".go") as file:
            file.read()
    call("POST", f"invocation/{{id}}/response", '"mine"')
"""
    functions = [
        Function(name, program(tmp_path / name, source), "x", runtime="provided", timeout_s=20.0)
        for name, source in (("thief", thief), ("victim", victim))
    ]
    async with running(tmp_path, log, *functions) as pool:
        place = tmp_path / "place"
        os.mkfifo(f"{place}.go")
        working = asyncio.create_task(ask(pool, str(place), name="victim"))
        await until(lambda: place.exists() and place.stat().st_size > 0)
        assert value(await ask(pool, place.read_text(encoding="ascii"), name="thief")) == "refused"
        await asyncio.to_thread(Path(f"{place}.go").write_text, "on")
        assert value(await working) == "mine"


async def test_a_descendant_may_speak_for_its_worker(tmp_path: Path, log: Log) -> None:
    source = f"""{LOOP}
while True:
    id, headers, body = next()
    if os.fork() == 0:
        api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
        call("POST", f"invocation/{{id}}/response", '"from a child"')
        os._exit(0)
    os.wait()
"""
    async with running(tmp_path, log, function(program(tmp_path / "code", source))) as pool:
        assert value(await ask(pool)) == "from a child"
        assert value(await ask(pool)) == "from a child"


async def test_an_idle_program_is_asked_to_end(tmp_path: Path, log: Log) -> None:
    mark = tmp_path / "bye"
    source = f"""
import signal, sys
def bye(number, frame):
    open({str(mark)!r}, "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, bye)
{ECHO}"""
    code = program(tmp_path / "code", source)
    async with running(tmp_path, log, function(code, idle_s=0.05)) as pool:
        await ask(pool)
        await until(lambda: pool.status()[0].workers == 0)
        assert mark.exists()
        assert pool.status()[0].restarts == 0


async def test_a_foreign_runtime_stops_nothing_and_shows(tmp_path: Path, log: Log) -> None:
    (tmp_path / "app.py").write_text("def handler(event, context):\n    return 1\n", encoding="utf-8")
    foreign, own = Function("f", tmp_path, "a.B", runtime="java17"), Function("g", tmp_path, "app.handler")
    async with running(tmp_path, log, foreign, own) as pool:
        assert value(await ask(pool, name="g")) == 1
        refused, fine = pool.status()
        assert (refused.state, fine.state) == ("BROKEN", "idle")
        text = "function 'f' cannot be started: runtime 'java17' is not supported: Java does not run here; "
        assert refused.last_error.startswith(text)
        result = await ask(pool)
        assert result.error == "InvalidRuntimeException"
        assert json.loads(result.payload)["errorMessage"].startswith(text)


async def test_a_bootstrap_in_a_layer_runs(tmp_path: Path, log: Log) -> None:
    code, layer = tmp_path / "code", tmp_path / "layer.zip"
    code.mkdir()
    entry = zipfile.ZipInfo("bootstrap")
    entry.external_attr = 0o755 << 16
    with zipfile.ZipFile(layer, "w") as bundle:
        bundle.writestr(entry, f"#!{sys.executable}\n{ECHO}")
    async with running(tmp_path, log, function(code, layers=(layer,))) as pool:
        assert value(await ask(pool, 5))["event"] == 5
    async with running(tmp_path, log, function(code, layers=(layer,))) as pool:
        assert value(await ask(pool, 6))["event"] == 6
