"""NMEA 0183 sentences, and the positions they make."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.nmea import Navigator, Sentence, sentence


def second(at: str, *, fixed: bool = True) -> list[str]:
    """Return what a receiver says each second."""
    if not fixed:
        return [
            f"$GPRMC,{at},V,,,,,,,231126,,,N",
            f"$GPGGA,{at},,,,,0,03,9.9,,,,,,",
            "$GPGSA,A,1,,,,,,,,,,,,,99,9.9,99",
        ]
    return [
        f"$GNRMC,{at},A,4807.038,N,01131.000,E,10.0,084.4,231126,,,A",
        "$GNVTG,084.4,T,,M,10.0,N,18.520,K,A",
        f"$GNGGA,{at},4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,",
        "$GNGSA,A,3,04,05,,09,12,,,24,,,,,2.5,1.3,2.1,1",
        "$GPGSV,1,1,01,04,40,083,46",
    ]


def positions(*texts: str) -> list[dict[str, object]]:
    navigator = Navigator()
    told = [sentence(text) for text in texts]
    return [found for one in told if one is not None and (found := navigator.take(one)) is not None]


def place(at: str) -> dict[str, object]:
    return {
        "fix": 1,
        "latitude": 48.1173,
        "longitude": 11.5166667,
        "altitude": 545.4,
        "speed": 5.144,
        "course": 84.4,
        "satellites": 8,
        "hdop": 1.3,
        "time": f"2026-11-23T{at}Z",
    }


def test_a_moment_becomes_one_position_as_soon_as_its_last_sentence_is_there() -> None:
    first, then, third = second("120000.00"), second("120001.00"), second("120002.50")
    assert positions(*first) == []  # nobody knows yet which sentence is the last one
    assert positions(*first, then[0]) == [place("12:00:00")]
    assert positions(*first, *then[:3]) == [place("12:00:00")]
    assert positions(*first, *then, *third) == [place("12:00:00"), place("12:00:01"), place("12:00:02.5")]


def test_it_begins_in_the_middle() -> None:
    a, b, c = second("120000.00"), second("120001.00"), second("120002.00")
    assert positions(*a[3:], *b, *c) == [place("12:00:01"), place("12:00:02")]


def test_no_fix_is_a_fact() -> None:
    found = positions(*second("120000.00", fixed=False), *second("120001.00", fixed=False))
    assert found == [
        {"fix": 0, "satellites": 3, "hdop": 9.9, "time": "2026-11-23T12:00:00Z"},
        {"fix": 0, "satellites": 3, "hdop": 9.9, "time": "2026-11-23T12:00:01Z"},
    ]


def test_a_receiver_that_does_not_know_the_time() -> None:
    assert positions(*second("", fixed=False) * 3) == [{"fix": 0, "satellites": 3, "hdop": 9.9}] * 3


def test_south_and_west_and_one_kind_alone() -> None:
    found = positions(*(f"$GPGGA,12000{n},3354.0000,S,07036.0000,W,4,12,0.5,-3.1,M,,M,," for n in range(3)))
    assert (
        found
        == [{"fix": 4, "latitude": -33.9, "longitude": -70.6, "altitude": -3.1, "satellites": 12, "hdop": 0.5}] * 2
    )


def test_a_fix_that_one_sentence_denies_is_none() -> None:
    lines = [line.replace(",A,4807", ",V,4807") for line in second("120000")]
    assert positions(*lines, second("120001")[0]) == [
        {"fix": 0, "satellites": 8, "hdop": 1.3, "time": "2026-11-23T12:00:00Z"}
    ]


def test_what_makers_say_themselves_is_left_out() -> None:
    assert sentence("$PUBX,00,081350.00") is None
    assert sentence("$GPTXT,01,01,02,hello") == Sentence("GP", "TXT", ("01", "01", "02", "hello"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hello", "'hello' is no NMEA sentence: it does not begin with $"),
        ("$GP,1", "'$GP,1' is no NMEA sentence"),
        ("$GPGGA,120000", "an NMEA sentence has 1 fields and should have 9"),
        ("$GPGGA,250000,4807.038,N,01131.000,E,1,08,0.9,1.0", "'250000' in an NMEA sentence is no time of day"),
        (
            "$GPGGA,120000,9107.038,N,01131.000,E,1,08,0.9,1.0",
            "'9107.038' 'N' in an NMEA sentence is no place on earth",
        ),
        (
            "$GPGGA,120000,4867.038,N,01131.000,E,1,08,0.9,1.0",
            "'4867.038' 'N' in an NMEA sentence is no place on earth",
        ),
        ("$GPGGA,120000,4807.038,,01131.000,E,1,08,0.9,1.0", "'4807.038' '' in an NMEA sentence is no place on earth"),
        ("$GPGGA,120000,4807.038,N,01131.000,E,1,x,0.9,1.0", "'x' in an NMEA sentence is no whole number"),
        ("$GPGGA,120000,4807.038,N,01131.000,E,1,08,nan,1.0", "'nan' in an NMEA sentence is no number"),
        ("$GPRMC,120000,A,4807.038,N,01131.000,E,1,1,991399", "'991399' in an NMEA sentence is no date"),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        positions(text)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["GPGGA", "GNRMC", "GPGSA", "GPVTG"]),
            st.lists(st.one_of(st.sampled_from(["120000", "4807.038", "N", "E", "A", "1", ""]), st.text(max_size=4))),
        ),
        max_size=20,
    )
)
def test_whatever_comes_is_a_position_or_an_error_that_says_why(lines: list[tuple[str, list[str]]]) -> None:
    navigator = Navigator()
    for head, fields in lines:
        try:
            told = sentence("$" + ",".join([head, *fields]))
            found = navigator.take(told) if told is not None else None
        except ValueError as error:
            assert str(error)  # noqa: PT017 - either is right
        else:
            assert found is None or isinstance(found["fix"], int)
