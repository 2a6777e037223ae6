"""Pressed, held, released."""

from __future__ import annotations

from edge_runtime.pure.hold import Change, Holder
from edge_runtime.pure.smoothing import Smoother

MS = 1_000_000


def test_a_press_is_reported_with_its_length_when_it_ends() -> None:
    holder = Holder(0.02, 0)
    assert holder.feed(100 * MS, 1) == []
    assert holder.expire(120 * MS) == [Change(100 * MS, 1)]
    assert holder.due() is None
    assert holder.feed(350 * MS, 0) == []
    assert holder.expire(370 * MS) == [Change(350 * MS, 0, 0.25)]


def test_held_comes_once_after_its_time() -> None:
    holder = Holder(0.02, 0, hold_s=1)
    holder.feed(0, 1)
    assert holder.expire(20 * MS) == [Change(0, 1)]
    assert holder.due() == 1000 * MS
    assert holder.expire(1000 * MS) == [Change(1000 * MS, 1, 1.0, held=True)]
    assert holder.due() is None
    holder.feed(1500 * MS, 0)
    assert holder.expire(1520 * MS) == [Change(1500 * MS, 0, 1.5)]


def test_held_repeats_when_asked_and_catches_up_when_late() -> None:
    holder = Holder(0, 0, hold_s=1, repeat=True)
    assert holder.feed(0, 1) == [Change(0, 1)]
    assert holder.expire(2500 * MS) == [
        Change(1000 * MS, 1, 1.0, held=True),
        Change(2000 * MS, 1, 2.0, held=True),
    ]
    assert holder.due() == 3000 * MS
    assert holder.feed(2900 * MS, 0) == [Change(2900 * MS, 0, 2.9)]
    assert holder.due() is None


def test_a_button_that_is_being_let_go_is_not_held() -> None:
    holder = Holder(0.02, 0, hold_s=1)
    holder.feed(0, 1)
    holder.expire(20 * MS)
    assert holder.feed(990 * MS, 0) == []
    assert holder.due() == 1010 * MS
    assert holder.expire(1005 * MS) == []
    assert holder.expire(1010 * MS) == [Change(990 * MS, 0, 0.99)]


def test_a_glitch_only_delays_the_report_of_holding() -> None:
    holder = Holder(0.02, 0, hold_s=1)
    holder.feed(0, 1)
    holder.expire(20 * MS)
    holder.feed(990 * MS, 0)
    holder.feed(1002 * MS, 1)
    assert holder.due() == 1000 * MS
    assert holder.expire(1003 * MS) == [Change(1000 * MS, 1, 1.0, held=True)]


def test_a_late_edge_still_reports_that_it_was_held() -> None:
    holder = Holder(0, 0, hold_s=1)
    holder.feed(0, 1)
    assert holder.feed(5000 * MS, 0) == [Change(1000 * MS, 1, 1.0, held=True), Change(5000 * MS, 0, 5.0)]


def test_an_input_that_was_active_from_the_start_has_no_known_length() -> None:
    holder = Holder(0, 1, hold_s=1)
    assert holder.due() is None
    assert holder.feed(100 * MS, 0) == [Change(100 * MS, 0, None)]


def test_a_smoother_takes_the_place_of_debouncing() -> None:
    holder = Holder(0, hold_s=1, smoother=Smoother([False, True], 0.1, level=0, start_ns=0))
    assert holder.feed(150 * MS, 1) == []
    assert holder.due() == 200 * MS
    assert holder.expire(200 * MS) == [Change(200 * MS, 1)]
    assert holder.expire(1200 * MS) == [Change(1200 * MS, 1, 1.0, held=True)]
    holder.feed(1250 * MS, 0)
    assert holder.expire(1300 * MS) == [Change(1300 * MS, 0, 1.1)]
