"""event: sample events, found by name."""

from __future__ import annotations

import json

import pytest

from tests.cli.fakehost import edge


def made(*args: str) -> object:
    result = edge(["event", *args])
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_without_a_name_they_are_listed() -> None:
    lines = edge(["event"]).stdout.splitlines()
    assert lines[0].split() == ["EVENT", "WHAT", "OPTIONS"]
    assert [line.split()[0] for line in lines[1:]] == sorted(line.split()[0] for line in lines[1:])
    assert any(line.startswith("s3 put ") and line.endswith("--bucket --key --size") for line in lines)
    assert any(line.startswith("device button [pressed|released|held] ") for line in lines)
    assert any(line.startswith("sns ") for line in lines)


def test_the_list_as_json() -> None:
    rows = made("--json")
    assert isinstance(rows, list)
    assert {
        "event": "s3 put",
        "what": "the event of an object that was written",
        "options": "--bucket --key --size",
    } in rows


def test_options_fill_in_fields() -> None:
    event = made("sqs", "batch", "--queue", "q", "--body", "hi", "--count", "3", "--fifo")
    assert isinstance(event, dict)
    assert [record["body"] for record in event["Records"]] == ["hi"] * 3
    assert event["Records"][0]["eventSourceARN"].endswith(":q.fifo")


def test_a_service_with_one_sample_needs_no_second_word() -> None:
    event = made("sns", "--topic", "alarm")
    assert isinstance(event, dict)
    assert event["Records"][0]["Sns"]["TopicArn"].endswith(":alarm")


def test_a_choice_is_the_third_word() -> None:
    pressed, held = made("device", "button", "pressed"), made("device", "button", "held", "--device", "door")
    assert pressed == made("device", "button")
    assert isinstance(held, dict)
    assert (held["detail"]["event"], held["detail"]["device"]) == ("held", "door")


def test_any_value_can_be_set() -> None:
    event = made("s3", "put", "--set", "Records[0].awsRegion=us-east-1", "--set", "Records[0].s3.object.size=9")
    assert isinstance(event, dict)
    assert (event["Records"][0]["awsRegion"], event["Records"][0]["s3"]["object"]["size"]) == ("us-east-1", 9)
    assert made("topic", "--body", "{}", "--set", "a=b=c") == {"a": "b=c"}


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["s4"], 2, "no sample event 's4'"),
        (["kinesi"], 2, "no sample event 'kinesi'; did you mean 'kinesis'?"),
        (["s3", "pt"], 2, "no sample event 's3 pt'; did you mean 'put'?"),
        (["s3", "put", "--bukket", "x"], 2, "No such option"),
        (["device", "button", "pushed"], 2, "'pushed' is not one of"),
        (["sqs", "batch", "--count", "100000000"], 2, "is not in the range"),
        (["device", "sample", "--value", "wet"], 2, "'wet' is not a valid float"),
        (["device", "sample", "--value", "nan"], 1, "error: the event cannot be made: "),
        (["topic", "--body", "{"], 1, "error: the event cannot be made: Expecting"),
        (["s3", "put", "--set", "Records"], 1, "error: --set Records: there is no '='\nhint: write PATH=VALUE\n"),
        (["s3", "put", "--set", "Records[4].x=1"], 1, "error: 'Records[4].x' leads nowhere: Records has 1 items"),
        (["sqs", "batch", "--count", "1000", "--body", "x" * 7000], 1, "which no function takes"),
    ],
)
def test_what_is_wrong_is_said(args: list[str], status: int, words: str) -> None:
    result = edge(["event", *args])
    assert (result.exit_code, result.stdout) == (status, "")
    assert words in result.stderr


def test_help_names_what_there_is() -> None:
    assert "kinesis" in edge(["event", "--help"]).stdout
    assert "a deletion" not in edge(["event", "dynamodb", "--help"]).stdout  # where a fact comes from is for the code
    text = edge(["event", "dynamodb", "remove", "--help"]).stdout
    assert "--ttl" in text
    assert "[default: example-table]" in text
    assert "--set PATH=VALUE" in text
