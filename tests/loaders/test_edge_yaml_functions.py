"""`edge.yaml`: what a function says of its invocations, its destinations and what it may do."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from edge_runtime.app import NOTHING, Batch, Destination, Function, Permissions
from edge_runtime.loaders import from_json, to_json
from tests.loaders.appfile import load, wrong

HEAD = "thing: pi-7\ndevices: {pump: {driver: LED, pin: 1}}\nfunctions:\n"


def one(name: str, text: str = "") -> str:
    """Return a function of the app file."""
    return f"  {name}: {{code: irrigate, handler: app.handler{text and ', '}{text}}}\n"


def function(folder: Path, text: str, *, others: str = "", head: str = HEAD) -> Function:
    """Return function `f` with these keys, after it went through JSON."""
    app = load(folder, head + one("f", text) + others)
    assert from_json(json.loads(json.dumps(to_json(app)))) == app
    return app.functions[0]


def problems(folder: Path, text: str, *, others: str = "", head: str = HEAD) -> list[str]:
    """Return what is wrong with function `f`, without the file and the line."""
    found = wrong(folder, head + one("f", text) + others)
    line = head.count("\n") + 1
    return [problem.removeprefix(f"edge.yaml:{line}: functions.f.") for problem in found]


def test_what_is_not_said_is_as_in_lambda(folder: Path) -> None:
    it = function(folder, "")
    assert it == Function("f", folder / "irrigate", "app.handler")
    assert (it.max_age_s, it.batch, it.payload_bytes, it.binary, it.pinned) == (21_600, None, 1 << 20, False, False)
    assert (it.status_timeout_s, it.log_format, it.log_level, it.allow) == (60, "Text", "", Permissions())


def test_every_key_arrives(folder: Path) -> None:
    (folder / "tools").mkdir()
    with zipfile.ZipFile(folder / "deps.zip", "w") as archive:
        archive.writestr("python/deps.py", "")
    it = function(
        folder,
        "layers: [tools, deps.zip], read: [in, /srv/images], "
        "max_age: 1h, payload: 256KiB, pinned: yes, status_timeout: 5s, concurrency: 1, "
        "log: {format: json, level: debug}, batch: {size: 5, window: 2s, report_failures: yes}",
    )
    assert it.layers == (folder / "tools", folder / "deps.zip")
    assert it.read == (folder / "in", Path("/srv/images"))
    assert (it.max_age_s, it.payload_bytes, it.pinned, it.status_timeout_s) == (3600, 262_144, True, 5)
    assert (it.log_format, it.log_level, it.batch) == ("JSON", "DEBUG", Batch(5, 2.0, report_failures=True))
    assert function(folder, "binary: true, concurrency: 0").binary
    assert function(folder, "batch: {}").batch == Batch(10, 0.0, report_failures=False)


@pytest.mark.parametrize(
    ("text", "success", "failure"),
    [
        ("on_success: 'dt/{thing}/x', on_failure: bad/x", Destination("dt/pi-7/x"), Destination("bad/x", record=True)),
        ("on_success: {topic: a, record: true}", Destination("a", record=True), None),
        ("on_failure: {topic: a, record: no}", None, Destination("a")),
        ("on_success: {function: g}", Destination("function/g/invoke", record=True), None),
        ("on_failure: {function: g, record: false}", None, Destination("function/g/invoke")),
        ("on_success: '', on_failure:", None, None),
    ],
)
def test_destinations(folder: Path, text: str, success: Destination | None, failure: Destination | None) -> None:
    it = function(folder, text, others=one("g"))
    assert (it.on_success, it.on_failure) == (success, failure)


def test_permissions_of_an_app_that_is_not_strict_deny_only_where_a_list_is_written(folder: Path) -> None:
    text = "allow: {publish: ['dt/{thing}/#'], subscribe: [], invoke: [g], devices: [pump]}"
    assert function(folder, text, others=one("g")).allow == Permissions(("dt/pi-7/#",), (), ("g",), ("pump",))
    assert function(folder, "allow: {publish: [a]}").allow == Permissions(publish=("a",))


def test_permissions_of_a_strict_app_allow_only_what_is_written(folder: Path) -> None:
    head = f"strict: true\n{HEAD}"
    assert function(folder, "", head=head).allow == NOTHING
    assert function(folder, "allow: {publish: [a]}", head=head).allow == Permissions(
        ("a",), (), (), (), credentials=False
    )
    with_keys = "allow: {publish: [a], credentials: yes}"
    assert function(folder, with_keys, head=head).allow == Permissions(("a",), (), (), (), credentials=True)
    it = function(folder, "on_success: dt/x, allow: {publish: ['dt/#']}", head=head)
    assert it.on_success == Destination("dt/x")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("layers: [tools]", "layers[0]: 'tools' is not there; it is looked for beside this file"),
        ("layers: [irrigate/app.py]", "layers[0]: 'irrigate/app.py' is neither a folder nor a .zip"),
        ("concurrency: -1", "concurrency: -1 is too small; at least 0"),
        ("payload: 7MiB", "payload: '7MiB' is too big; at most 6291456"),
        ("log: {format: xml}", "log.format: 'xml' is not allowed; allowed: text, json"),
        ("log: {level: loud}", "log.level: 'loud' is not allowed; allowed: trace, debug, info, warn, error, fatal"),
        ("batch: {size: 0}", "batch.size: 0 is too small; at least 1"),
        (
            "batch: {windw: 1s}",
            "batch.windw: unknown key; did you mean 'window'? allowed: size, window, report_failures",
        ),
        ("batch: {}, binary: true", "binary: a batch is made of texts; take away 'binary' or 'batch'"),
        (
            "batch: {report_failures: true}, on_success: a",
            "on_success: the reply to a batch with report_failures is a report; take one of them away",
        ),
        ("pinned: true, concurrency: 2", "concurrency: a pinned function has one worker, not 2"),
        (
            "on_success: {function: gg}",
            "on_success.function: there is no function 'gg'; did you mean 'g'? known: f, g",
        ),
        ("on_success: function/x/invoke", "on_success: there is no function 'x'; known: f, g"),
        (
            "on_failure: {function: g, topic: a}",
            "on_failure: exactly one of topic and function says where it goes; found both",
        ),
        ("on_success: {}", "on_success: exactly one of topic and function says where it goes; found neither"),
        (
            "on_success: {topic: a/+}",
            "on_success.topic: topic 'a/+' holds '+': wildcards belong in filters, not in the topic of a message",
        ),
        ("allow: {invoke: [gg]}", "allow.invoke[0]: there is no 'gg' here; did you mean 'g'? known: f, g"),
        ("allow: {devices: [pmp]}", "allow.devices[0]: there is no 'pmp' here; did you mean 'pump'? known: pump"),
        ("allow: {publish: ['a/#/b']}", "allow.publish[0]: topic filter 'a/#/b': '#' may only be the last level"),
        (
            "on_success: dt/x, allow: {publish: [dt/y]}",
            "on_success: 'dt/x' is not allowed to this function; add 'dt/x' to allow.publish",
        ),
        (
            "on_failure: {function: g}, allow: {invoke: []}",
            "on_failure: 'function/g/invoke' is not allowed to this function; add 'g' to allow.invoke",
        ),
        (
            "on_success: device/pump/set, allow: {devices: []}",
            "on_success: 'device/pump/set' is not allowed to this function; add 'pump' to allow.devices",
        ),
        (
            "on_success: {function: f}",
            (
                "on_success: 'function/f/invoke' would set the function off again, for ever: one of its events is "
                "'function/f/invoke'"
            ),
        ),
    ],
)
def test_what_is_wrong_is_said(folder: Path, text: str, problem: str) -> None:
    assert problems(folder, text, others=one("g")) == [problem]


def test_a_strict_app_says_so_of_a_destination(folder: Path) -> None:
    head = f"strict: true\n{HEAD}"
    expected = ["on_success: 'dt/x' is not allowed to this function; add 'dt/x' to allow.publish"]
    assert problems(folder, "on_success: dt/x", head=head) == expected


def test_functions_that_set_each_other_off_are_told_once(folder: Path) -> None:
    others = one("g", "events: [{topic: x/#}], on_failure: {function: h}") + one("h", "on_success: {function: f}")
    assert problems(folder, "on_success: x/y", others=others) == [
        "on_success: 'x/y' would set the function off again, for ever: f -> g -> h -> f"
    ]


def test_a_chain_of_functions_is_no_loop(folder: Path) -> None:
    others = one("g", "on_success: {function: h}") + one("h", "on_success: dt/end")
    assert function(folder, "on_success: {function: g}, on_failure: {function: h}", others=others).on_success


def test_a_greengrass_file_says_what_the_function_does_not(folder: Path) -> None:
    said = {"eventSources": [{"topic": "in/+"}], "timeoutInSeconds": 7, "pinned": False, "execArgs": ["-v"]}
    (folder / "lambda.json").write_text(json.dumps({**said, "handler": "app.handler", "code": "irrigate"}))
    app = load(folder, "thing: a\nfunctions: {f: {greengrass: lambda.json, timeout: 9s, memory: 64}}\n")
    (it,) = app.functions
    assert (it.code, it.handler, it.timeout_s, it.memory_mb) == (folder / "irrigate", "app.handler", 9.0, 64)
    assert [rule.filter for rule in app.rules] == ["in/+"]
    assert app.files == (folder / "lambda.json",)
    assert app.notes == ("lambda.json: execArgs: the runtime passes no arguments to a handler",)


def test_what_a_greengrass_function_takes_from_the_cloud_is_subscribed_to(folder: Path) -> None:
    (folder / "lambda.json").write_text(
        '{"eventSources": [{"topic": "cmd/x", "type": "IOT_CORE"}], "handler": "app.handler", "code": "irrigate"}'
    )
    text = "thing: a\nfunctions: {f: {greengrass: lambda.json}}\n"
    app = load(folder, f"{text}link: {{driver: memory, down: [other]}}\n")
    assert app.link is not None
    assert app.link.uplink.down == ("other", "cmd/x")
    assert wrong(folder, text) == [
        "edge.yaml:2: functions.f.greengrass: 'cmd/x' is to come from the cloud, and there is no link"
    ]


def test_what_is_wrong_with_a_greengrass_file_is_said_where_it_is_named(folder: Path) -> None:
    (folder / "lambda.json").write_text('{\n "pined": true}')
    [problem] = wrong(
        folder, "thing: a\nfunctions: {f: {greengrass: lambda.json, code: irrigate, handler: app.handler}}\n"
    )
    start = "edge.yaml:2: functions.f.greengrass: lambda.json:2: pined: unknown key; did you mean 'pinned'?"
    assert problem.startswith(start)
    [problem] = wrong(folder, "thing: a\nfunctions: {f: {greengrass: no.json, code: irrigate, handler: app.handler}}\n")
    assert problem == f"edge.yaml:2: functions.f.greengrass: {folder}/no.json cannot be read: No such file or directory"


@pytest.mark.parametrize(
    "runtime", ["python3", "python2.7", "python3.6", "nodejs", "nodejs4.3-edge", "nodejs8.10", "nodejs22.x", "go1.x"]
)
def test_runtimes_of_all_times_are_taken(folder: Path, runtime: str) -> None:
    (folder / "irrigate" / "app.js").write_text("", encoding="utf-8")
    assert function(folder, f"runtime: {runtime}").runtime == runtime
