"""How much goes through the link, and when: packing, the share of what is new, the data budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.app import Budget, Uplink
from tests.loaders.appfile import load, wrong


def uplink(folder: Path, keys: str, driver: str = "paho, endpoint: x") -> Uplink:
    link = load(folder, f"thing: a\nlink: {{driver: {driver}, {keys}}}\n").link
    assert link is not None
    return link.uplink


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("pack: 50", (50, False)),
        ("pack: {messages: 50, gzip: yes}", (50, True)),
        ("pack: {messages: 20}", (20, False)),
        ("window: 5", (1, False)),
    ],
)
def test_packing_is_a_number_or_a_mapping(folder: Path, written: str, expected: tuple[int, bool]) -> None:
    found = uplink(folder, written)
    assert (found.pack, found.gzip) == expected


def test_the_nucleus_of_greengrass_takes_what_is_packed_small_enough(folder: Path) -> None:
    found = uplink(folder, "pack: 25", "greengrass")
    assert (found.pack, found.aws_quotas) == (25, True)


@pytest.mark.parametrize(("written", "share"), [("0.3", 0.3), ("30%", 0.3), ("1", 1.0)])
def test_the_live_share_is_a_fraction(folder: Path, written: str, share: float) -> None:
    assert uplink(folder, f"live_share: {written}").live_share == share


def test_a_budget_says_how_much_may_go_when(folder: Path) -> None:
    keys = "{bytes: 20MB, per: day, urgent: 2, night: 22:00-06:30, later: 7, timezone: Europe/Berlin}"
    assert uplink(folder, f"budget: {keys}").budget == Budget(20_000_000, "day", 2, (1320, 390), 7, "Europe/Berlin")
    assert uplink(folder, "budget: {bytes: 1GB, month_begins: 15}").budget == Budget(1_000_000_000, month_begins=15)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("pack: {messages: 0}", "link.pack.messages: 0 is too small; at least 1"),
        ("pack: many", "link.pack.messages: 'many' is no whole number"),
        ("pack: {gzip: yes}", "link.pack: gzip compresses what is packed; write messages: 50, too"),
        ("live_share: 1.5", "link.live_share: 1.5 is too big; at most 1"),
        ("budget: {per: day}", "link.budget.bytes: this key is missing"),
        ("budget: {bytes: 1MB, per: week}", "link.budget.per: 'week' is not allowed; allowed: day, month"),
        (
            "budget: {bytes: 1MB, night: 25:00-06:00}",
            "link.budget.night: '25:00-06:00' is no part of a day; write from and to, as in 22:00-06:00",
        ),
        (
            "budget: {bytes: 1MB, night: 06:00-06:00}",
            "link.budget.night: '06:00-06:00' is all day or never; write from and to, as in 22:00-06:00",
        ),
        (
            "budget: {bytes: 1MB, later: 7}",
            "link.budget: 'later' waits for the night, and there is none; write night: 22:00-06:00, too",
        ),
        (
            "budget: {bytes: 1MB, night: 22:00-06:00, later: 2, urgent: 2}",
            "link.budget: priority 2 cannot both go always (urgent: 2) and wait (later)",
        ),
        ("budget: {bytes: 1MB, per: day, month_begins: 3}", "link.budget: 'month_begins' belongs to per: month"),
    ],
)
def test_mistakes_are_explained(folder: Path, written: str, problem: str) -> None:
    assert wrong(folder, f"thing: a\nlink: {{driver: paho, endpoint: x, {written}}}\n") == [f"edge.yaml:2: {problem}"]


def test_a_time_zone_that_there_is_not_is_noted(folder: Path) -> None:
    (found,) = wrong(
        folder, "thing: a\nlink: {driver: paho, endpoint: x, budget: {bytes: 1, timezone: Mars/Olympus}}\n"
    )
    assert found.startswith("edge.yaml:2: link.budget.timezone: ")
    assert "Mars/Olympus" in found
