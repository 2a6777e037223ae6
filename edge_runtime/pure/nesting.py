"""How deep JSON values are nested. Whoever sends them decides, so nothing here calls itself."""

from __future__ import annotations

from collections.abc import Mapping


def levels(value: object) -> int:
    """Return how deep objects and arrays are nested: 0 for anything else, 1 for `{"a": 1}`. Any depth is safe."""
    deep, row = 0, [value]
    while row := [one for one in row if isinstance(one, Mapping | list)]:
        deep += 1
        row = [item for one in row for item in (one.values() if isinstance(one, Mapping) else one)]
    return deep
