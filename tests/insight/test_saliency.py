"""Saliency: against what is known in closed form, and against models whose answer is known to rest on one step."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rondeau import Ragged, Sequential, layers
from rondeau.errors import ArgumentError, DataError, NumericsError, RondeauError, ShapeError
from rondeau.insight import Saliency, saliency
from rondeau.insight.attribution import METHODS
from rondeau.models import Model

ALL = sorted(METHODS)
EPS = torch.finfo(torch.float32).eps


class Linear(torch.nn.Module):
    """One number a row: the sum over steps of w[t] . x[t]."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(w)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.w).sum((1, 2))


def found(model: Any, x: Any, *args: Any, **options: Any) -> Saliency:
    (one,) = saliency(model, x, *args, **options)
    return one


# Closed forms


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("baseline", [None, "mean", "tensor"])
def test_of_a_linear_model_all_methods_give_weight_times_difference(method: str, baseline: Any) -> None:
    torch.manual_seed(0)
    w, x, b = torch.randn(6, 3), torch.randn(2, 6, 3), torch.randn(6, 3)
    ends = {"None": torch.zeros(6, 3), "mean": None, "tensor": b}[str(baseline)]
    for row, one in enumerate(saliency(Linear(w), x, method, baseline=b if baseline == "tensor" else baseline)):
        start = x[row].mean(0) if ends is None else ends
        parts = w * (x[row] - start)
        scale = float((w * x[row]).abs().sum() + (w * start).abs().sum())
        assert one.scores == pytest.approx(parts.sum(1).tolist(), abs=8 * EPS * scale)
        if method != "occlusion":
            assert np.asarray(one.features) == pytest.approx(parts.detach().numpy(), abs=8 * EPS * scale)
        assert one.value == pytest.approx((w * x[row]).sum().item(), abs=8 * EPS * scale)
        assert one.baseline_value == pytest.approx((w * start).sum().item(), abs=8 * EPS * scale)
        assert abs(one.gap) <= 8 * EPS * scale
        assert one.method == method


def test_integrated_gradients_of_a_product_share_it_evenly() -> None:
    """Along the line, x0 * x1 has the integral x0 * x1 / 2 for each, which gradient x input doubles."""
    x = torch.tensor([[[3.0], [4.0]]])

    def product(x: Tensor) -> Tensor:
        return x[:, 0] * x[:, 1]

    assert found(product, x).scores == pytest.approx([6, 6], rel=4 * EPS)
    doubled = found(product, x, "gradient_x_input")
    assert doubled.scores == pytest.approx([12, 12], rel=4 * EPS)
    assert doubled.gap == pytest.approx(12, rel=4 * EPS)
    assert doubled.relative_gap == pytest.approx(0.5, rel=4 * EPS)
    assert doubled.shares == pytest.approx([0.5, 0.5])
    assert found(product, x, "occlusion").scores == pytest.approx([12, 12], rel=4 * EPS)
    assert found(product, x, "occlusion", window=2).scores == pytest.approx([6, 6], rel=4 * EPS)


def test_the_relative_gap_does_not_let_scores_cancel() -> None:
    def difference(x: Tensor) -> Tensor:
        return (x[:, 0] * x[:, 1] - x[:, 2] * x[:, 3])[:, 0]

    one = found(difference, torch.tensor([[[3.0], [4.0], [1.0], [2.0]]]), "gradient_x_input")
    assert one.scores == pytest.approx([12, 12, -2, -2], rel=4 * EPS)
    assert one.relative_gap == pytest.approx(10 / 28, rel=8 * EPS)


def test_a_window_is_shared_by_its_steps_and_the_last_one_is_shorter() -> None:
    x = torch.tensor([[[1.0], [2.0], [3.0]]])
    one = found(Linear(torch.ones(3, 1)), x, "occlusion", window=2)
    assert one.scores == pytest.approx([1.5, 1.5, 3.0], rel=4 * EPS)


def test_points_are_added_until_the_sum_is_complete() -> None:
    def steep(x: Tensor) -> Tensor:
        return torch.sigmoid(40 * (x.sum((1, 2)) - 0.9))

    x = torch.full((1, 4, 1), 0.5)
    one = found(steep, x, tolerance=1e-3)
    assert one.relative_gap <= 1e-3
    assert one.evaluations > 2 + 8
    assert found(steep, x, tolerance=0.2).evaluations < one.evaluations
    assert found(Linear(torch.ones(4, 1)), x).evaluations == 2 + 8  # the ends, and the first attempt


def test_a_sum_that_stays_incomplete_is_told_and_far_off_refused() -> None:
    def jump(x: Tensor) -> Tensor:
        return x.sum((1, 2)) + 5 * (x.sum((1, 2)) > 1.3).to(x.dtype)  # its derivative does not know of the jump

    x = torch.full((1, 4, 1), 0.5)
    with pytest.raises(NumericsError, match="do not add up") as error:
        saliency(jump, x)
    assert "occlusion" in str(error.value)
    with pytest.warns(RuntimeWarning, match="of 1 rows 1 are above the tolerance of 1 with 16 points"):
        (one,) = saliency(jump, x, tolerance=1, max_points=16)
    assert one.gap == pytest.approx(-5)
    assert one.relative_gap == pytest.approx(2.5)


# Every kind of model and input


class Subclassed(Model):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = layers.Embedding(12, 4)
        self.lstm = layers.LSTM(5)
        self.out = layers.Dense(3)

    def forward(self, x: Any) -> Any:
        return self.out(self.lstm(self.embedding(x)))


def functional() -> Any:
    x = layers.Input((None,), dtype="int64")
    return Model(x, layers.Dense(3)(layers.GRU(5)(layers.Embedding(12, 4)(x))))


def sequential() -> Any:
    return Sequential([layers.Embedding(12, 4), layers.Bidirectional(layers.LSTM(5)), layers.Dense(3)])


class Plain(torch.nn.Module):
    """Time first inside; a second embedding reads places, not ids."""

    def __init__(self) -> None:
        super().__init__()
        self.places = torch.nn.Embedding(20, 4)
        self.ids = torch.nn.Embedding(12, 4)
        self.rnn = torch.nn.GRU(4, 5, num_layers=2)
        self.out = torch.nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        embedded = self.places(torch.arange(x.shape[1]))[:, None] + self.ids(x.t())
        return self.out(self.rnn(embedded)[0][-1])


def embedding_of(model: Any) -> Tensor:
    for module in model.modules():
        if isinstance(module, layers.Embedding):
            return module.embeddings
    return model.ids.weight


@pytest.mark.parametrize("make", [Subclassed, functional, sequential, Plain])
@pytest.mark.parametrize("method", ALL)
def test_ids_are_explained_where_they_enter(make: Callable[[], Any], method: str) -> None:
    """Occlusion by an id is what comes of giving that id; gradients are those by the rows of the table."""
    torch.manual_seed(1)
    model = make()
    ids = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    model(ids)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
        table = embedding_of(model)
        table.normal_()
        plain = model.eval()(ids)
    tolerance = 100 * EPS * float(plain.abs().max())
    for row, one in enumerate(saliency(model, ids, method, baseline=7, target=2)):
        assert one.value == pytest.approx(plain[row, 2].item(), abs=tolerance)
        assert one.features is None
        if method == "occlusion":
            other = ids[row].repeat(5, 1)
            other.fill_diagonal_(7)
            lost = plain[row, 2] - model(other)[:, 2]
            assert one.scores == pytest.approx(lost.tolist(), abs=tolerance)
        elif method == "gradient_x_input":
            distinct = ids[row].unique()
            (slope,) = torch.autograd.grad(model(ids[row][None])[0, 2], table)
            parts = ((table - table[7]) * slope).sum(1)
            own = [sum(s for s, i in zip(one.scores, ids[row], strict=True) if i == token) for token in distinct]
            assert own == pytest.approx(parts[distinct].tolist(), abs=tolerance)
        else:
            assert one.relative_gap < 0.01
            whole = model(torch.full((1, 5), 7))[0, 2]
            assert one.baseline_value == pytest.approx(whole.item(), abs=tolerance)


@pytest.mark.parametrize("make", [Plain, sequential])
@pytest.mark.parametrize("time", [1, 2, 3])
def test_a_batch_turned_round_is_seen_for_what_it_is(time: int, make: Callable[[], Any]) -> None:
    torch.manual_seed(0)
    model = make()
    ids = torch.tensor([[2, 2, 5][:time]])
    model(ids)
    one = found(model, ids, "occlusion", baseline=1, target=0)
    for t in range(time):
        other = ids.clone()
        other[0, t] = 1
        lost = (model(ids)[0, 0] - model(other)[0, 0]).item()
        assert one.scores[t] == pytest.approx(lost, abs=50 * EPS)


@pytest.mark.parametrize("method", ALL)
def test_ragged_rows_are_as_by_themselves(method: str) -> None:
    torch.manual_seed(0)
    model = Sequential([layers.Input((None, 3)), layers.LSTM(6, return_sequences=True), layers.Dense(4)])
    rows = [torch.randn(n, 3) for n in (5, 2, 7)]
    together = saliency(model, Ragged.from_rows(rows), method, step=[-1, 0, 3], target=[0, 1, 2])
    for row, one, step, target in zip(rows, together, (4, 0, 3), (0, 1, 2), strict=True):
        alone = found(model, row[None], method, step=step, target=target)
        assert len(one.scores) == len(row)
        assert (one.index, one.step) == (target, step)
        assert one.target == f"output {target} at step {step}"
        assert one.scores == pytest.approx(alone.scores, abs=20 * EPS)
        assert one.scores[step + 1 :] == [0.0] * (len(row) - step - 1)  # what comes later has no say
    assert saliency(model, rows, method)[1].scores == saliency(model, Ragged.from_rows(rows), method)[1].scores


def test_steps_that_are_masked_have_nothing() -> None:
    torch.manual_seed(0)
    ids = torch.tensor([[3, 1, 4, 0, 0]])
    model = Sequential([layers.Embedding(9, 4, mask_zero=True), layers.LSTM(5), layers.Dense(1)])
    model(ids)
    for method in ALL:
        one = found(model, ids, method)
        assert one.scores[3:] == [0.0, 0.0]
        assert one.scores[:3] == pytest.approx(found(model, ids[:, :3], method).scores, abs=20 * EPS)
        assert all(one.scores[:3])


def test_a_masked_step_stays_masked_while_the_others_move() -> None:
    torch.manual_seed(0)
    model = Sequential([layers.Input((None, 2)), layers.Masking(), layers.LSTM(5), layers.Dense(1)])
    x = torch.tensor([[[1.0, 2.0], [0.0, 0.0], [3.0, -1.0]]])
    without = Sequential([*model.layers[1:]])
    for method in ALL:
        one, bare = found(model, x, method), found(without, x[:, [0, 2]], method)
        assert one.scores[1] == 0.0
        assert [one.scores[0], one.scores[2]] == pytest.approx(bare.scores, abs=20 * EPS)
    assert found(model, x).relative_gap < 0.01


def test_counts_are_no_ids() -> None:
    model = Sequential([layers.Input((None, 2)), layers.LSTM(3), layers.Dense(1)])
    x = torch.tensor([[[1, 2], [3, 4]]])
    assert found(model, x).scores == found(model, x.float()).scores


def test_arrays_and_integers_of_numpy_do() -> None:
    model = sequential()
    x = np.array([[3, 1, 4]], np.int32)
    model(torch.from_numpy(x))
    assert found(model, x).scores == found(model, torch.from_numpy(x)).scores


def test_a_double_model_takes_floats_of_any_kind() -> None:
    model = Linear(torch.ones(3, 1, dtype=torch.float64))
    assert found(model, np.ones((1, 3, 1), np.float32)).scores == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 4, 3)])
def test_the_default_target_is_the_largest_unit_of_the_last_step(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    weights = torch.randn(4, *shape[1:])

    def model(x: Tensor) -> Tensor:
        return torch.einsum("bt,t...->b...", x[..., 0], weights)

    x = torch.randn(2, 4, 1)
    for row, one in enumerate(saliency(model, x)):
        outputs = model(x)[row]
        last = outputs[-1] if outputs.ndim == 2 else outputs
        assert one.value == pytest.approx(float(last.max()), rel=8 * EPS)
        assert one.index == (int(last.argmax()) if last.ndim else None)
        assert one.step == (3 if len(shape) == 3 else None)


def test_a_function_of_several_outputs_can_be_the_target() -> None:
    def model(x: Tensor) -> dict[str, Tensor]:
        return {"a": x.sum((1, 2)), "b": x.square().sum((1, 2))}

    x = torch.tensor([[[1.0], [2.0]]])
    one = found(model, x, target=lambda outputs: outputs["b"] - outputs["a"])
    assert one.scores == pytest.approx([0.0, 2.0], abs=8 * EPS)
    assert (one.target, one.index, one.step) == ("a function of the output", None, None)


# Nothing is changed


class Noisy(torch.nn.Module):
    """Draws random numbers in any mode."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0 * torch.rand_like(x)


def test_the_model_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    model = Sequential(
        [
            layers.Embedding(9, 4),
            layers.Dropout(0.5),
            layers.LSTM(5, stateful=True, return_sequences=True, recurrent_dropout=0.3),
            layers.Dense(3),
        ]
    )
    ids = torch.tensor([[3, 1, 4, 1], [2, 7, 1, 8]])
    model(ids).sum().backward()
    model.layers[1].eval()
    modes = [module.training for module in model.modules()]
    states = {name: state.clone() for name, state in model.states().items()}
    gradients = [weight.grad.clone() for weight in model.parameters()]
    weights = [weight.clone() for weight in model.parameters()]
    drawn = torch.get_rng_state()
    first = [saliency(model, ids[:1], method)[0] for method in ALL]
    with torch.no_grad():
        again = [saliency(model, ids[:1], method)[0] for method in ALL]
    assert [one.scores for one in first] == [one.scores for one in again]
    assert [module.training for module in model.modules()] == modes
    assert {name: state.tolist() for name, state in model.states().items()} == {
        k: v.tolist() for k, v in states.items()
    }
    for weight, gradient, before in zip(model.parameters(), gradients, weights, strict=True):
        assert torch.equal(weight.grad, gradient)
        assert torch.equal(weight, before)
    assert torch.equal(torch.get_rng_state(), drawn)
    saliency(torch.nn.Sequential(Noisy(), Linear(torch.ones(4, 1))), torch.ones(1, 4, 1))
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not any(module._forward_hooks for module in model.modules())


def test_it_works_where_gradients_are_off() -> None:
    model = sequential()
    ids = torch.tensor([[3, 1, 4]])
    plain = found(model, ids)
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            assert found(model, torch.tensor([[3, 1, 4]])).scores == plain.scores
        linear, x = Linear(torch.ones(2, 1)), torch.tensor([[[1.0], [2.0]]])
        with off():
            assert found(linear, x.clone()).scores == found(linear, x).scores


def test_a_failure_leaves_it_as_it_was_too() -> None:
    model = Sequential([layers.Embedding(9, 4), layers.LSTM(5, stateful=True), layers.Dense(3)])
    model(torch.tensor([[1, 2]]))
    states = model.states()
    with pytest.raises(ArgumentError):
        saliency(model, torch.tensor([[1, 2]]), target=3)
    assert model.training
    assert model.states().keys() == states.keys()
    assert not any(module._forward_hooks for module in model.modules())


# Errors


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"method": "guess"}, ArgumentError, "integrated_gradients"),
        ({"target": 3}, ArgumentError, "-3 to 2"),
        ({"target": True}, ArgumentError, "True"),
        ({"target": [0, 1]}, ArgumentError, "one, or 1"),
        ({"step": 0}, ArgumentError, "no steps"),
        ({"target": lambda out: out[:, 0], "step": 0}, ArgumentError, "in the function"),
        ({"target": lambda out: out}, ShapeError, "one for each row"),
        ({"target": lambda out: out[:, 0].detach()}, ArgumentError, "occlusion"),
        ({"baseline": "zero"}, ArgumentError, "'mean'"),
        ({"baseline": 3}, ArgumentError, "is an id"),
        ({"baseline": [1.0]}, ArgumentError, "a tensor"),
        ({"baseline": torch.zeros(5)}, DataError, "(4, 2)"),
        ({"window": 2}, ArgumentError, "window"),
        ({"window": 0, "method": "occlusion"}, ArgumentError, "at least 1"),
        ({"tolerance": 0}, ArgumentError, "above 0"),
        ({"max_points": 0}, ArgumentError, "at least 1"),
    ],
)
def test_errors_say_what_to_do(options: dict[str, Any], kind: type[RondeauError], words: str) -> None:
    model = Sequential([layers.Input((None, 2)), layers.LSTM(3), layers.Dense(3)])
    with pytest.raises(kind) as error:
        saliency(model, torch.zeros(1, 4, 2) + 1, **options)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("model", "x", "kind", "words"),
    [
        (Linear(torch.ones(2, 1)), torch.tensor([[1, 2]]), DataError, "torch.nn.Embedding"),
        (Linear(torch.ones(2, 1)), torch.zeros(3), DataError, "x[None]"),
        (Linear(torch.ones(2, 1)), (torch.zeros(1, 2, 1), torch.zeros(1, 2, 1)), DataError, "one"),
        (Linear(torch.ones(2, 1)), torch.zeros(1, 0, 1), DataError, "at least one step"),
        (Linear(torch.ones(2, 1)), torch.full((1, 2, 1), torch.nan), NumericsError, "not finite"),
        (torch.nn.LSTM(1, 2), torch.zeros(1, 2, 1), ShapeError, "function"),
        (lambda x: x[..., None], torch.zeros(1, 2, 1), ShapeError, "(batch, units)"),
    ],
)
def test_data_and_outputs_that_do_not_fit(model: Any, x: Any, kind: type[RondeauError], words: str) -> None:
    with pytest.raises(kind) as error:
        saliency(model, x)
    assert words in str(error.value)


# A trained model whose answer is known


@pytest.mark.parametrize("method", ALL)
def test_the_step_that_decides_gets_the_most(method: str, marked: tuple[Any, Tensor, Tensor]) -> None:
    model, x, decides = marked
    rows = saliency(model, x, method)
    most = torch.tensor([max(range(len(one.shares)), key=one.shares.__getitem__) for one in rows])
    assert float((most == decides).float().mean()) >= 0.95


@pytest.fixture(scope="module")
def marked() -> tuple[Any, Tensor, Tensor]:
    """A model that has learnt whether the value at the marked step of 12 is above 0; held-out rows it gets right."""
    torch.manual_seed(0)

    def rows(count: int) -> tuple[Tensor, Tensor, Tensor]:
        at = torch.randint(0, 12, (count,))
        value, mark = torch.randn(count, 12), torch.zeros(count, 12)
        mark[torch.arange(count), at] = 1
        chosen = value[torch.arange(count), at]
        chosen = torch.where(chosen < 0, chosen - 0.3, chosen + 0.3)
        value[torch.arange(count), at] = chosen
        return torch.stack([value, mark], -1), (chosen > 0).long(), at

    model = Sequential([layers.Input((None, 2)), layers.LSTM(16), layers.Dense(2)])
    from rondeau.losses import SparseCategoricalCrossentropy
    from rondeau.optimizers import Adam

    model.compile(Adam(0.02), SparseCategoricalCrossentropy(from_logits=True))
    x, y, _ = rows(2000)
    model.fit(x, y, epochs=8, batch_size=50, verbose=0)
    x, y, at = rows(100)
    with warnings.catch_warnings():
        right = torch.as_tensor(model.predict(x)).argmax(1) == y
    assert float(right.float().mean()) > 0.97
    return model, x[right], at[right]
