"""How a benchmark says its figure: one JSON line, beside a reference that was measured in the same run."""

from __future__ import annotations

import json
from typing import Literal


def figure(
    name: str,
    value: float,
    unit: str,
    *,
    reference: str,
    reference_value: float,
    goal: float,
    better: Literal["lower", "higher"],
    ratio: float | None = None,
) -> None:
    """Print a figure. `goal` bounds the ratio of value to reference: from above when lower is better."""
    found = value / reference_value if ratio is None else ratio
    holds = found <= goal if better == "lower" else found >= goal
    line = {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "reference": reference,
        "reference_value": round(reference_value, 3),
        "ratio": round(found, 3),
        "goal": f"{'<=' if better == 'lower' else '>='} {goal}",
        "holds": holds,
    }
    print(json.dumps(line), flush=True)
