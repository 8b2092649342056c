"""What is wrong in the data, and what becomes of it: the reading fails there, or goes on and counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rondeau.errors import ArgumentError, DataError

POLICIES = ("fail", "skip")
_SHOWN = 5  # places remembered of each kind


@dataclass
class _Kind:
    count: int = 0
    places: list[str] = field(default_factory=list)


class Faults:
    """A reader's bad records.

    Args:
        on_error: 'fail' (default): the first one ends the reading; 'skip': they are left out, counted, and told.

    Raises `ArgumentError` for another word.

    >>> faults = Faults("skip")
    >>> faults.add("no text in the record", where="a.jsonl, line 3")
    >>> faults.total, faults.describe()
    (1, '1 no text in the record (a.jsonl, line 3)')
    """

    def __init__(self, on_error: str = "fail") -> None:
        if on_error not in POLICIES:
            raise ArgumentError("on_error", expected=" or ".join(map(repr, POLICIES)), got=repr(on_error))
        self.on_error = on_error
        self._kinds: dict[str, _Kind] = {}

    def add(self, what: str, *, where: object, got: Any = None, expected: Any = None, fix: str | None = None) -> None:
        """A record that cannot be used; `what` is the same sentence for all of its kind, `where` names file and line.

        Raises `DataError` unless such records are skipped.
        """
        if self.on_error == "fail":
            otherwise = "To leave such records out and count them: --on-error skip"
            fix = otherwise if fix is None else fix if "--on-error" in fix else f"{fix}. {otherwise}"
            raise DataError(what, expected=expected, got=got, where=where, fix=fix)
        kind = self._kinds.setdefault(what, _Kind())
        kind.count += 1
        if len(kind.places) < _SHOWN:
            kind.places.append(str(where))

    @property
    def total(self) -> int:
        """Records left out."""
        return sum(kind.count for kind in self._kinds.values())

    def describe(self) -> str:
        """All kinds in a line; "" where nothing was left out."""
        return "; ".join(
            f"{kind.count:,} {what} ({'; '.join(kind.places[:3])}{'; ...' if kind.count > 3 else ''})"
            for what, kind in self._kinds.items()
        )

    def to_json(self) -> dict[str, Any]:
        """By kind its `count` and the first `places`."""
        return {what: {"count": kind.count, "places": list(kind.places)} for what, kind in self._kinds.items()}
