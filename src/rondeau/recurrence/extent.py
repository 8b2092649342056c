"""Sizes that are only known when a loop runs: linear in the lengths of the memories it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Extent(int):
    """A whole number `base + sum(factor * size)` of sizes with names; as an int, its value for the traced sizes.

    Sums and multiples are extents again; the product of two sizes is a ValueError.
    """

    base: int
    terms: tuple[tuple[str, int], ...]

    def __new__(cls, value: int, base: int, terms: tuple[tuple[str, int], ...]) -> Extent:
        self = super().__new__(cls, value)
        self.base, self.terms = base, terms
        return self

    def _plus(self, other: int, sign: int) -> int:
        terms = dict(self.terms)
        base, more = (other.base, other.terms) if isinstance(other, Extent) else (int(other), ())
        for name, factor in more:
            terms[name] = terms.get(name, 0) + sign * factor
        return _made(int(self) + sign * int(other), self.base + sign * base, terms)

    def _times(self, other: int) -> int:
        if isinstance(other, Extent):
            raise ValueError(f"{self!r} times {other!r} is not linear")
        return _made(int(self) * int(other), self.base * int(other), {n: f * int(other) for n, f in self.terms})

    def __add__(self, other: int) -> int:
        return self._plus(other, 1)

    __radd__ = __add__

    def __sub__(self, other: int) -> int:
        return self._plus(other, -1)

    def __rsub__(self, other: int) -> int:
        return self._times(-1) + other

    def __mul__(self, other: int) -> int:
        return self._times(other)

    __rmul__ = __mul__

    def __neg__(self) -> int:
        return self._times(-1)

    def __repr__(self) -> str:
        parts = [f"{'' if f == 1 else f'{f}*'}{n}" for n, f in self.terms] + ([str(self.base)] if self.base else [])
        return "(" + "+".join(parts) + ")"

    __str__ = __repr__


def _made(value: int, base: int, terms: Mapping[str, int]) -> int:
    kept = tuple(sorted((n, f) for n, f in terms.items() if f))
    return Extent(value, base, kept) if kept else value


def known(number: Any, sizes: Mapping[str, int]) -> Any:
    """The number for the sizes at hand; also of numbers in tuples."""
    if isinstance(number, tuple):
        return tuple(known(n, sizes) for n in number)
    if not isinstance(number, Extent):
        return number
    return number.base + sum(f * sizes[n] for n, f in number.terms)


def names_in(number: Any) -> set[str]:
    """The sizes that a number depends on; also of numbers in tuples, and of a share of a size, "k/name"."""
    if isinstance(number, tuple):
        return set().union(*map(names_in, number))
    if isinstance(number, str):
        return {number.split("/")[1]} if "/" in number else set()
    return {n for n, _ in number.terms} if isinstance(number, Extent) else set()


def up_to(size: int, step: int) -> int:
    """At least `size`, and a multiple of `step` where `size` is known."""
    return size + step if isinstance(size, Extent) else -(-size // step) * step


def unify(first: Any, second: Any, primes: Mapping[str, tuple[int, int]]) -> Any:
    """What both numbers (or tuples) say, traced at the two values of each size. ValueError where nothing does."""
    if isinstance(first, tuple) and isinstance(second, tuple) and len(first) == len(second):
        return tuple(unify(a, b, primes) for a, b in zip(first, second, strict=True))
    if type(first) is not type(second):
        raise ValueError("different kinds")
    if first == second:
        return first
    if isinstance(first, int) and not isinstance(first, bool):
        found = []
        for name, (a, b) in primes.items():
            factor, rest = divmod(second - first, b - a)
            if rest == 0:
                found.append((abs(first - factor * a), Extent(first, first - factor * a, ((name, factor),))))
        if found:
            return min(found, key=lambda f: f[0])[1]
    if isinstance(first, str):
        return _share(float(first), float(second), primes)
    raise ValueError("different values")


def _share(first: float, second: float, primes: Mapping[str, tuple[int, int]]) -> str:
    """`k / size`, as the mean over a memory multiplies by, written `k/name`; the text of a constant."""
    for name, (a, b) in primes.items():
        k = first * a
        if abs(k - second * b) <= 1e-9 * abs(k):
            return f"{round(k, 9)!r}/{name}"
    raise ValueError("different values")
