"""The same handlers in AWS's own runtime client and in a worker: replies, errors, log lines and all, to the byte.

Where a worker differs on purpose, a table here says so, and why.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from edge_runtime.app import Function
from edge_runtime.workers.pool import Pool
from tests.workers import fidelity_cases as cases
from tests.workers.fidelity import Seen, Step, ours, theirs

Make = Callable[[Mapping[str, str]], Path]


def acts_of(source: str) -> list[str]:
    """Return the names of the acts of a group, in order."""
    tree = ast.parse(source)
    table = next(n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "ACTS")
    assert isinstance(table, ast.Dict)
    return list(dict.fromkeys(ast.literal_eval(key) for key in table.keys if key is not None))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make folders of code."""

    def made(files: Mapping[str, str]) -> Path:
        code = tmp_path / f"code{len(list(tmp_path.iterdir()))}"
        for name, text in files.items():
            path = code / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return code

    return made


async def both(
    functions: Mapping[str, Function], steps: list[Step], scratch: Path
) -> dict[str, tuple[list[Seen], list[Seen]]]:
    """Return, for each function, what AWS's client made of the events, and what we made of them."""
    pool = Pool(functions, thing="pi-7", scratch=scratch, log=lambda _name, _text: None)
    await pool.start()
    try:
        names = list(functions)
        slots = asyncio.Semaphore(3)  # processes at once

        async def one(name: str) -> tuple[list[Seen], list[Seen]]:
            async with slots:
                return await theirs(functions[name], steps), await ours(pool, functions[name], steps)

        return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))
    finally:
        await pool.close()


GROUPS = [
    ("replies", cases.REPLIES, {"runtime": "python3.11"}),
    ("replies", cases.REPLIES, {"runtime": "python3.12"}),
    ("errors", cases.ERRORS, {"runtime": "python3.11"}),
    ("errors", cases.ERRORS, {"runtime": "python3.12"}),
    ("logs", cases.LOGS, {}),
    ("logs", cases.LOGS, {"log_level": "TRACE"}),
    ("logs", cases.LOGS, {"log_format": "JSON", "log_level": "DEBUG"}),
    ("logs", cases.LOGS, {"log_format": "JSON", "runtime": "python3.12"}),
    ("errors", cases.ERRORS, {"log_format": "JSON", "runtime": "python3.11"}),
    ("output", cases.OUTPUT, {}),
    ("context", cases.CONTEXT, {"memory_mb": 512, "environment": {"K": "v", "TZ": "Europe/Berlin"}}),
]
NOT_A_NUMBER = "the reply holds NaN or Infinity, which is not valid JSON"
"""A worker says so in the log, since most readers of such a reply fail far from here. The reply is AWS's."""


@pytest.mark.parametrize(("name", "source", "options"), GROUPS)
async def test_a_group_of_acts(
    make: Make, tmp_path: Path, name: str, source: str, options: Mapping[str, object]
) -> None:
    code = make({"app.py": source + cases.DISPATCH})
    function = replace(Function("f", code, "app.handler"), **options)  # type: ignore[arg-type]  # fields
    acts = acts_of(source)
    results = await both({"f": function}, [Step(act) for act in acts], tmp_path / "scratch")
    aws, here = (dict(zip(acts, seen, strict=True)) for seen in results["f"])
    quiet = {act: seen._replace(output=without(NOT_A_NUMBER, seen.output)) for act, seen in here.items()}
    assert quiet == aws
    noisy = {act for act in acts if here[act] != quiet[act]}
    assert noisy == ({"float", "nan", "nan key", "decimal nan"} if name == "replies" else set())


def without(text: str, output: str) -> str:
    """Return what was printed but for the lines that hold a text."""
    return "".join(line for line in output.splitlines(keepends=True) if text not in line) if text in output else output


CONTEXTS: list[Mapping[str, str]] = [
    {},
    {"client_context": '{"custom": {"a": 1}, "env": {"b": 2}, "client": {"installation_id": "i", "x": 1}, "y": 1}'},
    {"client_context": "{}"},
    {"client_context": "null"},
    {"client_context": '{"client": {}}'},
    {"client_context": '{"w3c": {"traceparent": "00-a", "baggage": 1, "tracestate": "s", "x": "y"}, "custom": 5}'},
    {"client_context": '{"w3c": "text"}'},
    {"client_context": "{"},
    {"client_context": "not json"},
    {"identity": '{"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p", "x": 1}'},
    {"identity": "{}"},
    {"identity": "null"},
    {"identity": "["},
    {"identity": "{", "client_context": "{"},
    {"trace_id": "Root=1-2-3;Parent=4;Sampled=1"},
    {},
    {"tenant_id": "blue"},
    {},
    {"tenant_id": "blue", "trace_id": "T", "identity": "{}", "client_context": "{}"},
    {},
]


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
async def test_what_comes_with_an_event(make: Make, tmp_path: Path, log_format: str) -> None:
    code = make(
        {"app.py": cases.CONTEXT + "import logging\n" + cases.DISPATCH.replace("name =", "logging.error('x'); name =")}
    )
    steps = [Step(act, given) for given in CONTEXTS for act in ("repr", "client", "identity", "trace", "tenant", "w3c")]
    function = Function("f", code, "app.handler", log_format=log_format)
    aws, here = (await both({"f": function}, steps, tmp_path / "scratch"))["f"]
    assert list(zip(steps, here, strict=True)) == list(zip(steps, aws, strict=True))


RAW = [
    Step(0, raw=raw)
    for raw in (
        b"null",
        b"0",
        b' {"a": [1.5, true]}\n',
        b'"\\ud83d\\ude00"',
        "\ufeff[1]".encode(),
        b'{"a": 1, "a": 2}',
        b"1e400",
    )
]
NO_JSON = [
    Step(0, raw=raw)
    for raw in (
        b"[NaN]",
        b'{"NaN": Infinity}',
        b"-Infinity",
        b"\xff",
        "[1]".encode("utf-16"),
        b"tru",
        b" ",
        b"9" * 5000,
        b'{"a": }',
    )
]
OTHER = [
    Step(0, {"content_type": kind}, b'{"a": "\xff"}')
    for kind in ("text/plain", "application/json; charset=utf-8", "application/cbor")
]


async def test_events_as_they_come(make: Make, tmp_path: Path) -> None:
    steps = [*RAW, *NO_JSON, *OTHER]
    code = make({"app.py": cases.RAW})
    aws, here = (await both({"f": Function("f", code, "app.handler")}, steps, tmp_path / "scratch"))["f"]
    assert list(zip(steps, here, strict=True)) == list(zip(steps, aws, strict=True))
    assert [seen.kind for seen in aws] == ["response"] * len(RAW) + ["error"] * len(NO_JSON) + ["response"] * len(OTHER)


async def test_events_that_are_not_json_are_refused_in_python_s_words(make: Make, tmp_path: Path) -> None:
    # AWS's front door refuses them, so its runtime never sees one, and its words are those of the library it has.
    steps = [
        Step(0, raw=raw) for raw in (b"{", b"1 2", b"[1,]", b"{'a': 1}", b'"\x01"', b"[" * 100_000, b"[1 2]", b'"\\x"')
    ]
    code = make({"app.py": cases.RAW})
    aws, here = (await both({"f": Function("f", code, "app.handler")}, steps, tmp_path / "scratch"))["f"]
    text = re.compile(r'"Unable to unmarshal input: (?:[^"\\]|\\.)*"')
    assert [text.sub("TEXT", seen.reply) for seen in here] == [text.sub("TEXT", seen.reply) for seen in aws]
    assert all("Runtime.UnmarshalError" in seen.reply for seen in aws)


class Single(NamedTuple):
    """One process for each of these."""

    name: str
    handler: str
    source: str


SINGLES = [
    *(Single(f"loading: {name}", handler, source) for name, (handler, source) in cases.LOADING.items()),
    *(Single(f"calling: {name}", "app.handler", source) for name, source in cases.CALLING.items()),
    *(Single(f"ending: {name}", "app.handler", source) for name, source in cases.ENDS.items()),
]


async def test_what_cannot_be_loaded_or_called_and_what_ends(make: Make, tmp_path: Path) -> None:
    functions = {
        f"f{number}": Function(f"f{number}", make({"app.py": single.source}), single.handler)
        for number, single in enumerate(SINGLES)
    }
    results = await both(functions, [Step(1)], tmp_path / "scratch")
    aws = {single.name: results[name][0] for single, name in zip(SINGLES, functions, strict=True)}
    here = {single.name: results[name][1] for single, name in zip(SINGLES, functions, strict=True)}
    kinds = {name: seen[0].kind for name, seen in aws.items()}
    # An init error is posted under another address; the caller gets the same.
    assert here == {
        name: [s._replace(kind="error") if name.startswith("loading") else s for s in seen]
        for name, seen in aws.items()
    }
    assert kinds["ending: exit 3"] == "exit status 3"
    assert kinds["ending: exit big"] == "exit status 7"
    assert kinds["ending: kill"] == "signal SIGKILL"
    assert kinds["ending: interrupt"] == "signal SIGINT"


async def test_what_kills_the_client_is_an_error_here(make: Make, tmp_path: Path) -> None:
    # Nobody gains from a process that dies of a text: the worker lives, and the caller is told what was wrong.
    code = make({"app.py": cases.ODD + cases.DISPATCH})
    acts = acts_of(cases.ODD)
    functions = {act: Function(act, code, "app.handler", runtime="python3.12") for act in acts}
    pool = Pool(functions, thing="pi-7", scratch=tmp_path / "scratch", log=lambda _name, _text: None)
    await pool.start()
    kinds, said = {}, {}
    for act, function in functions.items():
        (seen,) = await theirs(function, [Step(act)])
        kinds[act] = seen.kind
        fault = json.loads((await ours(pool, function, [Step(act)]))[0].reply)
        said[act] = fault["errorType"], fault["errorMessage"]
    await pool.close()
    assert set(kinds.values()) == {"exit status 1"}
    limit = "'utf-8' codec can't encode character '\\ud800' in position 1: surrogates not allowed"
    assert said == {
        "mute": ("Mute", "<unprintable Mute object>"),
        "half a letter": ("Runtime.MarshalError", f"Unable to marshal response: {limit}"),
        "half a letter in an error": ("ValueError", "\ud800"),
    }
