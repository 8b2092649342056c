"""What a rule says, and the words that rules share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["problem", "hint", "good"]
ORDER: tuple[Severity, ...] = ("problem", "hint", "good")


@dataclass(frozen=True)
class Advice:
    """What one rule says.

    Attributes:
        rule: its name.
        severity: "problem": it keeps the network from learning; "hint": it may; "good": all is well here.
        title: in a few words.
        text: what was measured, with numbers and units, and what it means.
        fix: the argument or command that acts on it; None where nothing is to be done.
        figure: the name of the report's figure it rests on; None without one.
        facts: the numbers by name.
    """

    rule: str
    severity: Severity
    title: str
    text: str
    fix: str | None = None
    figure: str | None = None
    facts: dict[str, float] = field(default_factory=dict)


def steps(count: float) -> str:
    """`1 step`, `2.5 steps`, `40 steps`.

    >>> steps(1), steps(2.53), steps(39.7)
    ('1 step', '2.5 steps', '40 steps')
    """
    number = f"{count:.0f}" if count >= 10 else f"{count:.1f}".removesuffix(".0")
    return f"{number} step" if number == "1" else f"{number} steps"


def percent(share: float) -> str:
    """`0.5 %`, `12 %`.

    >>> percent(0.005), percent(0.123)
    ('0.5 %', '12 %')
    """
    return f"{100 * share:.1f} %" if 0 < abs(share) < 0.0995 else f"{100 * share:.0f} %"
