"""Keras as the judge of layers: the same weights, inputs and cotangents must give the same outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

TOLERANCE = 1e-5  # of the largest value, in float32


class Judge:
    """Holds a layer to Keras's."""

    def __init__(self, keras: Any) -> None:
        self.keras = keras

    def twins(self, ours: Any, theirs: Any, shape: Any) -> tuple[Any, Any]:
        """Both layers built for inputs of this shape, ours with the weights of theirs, none of them plain zero."""
        theirs.build(shape)
        ours.build_for(shape)
        with torch.no_grad():
            for weight in theirs.weights:
                weight.value.add_(0.1 * torch.randn(weight.shape))
        assert [tuple(w.shape) for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
        ours.set_weights([weight.value for weight in theirs.weights])
        for own, other in zip(ours.get_weights(), theirs.weights, strict=True):
            assert (own == other.value.detach().numpy()).all()
        return ours, theirs

    def same(
        self,
        ours: Any,
        theirs: Any,
        inputs: Sequence[Tensor],
        call: Callable[..., Any] = lambda layer, *inputs: layer(*inputs),
        their_call: Callable[..., Any] | None = None,
        note: object = None,
    ) -> None:
        """Outputs, and gradients of the inputs and of every weight, agree to 1e-5.

        Args:
            call, their_call: how a layer is called on the inputs (default: the same way).
        """
        mine = results(ours, list(ours.weights), inputs, call)
        other = results(theirs, [weight.value for weight in theirs.weights], inputs, their_call or call)
        assert len(mine) == len(other)
        for (what, a), (_, b) in zip(mine, other, strict=True):
            assert a.shape == b.shape, (note, what, tuple(a.shape), tuple(b.shape))
            largest = max(1.0, float(b.abs().max())) if b.numel() else 1.0
            error = float((a - b).abs().max()) if b.numel() else 0.0
            assert error <= TOLERANCE * largest, (note, what, error)


def results(
    layer: Any, weights: list[Tensor], inputs: Sequence[Tensor], call: Callable[..., Any]
) -> list[tuple[str, Tensor]]:
    given = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    for weight in weights:
        weight.grad = None
    outputs = flat(call(layer, *given))
    torch.manual_seed(11)
    cotangents = [torch.randn(y.shape) for y in outputs]
    learning = [i for i, y in enumerate(outputs) if y.requires_grad]  # not where all is masked
    if learning:
        torch.autograd.backward([outputs[i] for i in learning], [cotangents[i] for i in learning])
    slopes = [("input", x) for x in given if x.requires_grad] + [("weight", weight) for weight in weights]
    found = [(f"output {i}", y.detach()) for i, y in enumerate(outputs)]
    for i, (what, leaf) in enumerate(slopes):
        found.append((f"gradient of {what} {i}", torch.zeros_like(leaf) if leaf.grad is None else leaf.grad.detach()))
    return found


def flat(value: Any) -> list[Tensor]:
    return [leaf for part in value for leaf in flat(part)] if isinstance(value, (list, tuple)) else [value]


@pytest.fixture
def judge() -> Judge:
    return Judge(pytest.importorskip("keras"))
