"""Handlers in Node, in every style there has been."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Function
from edge_runtime.workers.isolation import Wanted
from edge_runtime.workers.pool import Pool
from tests.workers.conftest import Log, value
from tests.workers.programs import ask, running

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: apt install nodejs")

STAY = "return new Promise(() => setTimeout(() => {}, 5000))"
ANY = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def node(tmp_path: Path, log: Log) -> Callable[..., Any]:
    @asynccontextmanager
    async def make(
        sources: str | dict[str, str], handler: str = "index.handler", **options: object
    ) -> AsyncIterator[Pool]:
        code = tmp_path / "code"
        files = {"index.js": sources} if isinstance(sources, str) else sources
        for name, text in files.items():
            (code / name).parent.mkdir(parents=True, exist_ok=True)
            (code / name).write_text(text, encoding="utf-8")
        given: dict[str, Any] = {"runtime": "nodejs20.x", "timeout_s": 20.0, **options}
        async with running(tmp_path, log, Function("f", code, handler, **given)) as pool:
            yield pool

    return make


async def test_one_process_answers_in_every_style(node: Callable[..., Any]) -> None:
    source = """
let count = 0
exports.handler = (event, context, callback) => {
  count += 1
  const [style, ...rest] = event
  if (style === 'callback') setTimeout(() => callback(null, [count, ...rest]), 2)
  if (style === 'at once') {
    setInterval(() => {}, 1000).unref()
    const timer = setInterval(() => {}, 1000)
    context.callbackWaitsForEmptyEventLoop = false
    callback(null, count)
    clearInterval(timer)
  }
  if (style === 'waits') {
    setTimeout(() => { global.late = 'seen' }, 30)
    callback(null, 'sent')
  }
  if (style === 'late') callback(null, global.late)
  if (style === 'succeed') context.succeed(count)
  if (style === 'done') context.done(null, { count })
  if (style === 'promise') return Promise.resolve(count)
  if (style === 'thenable') return { then (resolve) { resolve('then') } }
  if (style === 'undefined') return Promise.resolve(undefined)
  if (style === 'nothing') setTimeout(() => {}, 2)
}
"""
    async with node(source) as pool:
        assert value(await ask(pool, ["callback", "a", None])) == [1, "a", None]
        assert value(await ask(pool, ["at once"])) == 2
        assert value(await ask(pool, ["waits"])) == "sent"
        assert value(await ask(pool, ["late"])) == "seen"
        assert value(await ask(pool, ["succeed"])) == 5
        assert value(await ask(pool, ["done"])) == {"count": 6}
        assert value(await ask(pool, ["promise"])) == 7
        assert value(await ask(pool, ["thenable"])) == "then"
        assert value(await ask(pool, ["undefined"])) is None
        assert value(await ask(pool, ["nothing"])) is None
        assert pool.status()[0].restarts == 0


async def test_a_callback_without_waiting_leaves_the_event_loop_as_it_is(node: Callable[..., Any]) -> None:
    source = """
exports.handler = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = false
  if (!global.timer) global.timer = setInterval(() => {}, 1000)
  callback(null, 'answered')
}
"""
    async with node(source) as pool:
        assert value(await ask(pool)) == "answered"
        assert value(await ask(pool)) == "answered"


async def test_errors_have_nodes_shape(node: Callable[..., Any]) -> None:
    source = """
function Old (message) { this.name = 'OldError'; this.message = message; this.stack = 'OldError: ' + message }
Old.prototype = Object.create(Error.prototype)
class Own extends TypeError { constructor (m) { super(m); this.name = 'Own'; this.code = 7 } }
exports.handler = (event, context, callback) => {
  switch (event) {
    case 'throw': throw new RangeError('thrown')
    case 'reject': return Promise.reject(new Own('rejected'))
    case 'callback': return callback(new Error('called back'))
    case 'text': return callback('just text')
    case 'old': return callback(new Old('prototype'))
    case 'fail': return context.fail()
    case 'number': return Promise.reject(42)
    case 'cycle': { const it = {}; it.it = it; return Promise.resolve(it) }
    case 'big': return Promise.resolve(1n)
  }
  return Promise.resolve('fine')
}
"""
    expected = {
        "throw": ("RangeError", "thrown"),
        "reject": ("Own", "rejected"),
        "callback": ("Error", "called back"),
        "text": ("string", "just text"),
        "old": ("OldError", "prototype"),
        "fail": ("string", "handled"),
        "number": ("number", "42"),
        "cycle": ("Error", "Unable to stringify response body"),
        "big": ("Error", "Unable to stringify response body"),
    }
    async with node(source) as pool:
        for event, (kind, message) in expected.items():
            result = await ask(pool, event)
            fault = json.loads(result.payload)
            assert (result.error, fault["errorType"], fault["errorMessage"]) == (kind, kind, message)
            assert list(fault) == ["errorType", "errorMessage", "trace"]
            if event == "reject":
                assert fault["trace"][0] in ("TypeError: rejected", "Own: rejected")
                entry = re.search(rf"{ANY}\tr-1\tERROR\tInvoke Error \t(.*)\n", result.log)
                assert entry
                logged = json.loads(entry[1])
                assert (logged["errorType"], logged["code"], logged["stack"]) == ("Own", 7, fault["trace"])
            if kind in ("string", "number"):
                assert fault["trace"] == []
        assert value(await ask(pool, "other")) == "fine"
        assert pool.status()[0].restarts == 0


async def test_only_the_first_completion_counts(node: Callable[..., Any]) -> None:
    source = """
exports.handler = (event, context, callback) => {
  context.succeed('first')
  context.fail(new Error('second'))
}
"""
    async with node(source) as pool:
        result = await ask(pool)
        assert value(result) == "first"
        text = "Invocation has already been reported as done. Cannot call complete more than once per invocation."
        assert text in result.log


async def test_an_async_handler_that_never_settles_is_an_error(node: Callable[..., Any]) -> None:
    async with node("exports.handler = async (event) => event || new Promise(() => {})\n") as pool:
        result = await ask(pool)
        assert result.error == "Runtime.NodeJsExit"
        assert value(await ask(pool, 1)) == 1


@pytest.mark.parametrize(
    ("act", "error", "status"),
    [
        (f"Promise.reject(new Error('lost')); {STAY}", "Runtime.UnhandledPromiseRejection", 128),
        (f"setTimeout(() => {{ throw new TypeError('wild') }}, 1); {STAY}", "TypeError", 129),
    ],
)  # fmt: skip
async def test_what_nobody_catches_is_the_error_and_ends_the_process(
    node: Callable[..., Any], log: Log, act: str, error: str, status: int
) -> None:
    source = f"let n = 0\nexports.handler = async (event) => {{ n += 1; if (!event) {{ {act} }} return n }}\n"
    async with node(source) as pool:
        result = await ask(pool)
        assert result.error == error
        assert value(await ask(pool, "on")) == 1
    assert f"exit status {status}" in log.text()


async def test_the_context_is_lambdas(node: Callable[..., Any]) -> None:
    source = """
exports.handler = async (event, context) => [
  Object.keys(context).sort(), context.functionName, context.memoryLimitInMB, context.awsRequestId,
  context.clientContext && [context.clientContext.custom.subject, context.clientContext.Custom.subject],
  context.identity, context.invokedFunctionArn, process.env._X_AMZN_TRACE_ID || null, process.cwd() === __dirname,
  context.getRemainingTimeInMillis() > 18000 && context.getRemainingTimeInMillis() <= 20000,
  process.env.AWS_EXECUTION_ENV, context.callbackWaitsForEmptyEventLoop, typeof context.done
]
"""
    arn = "arn:aws:lambda:local:000000000000:function:f"
    names = [
        *("awsRequestId", "callbackWaitsForEmptyEventLoop", "clientContext", "done", "fail", "functionName"),
        *("functionVersion", "getRemainingTimeInMillis", "identity", "invokedFunctionArn", "logGroupName"),
        *("logStreamName", "memoryLimitInMB", "succeed", "tenantId"),
    ]
    async with node(source) as pool:
        full = {"custom": {"subject": "a/é"}, "identity": {"cognitoIdentityId": "me"}, "trace_id": "Root=1"}
        found = value(await ask(pool, context=full))
        identity = {"cognitoIdentityId": "me"}
        tail = [arn, "Root=1", True, True, "AWS_Lambda_nodejs20.x", True, "function"]
        assert found == [names, "f", "128", "r-1", ["a/é", "a/é"], identity, *tail]
        bare = value(await ask(pool))
        assert (bare[4:6], bare[7]) == ([None, None], None)


async def test_the_console_writes_lines_with_time_request_and_level(node: Callable[..., Any]) -> None:
    source = """
console.log('at start')
exports.handler = async () => {
  console.log('a %d', 1, { b: 2 }); console.debug('d'); console.info('i'); console.warn('w')
  console.error('two\\nlines')
  process.stdout.write('bare\\n')
}
"""
    async with node(source) as pool:
        result = await ask(pool)
        lines = result.log.split("\n")
        wanted = [
            rf"{ANY}\tundefined\tINFO\tat start",
            rf"{ANY}\tr-1\tINFO\ta 1 {{ b: 2 }}",
            rf"{ANY}\tr-1\tDEBUG\td",
            rf"{ANY}\tr-1\tINFO\ti",
            rf"{ANY}\tr-1\tWARN\tw",
            rf"{ANY}\tr-1\tERROR\ttwo\rlines",
            "bare",
        ]
        for line, pattern in zip(lines[1:8], wanted, strict=True):
            assert re.fullmatch(pattern, line), line


async def test_the_console_writes_json_when_the_function_says_so(node: Callable[..., Any]) -> None:
    source = """
exports.handler = async () => {
  console.log({ a: 1 }); console.debug('hidden'); console.warn('x', new TypeError('bad')); console.info('n', 1)
  const cycle = {}; cycle.cycle = cycle; console.error(cycle)
}
"""
    async with node(source, log_format="JSON", log_level="INFO") as pool:
        result = await ask(pool)
        lines = [json.loads(line) for line in result.log.splitlines()]
        own = [line for line in lines if "level" in line]
        assert all(re.fullmatch(ANY, line.pop("timestamp")) and line.pop("requestId") == "r-1" for line in own)
        assert own[0] == {"level": "INFO", "message": {"a": 1}}
        assert (own[1]["level"], own[1]["errorType"], own[1]["errorMessage"]) == ("WARN", "TypeError", "bad")
        assert own[2] == {"level": "INFO", "message": "n 1"}
        assert "Circular" in own[3]["message"]


@pytest.mark.parametrize(
    ("files", "handler"),
    [
        ({"index.mjs": "export const handler = async () => 'ok'\n"}, "index.handler"),
        ({"index.cjs": "exports.handler = async () => 'ok'\n"}, "index.handler"),
        (
            {"package.json": '{"type": "module"}', "index.js": "export const handler = async () => 'ok'\n"},
            "index.handler",
        ),
        ({"index.mjs": "await 0; export const handler = async () => 'ok'\n"}, "index.handler"),
        ({"dir/sub/index.js": "exports.a = { b: async () => 'ok' }\n"}, "dir/sub/index.a.b"),
        ({"bare": "exports.handler = async () => 'ok'\n"}, "bare.handler"),
        ({"node_modules/pkg/index.js": "exports.handler = async () => 'ok'\n"}, "pkg.handler"),
        (
            {
                "package.json": '{"type": "module"}',
                "node_modules/lib/package.json": '{"name": "lib"}',
                "node_modules/lib/index.js": "exports.handler = async () => 'ok'\n",
            },
            "node_modules/lib/index.handler",
        ),
    ],
)  # fmt: skip
async def test_a_handler_is_found_where_aws_finds_it(
    node: Callable[..., Any], files: dict[str, str], handler: str
) -> None:
    async with node(files, handler) as pool:
        assert value(await ask(pool)) == "ok"


@pytest.mark.parametrize(
    ("files", "handler", "error", "message"),
    [
        ({"a.js": ""}, "../a.handler", "Runtime.MalformedHandlerName", "'../a.handler' is not a valid handler name. "),
        ({"a.js": ""}, "nodot", "Runtime.MalformedHandlerName", "Bad handler"),
        ({"a.js": ""}, "a.handler", "Runtime.HandlerNotFound", "a.handler is undefined or not exported"),
        ({"a.js": "exports.h = 5"}, "a.h", "Runtime.HandlerNotFound", "a.h is not a function"),
        ({"a.js": "const = 1"}, "a.h", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected token '='"),
        ({"a.js": "require('nope')"}, "a.h", "Runtime.ImportModuleError", "Error: Cannot find module 'nope'"),
        ({"b.js": ""}, "a.h", "Runtime.ImportModuleError", "Error: Cannot find module 'a'"),
        ({"a.js": "throw new RangeError('at start')"}, "a.h", "RangeError", "at start"),
        ({"a.js": "throw 'text'"}, "a.h", "string", "text"),
    ],
)
async def test_a_handler_that_cannot_be_loaded_is_an_init_error(
    node: Callable[..., Any], files: dict[str, str], handler: str, error: str, message: str
) -> None:
    async with node(files, handler) as pool:
        result = await ask(pool)
        fault = json.loads(result.payload)
        assert (result.error, fault["errorMessage"][: len(message)]) == (error, message)
        assert pool.status()[0].restarts == 1


async def test_a_process_that_exits_is_told(node: Callable[..., Any]) -> None:
    async with node("exports.handler = async () => process.exit(7)\n") as pool:
        result = await ask(pool)
        assert json.loads(result.payload)["errorMessage"].endswith("Runtime exited with error: exit status 7")


async def test_a_reply_can_be_streamed(node: Callable[..., Any]) -> None:
    source = """
const { pipeline } = require('stream/promises')
const { Readable } = require('stream')
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event === 'http') {
    const http = awslambda.HttpResponseStream.from(stream, { statusCode: 201 })
    http.write('body')
    http.end()
    return
  }
  stream.setContentType('text/plain')
  if (event === 'early') throw new RangeError('before')
  stream.write('one ')
  if (event === 'late') throw new RangeError('after')
  if (event === 'piped') { Readable.from(['a', 'b', 'c']).pipe(stream); return }
  if (event === 'open') return
  if (event === 'large') { await pipeline(Readable.from(Array(16).fill('x'.repeat(65536))), stream); return }
  stream.end('two')
})
"""
    async with node(source, memory_mb=512) as pool:
        assert (await ask(pool, "plain")).payload == b"one two"
        assert (await ask(pool, "http")).payload == b'{"statusCode":201}' + bytes(8) + b"body"
        assert (await ask(pool, "piped")).payload == b"one abc"
        assert (await ask(pool, "open")).payload == b"one "
        assert len((await ask(pool, "large")).payload) == 4 + 16 * 65536
        for event, message in (("early", "before"), ("late", "after")):
            result = await ask(pool, event)
            assert (result.error, json.loads(result.payload)["errorMessage"]) == ("RangeError", message)
        assert pool.status()[0].restarts == 0


async def test_version_2_of_the_sdk_is_told_where_to_go(node: Callable[..., Any]) -> None:
    """A package of the same make: every client begins with the configuration of its core."""
    core = """
function Config () { this.endpoint = undefined }
Config.prototype.update = function (values) { Object.assign(this, values) }
module.exports = { VERSION: '2.1692.0', Config, config: new Config() }
"""
    files = {
        "node_modules/aws-sdk/package.json": '{"name": "aws-sdk", "main": "lib/aws.js"}',
        "node_modules/aws-sdk/lib/core.js": core,
        "node_modules/aws-sdk/lib/aws.js": "module.exports = require('./core')\n",
        "node_modules/aws-sdk/clients/s3.js": "module.exports = require('../lib/core')\n",
        "index.js": "const AWS = require('aws-sdk'); exports.handler = async () => AWS.config\n",
        "client.js": "const S3 = require('aws-sdk/clients/s3'); exports.handler = async () => S3.config\n",
        "module.mjs": "import AWS from 'aws-sdk'; export const handler = async () => AWS.config\n",
    }
    environment = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_IOT_DATA_PLANE": "http://127.0.0.1:2"}
    for handler in ("index.handler", "client.handler", "module.handler"):
        async with node(files, handler, environment=environment) as pool:
            assert value(await ask(pool)) == {
                "endpoint": "http://127.0.0.1:1",
                "s3ForcePathStyle": True,
                "iotdata": {"endpoint": "http://127.0.0.1:2"},
            }


async def test_modules_of_a_layer_are_found(node: Callable[..., Any], tmp_path: Path) -> None:
    library = tmp_path / "layer" / "nodejs" / "node_modules" / "lib"
    library.mkdir(parents=True)
    (library / "index.js").write_text("module.exports = 'from the layer'\n", encoding="utf-8")
    source = "exports.handler = async () => require('lib')\n"
    async with node(source, layers=(tmp_path / "layer",)) as pool:
        assert value(await ask(pool)) == "from the layer"


async def test_another_version_is_run_here_and_said(node: Callable[..., Any], log: Log) -> None:
    async with node("exports.handler = (e, c, cb) => cb(null, process.version)\n", runtime="nodejs4.3") as pool:
        version = value(await ask(pool)).removeprefix("v")
        assert value(await ask(pool))
    assert log.text().count(f"declared for nodejs4.3, runs on nodejs{version}\n") == 1


async def test_binary_and_large_events_pass(node: Callable[..., Any]) -> None:
    source = "exports.handler = async (e) => Buffer.isBuffer(e) ? e.toString('hex') : e.length\n"
    async with node(source) as pool:
        octets = {"content_type": "application/octet-stream"}
        result = await pool.invoke("f", b"\x00\xff", request_id="r", context=octets)
        assert value(result) == "00ff"
        assert value(await ask(pool, "é" * 1_000_000)) == 1_000_000


async def test_a_node_handler_is_isolated_like_every_other(tmp_path: Path, log: Log) -> None:
    code = tmp_path / "code"
    code.mkdir()
    source = """
const fs = require('fs')
const can = (act) => { try { act(); return true } catch (_) { return false } }
exports.handler = async () => [
  can(() => fs.readFileSync('/etc/shadow')), can(() => fs.writeFileSync(__dirname + '/x', '')),
  can(() => fs.writeFileSync(process.env.TMPDIR + '/x', '')), can(() => fs.readFileSync(__filename))
]
"""
    (code / "index.js").write_text(source, encoding="utf-8")
    given = Function("f", code, "index.handler", runtime="nodejs20.x", timeout_s=20.0)
    async with running(tmp_path, log, given, isolation=Wanted()) as pool:
        found = value(await ask(pool))
        level = pool.isolation()
        assert found[2:] == [True, True]
        if level is not None and level.level == "full":
            assert found[:2] == [False, False]
