"""The shapes of errors."""

from __future__ import annotations

from edge_runtime.workers.inside.faults import Fault, error_object, log_text


def test_a_fault_has_the_kind_and_trace_it_was_given() -> None:
    assert error_object(Fault("Runtime.X", "text", ["line"]), "r") == {
        "errorMessage": "text",
        "errorType": "Runtime.X",
        "requestId": "r",
        "stackTrace": ["line"],
    }


def test_an_exception_without_a_trace_has_an_empty_one() -> None:
    assert error_object(KeyError("k"), "") == {
        "errorMessage": "'k'",
        "errorType": "KeyError",
        "requestId": "",
        "stackTrace": [],
    }


def test_the_log_entry_is_one_line() -> None:
    fault: dict[str, object] = {
        "errorMessage": "m",
        "errorType": "T",
        "stackTrace": ['  File "a", line 1, in f\n    x = 1\n', ""],
    }
    s = "\u00a0"
    assert log_text(fault) == (
        f'[ERROR] T: m\rTraceback (most recent call last):\r{s}{s}File "a", line 1, in f\r{s * 4}x = 1\r\n'
    )
    assert log_text({"errorMessage": "", "errorType": "T", "stackTrace": []}) == (
        "[ERROR] T\rTraceback (most recent call last):\n"
    )
