"""How long to wait before the next try."""

from __future__ import annotations

from random import Random


class Backoff:
    """Exponential back-off with full jitter: each wait is drawn evenly from 0 to a ceiling that doubles.

    Full jitter keeps a fleet that lost its broker at one moment from coming back at one moment ("Exponential
    Backoff And Jitter", AWS Architecture Blog). The ceiling is `first_s` at first and never more than `most_s`.

    Raises: ValueError when not 0 < first_s <= most_s.
    """

    def __init__(self, first_s: float = 1.0, most_s: float = 300.0, *, random: Random | None = None) -> None:
        if not 0 < first_s <= most_s:
            raise ValueError(f"a back-off needs 0 < first_s <= most_s; got {first_s} and {most_s}")
        self._first_s = first_s
        self._most_s = most_s
        self._random = Random() if random is None else random  # noqa: S311 - jitter is no secret
        self._ceiling_s = first_s

    def next(self) -> float:
        """Return the seconds to wait now; the next answer may be twice as long."""
        ceiling = self._ceiling_s
        self._ceiling_s = min(ceiling * 2, self._most_s)
        return self._random.uniform(0, ceiling)

    def reset(self) -> None:
        """Begin anew: what was tried went well."""
        self._ceiling_s = self._first_s
