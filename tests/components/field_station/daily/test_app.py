"""The daily handler, called as AWS Lambda calls it."""

from __future__ import annotations

from components.field_station.daily.app import handler


def test_it_names_the_day_of_its_schedule() -> None:
    assert handler({"time": "2026-06-01T06:00:00Z"}, None) == {"alive": True, "day": "2026-06-01"}
