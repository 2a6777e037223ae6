"""What a Snowball Edge tells by MQTT becomes what functions for S3 take."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.snow_events.app import handler
from edge_runtime.pure.events.samples import s3

PUT = s3.put(bucket="pictures", key="in/a b.jpg")


def call(name: str = "PutObject", /, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return a log of a call with the members that AWS shows; all of its values are made up."""
    details = {
        "additionalEventData": {"AuthenticationMethod": "AuthHeader", "SignatureVersion": "SigV4"},
        "eventName": name,
        "eventTime": "2026-11-23T02:30:00.123Z",
        "requestID": "0123456789ABCDEF",
        "requestParameters": {
            "Content-Length": "1024",
            "Host": "192.0.2.30",
            "bucketName": "pictures",
            "key": "in/a b+c.jpg",
        },
        "responseElements": {
            "ETag": '"0f3a9c12"',
            "Server": "AmazonS3",
            "x-amz-id-2": "one",
            "x-amz-request-id": "two",
        },
        "responseStatusCode": 200,
        "sourceIPAddress": "192.0.2.7",
        "userIdentity": {"identityType": "IAMUser", "principalId": "123456789012", "userName": "root"},
    }
    return {"eventDetails": {**details, **more}}


def test_a_log_of_a_call_becomes_the_event_of_s3() -> None:
    found = handler(json.loads(json.dumps(call())))
    assert found is not None
    (record,) = found["Records"]
    assert record == {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "snow",
        "eventTime": "2026-11-23T02:30:00.123Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "123456789012"},
        "requestParameters": {"sourceIPAddress": "192.0.2.7"},
        "responseElements": {"x-amz-request-id": "two", "x-amz-id-2": "one"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": "pictures", "arn": "arn:aws:s3:::pictures"},
            "object": {"key": "in/a+b%2Bc.jpg", "size": 1024, "eTag": "0f3a9c12"},
        },
    }
    assert record.keys() <= PUT["Records"][0].keys()
    assert record["s3"].keys() <= PUT["Records"][0]["s3"].keys()


def test_a_log_with_the_least_in_it() -> None:
    least = {"eventDetails": {"eventName": "PutObject", "requestParameters": {"bucketName": "b", "key": "k"}}}
    assert handler(least) == {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": "snow",
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "bucket": {"name": "b", "arn": "arn:aws:s3:::b"},
                    "object": {"key": "k"},
                },
            }
        ]
    }


@pytest.mark.parametrize(
    ("name", "event", "parts"),
    [
        ("PutObject", "ObjectCreated:Put", {"key", "size", "eTag"}),
        ("PostObject", "ObjectCreated:Post", {"key", "size", "eTag"}),
        ("CopyObject", "ObjectCreated:Copy", {"key", "eTag"}),
        ("CompleteMultipartUpload", "ObjectCreated:CompleteMultipartUpload", {"key", "eTag"}),
        ("DeleteObject", "ObjectRemoved:Delete", {"key"}),
        ("PutObjectTagging", "ObjectTagging:Put", {"key"}),
        ("DeleteObjectTagging", "ObjectTagging:Delete", {"key"}),
    ],
)
def test_each_call_that_changes_an_object(
    name: str, event: str, parts: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTS", "s3:ObjectCreated:*, s3:ObjectRemoved:*,s3:ObjectTagging:*")
    found = handler(call(name))
    assert found is not None
    assert (found["Records"][0]["eventName"], found["Records"][0]["s3"]["object"].keys()) == (event, parts)


def test_only_what_is_asked_for_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DeleteObject", "PutObjectTagging"):
        assert handler(call(name)) is None
    assert handler(s3.delete()) is None
    monkeypatch.setenv("EVENTS", "s3:ObjectRemoved:Delete")
    assert handler(call()) is None
    assert handler(call("DeleteObject")) is not None
    assert handler(s3.delete()) == s3.delete()


@pytest.mark.parametrize(
    "event",
    [
        call("GetObject"),  # what a function does with the event would come back as another one
        call("HeadObject"),
        call("ListObjectsV2", requestParameters={"bucketName": "pictures"}),
        call("CreateMultipartUpload"),
        call("UploadPart"),
        call("DeleteObjects", requestParameters={"bucketName": "pictures"}),
        call(responseStatusCode=403),
        call(responseStatusCode="500"),
    ],
)
def test_a_call_that_changes_no_object_makes_no_event(event: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS", "s3:*")
    assert handler(event) is None


def test_a_body_that_is_sent_in_chunks_has_the_length_of_the_object() -> None:
    parameters = {"bucketName": "b", "key": "k", "Content-Length": "1200", "x-amz-decoded-content-length": "1024"}
    found = handler(call(requestParameters=parameters))
    assert found is not None
    assert found["Records"][0]["s3"]["object"]["size"] == 1024


def test_an_event_of_s3_stays_as_it_is() -> None:
    assert handler(PUT) == PUT


def test_what_is_missing_is_filled_in() -> None:
    small = {"eventName": "s3:ObjectCreated:Put", "s3": {"bucket": {"name": "pictures"}, "object": {"key": "a.jpg"}}}
    whole = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "snow",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "pictures"}, "object": {"key": "a.jpg"}},
    }
    for event in ({"Records": [small]}, [small], small):
        assert handler(event) == {"Records": [whole]}


@pytest.mark.parametrize("event", [{"Records": []}, {"Service": "Amazon S3", "Event": "s3:TestEvent"}])
def test_a_test_message_makes_no_event(event: dict[str, Any]) -> None:
    assert handler(event) is None


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("text", "no S3 event: 'text'"),
        (None, "no S3 event: None"),
        ([], r"no S3 event: \[\]"),
        ({}, "a record of an S3 event has no 'eventName'"),
        ([1], "a record of an S3 event has no"),
        ({"Records": [{"eventName": "x", "s3": {"bucket": {"name": "b"}}}]}, "has no 'object'"),
        ([{"eventName": "x", "s3": {"bucket": {"name": "b"}, "object": {"key": ""}}}], "names no object"),
        ({"eventDetails": None}, "eventDetails of no call: None"),
        ({"eventDetails": {"requestParameters": {}}}, "eventDetails of no call"),
        (call(requestParameters={"bucketName": "b"}), "eventDetails of a PutObject that names no object"),
        (call(requestParameters=["b"]), "eventDetails of a PutObject that names no object"),
    ],
)
def test_what_is_no_event_is_said(event: Any, message: str) -> None:  # noqa: ANN401 - anything may come
    with pytest.raises(ValueError, match=message):
        handler(event)
