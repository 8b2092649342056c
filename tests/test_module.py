from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rondeau import layers
from rondeau.errors import ArgumentError, NotBuiltError
from rondeau.module import BuildableModule, positive, share


class Late(BuildableModule):
    """Makes its weights in `build`, one of them never trainable."""

    def __init__(self, initializer: Any = "ones", regularizer: Any = "l2") -> None:
        super().__init__()
        self.initializer, self.regularizer = initializer, regularizer

    def build(self, size: int) -> None:
        self.weight = self.add_weight("weight", (size,), self.initializer, self.regularizer)
        self.table = self.add_weight("table", (size, 2), trainable=False)

    def built_for(self, size: int) -> Late:
        self.build(size)
        self.mark_built()
        return self


class Early(BuildableModule):
    def __init__(self) -> None:
        super().__init__()
        self.add_weight("weight", (3,), "ones", "l1")


class Both(torch.nn.Module):
    """A plain module around one that is not built."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.late = torch.nn.Linear(2, 2), Late()


OPTIMISERS = [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.LBFGS]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("make", [Late, Both, lambda: layers.LSTM(3), lambda: layers.Bidirectional(layers.GRU(3))])
def test_an_optimiser_over_weights_that_do_not_exist_raises(make: Callable[[], Any], optimiser: Any) -> None:
    with pytest.raises(NotBuiltError, match=r"has no weights yet.*Call it once"):
        optimiser(make().parameters(), lr=0.1)


def test_an_optimiser_over_a_built_layer_has_all_weights() -> None:
    layer = layers.LSTM(3)
    layer(torch.zeros(1, 2, 4))
    [group] = torch.optim.SGD(layer.parameters(), lr=0.1).param_groups
    assert [tuple(p.shape) for p in group["params"]] == [(4, 12), (3, 12), (12,)]


@pytest.mark.parametrize(
    "use",
    [
        lambda module: module.state_dict(),
        lambda module: module.requires_grad_(False),
        lambda module: sum(p.numel() for p in module.parameters()),
        lambda module: module.load_state_dict({"weight": torch.ones(3), "table": torch.ones(3, 2)}),
    ],
)
def test_weights_that_do_not_exist_cannot_be_read(use: Callable[[Any], Any]) -> None:
    with pytest.raises(NotBuiltError, match="Late has no weights"):
        use(Late())


def test_a_module_without_build_is_built() -> None:
    module = Early()
    assert module.built
    assert [name for name, _ in module.named_parameters()] == ["weight"]
    torch.optim.SGD(module.parameters(), lr=0.1)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_are_built_or_not_as_the_original(again: Callable[[Any], Any]) -> None:
    with pytest.raises(NotBuiltError):
        torch.optim.SGD(again(Late()).parameters(), lr=0.1)
    later = again(Late()).built_for(3)
    assert later.weight.tolist() == [1, 1, 1]
    copied = again(Late().built_for(3))
    assert copied.built
    assert [name for name, _ in copied.named_parameters()] == ["weight", "table"]


def test_weights_are_made_where_the_module_was_sent() -> None:
    assert Late().double().built_for(3).weight.dtype == torch.float64
    layer = layers.LSTM(3).to(torch.float64)
    assert layer(torch.zeros(1, 2, 4, dtype=torch.float64)).dtype == torch.float64
    assert {p.dtype for p in layer.parameters()} == {torch.float64}


def test_trainable_reaches_all_but_what_never_learns() -> None:
    module = Late().built_for(3)
    assert module.trainable
    assert [p.requires_grad for p in module.parameters()] == [True, False]
    module.trainable = False
    assert [p.requires_grad for p in module.parameters()] == [False, False]
    module.trainable = True
    assert [p.requires_grad for p in module.parameters()] == [True, False]


def test_trainable_can_be_said_before_the_weights_exist() -> None:
    module = Late()
    module.trainable = False
    module.built_for(3)
    assert not module.weight.requires_grad
    for layer in (layers.LSTM(3, trainable=False), layers.Bidirectional(layers.LSTM(3), trainable=False)):
        layer(torch.zeros(1, 2, 4))
        assert not any(p.requires_grad for p in layer.parameters())
        layer.trainable = True
        assert all(p.requires_grad for p in layer.parameters())
    assert not layers.Embedding(3, 2, trainable=False).embeddings.requires_grad


def test_trainable_reaches_plain_modules_inside() -> None:
    layer = layers.TimeDistributed(torch.nn.Linear(4, 2))
    layer.trainable = False
    assert not any(p.requires_grad for p in layer.layer.parameters())


def test_losses_are_the_trainable_weights_penalties() -> None:
    module = Late().built_for(3)
    [loss] = module.losses
    assert float(loss.detach()) == pytest.approx(0.03)
    loss.backward()
    assert module.weight.grad is not None
    assert module.weight.grad.tolist() == pytest.approx([0.02] * 3)
    module.trainable = False
    assert module.losses == []  # as in Keras
    assert Late().losses == []


def test_losses_of_a_recurrent_layer_are_keras() -> None:
    keras = pytest.importorskip("keras")
    options = {"kernel_regularizer": "l2", "recurrent_regularizer": "l1", "bias_regularizer": "l2"}
    theirs = keras.layers.Bidirectional(keras.layers.LSTM(3, **options, bias_initializer="uniform"))
    ours = layers.Bidirectional(layers.LSTM(3, **options))
    theirs.build((2, 5, 4))
    ours.build_for((2, 5, 4))
    ours.set_weights([weight.value for weight in theirs.weights])
    assert len(ours.losses) == len(theirs.losses) == 6
    assert sum(ours.losses).item() == pytest.approx(sum(theirs.losses).item(), rel=1e-6)  # type: ignore[union-attr]


def test_a_seed_gives_a_generator_of_ones_own() -> None:
    module = Late()
    assert module.generator() is None
    module.seed = 3
    own = module.generator()
    assert own is not None
    assert module.generator("cpu") is own
    assert torch.equal(torch.rand(4, generator=own), torch.rand(4, generator=torch.Generator().manual_seed(3)))
    copied = copy.deepcopy(module).generator()
    assert copied is not None
    assert copied is not own
    assert torch.equal(torch.rand(4, generator=copied), torch.rand(4, generator=own))  # it goes on where it was


def numpy_zeros(shape: tuple[int, ...]) -> Any:
    return np.zeros(shape)


def too_small(shape: tuple[int, ...]) -> Tensor:
    return torch.zeros(2)


@pytest.mark.parametrize(("initializer", "got"), [(numpy_zeros, "ndarray"), (too_small, r"\(2,\)")])
def test_an_initialiser_that_gives_something_else(initializer: Any, got: str) -> None:
    with pytest.raises(ArgumentError, match=rf"at Late.weight\): expected \(3,\), got {got}"):
        Late(initializer).built_for(3)


def test_numbers_and_rates() -> None:
    assert positive("Layer", "units", np.int64(3)) == 3
    assert type(positive("Layer", "units", np.int64(3))) is int
    for wrong in (0, -1, 2.0, "3", True, None):
        with pytest.raises(ArgumentError, match="Layer: units: expected a positive integer, got"):
            positive("Layer", "units", wrong)
    assert share("Layer", "rate", 0) == 0.0
    for bad in (1, -0.1, "0.5", None, float("nan"), True):
        with pytest.raises(ArgumentError, match="Layer: rate: expected 0 <= rate < 1, got"):
            share("Layer", "rate", bad)
