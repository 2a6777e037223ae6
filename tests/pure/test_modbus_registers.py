"""What registers mean, and how they are read together."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.modbus_registers import TYPES, Register, Span, exception_words, spans


@pytest.mark.parametrize(
    ("register", "words", "value"),
    [
        (Register(0), [65535], 65535),
        (Register(0, "s16"), [65535], -1),
        (Register(0, "u32"), [1, 2], 65538),
        (Register(0, "u32", word_order="little"), [2, 1], 65538),
        (Register(0, "u16", byte_order="little"), [0x3412], 0x1234),
        (Register(0, "s32", byte_order="little", word_order="little"), [0xFEFF, 0xFFFF], -2),
        (Register(0, "f32"), [0x4366, 0x8000], 230.5),
        (Register(0, "f64"), [0x3FF8, 0, 0, 0], 1.5),
        (Register(0, "u64"), [0, 0, 0, 7], 7),
        (Register(0, scale=0.1), [2301], 230.1),
        (Register(0, "s16", scale=0.1, offset=-40), [450], 5.0),
        (Register(0, count=3), [1, 2, 3], [1, 2, 3]),
        (Register(0, "u32", count=2), [0, 1, 0, 2], [1, 2]),
    ],
)
def test_what_registers_hold_and_how_it_is_written(register: Register, words: list[int], value: object) -> None:
    assert register.decode(words) == value
    assert register.encode(value) == words


@pytest.mark.parametrize(
    ("register", "value", "reason"),
    [
        (Register(0), 65536, "65536 does not fit into u16"),
        (Register(0), -1, "-1 does not fit into u16"),
        (Register(0, "s16"), 1.5, "1.5 is no whole number of 1"),
        (Register(0, scale=0.1), 1.55, "1.55 is no whole number of 0.1"),
        (Register(0, "f32"), 1e300, "1e+300 does not fit into f32"),
        (Register(0), "1", "'1' is no number"),
        (Register(0), math.nan, "nan is no number"),
        (Register(0, count=2), [1], "it takes 2 numbers, not 1"),
        (Register(0), [1, 2], "it takes 1 number, not 2"),
    ],
)
def test_what_registers_cannot_hold(register: Register, value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        register.encode(value)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"address": 0, "type": "int"}, "type 'int' is not known; known: u16, s16, u32, s32, f32, u64, s64, f64"),
        ({"address": 65536}, "address 65536 is not from 0 to 65535"),
        ({"address": 0, "count": 0}, "count 0 is not 1 or more"),
        ({"address": 65535, "type": "u32"}, "1 of type u32 from address 65535 on go beyond 65535"),
        ({"address": 0, "scale": 0}, "scale and offset must be numbers, and scale not 0"),
    ],
)
def test_places_that_there_are_not(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        Register(**fields)


def test_neighbours_are_read_together_and_gaps_are_left_out() -> None:
    places = [Register(10), Register(0, "f32"), Register(2), Register(1), Register(4), Register(11, "u32")]
    assert spans(places) == [Span(0, 3), Span(4, 1), Span(10, 3)]
    assert spans([Register(n) for n in range(130)]) == [Span(0, 125), Span(125, 5)]
    assert spans([]) == []


@given(
    st.lists(
        st.builds(Register, st.integers(0, 400), st.sampled_from(sorted(TYPES)), st.integers(1, 30)),
        max_size=20,
    )
)
def test_every_register_is_read_and_no_request_is_too_long(registers: list[Register]) -> None:
    read = {at for span in spans(registers) for at in range(span.address, span.address + span.words)}
    assert read == {at for one in registers for at in range(one.address, one.end)}
    assert all(span.words <= 125 for span in spans(registers))


def test_exceptions_have_names() -> None:
    assert exception_words(2) == "illegal data address: it has no such register (exception 2)"
    assert exception_words(99) == "unknown exception (exception 99)"
