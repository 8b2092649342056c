"""The cells as peers run them, and what they start from. Nothing here imports a framework.

A cell is written once, over `ops`: the few functions in which torch, JAX and Keras differ. `project` is what does not
depend on the state, done for all steps at once before the loop; `step` is the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import TRAINING, Problem

Array = NDArray[np.float32]
Weights = dict[str, Any]
State = tuple[Any, ...]
EPSILON = 1e-5  # of layer normalisation
# With a recurrent gain of one a normalised LSTM that has not learnt anything is chaotic: after some hundred steps its
# outputs depend on the rounding, and nothing can be held to float64. A tenth, as Cooijmans et al. (2016, arXiv
# 1603.09025) start with, keeps it calm.
GAINS = {"input_gain": 1.0, "recurrent_gain": 0.1, "cell_gain": 1.0}


class Ops(Protocol):
    """What a step needs beside operators, `(rows, units)` throughout."""

    def sigmoid(self, x: Any) -> Any: ...
    def tanh(self, x: Any) -> Any: ...
    def split(self, x: Any, parts: int) -> Any: ...
    def mean(self, x: Any) -> Any: ...
    def rsqrt(self, x: Any) -> Any: ...


@dataclass(frozen=True)
class Formula:
    """A cell as the peers know it.

    Attributes:
        states: how many tensors `(batch, units)` it remembers; the first is also its output.
        products: columns of the matrix products a step makes of its `features + units` numbers, over `units`.
        shapes: (features, units) -> weight name -> shape.
        project: (ops, weights, x) -> what `step` reads of the inputs; x `(..., features)`.
        step: (ops, weights, projected, state) -> state.
    """

    states: int
    products: int
    shapes: Callable[[int, int], dict[str, tuple[int, ...]]]
    project: Callable[[Ops, Weights, Any], Any]
    step: Callable[[Ops, Weights, Any, State], State]


def _affine(o: Ops, w: Weights, x: Any) -> Any:
    return x @ w["kernel"] + w["bias"]


def _affine_twice(o: Ops, w: Weights, x: Any) -> Any:
    return x @ w["kernel"] + w["bias"][0]


def _gates(count: int, **more: int) -> Callable[[int, int], dict[str, tuple[int, ...]]]:
    """Shapes of an ordinary cell of `count` gates, and of vectors `more` units long."""

    def shapes(features: int, units: int) -> dict[str, tuple[int, ...]]:
        wide = count * units
        plain = {"kernel": (features, wide), "recurrent_kernel": (units, wide), "bias": (wide,)}
        return {**plain, **{name: (times * units,) for name, times in more.items()}}

    return shapes


def _simple_rnn(o: Ops, w: Weights, p: Any, state: State) -> State:
    return (o.tanh(p + state[0] @ w["recurrent_kernel"]),)


def _lstm(o: Ops, w: Weights, p: Any, state: State) -> State:
    h, c = state
    i, f, g, out = o.split(p + h @ w["recurrent_kernel"], 4)
    c = o.sigmoid(f) * c + o.sigmoid(i) * o.tanh(g)
    return o.sigmoid(out) * o.tanh(c), c


def _gru_shapes(features: int, units: int) -> dict[str, tuple[int, ...]]:
    return {**_gates(3)(features, units), "bias": (2, 3 * units)}


def _gru(o: Ops, w: Weights, p: Any, state: State) -> State:
    (h,) = state
    xz, xr, xn = o.split(p, 3)
    hz, hr, hn = o.split(h @ w["recurrent_kernel"] + w["bias"][1], 3)
    z = o.sigmoid(xz + hz)
    n = o.tanh(xn + o.sigmoid(xr + hr) * hn)
    return (z * h + (1 - z) * n,)


def _normalised(o: Ops, x: Any) -> Any:
    centred = x - o.mean(x)
    return centred * o.rsqrt(o.mean(centred * centred) + EPSILON)


def _layer_norm_project(o: Ops, w: Weights, x: Any) -> Any:
    return _normalised(o, x @ w["kernel"]) * w["input_gain"] + w["bias"]


def _layer_norm_lstm(o: Ops, w: Weights, p: Any, state: State) -> State:
    h, c = state
    z = p + _normalised(o, h @ w["recurrent_kernel"]) * w["recurrent_gain"]
    i, f, g, out = o.split(z, 4)
    c = o.sigmoid(f) * c + o.sigmoid(i) * o.tanh(g)
    return o.sigmoid(out) * o.tanh(_normalised(o, c) * w["cell_gain"] + w["cell_bias"]), c


def _peephole_lstm(o: Ops, w: Weights, p: Any, state: State) -> State:
    h, c = state
    i, f, g, out = o.split(p + h @ w["recurrent_kernel"], 4)
    new = o.sigmoid(f + w["forget_peephole"] * c) * c + o.sigmoid(i + w["input_peephole"] * c) * o.tanh(g)
    return o.sigmoid(out + w["output_peephole"] * new) * o.tanh(new), new


def _minimal_shapes(features: int, units: int) -> dict[str, tuple[int, ...]]:
    return {"gate": (features + units, units), "new": (features + units, units)}


def _minimal_project(o: Ops, w: Weights, x: Any) -> Any:
    features = x.shape[-1]
    return x @ w["gate"][:features], x @ w["new"][:features]


def _minimal(o: Ops, w: Weights, p: Any, state: State) -> State:
    (h,) = state
    features = w["gate"].shape[0] - w["gate"].shape[1]
    f = o.sigmoid(p[0] + h @ w["gate"][features:])
    n = o.tanh(p[1] + (f * h) @ w["new"][features:])
    return ((1 - f) * h + f * n,)


_LAYER_NORM = _gates(4, input_gain=4, recurrent_gain=4, cell_gain=1, cell_bias=1)
_PEEPHOLE = _gates(4, input_peephole=1, forget_peephole=1, output_peephole=1)

FORMULAS = {
    "simple rnn": Formula(1, 1, _gates(1), _affine, _simple_rnn),
    "lstm": Formula(2, 4, _gates(4), _affine, _lstm),
    "gru": Formula(1, 3, _gru_shapes, _affine_twice, _gru),
    "layer-norm lstm": Formula(2, 4, _LAYER_NORM, _layer_norm_project, _layer_norm_lstm),
    "peephole lstm": Formula(2, 4, _PEEPHOLE, _affine, _peephole_lstm),
    "minimal": Formula(1, 2, _minimal_shapes, _minimal_project, _minimal),
}
STANDARD = ("lstm", "gru", "simple rnn")
CUSTOM = ("layer-norm lstm", "peephole lstm", "minimal")


def operations(problem: Problem) -> int:
    """Useful floating-point operations: the cell's matrix products on real steps, three times over in training."""
    case, formula = problem.case, FORMULAS[problem.cell]
    forward = 2 * case.steps * formula.products * case.units * (case.features + case.units)
    return 3 * forward if problem.mode == TRAINING else forward


def weights(problem: Problem) -> dict[str, Array]:
    """The weights everybody starts from: uniform within 1/sqrt(units), as torch's; gains around `GAINS`."""
    case = problem.case
    random = np.random.default_rng(problem.seed)
    bound = case.units**-0.5
    return {
        name: (GAINS.get(name, 0) + random.uniform(-bound, bound, shape)).astype(np.float32)
        for name, shape in FORMULAS[problem.cell].shapes(case.features, case.units).items()
    }


def data(problem: Problem) -> tuple[Array, Array]:
    """Inputs `(time, batch, features)` and the cotangent `(time, batch, units)`, both zero behind a row's end."""
    case = problem.case
    random = np.random.default_rng(problem.seed + 1)
    real = (np.arange(case.time)[:, None] < case.lengths)[..., None]
    x = random.standard_normal((case.time, case.batch, case.features), dtype=np.float32)
    cotangent = random.standard_normal((case.time, case.batch, case.units), dtype=np.float32)
    return x * real, cotangent * real
