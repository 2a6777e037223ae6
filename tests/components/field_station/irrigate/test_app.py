"""The irrigation handler, called as AWS Lambda calls it."""

from __future__ import annotations

import pytest

from components.field_station.irrigate.app import handler


@pytest.mark.parametrize(("value", "water"), [(0.1, True), (0.29, True), (0.3, False), (0.9, False)])
def test_it_waters_below_the_threshold(value: float, water: bool) -> None:  # noqa: FBT001 - a table of cases
    event = {"detail": {"device": "soil", "value": value}}
    assert handler(event, None) == {"device": "soil", "moisture": value, "water": water}
