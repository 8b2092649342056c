"""Weight penalties: a regulariser takes a weight and gives a 0-d loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from rondeau.config import Configurable
from rondeau.errors import ArgumentError
from rondeau.init import by_name


class L1L2(Configurable):
    """`l1 * sum |w| + l2 * sum w^2`; both default to 0, as in Keras. Raises `ArgumentError` for a negative one.

    >>> import torch
    >>> L1L2(l1=0.1, l2=0.01)(torch.tensor([3.0, -4.0])).item()  # 0.1 * 7 + 0.01 * 25
    0.9...
    """

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


_BY_NAME: dict[str, Callable[[], L1L2]] = {"l1": L1, "l2": L2, "l1_l2": lambda: L1L2(0.01, 0.01)}


def get(identifier: Any) -> Callable[[Tensor], Tensor] | None:
    """A regulariser by name ('l1', 'l2', 'l1_l2', each 0.01), the callable given, or None; `ArgumentError` else.

    Keras knows 'l1_l2' as 'l1l2' and gives it weights of zero, which does nothing.
    """
    if identifier is None:
        return None
    found: Callable[[Tensor], Tensor]
    if isinstance(identifier, str):
        found = by_name(identifier, _BY_NAME, "regularizer")()
        return found
    if isinstance(identifier, type) and issubclass(identifier, L1L2):
        return identifier()
    if callable(identifier) and not isinstance(identifier, type):
        found = identifier
        return found
    raise ArgumentError(
        "not a regulariser", expected="a name, a callable weight -> loss, or None", got=repr(identifier)
    )


l1, l2, l1_l2 = L1, L2, L1L2  # as Keras programs import them
