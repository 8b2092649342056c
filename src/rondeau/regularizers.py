"""Weight penalties: a regulariser takes a weight and gives a 0-d loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from rondeau.config import Configurable
from rondeau.errors import ArgumentError
from rondeau.init import by_name


class L1L2(Configurable):
    """`l1 * sum |w| + l2 * sum w^2`; both default to 0, as in Keras."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        if l1 < 0 or l2 < 0:
            raise ArgumentError("a regulariser's weight is negative", expected="l1, l2 >= 0", got=f"{l1}, {l2}")
        self.l1, self.l2 = l1, l2

    def __call__(self, weight: Tensor) -> Tensor:
        loss = weight.new_zeros(())
        if self.l1:
            loss = loss + self.l1 * weight.abs().sum()
        if self.l2:
            loss = loss + self.l2 * weight.square().sum()
        return loss


class L1(L1L2):
    """`l1 * sum |w|`, l1 = 0.01."""

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)


class L2(L1L2):
    """`l2 * sum w^2`, l2 = 0.01."""

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)


def _both(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    return L1L2(l1, l2)


_BY_NAME: dict[str, Callable[[], L1L2]] = {"l1": L1, "l2": L2, "l1_l2": _both}


def get(identifier: Any) -> Callable[[Tensor], Tensor] | None:
    """A regulariser by name ('l1', 'l2', 'l1_l2'), the callable given, or None."""
    if identifier is None:
        return None
    if isinstance(identifier, str):
        return by_name(identifier, _BY_NAME, "regularizer")()  # type: ignore[no-any-return]
    if callable(identifier):
        return identifier  # type: ignore[no-any-return]
    raise ArgumentError("not a regulariser", expected="a name, a callable weight -> loss, or None", got=repr(identifier))
