"""The conditions of a policy statement: IAM user guide, "Condition operators" and "Conditions with multiple values"."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edge_runtime.errors import ConfigError
from edge_runtime.plugin import nearest
from edge_runtime.standin._patterns import Context, Pattern

__all__ = ["Condition", "Context", "parse_condition"]

Test = Callable[[str, Pattern, Context], bool]


def _equal(value: str, wanted: Pattern, context: Context) -> bool:
    return value == wanted.literal(context)


def _equal_in_any_case(value: str, wanted: Pattern, context: Context) -> bool:
    other = wanted.literal(context)
    return other is not None and value.casefold() == other.casefold()


def _like(value: str, wanted: Pattern, context: Context) -> bool:
    return wanted.matches(value, context)


def _within(value: str, wanted: Pattern, context: Context) -> bool:
    network = wanted.literal(context)
    try:
        return network is not None and ipaddress.ip_address(value) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


_TESTS: Final[Mapping[str, tuple[Test, bool]]] = {
    "StringEquals": (_equal, True),
    "StringNotEquals": (_equal, False),
    "StringEqualsIgnoreCase": (_equal_in_any_case, True),
    "StringNotEqualsIgnoreCase": (_equal_in_any_case, False),
    "StringLike": (_like, True),
    "StringNotLike": (_like, False),
    "ArnEquals": (_like, True),
    "ArnLike": (_like, True),
    "ArnNotEquals": (_like, False),
    "ArnNotLike": (_like, False),
    "Bool": (_equal_in_any_case, True),
    "IpAddress": (_within, True),
    "NotIpAddress": (_within, False),
}
"""How one value is held against one text, and whether a match is what is wanted."""
_NULL: Final = "Null"
_KNOWN: Final = (*_TESTS, _NULL)
_IF_EXISTS: Final = "IfExists"


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator with its keys; all of them must hold."""

    operator: str
    every: bool | None
    """True for `ForAllValues:`, False for `ForAnyValue:`, None for neither."""
    if_exists: bool
    keys: tuple[tuple[str, tuple[Pattern, ...]], ...]

    def holds(self, context: Context) -> bool:
        """Tell whether the condition is met. `context` is folded."""
        return all(self._holds(context.get(key), wanted, context) for key, wanted in self.keys)

    def _holds(self, found: str | Sequence[str] | None, wanted: Sequence[Pattern], context: Context) -> bool:
        if self.operator == _NULL:
            return any(one.literal(context) == ("true" if found is None else "false") for one in wanted)
        test, positive = _TESTS[self.operator]
        values = [] if found is None else [found] if isinstance(found, str) else list(found)
        hits = [any(test(value, one, context) for one in wanted) is positive for value in values]
        if self.every is True:
            return all(hits)
        if self.every is False:
            return any(hits)
        if found is None:
            return self.if_exists or not positive
        return any(hits) if positive else all(hits)


def parse_condition(name: str, keys: object, prepare: Callable[[str], str], where: str) -> Condition:
    """Read one operator of a `Condition` block; `prepare` is applied to each text that conditions on ARNs compare with.

    Raises: ConfigError when it is malformed, or an operator that is not known here.
    """
    sets = {"ForAllValues": True, "ForAnyValue": False}
    prefix, colon, operator = name.rpartition(":")
    if colon and prefix not in sets:
        raise ConfigError(f"{where}: condition {name!r} must begin with ForAllValues: or ForAnyValue:, or with neither")
    if_exists = operator.endswith(_IF_EXISTS) and operator not in _KNOWN
    operator = operator.removesuffix(_IF_EXISTS) if if_exists else operator
    if operator not in _KNOWN or (operator == _NULL and (colon or if_exists)):
        known = ", ".join(_KNOWN)
        raise ConfigError(f"{where}: condition {name!r} is not known{nearest(operator, _KNOWN)}; known: {known}")
    if not isinstance(keys, Mapping) or not keys:
        raise ConfigError(f"{where}: condition {name!r} must be an object of keys and values")
    arn = operator.startswith("Arn")
    return Condition(
        operator,
        sets.get(prefix),
        if_exists,
        tuple(
            (str(key).lower(), tuple(Pattern.parse(prepare(one) if arn else one) for one in _texts(found, name, where)))
            for key, found in keys.items()
        ),
    )


def _texts(found: object, name: str, where: str) -> list[str]:
    values = found if isinstance(found, list) else [found]
    texts = [str(one).lower() if isinstance(one, bool) else one for one in values if isinstance(one, str | bool)]
    if len(texts) < len(values):
        raise ConfigError(f"{where}: the values of condition {name!r} must be texts")
    return texts
