"""Keras 3 on TensorFlow or on JAX: its own layer and a cell over hoisted products, whichever is faster here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from benchmarks.cases import TRAINING, Problem
from benchmarks.formulas import FORMULAS, STANDARD, Formula, data, weights
from benchmarks.peers.base import INPUTS, OUTPUTS, Shaker

LAYERS = {"simple rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


class KerasOps:
    """See `benchmarks.formulas.Ops`."""

    sigmoid, tanh, rsqrt = staticmethod(ops.sigmoid), staticmethod(ops.tanh), staticmethod(ops.rsqrt)

    def split(self, x: Any, parts: int) -> Any:
        return ops.split(x, parts, -1)

    def mean(self, x: Any) -> Any:
        return ops.mean(x, -1, keepdims=True)


OPS = KerasOps()


class HoistedCell(keras.layers.Layer):  # type: ignore[misc]
    """What is left of a step when the inputs' products are done; they come in side by side."""

    def __init__(self, formula: Formula, units: int, owner: Hoisted) -> None:
        super().__init__()
        self.formula, self.state_size, self.output_size = formula, [units] * formula.states, units
        self.tensors: Callable[[], dict[str, Any]] = owner.tensors
        self.parts: Callable[[], int] = lambda: owner.parts

    def build(self, shape: Any) -> None:
        """Nothing: the weights are the owner's."""

    def call(self, projected: Any, states: Any) -> Any:
        at = projected if self.parts() == 1 else ops.split(projected, self.parts(), -1)
        states = self.formula.step(OPS, self.tensors(), at, tuple(states))
        return states[0], list(states)


class Hoisted(keras.layers.Layer):  # type: ignore[misc]
    """All inputs' products at once, then `keras.layers.RNN` over them."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.formula, self.parts = FORMULAS[problem.cell], 1
        shapes = self.formula.shapes(problem.case.features, problem.case.units)
        self.named = {name: self.add_weight(shape=shape, name=name) for name, shape in shapes.items()}
        self.rnn = keras.layers.RNN(HoistedCell(self.formula, problem.case.units, self), return_sequences=True)

    def tensors(self) -> dict[str, Any]:
        """The weights as the backend's tensors."""
        return {name: ops.convert_to_tensor(variable) for name, variable in self.named.items()}

    def call(self, x: Any, training: bool = False) -> Any:
        projected = self.formula.project(OPS, self.tensors(), x)
        if isinstance(projected, tuple):
            self.parts, projected = len(projected), ops.concatenate(projected, -1)
        return self.rnn(projected)


class Attempt:
    """One way to run a problem: a layer, and a function of nothing that computes outputs and gradients."""

    def __init__(self, name: str, layer: Any, problem: Problem, compute: Callable[[Attempt], Any]) -> None:
        self.name, self.layer = name, layer
        self.x, self.cotangent = (np.ascontiguousarray(a.swapaxes(0, 1)) for a in data(problem))
        layer(self.x[:, :1])  # its weights exist now
        self.names = list(weights(problem))
        for variable, array in zip(layer.trainable_variables, weights(problem).values(), strict=True):
            variable.assign(array)
        self.run = compute(self)


def on_tensorflow(training: bool, fused: bool) -> Callable[[Attempt], Any]:
    """A graph, compiled by XLA where `fused`."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    def compute(attempt: Attempt) -> Any:
        layer, x, cotangent = attempt.layer, tf.constant(attempt.x), tf.constant(attempt.cotangent)

        @tf.function(jit_compile=fused)  # type: ignore[untyped-decorator,unused-ignore]
        def train(x: Any, cotangent: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                outputs = layer(x, training=True)
            sources = [x, *(variable.value for variable in layer.trainable_variables)]
            return outputs, tape.gradient(outputs, sources, output_gradients=cotangent)

        @tf.function(jit_compile=fused)  # type: ignore[untyped-decorator,unused-ignore]
        def infer(x: Any) -> Any:
            return layer(x, training=False), []

        # On the CPU a call returns when its results are there.
        return (lambda: train(x, cotangent)) if training else (lambda: infer(x))

    return compute


def on_jax(training: bool) -> Callable[[Attempt], Any]:
    """Jitted, the weights as arguments."""
    import jax

    def compute(attempt: Attempt) -> Any:
        layer, x, cotangent = attempt.layer, jax.numpy.asarray(attempt.x), jax.numpy.asarray(attempt.cotangent)

        def forward(values: Any, x: Any) -> Any:
            others = [variable.value for variable in layer.non_trainable_variables]
            return layer.stateless_call(values, others, x, training=training)[0]

        def train(values: Any, x: Any, cotangent: Any) -> Any:
            outputs, back = jax.vjp(forward, values, x)
            gradients, inputs = back(cotangent)
            return outputs, [inputs, *gradients]

        jitted = jax.jit(train) if training else jax.jit(lambda values, x, cotangent: (forward(values, x), []))

        def run() -> Any:
            return jax.block_until_ready(jitted([v.value for v in layer.trainable_variables], x, cotangent))

        return run

    return compute


def attempts(problem: Problem) -> list[Attempt]:
    """Every way that works; the layer of Keras's own for the cells that it has."""
    training = problem.mode == TRAINING
    if keras.backend.backend() == "jax":
        ways = {"": on_jax(training)}
    else:
        ways = {"": on_tensorflow(training, False), ", XLA": on_tensorflow(training, True)}
    found = []
    for way, compute in ways.items():
        if problem.cell in STANDARD:
            layer = LAYERS[problem.cell](problem.case.units, return_sequences=True)
            found.append(Attempt(f"its own layer{way}", layer, problem, compute))
        found.append(Attempt(f"hoisted{way}", Hoisted(problem), problem, compute))
    return found


class KerasRunner:
    """The fastest attempt."""

    def __init__(self, problem: Problem) -> None:
        self.training, self.shake = problem.mode == TRAINING, Shaker()
        self.best = min(attempts(problem), key=self.seconds)
        padded = "padded to the longest row, " if problem.case.ragged else ""
        self.note = f"{padded}{self.best.name} was fastest"

    def seconds(self, attempt: Attempt) -> float:
        """Of the fastest of three repetitions, after one that compiles."""
        attempt.run()
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            attempt.run()
            times.append(time.perf_counter() - begun)
        return min(times)

    def change(self) -> None:
        amount = self.shake()
        for variable in self.best.layer.trainable_variables if self.training else ():
            variable.assign_add(np.full(variable.shape, amount, np.float32))

    def run(self) -> Any:
        return self.best.run()

    def results(self) -> dict[str, NDArray[np.floating[Any]]]:
        outputs, gradients = self.run()
        names = [INPUTS, *(f"d {name}" for name in self.best.names)] if self.training else []
        found = {OUTPUTS: outputs, **dict(zip(names, gradients, strict=True))}
        arrays = {name: np.asarray(array) for name, array in found.items()}
        return {n: a.swapaxes(0, 1) if n in (OUTPUTS, INPUTS) else a for n, a in arrays.items()}


def make(problem: Problem) -> KerasRunner:
    """See `Runner`."""
    return KerasRunner(problem)
