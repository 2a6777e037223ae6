"""The variables of a worker."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime import __version__
from edge_runtime.app import Function
from edge_runtime.workers._environment import HERE, environment

ROOT = Path("/code")
FUNCTION = Function("f", ROOT, "app.handler")


def made(function: Function = FUNCTION, opt: Path | None = None, **options: object) -> dict[str, str]:
    function = replace(function, **options)  # type: ignore[arg-type]  # fields
    return environment(function, "pi-7", ROOT, Path("/t"), "abc", opt=opt)


def test_a_worker_gets_all_that_aws_sets() -> None:
    values = made()
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\]abc", values.pop("AWS_LAMBDA_LOG_STREAM_NAME"))
    assert values.pop("LAMBDA_RUNTIME_DIR").endswith("/edge_runtime/workers/inside")
    assert values == {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "LD_LIBRARY_PATH": "/code:/code/lib",
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "TMPDIR": "/t",
        "_HANDLER": "app.handler",
        "AWS_REGION": "local",
        "AWS_DEFAULT_REGION": "local",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{HERE}",
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": "Text",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_IOT_THING_NAME": "pi-7",
        "GGC_VERSION": __version__,
        "LAMBDA_TASK_ROOT": "/code",
    }


def test_a_function_changes_what_aws_lets_it_change() -> None:
    own = {"PATH": "/mine", "TZ": "Europe/Berlin", "LANG": "C", "LD_LIBRARY_PATH": "/l", "N": 7, "A": "b=c"}
    reserved = {"AWS_LAMBDA_FUNCTION_NAME": "x", "_HANDLER": "x", "LAMBDA_TASK_ROOT": "x", "AWS_LAMBDA_LOG_FORMAT": "x"}
    values = made(environment={**own, **reserved, "AWS_DEFAULT_REGION": "eu-west-1"})
    assert {name: values[name] for name in own} == {**own, "N": "7"}
    assert {name: values[name] for name in reserved} == {
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "_HANDLER": "app.handler",
        "LAMBDA_TASK_ROOT": "/code",
        "AWS_LAMBDA_LOG_FORMAT": "Text",
    }
    assert (values["AWS_REGION"], values["AWS_DEFAULT_REGION"]) == ("eu-west-1", "eu-west-1")


def test_layers_come_last_for_programs_and_libraries() -> None:
    values = made(opt=Path("/opt"))
    assert values["PATH"].endswith("/bin:/usr/local/sbin:/usr/sbin:/sbin:/opt/bin")
    assert values["LD_LIBRARY_PATH"] == "/code:/code/lib:/opt/lib"
    assert "NODE_PATH" not in values


def test_node_finds_its_modules_in_layers() -> None:
    node = replace(FUNCTION, runtime="nodejs20.x")
    folders = "/opt/nodejs/node20/node_modules:/opt/nodejs/node_modules:/code"
    assert made(node, opt=Path("/opt"))["NODE_PATH"] == folders
    assert made(node)["NODE_PATH"] == "/code"
    assert made(node)["AWS_EXECUTION_ENV"] == "AWS_Lambda_nodejs20.x"


@pytest.mark.parametrize(
    ("log_format", "log_level", "own", "expected"),
    [
        ("Text", "", {}, ("Text", None)),
        ("Text", "debug", {}, ("Text", "DEBUG")),
        ("Text", "", {"AWS_LAMBDA_LOG_LEVEL": "TRACE"}, ("Text", "TRACE")),
        ("JSON", "", {}, ("JSON", "INFO")),
        ("json", "WARN", {"AWS_LAMBDA_LOG_LEVEL": "TRACE"}, ("JSON", "WARN")),
    ],
)
def test_the_log_format_and_level(
    log_format: str, log_level: str, own: dict[str, str], expected: tuple[str, str | None]
) -> None:
    values = made(log_format=log_format, log_level=log_level, environment=own)
    assert (values["AWS_LAMBDA_LOG_FORMAT"], values.get("AWS_LAMBDA_LOG_LEVEL")) == expected
