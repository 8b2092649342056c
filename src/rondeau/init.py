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
    """`initializer(shape)` gives a tensor of that shape in torch's default type and on its default device.

    Those that draw take `seed` (default `None`: torch's global generator); with a seed every call draws the same.

    >>> Constant(2.0)((2, 3)).tolist()
    [[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]
    """

    seed: int | None = None

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        """Write the initial values into `tensor`, in place."""
        raise NotImplementedError(type(self).__name__)  # abstract

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        with torch.no_grad():
            tensor = torch.empty(shape)
            generator = None if self.seed is None else torch.Generator(tensor.device).manual_seed(self.seed)
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
    """The identity matrix times `gain` (default 1), for ReLU recurrences (Le et al. 2015, arXiv 1504.00941).

    Raises `ShapeError` for anything but a matrix; one that is not square has zeros beyond its diagonal.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        if tensor.ndim != 2:
            raise ShapeError("the identity initialiser needs a matrix", expected="2 axes", got=tuple(tensor.shape))
        tensor.copy_(self.gain * torch.eye(*tensor.shape))


class RandomNormal(Initializer):
    """Normal of `mean` (0) and `stddev` (0.05). Raises `ArgumentError` for a negative deviation."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        if stddev < 0:
            raise ArgumentError(f"{type(self).__name__}: stddev", expected="0 or more", got=stddev)
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        tensor.normal_(self.mean, self.stddev, generator=generator)


class TruncatedNormal(RandomNormal):
    """Normal of `mean` (0) and `stddev` (0.05), redrawn beyond two deviations; what is left deviates by 0.88 of it."""

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        _truncated_normal(tensor, generator).mul_(self.stddev).add_(self.mean)


class RandomUniform(Initializer):
    """Uniform between `minval` (-0.05) and `maxval` (0.05). Raises `ArgumentError` where minval is above maxval."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        if minval > maxval:
            raise ArgumentError(
                "RandomUniform: minval and maxval", expected="minval <= maxval", got=f"{minval}, {maxval}"
            )
        self.minval, self.maxval, self.seed = minval, maxval, seed

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        tensor.uniform_(self.minval, self.maxval, generator=generator)


class VarianceScaling(Initializer):
    """Mean zero and variance `scale / n`, so that signals keep their size from layer to layer.

    Args:
        scale: 1 by default; above 0.
        mode: n is the 'fan_in' (default), the 'fan_out', or their mean, 'fan_avg'. A kernel is `(..., in, out)`;
            leading axes (convolution taps) multiply both fans.
        distribution: 'truncated_normal' (default; redrawn beyond two deviations), 'untruncated_normal' or 'uniform'.

    Raises `ArgumentError` for other values. Glorot & Bengio 2010 is (1, 'fan_avg'), He et al. 2015 (2, 'fan_in'),
    LeCun et al. 1998 (1, 'fan_in').
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        if scale <= 0:
            raise ArgumentError(f"{type(self).__name__}: scale", expected="above 0", got=scale)
        for name, value, known in (("mode", mode, _MODES), ("distribution", distribution, _DISTRIBUTIONS)):
            if value not in known:
                raise ArgumentError(f"VarianceScaling: {name}", expected=f"one of {', '.join(known)}", got=repr(value))
        self.scale, self.mode, self.distribution, self.seed = scale, mode, distribution, seed

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        fan_in, fan_out = fans(tuple(tensor.shape))
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            tensor.uniform_(-limit, limit, generator=generator)
        elif self.distribution == "untruncated_normal":
            tensor.normal_(0.0, math.sqrt(variance), generator=generator)
        else:
            _truncated_normal(tensor, generator).mul_(math.sqrt(variance) / _TRUNCATED_DEVIATION)


class Orthogonal(Initializer):
    """An orthogonal matrix times `gain` (default 1): its rows or columns, whichever are fewer, are orthonormal.

    Axes before the last count as one. Raises `ShapeError` for fewer than two axes. Saxe et al. 2014, arXiv 1312.6120.

    >>> q = Orthogonal(seed=0)((2, 4))
    >>> torch.allclose(q @ q.T, torch.eye(2), atol=1e-6)
    True
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain, self.seed = gain, seed

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        if tensor.ndim < 2:
            raise ShapeError("the orthogonal initialiser needs a matrix", expected="2 axes", got=tuple(tensor.shape))
        rows, columns = tensor.numel() // tensor.shape[-1], tensor.shape[-1]
        exact = tensor.dtype if tensor.dtype in (torch.float32, torch.float64) else torch.float32  # qr knows no halves
        normal = torch.empty(max(rows, columns), min(rows, columns), dtype=exact, device=tensor.device)
        q, r = torch.linalg.qr(normal.normal_(generator=generator))
        q = q * torch.sign(torch.diagonal(r))  # makes the decomposition, and so the draw, unique
        tensor.copy_(self.gain * (q if rows >= columns else q.T).reshape(tensor.shape))


class Chrono(Initializer):
    """Biases of a gated cell whose units begin by remembering, each for another time between 1 and `max_steps` steps.

    Of each unit d is drawn between 1 and `max_steps - 1`; the gate that keeps the state begins at ln d, that which
    writes at -ln d: it keeps d / (d + 1) of its state a step, and so half of it for about 0.7 d steps (Tallec &
    Ollivier 2018, arXiv 1804.11188). Which gates these are the cell knows: LSTM's forget and input gate, GRU's update
    gate; other biases are zero. `max_steps` (default 100) is to be about the length of the longest dependency.

    Raises `ArgumentError` for `max_steps` not above 2 and, when the weights are made, for what is no bias of such a
    cell, or a cell without a bias.

    >>> from rondeau.cells import LSTMCell
    >>> cell = LSTMCell(3, bias_initializer=Chrono(max_steps=50))
    >>> cell.build_for(2)
    >>> bool((cell.bias[:3] == -cell.bias[3:6]).all())  # input and forget gate
    True
    """

    def __init__(self, max_steps: int = 100, seed: int | None = None) -> None:
        if not max_steps > 2:
            raise ArgumentError("Chrono: max_steps", expected="above 2", got=max_steps)
        self.max_steps, self.seed = max_steps, seed

    def steps(self, units: int) -> Tensor:
        """Of each unit for how many steps it is to remember: `(units,)`."""
        return RandomUniform(1.0, self.max_steps - 1.0, self.seed)((units,))

    def fill(self, tensor: Tensor, generator: torch.Generator | None) -> None:
        fix = "Use it as bias_initializer of an LSTM or a GRU"
        raise ArgumentError("the chrono initialiser is for biases of gated cells", got=tuple(tensor.shape), fix=fix)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Fan-in and fan-out of a kernel `(..., in, out)`."""
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    taps = math.prod(shape[:-2])
    return taps * shape[-2], taps * shape[-1]


_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")
_TRUNCATED_DEVIATION = 0.87962566103423978  # what cutting a unit normal off at two deviations leaves of its deviation


def _truncated_normal(tensor: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.nn.init.trunc_normal_(tensor, 0.0, 1.0, -2.0, 2.0, generator=generator)


class GlorotUniform(VarianceScaling):
    """Uniform within ±sqrt(6 / (fan in + fan out)) (Glorot & Bengio 2010); the default for kernels."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed)


class GlorotNormal(VarianceScaling):
    """Truncated normal of variance 2 / (fan in + fan out) (Glorot & Bengio 2010)."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed)


class HeUniform(VarianceScaling):
    """Uniform within ±sqrt(6 / fan in), for ReLUs (He et al. 2015, arXiv 1502.01852)."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "uniform", seed)


class HeNormal(VarianceScaling):
    """Truncated normal of variance 2 / fan in, for ReLUs (He et al. 2015, arXiv 1502.01852)."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "truncated_normal", seed)


class LecunUniform(VarianceScaling):
    """Uniform within ±sqrt(3 / fan in) (LeCun et al. 1998, Efficient BackProp)."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "uniform", seed)


class LecunNormal(VarianceScaling):
    """Truncated normal of variance 1 / fan in (LeCun et al. 1998, Efficient BackProp)."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "truncated_normal", seed)


_BY_NAME: dict[str, type[Initializer]] = {
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
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "lecun_uniform": LecunUniform,
    "lecun_normal": LecunNormal,
    "chrono": Chrono,
}


def get(identifier: Any) -> Callable[[tuple[int, ...]], Tensor]:
    """An initialiser by name, or the one given; any callable `shape -> Tensor` will do. Raises `ArgumentError` else.

    >>> get("zeros")((2,)).tolist()
    [0.0, 0.0]
    """
    if isinstance(identifier, str):
        kind: type[Initializer] = by_name(identifier, _BY_NAME, "initializer")
        return kind()
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    if callable(identifier) and not isinstance(identifier, type):
        found: Callable[[tuple[int, ...]], Tensor] = identifier
        return found
    raise ArgumentError("not an initialiser", expected="a name or a callable shape -> tensor", got=repr(identifier))


def by_name(name: str, table: dict[str, Any], kind: str) -> Any:
    """The entry called `name`, in any case, with or without underscores; else `ArgumentError`, with the nearest."""
    plain = {key.replace("_", ""): value for key, value in table.items()}
    found = table.get(name, plain.get(name.lower().replace("_", "")))
    if found is None:
        close = difflib.get_close_matches(name, table, n=1)
        fix = f"Did you mean {close[0]!r}?" if close else None
        raise ArgumentError(f"there is no {kind} {name!r}", expected=f"one of {', '.join(table)}", fix=fix)
    return found
