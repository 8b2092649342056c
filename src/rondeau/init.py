"""Initialisers, with Keras's names, arguments and defaults. An initialiser fills a tensor it is given."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rondeau.config import Configurable
from rondeau.errors import ArgumentError, ShapeError


class Initializer(Configurable):
    """`initializer(shape)` gives a tensor of that shape in torch's default type.

    Those that draw take `seed` (default `None`: torch's global generator); with a seed every call draws the same.
    """

    seed: int | None = None

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        """Write the initial values into `tensor`, in place."""
        raise NotImplementedError(type(self).__name__)  # abstract

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            tensor = torch.empty(shape)
            self.fill(tensor, generator)
        return tensor


class Zeros(Initializer):
    """All zeros."""

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        tensor.zero_()


class Ones(Initializer):
    """All ones."""

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        tensor.fill_(1.0)


class Constant(Initializer):
    """All `value` (default 0)."""

    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        tensor.fill_(self.value)


class Identity(Initializer):
    """The identity matrix times `gain`; 2-D only. For ReLU recurrences (Le et al. 2015, arXiv 1504.00941)."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        if tensor.ndim != 2:
            raise ShapeError("the identity initialiser needs a matrix", expected="2 axes", got=tuple(tensor.shape))
        tensor.copy_(self.gain * torch.eye(*tensor.shape))


class RandomNormal(Initializer):
    """Normal of `mean` (0) and `stddev` (0.05)."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        tensor.normal_(self.mean, self.stddev, generator=generator)


class TruncatedNormal(RandomNormal):
    """Normal of `mean` and `stddev`, redrawn beyond two standard deviations."""

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        low, high = self.mean - 2 * self.stddev, self.mean + 2 * self.stddev
        torch.nn.init.trunc_normal_(tensor, self.mean, self.stddev, low, high, generator=generator)


class RandomUniform(Initializer):
    """Uniform between `minval` (-0.05) and `maxval` (0.05)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        self.minval, self.maxval, self.seed = minval, maxval, seed

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        tensor.uniform_(self.minval, self.maxval, generator=generator)


class VarianceScaling(Initializer):
    """Variance `scale / n`, n the fan-in, fan-out or their mean; `distribution` 'truncated_normal' or 'uniform'.

    Glorot & Bengio 2010 is (1, 'fan_avg'), He et al. 2015 (2, 'fan_in'), LeCun et al. 1998 (1, 'fan_in').
    A kernel is `(..., in, out)`; leading axes (convolution taps) multiply both fans.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        if mode not in ("fan_in", "fan_out", "fan_avg") or distribution not in ("truncated_normal", "uniform"):
            raise ArgumentError(
                "VarianceScaling does not know this",
                expected="mode fan_in, fan_out or fan_avg and distribution truncated_normal or uniform",
                got=f"{mode!r}, {distribution!r}",
            )
        self.scale, self.mode, self.distribution, self.seed = scale, mode, distribution, seed

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        fan_in, fan_out = fans(tuple(tensor.shape))
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            tensor.uniform_(-limit, limit, generator=generator)
        else:
            # what truncation at two deviations leaves of a unit normal's deviation
            stddev = math.sqrt(variance) / 0.87962566103423978
            torch.nn.init.trunc_normal_(tensor, 0.0, stddev, -2 * stddev, 2 * stddev, generator=generator)


class Orthogonal(Initializer):
    """An orthogonal matrix times `gain` (Saxe et al. 2014, arXiv 1312.6120): rows or columns, whichever are fewer."""

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain, self.seed = gain, seed

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        if tensor.ndim < 2:
            raise ShapeError("the orthogonal initialiser needs a matrix", expected="2 axes", got=tuple(tensor.shape))
        rows, columns = tensor.numel() // tensor.shape[-1], tensor.shape[-1]
        normal = torch.empty(max(rows, columns), min(rows, columns)).normal_(generator=generator)
        q, r = torch.linalg.qr(normal)
        q = q * torch.sign(torch.diagonal(r))  # makes the decomposition, and so the draw, unique
        tensor.copy_(self.gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Fan-in and fan-out of a kernel `(..., in, out)`."""
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    taps = math.prod(shape[:-2])
    return taps * shape[-2], taps * shape[-1]


def _scaling(scale: float, mode: str, distribution: str) -> Callable[..., VarianceScaling]:
    return lambda seed=None: VarianceScaling(scale, mode, distribution, seed)


_BY_NAME: dict[str, Callable[..., Initializer]] = {
    "zeros": Zeros,
    "ones": Ones,
    "constant": Constant,
    "identity": Identity,
    "random_normal": RandomNormal,
    "normal": RandomNormal,
    "truncated_normal": TruncatedNormal,
    "random_uniform": RandomUniform,
    "uniform": RandomUniform,
    "orthogonal": Orthogonal,
    "variance_scaling": VarianceScaling,
    "glorot_uniform": _scaling(1.0, "fan_avg", "uniform"),
    "glorot_normal": _scaling(1.0, "fan_avg", "truncated_normal"),
    "he_uniform": _scaling(2.0, "fan_in", "uniform"),
    "he_normal": _scaling(2.0, "fan_in", "truncated_normal"),
    "lecun_uniform": _scaling(1.0, "fan_in", "uniform"),
    "lecun_normal": _scaling(1.0, "fan_in", "truncated_normal"),
}
GlorotUniform, GlorotNormal = _BY_NAME["glorot_uniform"], _BY_NAME["glorot_normal"]
HeUniform, HeNormal = _BY_NAME["he_uniform"], _BY_NAME["he_normal"]
LecunUniform, LecunNormal = _BY_NAME["lecun_uniform"], _BY_NAME["lecun_normal"]


def get(identifier: Any) -> Callable[[tuple[int, ...]], Tensor]:
    """An initialiser by name, or the one given; any callable `shape -> Tensor` will do."""
    if isinstance(identifier, str):
        return by_name(identifier, _BY_NAME, "initializer")()
    if callable(identifier) and not isinstance(identifier, type):
        return identifier  # type: ignore[no-any-return]
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    raise ArgumentError("not an initialiser", expected="a name or a callable shape -> tensor", got=repr(identifier))


def by_name(name: str, table: dict[str, Any], kind: str) -> Any:
    """The entry of `table` called `name`, written in any case, with or without underscores."""
    plain = {key.replace("_", ""): value for key, value in table.items()}
    found = table.get(name, plain.get(name.lower().replace("_", "")))
    if found is None:
        close = difflib.get_close_matches(name, table, n=1)
        fix = f"Did you mean {close[0]!r}" if close else None
        raise ArgumentError(f"there is no {kind} {name!r}", expected=f"one of {', '.join(table)}", fix=fix)
    return found
