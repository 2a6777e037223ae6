"""A notification of an Amazon SNS topic.

Source of the shape: AWS Lambda developer guide, "Invoking Lambda functions with Amazon SNS notifications".
"""

from __future__ import annotations

from typing import Any

from edge_runtime.pure.events.samples._parts import ACCOUNT, REGION, TIME, some_id


def sns(
    *, topic: str = "example-topic", subject: str = "example subject", message: str = "example message"
) -> dict[str, Any]:
    """Return a notification. Without a subject it is null, as in AWS."""
    arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:{topic}"
    subscription = f"{arn}:{some_id('sns', topic)}"
    host = f"https://sns.{REGION}.amazonaws.com"
    notification: dict[str, Any] = {
        "Type": "Notification",
        "MessageId": some_id("sns", topic, message),
        "TopicArn": arn,
        "Subject": subject or None,
        "Message": message,
        "Timestamp": f"{TIME}.123Z",
        "SignatureVersion": "1",
        "Signature": "EXAMPLE",
        "SigningCertUrl": f"{host}/SimpleNotificationService-example.pem",
        "UnsubscribeUrl": f"{host}/?Action=Unsubscribe&SubscriptionArn={subscription}",
        "MessageAttributes": {},
    }
    record = {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": subscription,
        "Sns": notification,
    }
    return {"Records": [record]}
