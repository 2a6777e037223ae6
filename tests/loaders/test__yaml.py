"""What words mean, where things stand, and what a hostile file cannot do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_runtime.loaders._yaml import MAX_BYTES, dotted, plain, read, shown


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("2010-09-09", "2010-09-09"),
        ("012", "012"),
        ("012345678901", "012345678901"),
        ("1_000", "1_000"),
        ("12:30:00", "12:30:00"),
        ("1e999", "1e999"),
        (".inf", ".inf"),
        ("9" * 40, "9" * 40),
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("17", 17),
        ("-1", -1),
        ("0", 0),
        ("0x48", 72),
        ("0.30", 0.3),
        (".5", 0.5),
        ("1e3", 1000.0),
    ],
)
def test_a_word_means_what_it_looks_like(text: str, meaning: object) -> None:
    assert plain(text) == meaning
    assert type(plain(text)) is type(meaning)
    assert read(f"key: {text}\n".encode(), "f").data == {"key": meaning}


def test_a_key_is_always_a_text() -> None:
    assert read(b"{on: 1, yes: 2, 17: 3, null: 4, 2010-09-09: 5}", "f").data == {
        "on": 1,
        "yes": 2,
        "17": 3,
        "null": 4,
        "2010-09-09": 5,
    }


def test_quotes_make_a_text() -> None:
    assert read(b"""{a: "1", b: 'true', c: !!str 12}""", "f").data == {"a": "1", "b": "true", "c": "12"}


def test_everything_knows_its_line() -> None:
    document = read(b"a: 1\nb:\n  - x\n  -\n    c: 2\n", "f")
    assert document.line(("a",)) == 1
    assert document.line(("b",)) == 2
    assert document.line(("b", 0)) == 3
    assert document.line(("b", 1, "c")) == 5
    assert document.line(("b", 1, "missing", "deeper")) == 5
    assert document.line(("missing",)) == 1


def test_a_scalar_is_remembered_as_it_was_written() -> None:
    document = read(b'{a: 0.30, b: "0.30", c: true, d: &x 1.0, e: *x, f: &y true, g: *y}', "f")
    assert document.text(("a",), 0.3) == "0.30"
    assert document.text(("b",), "0.30") == "0.30"
    assert document.text(("c",), True) == "true"
    assert document.text(("e",), 1.0) == "1.0"
    assert document.text(("g",), True) == "true"


def test_aliases_and_merges_work() -> None:
    document = read(b"a: &base {x: 1, y: 2}\nb: {<<: *base, y: 3}\nc: {<<: [*base, {z: 4}]}\nd: *base\n", "f")
    assert document.problems == []
    assert document.data == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 2, "z": 4},
        "d": {"x": 1, "y": 2},
    }


def test_a_file_of_nothing_is_nothing() -> None:
    assert read(b"", "f").data is None
    assert read(b"# only this\n", "f").data is None
    assert read(b"\xef\xbb\xbfa: 1", "f").data == {"a": 1}


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("a: 1\nb: 2\na: 3\n", ["f:3: a: the key stands twice; first in line 1"]),
        ("a:\n  b: 1\n  b: 1\n", ["f:3: a.b: the key stands twice; first in line 2"]),
        ("a: *nowhere\n", ["f:1: the alias *nowhere has no anchor &nowhere that ends before it"]),
        ("a: &x [*x]\n", ["f:1: the alias *x has no anchor &x that ends before it"]),
        ("a: {<<: 3}\n", ["f:1: a.<<: takes an alias of a mapping, like `<<: *name`"]),
        ("a: 1\n? [b]\n: 2\n", ["f:2: the file: a key must be a plain word"]),
        ("a: !thing 1\nb: !!set {}\nc: !!binary x\n", [
            "f:1: the tag !thing means nothing here; take it away",
            "f:2: the tag !!set means nothing here; take it away",
            "f:3: the tag !!binary means nothing here; take it away",
        ]),
        ('a: 1\nb: "x\\0y"\n', ["f:2: the character U+0000 may not stand in a text"]),
        ('{"\\ud800": 1}', ["f:1: the character U+D800 may not stand in a text"]),
        ("a: 1\n---\nb: 2\n", ["f:2: a second document begins here; only one is read"]),
    ],
)  # fmt: skip
def test_mistakes_are_gathered(text: str, problems: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text.encode(), "f").check()
    assert str(caught.value).splitlines() == problems


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a: b: c", r"^f:1: not valid YAML: mapping values are not allowed here$"),
        (b"a: 1\nb: [1,\n", r"^f:3: not valid YAML: .*<stream end>"),
        (b"a: 1\n\tb: 2", r"^f:2: not valid YAML: .*'\\t'"),
        (b"a: 1\nb: \xff", r"^f:2: not UTF-8: byte 0xff"),
        (b"a: 1\n\nb: \x07", r"^f:3: the character U\+0007 may not stand here$"),
        (b"[" * 100, r"^f:1: nested deeper than 32 levels$"),
        (b"%YAML 9.0\n---\na: 1", r"^f:1: not valid YAML"),
        (b"a: " + b"x" * MAX_BYTES, r"^f:1: the file has \d+ bytes; at most 262144 are read$"),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(text: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(text, "f")


def test_aliases_cannot_blow_up() -> None:
    lines = ["a: &a [1,1,1,1,1,1,1,1,1,1]"]
    for one, other in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{other}: &{other} [{','.join([f'*{one}'] * 10)}]")
    with pytest.raises(ConfigError, match=r"^f:5: more than 20000 values, aliases counted in full$"):
        read("\n".join(lines).encode(), "f")


@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{},#&*!|>'\"%@?\n\t ~<", max_size=60).map(str.encode))
def test_no_input_raises_anything_else(text: bytes) -> None:
    try:
        document = read(text, "f")
    except ConfigError as error:
        assert str(error).startswith("f:")  # noqa: PT017 - either way is right, but only this error
    else:
        assert all(problem.line >= 1 for problem in document.problems)


def test_paths_and_values_are_shown_as_they_are_written() -> None:
    assert dotted(("functions", "a-b", "events", 0, "device")) == "functions.a-b.events[0].device"
    assert dotted(("a b", "c.d")) == '"a b"."c.d"'
    assert shown("text") == "'text'"
    assert shown({"a": [1, None, True]}) == '{"a": [1, null, true]}'
    assert shown("x" * 100) == "'" + "x" * 56 + "..."
