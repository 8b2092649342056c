"""Losses against Keras 3: values, gradients, weights, reductions; and what happens to input that makes no sense."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau.config import deserialize, serialize
from rondeau.errors import ArgumentError, CheckpointError, DataError, SaveError, ShapeError
from rondeau.training import losses

EPS = torch.finfo(torch.float32).eps
CLOSE = {"rtol": 16 * EPS, "atol": 16 * EPS}
N, T, K = 7, 5, 4


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape)


def shares(*shape: int) -> Tensor:
    return torch.rand(*shape)


def simplex(*shape: int) -> Tensor:
    return torch.randn(*shape).softmax(-1)


def bits(*shape: int) -> Tensor:
    return torch.randint(2, shape).float()


def one_hot(*shape: int) -> Tensor:
    return F.one_hot(torch.randint(shape[-1], shape[:-1]), shape[-1]).float()


def labels(*shape: int) -> Tensor:
    return torch.randint(shape[-1], shape[:-1])


def scores(*shape: int) -> Tensor:
    """Positive, and far from summing to one."""
    return torch.rand(*shape) * 0.3 + 0.01


Maker = Callable[..., Tensor]
CASES: list[tuple[str, dict[str, Any], Maker, Maker]] = [
    ("MeanSquaredError", {}, numbers, numbers),
    ("MeanAbsoluteError", {}, numbers, numbers),
    ("MeanAbsolutePercentageError", {}, numbers, numbers),
    ("MeanSquaredLogarithmicError", {}, numbers, numbers),
    ("Huber", {}, numbers, numbers),
    ("Huber", {"delta": 0.3}, numbers, numbers),
    ("LogCosh", {}, numbers, numbers),
    ("CosineSimilarity", {}, numbers, numbers),
    ("Hinge", {}, bits, numbers),
    ("Hinge", {}, lambda *s: bits(*s) * 2 - 1, numbers),
    ("Poisson", {}, lambda *s: torch.rand(*s).mul(5).floor(), shares),
    ("KLDivergence", {}, simplex, simplex),
    ("BinaryCrossentropy", {}, bits, shares),
    ("BinaryCrossentropy", {"label_smoothing": 0.2}, bits, shares),
    ("BinaryCrossentropy", {"from_logits": True}, shares, numbers),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, bits, numbers),
    ("CategoricalCrossentropy", {}, one_hot, simplex),
    ("CategoricalCrossentropy", {}, simplex, scores),
    ("CategoricalCrossentropy", {"label_smoothing": 0.2}, one_hot, simplex),
    ("CategoricalCrossentropy", {"from_logits": True}, simplex, numbers),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, one_hot, numbers),
    ("SparseCategoricalCrossentropy", {}, labels, simplex),
    ("SparseCategoricalCrossentropy", {}, labels, scores),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, labels, numbers),
    ("SparseCategoricalCrossentropy", {"ignore_class": 2}, labels, simplex),
    ("SparseCategoricalCrossentropy", {"ignore_class": 2, "from_logits": True}, labels, numbers),
    ("SparseCategoricalCrossentropy", {"ignore_class": -1}, lambda *s: labels(*s) - 1, simplex),
    ("SparseCategoricalCrossentropy", {"ignore_class": -1, "from_logits": True}, lambda *s: labels(*s) - 1, numbers),
]
IDS = [f"{name}-{kwargs}-{true.__name__}" for name, kwargs, true, _ in CASES]
REDUCTIONS = ["sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none", None]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors this small only wait for the others
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def keras() -> Any:
    return pytest.importorskip("keras")


def value_and_gradient(loss: Any, true: Tensor, pred: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    pred = pred.clone().requires_grad_()
    value = loss(true, pred, sample_weight=weight)
    value.sum().backward()
    assert pred.grad is not None
    return value.detach(), pred.grad


@pytest.mark.parametrize("shape", [(N, K), (N, T, K)], ids=["rows", "steps"])
@pytest.mark.parametrize(("name", "kwargs", "make_true", "make_pred"), CASES, ids=IDS)
def test_values_and_gradients_are_those_of_keras(
    keras: Any, name: str, kwargs: dict[str, Any], make_true: Maker, make_pred: Maker, shape: tuple[int, ...]
) -> None:
    true, pred = make_true(*shape), make_pred(*shape)
    for weight in (None, torch.rand(shape[:-1])):
        for reduction in REDUCTIONS:
            ours = getattr(losses, name)(**kwargs, reduction=reduction)
            theirs = getattr(keras.losses, name)(**kwargs, reduction=reduction)
            value, gradient = value_and_gradient(ours, true, pred, weight)
            expected, expected_gradient = value_and_gradient(theirs, true, pred, weight)
            torch.testing.assert_close(value, expected, **CLOSE)
            torch.testing.assert_close(gradient, expected_gradient, **CLOSE)
            assert value.shape == (shape[:-1] if reduction in ("none", None) else ())


@pytest.mark.parametrize("function", sorted({name for name in losses.__all__ if name.islower()} - {"get", "crf"}))
def test_functions_give_the_values_of_keras(keras: Any, function: str) -> None:
    kind = type(losses.get(function)).__name__
    _, _, make_true, make_pred = next(case for case in CASES if case[0] == kind)
    true, pred = make_true(N, T, K), make_pred(N, T, K)
    expected = getattr(keras.losses, function)(true, pred)
    torch.testing.assert_close(getattr(losses, function)(true, pred), expected, **CLOSE)
    assert expected.shape == (N, T)


@pytest.mark.parametrize(
    ("name", "kwargs", "true", "pred"),
    [
        ("BinaryCrossentropy", {}, [[0.0, 1.0, 1.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]),
        ("CategoricalCrossentropy", {}, [[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]),
        ("SparseCategoricalCrossentropy", {}, [1, 0], [[1.0, 0.0], [1.0, 0.0]]),
        ("KLDivergence", {}, [[0.0, 1.0]], [[1.0, 0.0]]),
        ("MeanAbsolutePercentageError", {}, [[0.0, 1e-9]], [[1e-6, 2e-6]]),
        ("MeanSquaredLogarithmicError", {}, [[-2.0, 0.5]], [[0.5, -3.0]]),
        ("CosineSimilarity", {}, [[0.0, 0.0], [1e-8, 0.0]], [[1.0, 2.0], [1.0, 2.0]]),
        ("Poisson", {}, [[3.0, 0.0]], [[0.0, 0.0]]),
        ("Huber", {}, [[0.0, 0.0]], [[1.0, -1.0]]),
        ("LogCosh", {}, [[0.0, 0.0, 0.0]], [[1000.0, -1000.0, 0.0]]),
    ],
)
def test_edges_are_clipped_as_in_keras(keras: Any, name: str, kwargs: dict[str, Any], true: Any, pred: Any) -> None:
    ours, theirs = getattr(losses, name)(**kwargs), getattr(keras.losses, name)(**kwargs)
    true, pred = torch.tensor(true), torch.tensor(pred)
    value, gradient = value_and_gradient(ours, true, pred, None)
    expected, expected_gradient = value_and_gradient(theirs, true, pred, None)
    torch.testing.assert_close(value, expected, **CLOSE)
    torch.testing.assert_close(gradient, expected_gradient, **CLOSE)


def test_a_zero_vector_has_a_finite_gradient() -> None:
    _, gradient = value_and_gradient(losses.CosineSimilarity(), torch.ones(1, 3), torch.zeros(1, 3), None)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("from_logits", [False, True])
def test_what_an_ignored_row_holds_does_not_matter(from_logits: bool) -> None:
    loss = losses.SparseCategoricalCrossentropy(from_logits=from_logits, ignore_class=-1)
    pred = torch.tensor([[0.0, 0.0], [0.25, 0.75]])
    value, gradient = value_and_gradient(loss, torch.tensor([-1, 1]), pred, None)
    alone, alone_gradient = value_and_gradient(loss, torch.tensor([1]), pred[1:], None)
    assert value == alone
    assert torch.equal(gradient, torch.cat([torch.zeros(1, 2), alone_gradient]))


def test_nothing_but_ignored_rows_is_zero_with_a_zero_gradient() -> None:
    loss = losses.SparseCategoricalCrossentropy(ignore_class=0)
    value, gradient = value_and_gradient(loss, torch.tensor([0, 0]), simplex(2, 3), None)
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "kwargs", "make_true", "make_pred"), CASES, ids=IDS)
def test_no_steps_at_all_lose_nothing(
    name: str, kwargs: dict[str, Any], make_true: Maker, make_pred: Maker, weighted: bool, reduction: str
) -> None:
    weight = torch.ones(0) if weighted else None
    value, gradient = value_and_gradient(
        getattr(losses, name)(**kwargs, reduction=reduction), make_true(0, K), make_pred(0, K), weight
    )
    assert value.shape == ()
    assert value == 0
    assert gradient.shape == (0, K)


@pytest.mark.parametrize(("true", "pred"), [((N,), (N, 1)), ((N, 1), (N,)), ((N, T, K, 1), (N, T, K))])
def test_a_missing_axis_of_one_is_added_as_in_keras(keras: Any, true: Any, pred: Any) -> None:
    y_true, y_pred = torch.randn(true), torch.randn(pred)
    ours = losses.MeanSquaredError(reduction="none")(y_true, y_pred)
    torch.testing.assert_close(ours, keras.losses.MeanSquaredError(reduction="none")(y_true, y_pred), **CLOSE)


def test_steps_with_one_output_keep_a_value_each(keras: Any) -> None:
    true, pred = bits(N, T), shares(N, T, 1)
    loss = losses.BinaryCrossentropy()
    assert loss.values(true, pred).shape == (N, T)
    torch.testing.assert_close(loss(true, pred), keras.losses.BinaryCrossentropy()(true, pred), **CLOSE)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(N, T), (N, T, 1)])
def test_sparse_labels_of_either_shape_and_any_integer_dtype(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    true, pred = labels(N, T, K), simplex(N, T, K)
    loss = losses.SparseCategoricalCrossentropy()
    assert torch.equal(loss(true.reshape(shape).to(dtype), pred), loss(true, pred))


def test_the_three_crossentropies_agree() -> None:
    true, pred = labels(N, 3), simplex(N, 3).double()
    dense = losses.CategoricalCrossentropy()(F.one_hot(true, 3), pred)
    torch.testing.assert_close(losses.SparseCategoricalCrossentropy()(true, pred), dense, rtol=0, atol=1e-15)
    logits = losses.SparseCategoricalCrossentropy(from_logits=True)(true, pred.log())
    torch.testing.assert_close(logits, dense, rtol=0, atol=1e-15)
    assert dense.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    pred = torch.tensor([[1.0, 0.0]], dtype=dtype)
    value = losses.SparseCategoricalCrossentropy()(torch.tensor([1]), pred)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(-np.log(1e-7), rel=EPS)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bool])
def test_the_predictions_have_the_say_about_the_dtype(dtype: torch.dtype) -> None:
    true, pred = bits(N, K), shares(N, K)
    value = losses.BinaryCrossentropy()(true.to(dtype), pred)
    assert value.dtype == torch.float32
    assert torch.equal(value, losses.BinaryCrossentropy()(true, pred))


def test_lists_and_arrays_will_do() -> None:
    assert losses.mean_squared_error([[0, 2]], np.array([[1.0, 2.0]])).tolist() == [0.5]


# Weights


def test_one_weight_per_sample_weighs_its_steps() -> None:
    true, pred, weight = numbers(T, T, K), numbers(T, T, K), torch.rand(T)  # as many steps as samples: not the steps
    loss = losses.MeanSquaredError()
    torch.testing.assert_close(loss(true, pred, weight), loss(true, pred, weight[:, None].expand(T, T)))
    torch.testing.assert_close(loss(true, pred, weight), loss(true, pred, weight[:, None]))


@pytest.mark.parametrize("shape", [(N, T), (N, T, 1), (N, 1), (1, T), (N,), ()])
def test_weights_that_fit(shape: tuple[int, ...]) -> None:
    true, pred, weight = numbers(N, T, K), numbers(N, T, K), torch.rand(shape)
    full = weight.reshape(shape[:2] + (1,) * (2 - len(shape[:2]))).expand(N, T)
    values = losses.mean_squared_error(true, pred)
    ours = losses.MeanSquaredError()(true, pred, weight)
    torch.testing.assert_close(ours, (values * full).sum() / (N * T), **CLOSE)
    ours = losses.MeanSquaredError(reduction="mean_with_sample_weight")(true, pred, weight)
    torch.testing.assert_close(ours, (values * full).sum() / full.sum(), **CLOSE)


@pytest.mark.parametrize("shape", [(N + 1,), (T,), (N, T, K), (N, T, 1, 1), (N, T + 1), (2, N, T)])
def test_weights_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="sample_weight does not fit") as error:
        losses.MeanSquaredError()(numbers(N, T, K), numbers(N, T, K), torch.ones(shape))
    assert error.value.got == shape


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight"])
def test_weights_that_sum_to_nothing_give_zero(keras: Any, reduction: str) -> None:
    true, pred, weight = numbers(N, K), numbers(N, K), torch.zeros(N)
    value, gradient = value_and_gradient(losses.MeanSquaredError(reduction), true, pred, weight)
    assert value == keras.losses.MeanSquaredError(reduction)(true, pred, weight) == 0
    assert torch.equal(gradient, torch.zeros(N, K))


def test_predictions_of_one_axis_take_no_weights() -> None:
    with pytest.raises(ShapeError, match=r"\(samples, 1\)"):
        losses.MeanSquaredError()(numbers(N), numbers(N), torch.ones(N))


# Input that makes no sense


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("bad", [4, -1, 1000])
def test_a_label_outside_the_classes(from_logits: bool, bad: int) -> None:
    true, pred = labels(N, T, K), simplex(N, T, K)
    true[3, 2] = bad
    with pytest.raises(DataError, match="outside the 4 classes") as error:
        losses.SparseCategoricalCrossentropy(from_logits=from_logits)(true, pred)
    assert error.value.got == bad
    assert error.value.where == "y_true[3, 2]"
    assert error.value.expected == "0 to 3"


def test_another_label_than_the_ignored_one_outside_the_classes() -> None:
    with pytest.raises(DataError) as error:
        losses.SparseCategoricalCrossentropy(ignore_class=-1)(torch.tensor([0, -1, -2]), simplex(3, K))
    assert (error.value.got, error.value.where) == (-2, "y_true[2]")


def test_labels_zero_and_one_for_a_single_output() -> None:
    with pytest.raises(DataError, match="Use binary_crossentropy"):
        losses.SparseCategoricalCrossentropy()(bits(N, 1).fill_(1), shares(N, 1))


@pytest.mark.parametrize("bad", [1.5, float("nan")])
def test_a_label_that_is_no_integer(bad: float) -> None:
    with pytest.raises(DataError, match="not an integer") as error:
        losses.SparseCategoricalCrossentropy()(torch.tensor([0.0, 1.0, bad]), simplex(3, K))
    assert error.value.where == "y_true[2]"


@pytest.mark.parametrize(
    ("loss", "true", "pred", "fix"),
    [
        (losses.SparseCategoricalCrossentropy, (N, K), (N, K), "Use categorical_crossentropy for one-hot targets"),
        (losses.SparseCategoricalCrossentropy, (N + 1,), (N, K), "Give one integer label for every row"),
        (losses.SparseCategoricalCrossentropy, (N,), (N, T, K), "Give one integer label for every row"),
        (losses.CategoricalCrossentropy, (N,), (N, K), "Use sparse_categorical_crossentropy for integer labels"),
        (losses.CategoricalCrossentropy, (N, 1), (N, K), "Use sparse_categorical_crossentropy for integer labels"),
        (losses.CategoricalCrossentropy, (N, K + 1), (N, K), "Give one target for every output"),
        (losses.CategoricalCrossentropy, (N, 1), (N, 1), "Use binary_crossentropy"),
        (losses.BinaryCrossentropy, (N,), (N, K), "sparse_categorical_crossentropy"),
        (losses.MeanSquaredError, (N, 1), (N, K), "Give one target for every output"),
        (losses.MeanSquaredError, (1, K), (N, K), "Give one target for every output"),
        (losses.MeanSquaredError, (), (), None),
    ],
)
def test_shapes_that_do_not_fit(
    loss: type[losses.Loss], true: tuple[int, ...], pred: tuple[int, ...], fix: str | None
) -> None:
    with pytest.raises(ShapeError) as error:
        loss()(torch.zeros(true), torch.full(pred, 0.5))
    assert fix is None or fix in str(error.value.fix)


@pytest.mark.parametrize("bad", [-0.5, 1.5, float("inf")])
@pytest.mark.parametrize(
    ("loss", "make_true"),
    [
        (losses.BinaryCrossentropy, bits),
        (losses.CategoricalCrossentropy, one_hot),
        (losses.SparseCategoricalCrossentropy, labels),
        (losses.KLDivergence, simplex),
    ],
)
def test_a_prediction_that_is_no_probability(loss: type[losses.Loss], make_true: Maker, bad: float) -> None:
    true, pred = make_true(N, K), simplex(N, K)
    pred[2, 1] = bad
    with pytest.raises(DataError, match="not a probability") as error:
        loss()(true, pred)
    assert error.value.got == pytest.approx(bad)
    assert error.value.where == "y_pred[2, 1]"
    assert loss is losses.KLDivergence or "from_logits=True" in str(error.value.fix)


def test_a_rounded_probability_is_one() -> None:
    pred = torch.tensor([[1 + 4 * EPS, -4 * EPS]])
    value = losses.BinaryCrossentropy()(torch.tensor([[1.0, 0.0]]), pred)
    assert value.item() == pytest.approx(0, abs=2 * EPS)


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("bad", [2.0, -1.0])
def test_a_binary_target_that_is_no_probability(from_logits: bool, bad: float) -> None:
    with pytest.raises(DataError, match="target is not a probability") as error:
        losses.BinaryCrossentropy(from_logits)(torch.tensor([[1.0], [bad]]), shares(2, 1))
    assert (error.value.got, error.value.where) == (bad, "y_true[1, 0]")


def test_other_targets_that_make_no_sense() -> None:
    with pytest.raises(DataError, match="target is not a probability"):
        losses.KLDivergence()(torch.tensor([[2.0, 0.0]]), simplex(1, 2))
    with pytest.raises(DataError, match="no sign"):
        losses.Hinge()(torch.tensor([[2.0]]), numbers(1, 1))
    with pytest.raises(DataError, match="rate is negative"):
        losses.Poisson()(torch.ones(1, 1), -torch.ones(1, 1))


@pytest.mark.parametrize(("name", "kwargs", "make_true", "make_pred"), CASES, ids=IDS)
def test_nan_makes_the_loss_nan(name: str, kwargs: dict[str, Any], make_true: Maker, make_pred: Maker) -> None:
    true, pred = make_true(N, K), torch.full((N, K), torch.nan)
    assert getattr(losses, name)(**kwargs)(true, pred).isnan()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: losses.MeanSquaredError("auto"), "unknown reduction"),
        (lambda: losses.MeanSquaredError(dtype="float16"), "dtype cannot be chosen"),
        (lambda: losses.BinaryCrossentropy(label_smoothing=1.5), "label_smoothing is a share"),
        (lambda: losses.CategoricalCrossentropy(label_smoothing=-0.1), "label_smoothing is a share"),
        (lambda: losses.categorical_crossentropy(one_hot(N, K), simplex(N, K), axis=0), "last axis"),
        (lambda: losses.SparseCategoricalCrossentropy(axis=1), "last axis"),
        (lambda: losses.CategoricalCrossentropy(axis=1), "last axis"),
        (lambda: losses.BinaryCrossentropy(axis=1), "last axis"),
        (lambda: losses.CosineSimilarity(axis=1), "last axis"),
        (lambda: losses.huber(numbers(N, K), numbers(N, K), delta=0.0), "delta is not positive"),
    ],
)
def test_arguments_that_make_no_sense(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


# Names and functions


def test_every_name_of_keras_that_we_have_means_the_same(keras: Any) -> None:
    theirs = keras.src.losses.ALL_OBJECTS_DICT
    ours = {name: kind for name, kind in losses.NAMES.items() if name in theirs}
    for name, kind in ours.items():
        meant = theirs[name].__name__
        assert kind is (getattr(losses, meant) if isinstance(theirs[name], type) else type(losses.get(meant)))
    assert {"mse", "MSE", "mae", "mape", "msle", "kld", "bce", "BCE", "KLD", "Huber", "huber"} <= set(ours)


def test_default_names_are_those_of_keras(keras: Any) -> None:
    for name in {case[0] for case in CASES}:
        assert getattr(losses, name)().name == getattr(keras.losses, name)().name


def test_get() -> None:
    loss = losses.Huber(delta=2.0)
    assert losses.get(loss) is loss
    assert isinstance(losses.get(losses.LogCosh), losses.LogCosh)
    assert isinstance(losses.get(losses.mean_squared_error), losses.MeanSquaredError)
    assert losses.get(serialize(loss)).delta == 2.0


@pytest.mark.parametrize(
    ("name", "near"), [("msee", "mse"), ("CategoricalCrossEntropy", "CategoricalCrossentropy"), ("zzz", None)]
)
def test_an_unknown_name(name: str, near: str | None) -> None:
    with pytest.raises(ArgumentError, match=f"no loss called '{name}'") as error:
        losses.get(name)
    assert "sparse_categorical_crossentropy" in str(error.value.expected)
    assert (f"Did you mean '{near}'" in str(error.value.fix)) == (near is not None)


@pytest.mark.parametrize("what", [None, 3, int, torch.nn.CrossEntropyLoss(), torch.nn.CrossEntropyLoss, F.mse_loss])
def test_what_is_no_loss(what: object) -> None:
    with pytest.raises(ArgumentError):
        losses.get(what)


def squared(y_true: Tensor, y_pred: Tensor) -> Tensor:
    return (y_true - y_pred).square().mean(-1)


def test_a_function_is_a_loss(keras: Any) -> None:
    loss = losses.get(squared)
    assert loss.name == "squared"
    true, pred, weight = torch.randn(N, dtype=torch.float64), numbers(N, 1), torch.rand(N)
    theirs = keras.src.losses.LossFunctionWrapper(squared)(true, pred, sample_weight=weight)
    torch.testing.assert_close(loss(true, pred, weight), theirs, **CLOSE)


def test_integer_labels_reach_a_function_as_integers() -> None:
    loss = losses.get(lambda true, pred: F.cross_entropy(pred, true, reduction="none"))
    true, pred = labels(N, K), numbers(N, K)
    torch.testing.assert_close(loss(true, pred), losses.SparseCategoricalCrossentropy(from_logits=True)(true, pred))


def test_a_function_that_returns_one_number() -> None:
    loss = losses.get(lambda true, pred: (true - pred).square().mean())
    true, pred = numbers(N, K), numbers(N, K)
    torch.testing.assert_close(loss(true, pred), losses.MeanSquaredError()(true, pred))
    with pytest.raises(ShapeError, match="Return one value per sample"):
        loss(true, pred, torch.ones(N))


def test_a_function_that_returns_no_tensor() -> None:
    with pytest.raises(ArgumentError, match="returned no tensor"):
        losses.get(lambda true, pred: 1.0)(numbers(N, K), numbers(N, K))


def test_a_loss_of_ones_own() -> None:
    class Cubed(losses.Loss):
        def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
            return (y_true - y_pred).abs().pow(3).mean(-1)

    true, pred = numbers(N, K), numbers(N, K)
    torch.testing.assert_close(Cubed("sum")(true, pred), (true - pred).abs().pow(3).mean(-1).sum())
    assert Cubed().name == "cubed"
    with pytest.raises(TypeError, match="abstract"):
        losses.Loss()  # type: ignore[abstract]


@pytest.mark.parametrize("name", ["crossentropy", "ce"])
@pytest.mark.parametrize(
    ("make_true", "make_pred", "shape", "same"),
    [
        (bits, shares, (N, 1), "binary_crossentropy"),
        (lambda *s: bits(N), shares, (N, 1), "binary_crossentropy"),
        (labels, simplex, (N, K), "sparse_categorical_crossentropy"),
        (lambda *s: labels(*s)[:, None], simplex, (N, K), "sparse_categorical_crossentropy"),
        (one_hot, simplex, (N, K), "categorical_crossentropy"),
    ],
)
def test_crossentropy_by_shape(name: str, make_true: Maker, make_pred: Maker, shape: Any, same: str) -> None:
    true, pred = make_true(*shape), make_pred(*shape)
    loss = losses.get(name)
    assert loss.name == name
    assert torch.equal(loss(true, pred), losses.get(same)(true, pred))


def test_crossentropy_stays_with_its_first_choice() -> None:
    loss = losses.get("ce")
    loss(one_hot(N, K), simplex(N, K))
    with pytest.raises(ShapeError, match="categorical_crossentropy"):
        loss(labels(N, K), simplex(N, K))
    with pytest.raises(ShapeError, match="last axis"):
        losses.get("ce")(bits(N), shares(N))


# Saving


@pytest.mark.parametrize(("name", "kwargs", "make_true", "make_pred"), CASES, ids=IDS)
def test_a_loss_comes_back_from_its_config(
    name: str, kwargs: dict[str, Any], make_true: Maker, make_pred: Maker
) -> None:
    loss = getattr(losses, name)(**kwargs, reduction="sum", name="mine")
    again = deserialize(serialize(loss), losses.OBJECTS)
    true, pred = make_true(N, K), make_pred(N, K)
    assert torch.equal(again(true, pred), loss(true, pred))
    assert (again.name, again.reduction) == ("mine", "sum")


def test_a_function_is_saved_by_its_name() -> None:
    data = serialize(losses.get(squared))
    with pytest.raises(CheckpointError, match="squared"):
        deserialize(data, losses.OBJECTS)
    assert deserialize(data, {**losses.OBJECTS, "squared": squared}).fn is squared
    with pytest.raises(SaveError, match="lambda"):
        serialize(losses.get(lambda true, pred: true - pred))


def test_smoothed_integer_labels_are_smoothed_one_hot_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, dtype=torch.float64, generator=generator)
    labels = torch.tensor([0, 4, 2, 2, 1, 3])
    one_hot = torch.nn.functional.one_hot(labels, 5)
    for given, from_logits in ((logits, True), (logits.softmax(-1), False)):
        expected = losses.CategoricalCrossentropy(from_logits, 0.2)(one_hot, given)
        found = losses.SparseCategoricalCrossentropy(from_logits, label_smoothing=0.2)(labels, given)
        assert float(found) == pytest.approx(float(expected), rel=1e-12)
        left_out = losses.SparseCategoricalCrossentropy(
            from_logits, ignore_class=2, label_smoothing=0.2, reduction=None
        )
        values = left_out(labels, given)
        assert values[2:4].tolist() == [0, 0]
        plain = losses.sparse_categorical_crossentropy(labels, given, from_logits, 2, label_smoothing=0.2)
        assert plain[2:4].tolist() == [0, 0]
        assert values[0] != losses.SparseCategoricalCrossentropy(from_logits, reduction=None)(labels, given)[0]
    with pytest.raises(ArgumentError, match="label_smoothing is a share"):
        losses.SparseCategoricalCrossentropy(label_smoothing=1.5)
