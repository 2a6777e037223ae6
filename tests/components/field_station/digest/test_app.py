"""The digest handler, called as AWS Lambda calls it."""

from __future__ import annotations

from components.field_station.digest.app import handler


def test_it_counts_what_this_worker_saw() -> None:
    event = {"detail": {"device": "button-of-this-test", "event": "pressed", "value": 1}}
    assert handler(event, None)["seen_by_this_worker"] == 1
    assert handler(event, None) == {
        "device": "button-of-this-test",
        "event": "pressed",
        "value": 1,
        "seen_by_this_worker": 2,
    }
