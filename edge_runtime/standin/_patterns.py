"""The texts of a policy: `*` and `?` match, `${...}` stands for the value of a policy variable, all else is itself.

The value of a variable is always literal: a client that calls itself `*` gains nothing by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Context = Mapping[str, str | Sequence[str]]
"""Policy variables and their values; several where the request has several, as `iot:ConnectAttributes` has."""

_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_FIXED: Final = {"*": "*", "?": "?", "$": "$"}
"""`${*}`, `${?}` and `${$}` are the signs themselves: IAM user guide, "Variables and tags"."""
_ANY: Final = 0
_ONE: Final = 1

Token = int | str
"""`_ANY`, `_ONE`, or a character."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text in pieces: tokens, and names of variables in between (folded to lower case)."""

    pieces: tuple[tuple[Token, ...] | str, ...]

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read a text; it cannot be malformed."""
        pieces: list[tuple[Token, ...] | str] = []
        for number, part in enumerate(_VARIABLE.split(text)):
            if number % 2 == 0:
                if part:
                    pieces.append(tuple(_token(sign) for sign in part))
            elif part in _FIXED:
                pieces.append((_FIXED[part],))
            else:
                pieces.append(part.lower())
        return cls(tuple(pieces))

    def matches(self, text: str, context: Context) -> bool:
        """Tell whether `text` is one that this pattern means; never when a variable has no single value."""
        tokens: list[Token] = []
        for piece in self.pieces:
            if not isinstance(piece, str):
                tokens += piece
                continue
            value = context.get(piece)
            if not isinstance(value, str):
                return False
            tokens += value
        return _matches(tokens, text)

    def literal(self, context: Context) -> str | None:
        """Return the text with its variables filled in and its wildcards as they are; None when one has no value."""
        signs: list[str] = []
        for piece in self.pieces:
            value = context.get(piece) if isinstance(piece, str) else "".join(_sign(token) for token in piece)
            if not isinstance(value, str):
                return None
            signs.append(value)
        return "".join(signs)


def fold(context: Context) -> Context:
    """Return the variables by their names in lower case: names of condition keys have no case."""
    return {name.lower(): value for name, value in context.items()}


def _token(sign: str) -> Token:
    return {"*": _ANY, "?": _ONE}.get(sign, sign)


def _sign(token: Token) -> str:
    return token if isinstance(token, str) else "*?"[token]


def _matches(tokens: Sequence[Token], text: str) -> bool:
    """Match without recursion, in at most len(tokens) * len(text) steps: a document cannot make this slow."""
    at = pos = 0
    star = back = -1
    while pos < len(text):
        if at < len(tokens) and tokens[at] == _ANY:
            star, back = at, pos
            at += 1
        elif at < len(tokens) and (tokens[at] == _ONE or tokens[at] == text[pos]):
            at += 1
            pos += 1
        elif star >= 0:
            back += 1
            at, pos = star + 1, back
        else:
            return False
    return all(token == _ANY for token in tokens[at:])
