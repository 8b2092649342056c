"""JAX: `lax.scan` under jit, the inputs' products before it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import TRAINING, Problem
from benchmarks.formulas import FORMULAS, Formula, data, weights
from benchmarks.peers.base import INPUTS, OUTPUTS, Shaker


class JaxOps:
    """See `benchmarks.formulas.Ops`."""

    sigmoid, tanh, rsqrt = staticmethod(jax.nn.sigmoid), staticmethod(jnp.tanh), staticmethod(jax.lax.rsqrt)

    def split(self, x: Any, parts: int) -> Any:
        return jnp.split(x, parts, -1)

    def mean(self, x: Any) -> Any:
        return x.mean(-1, keepdims=True)


OPS = JaxOps()


def apply(formula: Formula, units: int, weights: Any, x: Any) -> Any:
    """Outputs `(time, batch, units)`."""

    def step(state: Any, at: Any) -> Any:
        state = formula.step(OPS, weights, at, state)
        return state, state[0]

    begun = (jnp.zeros((x.shape[1], units), x.dtype),) * formula.states
    return jax.lax.scan(step, begun, formula.project(OPS, weights, x))[1]


class Scan:
    """Weights are arguments of the compiled function; JAX has no arrays that change, so `change` makes new ones."""

    def __init__(self, problem: Problem) -> None:
        self.training, self.shake = problem.mode == TRAINING, Shaker()
        self.note = "padded to the longest row" if problem.case.ragged else ""
        formula, units = FORMULAS[problem.cell], problem.case.units
        self.weights = jax.tree.map(jnp.asarray, weights(problem))
        self.x, self.cotangent = map(jnp.asarray, data(problem))

        def forward(weights: Any, x: Any) -> Any:
            return apply(formula, units, weights, x)

        def train(weights: Any, x: Any, cotangent: Any) -> Any:
            outputs, back = jax.vjp(forward, weights, x)
            return outputs, back(cotangent)

        self.forward, self.train = jax.jit(forward), jax.jit(train)
        self.add = jax.jit(lambda weights, amount: jax.tree.map(lambda w: w + amount, weights))

    def change(self) -> None:
        if self.training:
            self.weights = jax.block_until_ready(self.add(self.weights, self.shake()))

    def run(self) -> Any:
        if self.training:
            return jax.block_until_ready(self.train(self.weights, self.x, self.cotangent))
        return jax.block_until_ready(self.forward(self.weights, self.x))

    def results(self) -> dict[str, NDArray[np.floating[Any]]]:
        if not self.training:
            return {OUTPUTS: np.asarray(self.run())}
        outputs, (gradients, inputs) = self.run()
        found = {OUTPUTS: outputs, INPUTS: inputs, **{f"d {name}": g for name, g in gradients.items()}}
        return {name: np.asarray(array) for name, array in found.items()}


def make(problem: Problem) -> Scan:
    """See `Runner`."""
    return Scan(problem)
