"""The parameter files of Greengrass Lambdas, in all their forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app import App, QueueLimits, Rule
from edge_runtime.errors import ConfigError
from edge_runtime.loaders import greengrass_lambda

WHOLE: dict[str, Any] = {
    "lambdaFunction": {
        "lambdaArn": "arn:aws:lambda:eu-west-1:123456789012:function:irrigate:3",
        "componentName": "com.example.f",
        "componentVersion": "1.0.0",
        "componentPlatforms": [{"name": "Linux", "attributes": {"os": "linux"}}],
        "componentLambdaParameters": {
            "eventSources": [{"topic": "edge/in/+", "type": "PUB_SUB"}, {"topic": "cloud/#", "type": "IOT_CORE"}],
            "maxQueueSize": 2000,
            "maxInstancesCount": 3,
            "maxIdleTimeInSeconds": 30,
            "timeoutInSeconds": 7,
            "statusTimeoutInSeconds": 20,
            "pinned": False,
            "inputPayloadEncodingType": "binary",
            "environmentVariables": {"K": "v", "N": 1},
            "linuxProcessParams": {
                "isolationMode": "GreengrassContainer",
                "containerParams": {"memorySizeInKB": 262_144, "mountROSysfs": True, "volumes": [], "devices": []},
            },
        },
    }
}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "lambda_function.py").write_text("def lambda_handler(event, context): ...\n")
    return tmp_path


def load(folder: Path, data: object, name: str = "lambda.json") -> App:
    (folder / name).write_text(data if isinstance(data, str) else json.dumps(data, indent=1))
    return greengrass_lambda.load(folder / name)


def wrong(folder: Path, data: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, data)
    return str(caught.value).splitlines()


def test_the_json_of_create_component_version(code: Path) -> None:
    app = load(code, WHOLE)
    (it,) = app.functions
    assert (it.name, it.code, it.handler, it.runtime) == ("irrigate", code, "lambda_function.lambda_handler", "python3")
    assert (it.timeout_s, it.status_timeout_s, it.idle_s, it.concurrency) == (7, 20, 30, 3)
    assert (it.pinned, it.binary, it.memory_mb, it.environment) == (False, True, 256, {"K": "v", "N": "1"})
    assert app.rules == (Rule("edge/in/+", ("function/irrigate",)), Rule("cloud/#", ("function/irrigate",)))
    assert app.queues["function/irrigate"] == QueueLimits(8_192_000)
    assert app.base == code
    assert app.notes == (
        "lambda.json: isolationMode GreengrassContainer: the function is isolated as far as the kernel allows",
        "lambda.json: maxQueueSize 2000: the queue is bounded by bytes, 8192000 of them",
        "lambda.json: eventSources: 'cloud/#' is to come from the cloud, and there is no link",
    )


def test_the_defaults_are_those_of_greengrass(code: Path) -> None:
    app = load(code, {"eventSources": [{"topic": "a"}]})
    (it,) = app.functions
    assert (it.name, it.pinned, it.concurrency) == ("lambda", True, 1)
    assert (it.timeout_s, it.status_timeout_s, it.idle_s, it.binary) == (3, 60, 60, False)
    assert app.queues["function/lambda"] == QueueLimits(4_096_000)
    assert app.notes == ()


def test_the_names_that_are_seen_on_a_device(code: Path) -> None:
    app = load(
        code,
        {
            "pubsubTopics": {"1": {"topic": "b", "type": "PUB_SUB"}, "0": {"topic": "a", "type": "PUB_SUB"}},
            "containerMode": "NoContainer",
            "containerParams": {"memorySize": 16_000, "devices": [{"path": "/dev/gpiomem"}]},
            "lambdaExecutionParameters": {"EnvironmentVariables": {"K": "v"}},
        },
    )
    (it,) = app.functions
    assert [rule.filter for rule in app.rules] == ["a", "b"]
    assert (it.environment, it.memory_mb) == ({"K": "v"}, 128)
    assert app.notes == (
        "lambda.json: containerParams: volumes and devices are not mounted; the function sees those of the host",
        "lambda.json: memorySizeInKB 16000: a worker gets at least 128 MB",
    )


def test_the_code_beside_the_file_or_where_it_says(code: Path) -> None:
    (code / "src").mkdir()
    (code / "src" / "index.js").write_text("exports.handler = async () => 1\n")
    (it,) = load(code, {"componentName": "com.example.blink", "code": "./src"}).functions
    assert (it.name, it.code, it.handler, it.runtime) == ("blink", code / "src", "index.handler", "nodejs")
    (it,) = load(code, {"handler": "lambda_function.other", "runtime": "python3.11"}).functions
    assert (it.handler, it.runtime) == ("lambda_function.other", "python3.11")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ({"lambdaArn": "arn:aws:lambda:eu-west-1:1:function:a_b:$LATEST"}, "a_b"),
        ({"lambdaArn": "arn:aws:lambda:eu-west-1:1:function:a"}, "a"),
        ({"lambdaArn": "else", "componentName": "x"}, "x"),
        ({"componentName": "com.example.a b"}, "a-b"),
    ],
)
def test_the_name_of_the_function(code: Path, text: dict[str, str], name: str) -> None:
    assert load(code, text).functions[0].name == name


@pytest.mark.parametrize(
    ("data", "problems"),
    [
        ("[]", ["lambda.json:1: the file holds no JSON object"]),
        ("", ["lambda.json:1: the file holds no JSON object"]),
        (
            '{"timeoutInSeconds": "3",\n\t"eventSources": [{"type": "PUBSUB"}]}',
            [
                "lambda.json:1: timeoutInSeconds: '3' is no whole number",
                "lambda.json:2: eventSources[0].topic: this key is missing",
                (
                    "lambda.json:2: eventSources[0].type: 'PUBSUB' is not allowed; did you mean 'PUB_SUB'? "
                    "allowed: PUB_SUB, IOT_CORE"
                ),
            ],
        ),
        (
            '{"lambdaFunction": {}, "x": 1}',
            ["lambda.json:1: x: stands beside lambdaFunction; the parameters of one function are inside it"],
        ),
        (
            '{"lambdaFunction": {"lambdaArn": "a", "componentLambdaParameters": []}}',
            ["lambda.json:1: lambdaFunction.componentLambdaParameters: [] is no mapping; write {key: value}"],
        ),
        (
            '{"handler": "app.handler"}',
            [
                (
                    "lambda.json:1: functions.lambda.handler: 'app.handler' needs app.py in .; "
                    "files there: lambda_function.py"
                )
            ],
        ),
        (
            '{"code": "src", "handler": "app.handler"}',
            ["lambda.json:1: functions.lambda.code: 'src' is not there; it is looked for beside this file"],
        ),
    ],
)
def test_what_is_wrong_is_said(code: Path, data: str, problems: list[str]) -> None:
    assert wrong(code, data) == problems


def test_what_greengrass_allows_and_the_runtime_does_not_is_noted(code: Path) -> None:
    app = load(code, {"pinned": False, "maxInstancesCount": 100, "timeoutInSeconds": 1000})
    assert (app.functions[0].concurrency, app.functions[0].timeout_s) == (64, 900)
    assert "lambda.json: timeoutInSeconds 1000: 900 is the most" in app.notes
    assert "lambda.json: maxInstancesCount 100: 64 workers are the most" in app.notes
    app = load(code, {"maxInstancesCount": 100})
    assert app.notes == ("lambda.json: maxInstancesCount 100: a pinned function has one worker",)
