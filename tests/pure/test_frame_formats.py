"""What frames say, and what is said in frames."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.frame_formats import Format


@pytest.mark.parametrize(
    ("form", "data", "value"),
    [
        (Format(), b"21.5 \xc2\xb0C", "21.5 °C"),
        (Format(encoding="latin-1"), b"21 \xb0C", "21 °C"),
        (Format("hex"), b"\x01\xff", "01ff"),
        (Format("json"), b'{"level": 3, "on": true}', {"level": 3, "on": True}),
        (Format("csv", names=["a", "b", "c"]), b"1, 2.5 ,wet", {"a": 1, "b": 2.5, "c": "wet"}),
        (Format("csv", names=["a", "b"]), b"1,", {"a": 1}),
        (Format("csv", separator=";"), b"1;;-3e2", [1, None, -300.0]),
        (Format("regex", pattern=r"T=(?P<t>\S+) H=(?P<h>\d+)?"), b"> T=21.50 H=", {"t": 21.5}),
    ],
)
def test_what_a_frame_says(form: Format, data: bytes, value: object) -> None:
    assert form.read(data) == value


@pytest.mark.parametrize(
    ("form", "data", "reason"),
    [
        (Format(), b"\xff\xfe", "ff fe is no text in utf-8"),
        (Format("json"), b"{", "'{' is no JSON: Expecting property name"),
        (Format("json"), b"NaN", "'NaN' is no JSON: NaN is no JSON"),
        (Format("json"), b"[" * 100_000, "'[[[["),
        (Format("csv", names=["a"]), b"1,2", "'1,2' has 2 fields; there are 1 names"),
        (Format("csv", names=["a"]), b"nan", "'nan' is no reading"),
        (Format("regex", pattern="(?P<t>[0-9]+)"), b"warm", "'warm' does not match '(?P<t>[0-9]+)'"),
    ],
)
def test_what_is_not_of_the_format(form: Format, data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}"):
        form.read(data)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kind": "xml"}, "format 'xml' is not known; known: text, hex, json, csv, regex"),
        ({"kind": "regex"}, "a pattern belongs to format regex, and format regex needs one"),
        ({"pattern": "x"}, "a pattern belongs to format regex, and format regex needs one"),
        ({"kind": "regex", "pattern": "("}, "pattern '(' is no regular expression: missing ), "),
        (
            {"kind": "regex", "pattern": "[0-9]"},
            "the pattern names no group; name each value, as in (?P<level>[0-9.]+)",
        ),
        ({"names": ["a"]}, "names belong to format csv"),
        ({"kind": "csv", "separator": ""}, "the separator may not be empty"),
        ({"encoding": "latin"}, None),
        ({"encoding": "klingon"}, "unknown encoding: klingon"),
    ],
)
def test_settings_that_do_not_fit_together(settings: dict[str, str], reason: str | None) -> None:
    if reason is None:
        Format(**settings)  # a short name of an encoding is one
        return
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}"):
        Format(**settings)


@pytest.mark.parametrize(
    ("form", "value", "data"),
    [
        (Format(), "AT+CSQ", b"AT+CSQ"),
        (Format(), 12, b"12"),
        (Format("csv"), "1,2", b"1,2"),
        (Format("hex"), "01 ff", b"\x01\xff"),
        (Format("json"), {"on": True}, b'{"on":true}'),
    ],
)
def test_what_is_said(form: Format, value: object, data: bytes) -> None:
    assert form.write(value) == data


@pytest.mark.parametrize(
    ("form", "value", "reason"),
    [
        (Format(), True, "True is no text"),
        (Format(), [1], "[1] is no text"),
        (Format("hex"), 1, "1 is no text with bytes in hex"),
        (Format("hex"), "xy", "non-hexadecimal number found"),
        (Format(encoding="ascii"), "°C", "c2 b0 43 cannot be written in ascii"),
    ],
)
def test_what_a_format_cannot_say(form: Format, value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}"):
        form.write(value)


@given(kind=st.sampled_from(["text", "hex", "json", "csv", "regex"]), data=st.binary(max_size=60))
def test_garbage_is_a_value_or_no_frame(kind: str, data: bytes) -> None:
    form = Format(kind, pattern="(?P<n>[0-9.e+-]+)" if kind == "regex" else "")
    try:
        form.read(data)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either is right
