"""SNS notifications, as AWS's own data classes read them."""

from __future__ import annotations

from aws_lambda_powertools.utilities.data_classes import SNSEvent

from edge_runtime.pure.events.samples import sns
from tests.pure.events.samples.reading import read


def test_a_notification() -> None:
    event = SNSEvent(read(sns.sns(topic="t", subject="s", message="m")))
    (record,) = event.records
    assert event.sns_message == "m"
    assert (record.event_source, record.event_version) == ("aws:sns", "1.0")
    assert record.sns.topic_arn == "arn:aws:sns:eu-west-1:123456789012:t"
    assert record.event_subscription_arn.startswith(f"{record.sns.topic_arn}:")
    assert (record.sns.get_type, record.sns.subject, record.sns.message_attributes) == ("Notification", "s", {})
    assert record.sns.timestamp == "2026-09-21T10:15:30.123Z"
    assert record.sns.signing_cert_url.startswith("https://sns.eu-west-1.amazonaws.com/")


def test_without_a_subject_it_is_null() -> None:
    assert read(sns.sns(subject=""))["Records"][0]["Sns"]["Subject"] is None
