"""Gradient policies: how far back derivatives go, and what is computed again for them. `scan(..., gradient=...)`."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from rondeau.config import Configurable
from rondeau.errors import ArgumentError


class Policy(Configurable):
    """What all policies have in common: they are values, equal where their class and their number are.

    `every`: the steps of a window; None where a scan is made in one go.
    """

    every: int | None = None

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.every == getattr(other, "every", None)

    def __hash__(self) -> int:
        return hash((type(self), self.every))


class Full(Policy):
    """Backpropagation through all steps, each computed once: what `gradient=None` means, said aloud.

    Memory grows with the number of steps.

    >>> Full()
    Full()
    """

    def __repr__(self) -> str:
        return "Full()"


class Truncated(Policy):
    """Backpropagation through no more than `steps` steps: the state is detached between windows of so many.

    Outputs and states are those of the whole scan. A row's windows are counted in the real steps it makes, from its
    first one in the scan's direction; where a row has resets, from each of them anew. A derivative goes back to the
    start of the window it is in, and no further; that of the initial state comes from the first window alone.
    Gradients are those of `Full` where no row makes more than `steps` steps.

    With `Keep(outputs="last")` a row's gradient comes from its last window, and only that is held: memory does not grow
    with the number of steps.

    An update of the weights after each window is another thing: it belongs to training.

    Williams & Peng (1990), doi 10.1162/neco.1990.2.4.490.

    Raises `ArgumentError` unless `steps` is a whole number, at least 1.

    >>> Truncated(50), Truncated(50) == Truncated(steps=50)
    (Truncated(50), True)
    """

    def __init__(self, steps: int) -> None:
        self.every = self.steps = _whole("Truncated: steps", steps)

    def __repr__(self) -> str:
        return f"Truncated({self.steps})"


class Recompute(Policy):
    """All derivatives, in the memory of a window: what is in between is computed again.

    The forward pass keeps only the states at the boundaries of windows of `every` steps. The backward pass takes the
    windows from the last to the first, computes each once more, and differentiates it. Gradients are those of `Full`,
    within rounding; the price is about one more forward pass. Beside inputs, outputs and their gradients, memory for T
    steps is O(T / every + every), least at about the square root of T; with `Keep(outputs="last")` no outputs are held.

    Random context is drawn before the scan, so that both passes see the same; a step on the reference loop that draws
    random numbers by itself is refused, and so is a cell that is no longer what it was when gradients are asked for.
    For gradients of gradients (`create_graph=True`) all steps are made once more on the reference loop, and kept.

    Chen et al. (2016), arXiv 1604.06174; Gruslys et al. (2016), arXiv 1606.03401.

    Raises `ArgumentError` unless `every` is a whole number, at least 1.

    >>> Recompute(every=300)
    Recompute(every=300)
    """

    def __init__(self, every: int) -> None:
        self.every = _whole("Recompute: every", every)

    def __repr__(self) -> str:
        return f"Recompute(every={self.every})"


_FULL = Full()  # making one takes as long as a short scan


def check_policy(gradient: Any, owner: str) -> Policy:
    """The policy that was given, `Full()` for None. Raises `ArgumentError` for anything else."""
    if gradient is None:
        return _FULL
    if isinstance(gradient, Policy):
        return gradient
    expected = "None, Full(), Truncated(steps) or Recompute(every)"
    fix = "They are objects: rondeau.Truncated(100)"
    raise ArgumentError(f"{owner}: gradient", expected=expected, got=repr(gradient), fix=fix)


def _whole(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ArgumentError(what, expected="a whole number, at least 1", got=repr(value))
    return int(value)
