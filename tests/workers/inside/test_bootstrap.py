"""The worker side, through real workers: handler resolution, error shapes, logging."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import Function
from edge_runtime.model import Result
from edge_runtime.workers.pool import Pool
from tests.workers.conftest import Hire

FILES = {
    "app.py": "def handler(event, context):\n    return event\n",
    "pkg/__init__.py": "",
    "pkg/sub/mod.py": "def go(event, context):\n    return 'deep'\n",
    "syntax.py": "def handler(event, context):\n    return (\n",
    "needs.py": "import nowhere\n",
    "halfway.py": "from json import nothing\n",
    "raises.py": "def check():\n    raise ValueError('not today')\ncheck()\n",
    "value.py": "handler = 5\n",
    "zygote.py": "def handler(event, context):\n    return 'my own'\n",
    "bootstrap.py": "import frames\ndef handler(event, context):\n    return frames.x\n",
    "frames.py": "x = 'mine too'\n",
}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "code" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "code"


@pytest.mark.parametrize(
    ("handler", "reply"),
    [
        ("app.handler", 7),
        ("pkg.sub.mod.go", "deep"),
        ("pkg/sub/mod.go", "deep"),
        ("zygote.handler", "my own"),
        ("bootstrap.handler", "mine too"),
    ],
)
async def test_a_handler_is_found(
    pools: Callable[..., Awaitable[Pool]], code: Path, handler: str, reply: object
) -> None:
    pool = await pools(Function("f", code, handler))
    result = await pool.invoke("f", b"7", request_id="r")
    assert json.loads(result.payload) == reply


@pytest.mark.parametrize(
    ("handler", "fault"),
    [
        (
            "app",
            ("Runtime.MalformedHandlerName", "Bad handler 'app': not enough values to unpack (expected 2, got 1)", []),
        ),
        (
            "sys.exit",
            ("Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module", []),
        ),
        (
            "none.handler",
            ("Runtime.ImportModuleError", "Unable to import module 'none': No module named 'none'", []),
        ),
        (
            "needs.handler",
            ("Runtime.ImportModuleError", "Unable to import module 'needs': No module named 'nowhere'", []),
        ),
        ("app.nothing", ("Runtime.HandlerNotFound", "Handler 'nothing' missing on module 'app'", [])),
        (
            "syntax.handler",
            (
                "Runtime.UserCodeSyntaxError",
                "Syntax error in module 'syntax': '(' was never closed (syntax.py, line 2)",
                ['  File "CODE/syntax.py" Line 2\n        return (\n'],
            ),
        ),
    ],
)
async def test_a_handler_that_cannot_be_loaded_is_an_error_of_the_runtime(
    pools: Callable[..., Awaitable[Pool]], code: Path, handler: str, fault: tuple[str, str, list[str]]
) -> None:
    kind, message, trace = fault
    pool = await pools(Function("f", code, handler))
    result = await pool.invoke("f", b"7", request_id="r")
    assert result.error == kind
    assert list(json.loads(result.payload).items()) == [
        ("errorMessage", message),
        ("errorType", kind),
        ("requestId", ""),
        ("stackTrace", [entry.replace("CODE", str(code)) for entry in trace]),
    ]
    assert f"[ERROR] {kind}: {message}\rTraceback (most recent call last):" in result.log


async def test_an_import_error_names_what_is_missing(pools: Callable[..., Awaitable[Pool]], code: Path) -> None:
    pool = await pools(Function("f", code, "halfway.handler"))
    result = await pool.invoke("f", b"7", request_id="r")
    assert json.loads(result.payload)["errorMessage"].startswith(
        "Unable to import module 'halfway': cannot import name 'nothing' from 'json'"
    )


async def test_an_exception_of_the_module_is_reported_as_it_is(
    pools: Callable[..., Awaitable[Pool]], code: Path
) -> None:
    pool = await pools(Function("f", code, "raises.handler"))
    result = await pool.invoke("f", b"7", request_id="r")
    fault = json.loads(result.payload)
    assert (result.error, fault["errorMessage"], fault["requestId"]) == ("ValueError", "not today", "")
    assert fault["stackTrace"][-2:] == [
        f'  File "{code}/raises.py", line 3, in <module>\n    check()\n',
        f"  File \"{code}/raises.py\", line 2, in check\n    raise ValueError('not today')\n",
    ]


async def test_what_is_no_function_fails_when_it_is_called(pools: Callable[..., Awaitable[Pool]], code: Path) -> None:
    pool = await pools(Function("f", code, "value.handler"))
    result = await pool.invoke("f", b"7", request_id="r")
    assert (result.error, json.loads(result.payload)["errorMessage"]) == ("TypeError", "'int' object is not callable")


MANY = """
import decimal, json, math
class Odd(Exception):
    def __str__(self):
        raise RuntimeError
class Wrong(Exception):
    pass
def divide(event):
    return 1/0
def circle(event):
    a = []
    a.append(a)
    return a
ACTS = {
    "divide": divide,
    "custom": lambda event: (_ for _ in ()).throw(Wrong("äöü \\U0001f600")),
    "no text": lambda event: (_ for _ in ()).throw(Wrong()),
    "odd": lambda event: (_ for _ in ()).throw(Odd()),
    "set": lambda event: {1, 2},
    "circle": circle,
    "surrogate": lambda event: "\\ud800",
    "key": lambda event: {(1, 2): 3},
    "decimal": lambda event: {"a": decimal.Decimal("1.10"), "b": [decimal.Decimal("NaN"), decimal.Decimal("1E+2")]},
    "bytes": lambda event: b"\\x00raw",
    "nested bytes": lambda event: {"a": "é".encode()},
    "nan": lambda event: [math.nan, math.inf, -math.inf],
    "big": lambda event: 2**70,
    "none": lambda event: None,
    "tuple": lambda event: (1, (2,)),
    "float": lambda event: 0.1 + 0.2,
    "text": lambda event: "é\\u2028",
}
def handler(event, context):
    return ACTS[event](event)
"""


async def act(pool: Pool, name: str) -> Result:
    return await pool.invoke("f", json.dumps(name).encode(), request_id="id-1")


async def test_replies_have_the_bytes_that_aws_makes(hire: Hire) -> None:
    pool = await hire(MANY, runtime="python3.12")
    expected = {
        "decimal": b'{"a": 1.10, "b": [NaN, 1E+2]}',
        "bytes": b"\x00raw",
        "nested bytes": '{"a": "é"}'.encode(),
        "nan": b"[NaN, Infinity, -Infinity]",
        "big": b"1180591620717411303424",
        "none": b"null",
        "tuple": b"[1, [2]]",
        "float": b"0.30000000000000004",
        "text": '"é\u2028"'.encode(),
    }
    results = {name: await act(pool, name) for name in expected}
    assert {name: result.payload for name, result in results.items()} == expected
    assert "the reply holds NaN or Infinity, which is not valid JSON" in results["nan"].log
    assert "[WARNING]" not in results["big"].log


async def test_older_runtimes_escape_what_is_not_ascii(hire: Hire) -> None:
    pool = await hire(MANY, runtime="python3.11")
    assert (await act(pool, "text")).payload == rb'"\u00e9\u2028"'


async def test_errors_have_the_shape_that_aws_makes(hire: Hire, tmp_path: Path) -> None:
    pool = await hire(MANY)
    result = await act(pool, "divide")
    app = tmp_path / "code" / "app.py"
    assert result.error == "ZeroDivisionError"
    assert list(json.loads(result.payload).items()) == [
        ("errorMessage", "division by zero"),
        ("errorType", "ZeroDivisionError"),
        ("requestId", "id-1"),
        (
            "stackTrace",
            [
                f'  File "{app}", line 34, in handler\n    return ACTS[event](event)\n',
                f'  File "{app}", line 9, in divide\n    return 1/0\n',
            ],
        ),
    ]
    s = "\u00a0"
    assert (
        f"[ERROR] ZeroDivisionError: division by zero\rTraceback (most recent call last):\r"
        f'{s * 2}File "{app}", line 34, in handler\r{s * 4}return ACTS[event](event)\r'
        f'{s * 2}File "{app}", line 9, in divide\r{s * 4}return 1/0\nEND RequestId: id-1\n'
    ) in result.log


async def test_the_kinds_and_texts_of_errors(hire: Hire) -> None:
    pool = await hire(MANY)
    marshal = "Unable to marshal response: "
    expected = {
        "custom": ("Wrong", "äöü \U0001f600"),
        "no text": ("Wrong", ""),
        "odd": ("Odd", "<unprintable Odd object>"),
        "set": ("Runtime.MarshalError", f"{marshal}Object of type set is not JSON serializable"),
        "circle": ("Runtime.MarshalError", f"{marshal}Circular reference detected"),
        "key": ("Runtime.MarshalError", f"{marshal}keys must be str, int, float, bool or None, not tuple"),
        "absent": ("KeyError", "'absent'"),
    }
    seen: dict[str, Any] = {}
    for name in expected:
        result = await act(pool, name)
        fault = json.loads(result.payload)
        assert result.error == fault["errorType"]
        seen[name] = fault["errorType"], fault["errorMessage"]
    assert seen == expected
    assert "[ERROR] Wrong\r" in (await act(pool, "no text")).log


async def test_a_lone_surrogate_cannot_be_a_reply_of_a_newer_runtime(hire: Hire) -> None:
    pool = await hire(MANY, runtime="python3.12")
    result = await act(pool, "surrogate")
    assert result.error == "Runtime.MarshalError"


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b"", "Expecting value: line 1 column 1 (char 0)"),
        (b"1 2", "Extra data: line 1 column 3 (char 2)"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b"[" * 100_000, "maximum recursion depth exceeded while decoding a JSON array from a unicode string"),
        (b"9" * 5000, "Exceeds the limit (4300 digits) for integer string conversion"),
    ],
)
async def test_an_event_that_is_not_json_is_an_error_of_the_runtime(hire: Hire, payload: bytes, text: str) -> None:
    pool = await hire("def handler(event, context):\n    return event\n")
    result = await pool.invoke("f", payload, request_id="r")
    assert result.error == "Runtime.UnmarshalError"
    assert json.loads(result.payload)["errorMessage"].startswith(f"Unable to unmarshal input: {text}")
    assert (await pool.invoke("f", b' {"a": 1.0} \n', request_id="r")).payload == b'{"a": 1.0}'


async def test_logging_is_set_up_as_in_aws(hire: Hire) -> None:
    source = """
import logging, sys
logging.basicConfig(format="no", level="DEBUG")
logging.error("while loading")
logging.getLogger().setLevel("INFO")
def handler(event, context):
    logging.info("hello %s", "you")
    logging.debug("not this")
    print("to stderr", file=sys.stderr)
    context.log("no newline,")
    context.log(" yet")
    return len(logging.getLogger().handlers)
"""
    pool = await hire(source)
    result = await pool.invoke("f", b"null", request_id="r-9")
    assert result.payload == b"1"
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    pattern = (
        rf"START RequestId: r-9 Version: \$LATEST\n\[ERROR\]\t{time}\t\twhile loading\n"
        rf"\[INFO\]\t{time}\tr-9\thello you\nto stderr\nno newline, yet\nEND [^\n]*\nREPORT [^\n]*\n"
    )
    assert re.fullmatch(pattern, result.log)


async def test_the_log_level_comes_from_the_environment(hire: Hire) -> None:
    source = "import logging\ndef handler(event, context):\n    logging.debug('fine')\n"
    pool = await hire(source, environment={"AWS_LAMBDA_LOG_LEVEL": "TRACE"})
    assert "\tr\tfine\n" in (await pool.invoke("f", b"null", request_id="r")).log


async def test_output_of_children_and_of_c_code_is_kept_too(hire: Hire) -> None:
    source = """
import os, subprocess
def handler(event, context):
    subprocess.run(["echo", "child"])
    os.write(2, b"raw")
"""
    pool = await hire(source)
    for _ in range(2):
        result = await pool.invoke("f", b"null", request_id="r")
        assert result.log.startswith("START RequestId: r Version: $LATEST\nchild\nraw\nEND RequestId: r\n")


async def test_a_handler_that_closed_its_output_still_answers(hire: Hire) -> None:
    source = """
import sys
def handler(event, context):
    sys.stdout.close()
    sys.stdout = None
    return event
"""
    pool = await hire(source)
    assert (await pool.invoke("f", b"1", request_id="r")).payload == b"1"
    for _ in range(2):
        assert (await pool.invoke("f", b"1", request_id="r")).error == "AttributeError"


def lay(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return folder


PACKAGES = f"python/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
PATHS = """
import os, sys, one, two
def handler(event, context):
    opt = os.path.dirname(os.environ["PATH"].split(":")[-1])
    found = [path.replace(opt, "OPT").replace(os.environ["LAMBDA_TASK_ROOT"], "ROOT") for path in sys.path[:4]]
    return [one.x, two.x, found, sys.path[0] == os.getcwd(), os.environ["LD_LIBRARY_PATH"].endswith(f"{opt}/lib")]
"""


async def test_layers_are_found_in_the_order_of_aws(hire: Hire, tmp_path: Path) -> None:
    first = lay(tmp_path / "first", {"python/one.py": "x = 'first'", f"{PACKAGES}/two.py": "x = 'packages'"})
    second = lay(tmp_path / "second", {"python/two.py": "x = 'python'", "python/one.py": "x = 'second'"})
    pool = await hire(PATHS, layers=(first, second))
    result = await pool.invoke("f", b"null", request_id="r")
    one, two, found, at_root, libraries = json.loads(result.payload)
    assert (one, two, at_root, libraries) == ("second", "packages", True, True)
    assert found[:3] == ["ROOT", f"OPT/{PACKAGES}", "OPT/python"]


async def test_pth_files_of_a_function_are_read(pools: Callable[..., Awaitable[Pool]], tmp_path: Path) -> None:
    source = "import inner\ndef handler(event, context):\n    return inner.x\n"
    code = lay(tmp_path / "code", {"app.py": source, "more/inner.py": "x = 5", "own.pth": "more\n"})
    pool = await pools(Function("f", code, "app.handler"))
    assert (await pool.invoke("f", b"null", request_id="r")).payload == b"5"


async def test_a_python_path_of_the_function_s_own_counts(
    pools: Callable[..., Awaitable[Pool]], tmp_path: Path
) -> None:
    source = "import inner\ndef handler(event, context):\n    return inner.x\n"
    code = lay(tmp_path / "code", {"app.py": source, "more/inner.py": "x = 5"})
    pool = await pools(Function("f", code, "app.handler", environment={"PYTHONPATH": "none:more"}))
    assert (await pool.invoke("f", b"null", request_id="r")).payload == b"5"


async def test_a_json_log_is_json_from_its_first_line_to_its_last(hire: Hire) -> None:
    source = "import logging\ndef handler(event, context):\n    logging.info('hello')\n    1/0\n"
    pool = await hire(source, log_format="JSON")
    lines = [json.loads(line) for line in (await pool.invoke("f", b"null", request_id="r")).log.splitlines()]
    assert [line.get("type") or line["level"] for line in lines] == [
        "platform.start",
        "INFO",
        "ERROR",
        "platform.report",
    ]
    assert (lines[1]["message"], lines[1]["requestId"], lines[2]["errorType"]) == ("hello", "r", "ZeroDivisionError")
    assert (lines[3]["record"]["status"], lines[3]["record"]["errorType"]) == ("error", "ZeroDivisionError")
    assert lines[3]["record"]["metrics"]["initDurationMs"] > 0
