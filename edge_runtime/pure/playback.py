"""What happens when, by a trace: series, loops and ends as single steps, in order; and the state it has come to."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from edge_runtime.pure.trace import Kind, Step, Trace, Wave

_LASTING = (Kind.OUTAGE, Kind.FAULT, Kind.CLOCK)
"""Kinds of which the end is a step too."""


def happenings(trace: Trace) -> Iterator[Step]:
    """Yield the steps of a trace one by one in the order of time; a series that has no end goes on for ever.

    At most one line and the series that go on are in memory. Raises: ConfigError that names file and line.
    """
    head = trace.head()
    return _unfold(_turns(trace, head.loop_s, head.times) if head.loop_s else trace.declared())


def _turns(trace: Trace, loop_s: float, times: int) -> Iterator[Step]:
    """Yield the lines of all turns of a loop; a series ends with its turn."""
    for turn in range(times):
        for step in trace.again(turn * loop_s):
            left_s = (turn + 1) * loop_s - step.at_s
            yield replace(step, for_s=min(step.for_s or math.inf, left_s)) if step.series else step


def length_s(trace: Trace) -> float:
    """Return when the last step of a trace has ended: infinity for a series that goes on for ever.

    Looks at every line. Raises: as `happenings`.
    """
    head = trace.head()
    ends = (math.inf if step.series and not step.for_s else step.at_s + step.for_s for step in trace.declared())
    last_s = max(ends, default=0.0)
    return head.loop_s * head.times if head.loop_s else last_s


def _unfold(steps: Iterator[Step]) -> Iterator[Step]:
    """Yield steps, those of series, and ends, in the order of time."""
    count = itertools.count()
    later: list[tuple[float, int, Step, Step | None, int]] = []
    """What is to come: when, the order of what comes at once, the step, the series it is of, and its number there."""
    for step in itertools.chain(steps, [None]):
        while later and (step is None or later[0][0] <= step.at_s):
            _, _, due, series, number = heapq.heappop(later)
            yield due
            if series is not None:
                _push_next(later, series, number + 1, next(count))
        if step is None:
            return
        if step.series:
            _push_next(later, step, 0, next(count))
            continue
        yield step
        if step.kind in _LASTING and step.for_s:
            end = replace(step, at_s=step.at_s + step.for_s, is_end=True)
            heapq.heappush(later, (end.at_s, next(count), end, None, 0))


def _push_next(later: list[tuple[float, int, Step, Step | None, int]], series: Step, number: int, order: int) -> None:
    since_s = number * series.every_s
    if series.for_s and since_s >= series.for_s:
        return
    shape = series.series
    value = shape.at(since_s) if isinstance(shape, Wave) else shape[number % len(shape)]
    step = replace(series, at_s=series.at_s + since_s, value=value, series=(), for_s=0.0, every_s=0.0)
    heapq.heappush(later, (step.at_s, order, step, series, number))


@dataclass(slots=True)
class World:
    """What the steps so far have come to."""

    values: dict[str, object] = field(default_factory=dict)
    """What each device measures."""
    faults: dict[str, str] = field(default_factory=dict)
    """How devices fail."""
    outages: int = 0
    """How many reasons there are for the link to be cut."""
    off_s: float = 0.0
    """How far the wall clock is ahead of the right time."""
    unknown: int = 0
    """How many reasons there are not to know whether the wall clock is right."""

    def take(self, step: Step) -> float:
        """Take notice of a step. Return by how many seconds the wall clock is set by it."""
        if step.kind is Kind.VALUE:
            self.values[step.name] = step.value
        elif step.kind is Kind.OUTAGE:
            self.outages += -1 if step.is_end else 1
        elif step.kind is Kind.FAULT:
            if step.is_end:
                self.faults.pop(step.name, None)
            else:
                self.faults[step.name] = str(step.value)
        elif step.kind is Kind.CLOCK:
            return self._set_clock(step)
        return 0.0

    def _set_clock(self, step: Step) -> float:
        if step.is_end:
            self.unknown = max(0, self.unknown - 1)
            back_s, self.off_s = (-self.off_s, 0.0) if not self.unknown else (0.0, self.off_s)
            return back_s
        if step.for_s:  # else it is set by who knows, and what was right before never was
            self.unknown += 1
            self.off_s += float(step.value)
        return float(step.value)
