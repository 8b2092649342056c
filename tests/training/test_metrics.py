"""Metrics against Keras 3 over several batches; their state mid-epoch; and input that makes no sense."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau.config import deserialize, serialize
from rondeau.errors import ArgumentError, CheckpointError, DataError, NumericsError, SaveError, ShapeError
from rondeau.training import losses, metrics

EPS = torch.finfo(torch.float32).eps
RTOL = 16 * EPS  # Keras adds up in float32
K = 6
Batch = tuple[Tensor, Tensor]


def numbers(n: int) -> Batch:
    true = torch.randn(n, 3)
    return true, true + torch.randn(n, 3) * 0.5


def decoded(n: int) -> Batch:
    return torch.randint(3, (n, 1)), torch.randint(3, (n, 1))


def binary(n: int) -> Batch:
    return torch.randint(2, (n, 1)).float(), torch.rand(n, 1)


def multi_label(n: int) -> Batch:
    return torch.randint(2, (n, K)).float(), torch.rand(n, K)


def sparse(n: int) -> Batch:
    return torch.randint(K, (n,)), torch.randn(n, K).softmax(-1)


def sparse_column(n: int) -> Batch:
    true, pred = sparse(n)
    return true[:, None], pred


def dense(n: int) -> Batch:
    true, pred = sparse(n)
    return F.one_hot(true, K).float(), pred


def steps(n: int) -> Batch:
    return torch.randint(K, (n, 4)), torch.randn(n, 4, K).softmax(-1)


def dense_steps(n: int) -> Batch:
    true, pred = steps(n)
    return F.one_hot(true, K).float(), pred


def binary_steps(n: int) -> Batch:
    return torch.randint(2, (n, 4)).float(), torch.rand(n, 4, 1)


def counts(n: int) -> Batch:
    return torch.rand(n, 3).mul(5).floor(), torch.rand(n, 3)


Make = Callable[[int], Batch]
MEANS: list[tuple[str, dict[str, Any], Make]] = [
    ("Accuracy", {}, decoded),
    ("BinaryAccuracy", {}, binary),
    ("BinaryAccuracy", {"threshold": 0.3}, multi_label),
    ("BinaryAccuracy", {}, binary_steps),
    ("CategoricalAccuracy", {}, dense),
    ("CategoricalAccuracy", {}, dense_steps),
    ("SparseCategoricalAccuracy", {}, sparse),
    ("SparseCategoricalAccuracy", {}, sparse_column),
    ("SparseCategoricalAccuracy", {}, steps),
    ("TopKCategoricalAccuracy", {}, dense),
    ("TopKCategoricalAccuracy", {"k": 2}, dense_steps),
    ("SparseTopKCategoricalAccuracy", {}, sparse),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, steps),
    ("MeanSquaredError", {}, numbers),
    ("RootMeanSquaredError", {}, numbers),
    ("MeanAbsoluteError", {}, numbers),
    ("R2Score", {}, numbers),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, numbers),
]
COUNTS: list[tuple[str, dict[str, Any], Make]] = [
    ("Precision", {}, binary),
    ("Precision", {"thresholds": 0.8}, multi_label),
    ("Precision", {"top_k": 2}, dense),
    ("Precision", {"top_k": 2, "thresholds": 0.3}, dense),
    ("Precision", {"class_id": 1}, multi_label),
    ("Recall", {}, binary),
    ("Recall", {"thresholds": 0.8}, multi_label),
    ("Recall", {"top_k": 2, "class_id": 3}, dense),
    ("Recall", {}, binary_steps),
    ("F1Score", {"average": "macro"}, dense),
    ("F1Score", {"average": "micro"}, dense),
    ("F1Score", {"average": "weighted"}, dense),
    ("F1Score", {"average": "macro", "threshold": 0.4}, multi_label),
    ("F1Score", {"average": "macro", "threshold": 0.4}, binary),
    ("AUC", {}, binary),
    ("AUC", {}, multi_label),
    ("AUC", {"num_thresholds": 11}, binary),
    ("AUC", {"thresholds": [0.1, 0.15, 0.9]}, binary),
    ("AUC", {"curve": "PR"}, binary),
    *[
        ("AUC", {"curve": curve, "summation_method": method, "num_thresholds": 7}, binary)
        for curve in ("ROC", "PR")
        for method in ("interpolation", "minoring", "majoring")
    ],
]


def ids(cases: list[tuple[str, dict[str, Any], Make]]) -> list[str]:
    return [f"{name}-{kwargs}-{make.__name__}" for name, kwargs, make in cases]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors this small only wait for the others
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def keras() -> Any:
    return pytest.importorskip("keras")


def number(keras_metric: Any) -> float:
    return float(keras_metric.result())


# Keras's numbers


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "kwargs", "make"), MEANS, ids=ids(MEANS))
def test_means_are_those_of_keras(keras: Any, name: str, kwargs: dict[str, Any], make: Make, weighted: bool) -> None:
    ours, theirs = getattr(metrics, name)(**kwargs), getattr(keras.metrics, name)(**kwargs)
    for n in (20, 7, 1):
        true, pred = make(n)
        weight = torch.rand(n) if weighted else None
        ours.update(true, pred, weight)
        theirs.update_state(true, pred, sample_weight=weight)
        assert ours.result() == pytest.approx(number(theirs), rel=RTOL)
    ours.reset()
    theirs.reset_state()
    true, pred = make(5)
    ours.update(true, pred)
    theirs.update_state(true, pred)
    assert ours.result() == pytest.approx(number(theirs), rel=RTOL)


@pytest.mark.parametrize(("name", "kwargs", "make"), COUNTS, ids=ids(COUNTS))
def test_counts_are_those_of_keras(keras: Any, name: str, kwargs: dict[str, Any], make: Make) -> None:
    ours, theirs = getattr(metrics, name)(**kwargs), getattr(keras.metrics, name)(**kwargs)
    for n in (20, 7, 1):
        true, pred = make(n)
        ours.update(true, pred)
        for t, p in zip(true, pred, strict=True) if make is binary_steps else [(true, pred)]:
            theirs.update_state(t.reshape(p.shape), p)
        assert ours.result() == pytest.approx(number(theirs), rel=RTOL, abs=RTOL)
    ours.reset()
    assert ours.result() == 0
    theirs.reset_state()
    true, pred = make(5)
    ours.update(true, pred)
    theirs.update_state(true.reshape(pred.shape), pred)
    assert ours.result() == pytest.approx(number(theirs), rel=RTOL, abs=RTOL)


@pytest.mark.parametrize("name", ["BinaryAccuracy", "SparseCategoricalAccuracy"])
def test_weights_of_steps_are_those_of_keras(keras: Any, name: str) -> None:
    ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
    for n in (5, 3):
        true, pred = binary_steps(n) if name == "BinaryAccuracy" else steps(n)
        weight = torch.rand(n, 4)
        ours.update(true, pred, weight)
        theirs.update_state(true, pred, sample_weight=weight)
        assert ours.result() == pytest.approx(number(theirs), rel=RTOL)


@pytest.mark.parametrize(
    ("shape", "weight"),
    [("", ""), ("n", None), ("n", "n"), ("n", ""), ("nt", None), ("nt", "n"), ("nt", "nt")],
)
def test_the_running_mean_is_that_of_keras(keras: Any, shape: str, weight: str | None) -> None:
    ours, theirs = metrics.Mean(), keras.metrics.Mean()
    for sizes in ({"n": 5, "t": 4}, {"n": 3, "t": 7}, {"n": 1, "t": 2}):
        values = torch.randn([sizes[axis] for axis in shape])
        weights = None if weight is None else torch.rand([sizes[axis] for axis in weight])
        ours.update(values, weights)
        theirs.update_state(values, weights)
        assert ours.result() == pytest.approx(number(theirs), rel=RTOL)


def test_the_mean_is_kept_in_float64() -> None:
    mean = metrics.Mean()
    mean.update(1e8, 1)
    for _ in range(10):
        mean.update(torch.tensor(1.0), 1)
    assert mean.result() == (1e8 + 10) / 11


@pytest.mark.parametrize("name", ["mape", "msle", "huber", "kl_divergence", "binary_crossentropy", "poisson", "hinge"])
def test_a_loss_by_name_is_a_metric(keras: Any, name: str) -> None:
    ours = metrics.get(name)
    theirs = keras.metrics.MeanMetricWrapper(keras.losses.get(name))
    make = {"kl_divergence": dense, "binary_crossentropy": multi_label, "poisson": counts, "hinge": binary}
    for n in (20, 7):
        true, pred = make.get(name, numbers)(n)
        weight = torch.rand(n)
        ours.update(true, pred, weight)
        theirs.update_state(true, pred, sample_weight=weight)
    assert ours.name == name
    assert ours.result() == pytest.approx(number(theirs), rel=RTOL)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("from_logits", [False, True])
def test_perplexity(keras: Any, from_logits: bool, weighted: bool) -> None:
    from torchmetrics.text import Perplexity

    ours = metrics.Perplexity(from_logits)
    theirs = keras.metrics.SparseCategoricalCrossentropy(from_logits=from_logits)
    judge = Perplexity()
    for n in (20, 7):
        true, pred = steps(n)
        weight = torch.rand(n, 4) if weighted else None
        ours.update(true, pred.log() if from_logits else pred, weight)
        theirs.update_state(true, pred.log() if from_logits else pred, sample_weight=weight)
        judge.update(pred.log(), true)
    assert ours.result() == pytest.approx(math.exp(number(theirs)), rel=RTOL)
    assert weighted or ours.result() == pytest.approx(judge.compute().item(), rel=RTOL)


def test_perplexity_without_masked_tokens() -> None:
    true, pred = steps(9)
    masked, alone = metrics.Perplexity(mask_token_id=0), metrics.Perplexity()
    masked.update(true, pred)
    alone.update(true[true != 0], pred[true != 0])
    assert masked.result() == pytest.approx(alone.result(), rel=1e-12)


def test_perplexity_at_its_ends() -> None:
    metric = metrics.Perplexity(from_logits=True)
    assert metric.result() == 0
    metric.update(torch.tensor([0]), torch.tensor([[0.0, 1e30]]))
    assert metric.result() == math.inf


def test_an_ignored_class_counts_in_no_loss_metric() -> None:
    true, pred = sparse(20)
    loss = losses.SparseCategoricalCrossentropy(ignore_class=2)
    for weight in (None, torch.rand(20)):
        all_steps, real_steps = metrics.LossMetric(loss), metrics.LossMetric(losses.SparseCategoricalCrossentropy())
        all_steps.update(true, pred, weight)
        real_steps.update(true[true != 2], pred[true != 2], None if weight is None else weight[true != 2])
        assert all_steps.result() == pytest.approx(real_steps.result(), rel=1e-12)


def test_the_adjusted_r2_score_is_that_of_keras(keras: Any) -> None:
    ours, theirs = metrics.R2Score(num_regressors=3), keras.metrics.R2Score(num_regressors=3)
    true, pred = (y[:, :1] for y in numbers(20))
    ours.update(true, pred)
    theirs.update_state(true, pred)
    assert ours.result() == pytest.approx(number(theirs), rel=RTOL)
    ours.reset()
    ours.update(true[:4], pred[:4])
    assert math.isnan(ours.result())


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_the_r2_score_of_any_unit(scale: float, offset: float) -> None:
    true = torch.randn(200, 1, dtype=torch.float64)
    pred = true + torch.randn(200, 1, dtype=torch.float64)
    expected = 1 - ((true - pred).square().sum() / (true - true.mean()).square().sum()).item()
    metric = metrics.R2Score()
    for t, p in zip(true.split(50), pred.split(50), strict=True):
        metric.update((t + offset) * scale, (p + offset) * scale)
    assert metric.result() == pytest.approx(expected, rel=1e-9)


def test_the_r2_score_of_targets_all_alike() -> None:
    metric = metrics.R2Score()
    metric.update(torch.full((9, 1), 0.1), torch.randn(9, 1))
    metric.update(torch.full((9, 1), 0.1), torch.randn(9, 1))
    assert metric.result() == 0


def test_the_area_of_logits(keras: Any) -> None:
    true, pred = binary(50)
    ours, theirs = metrics.AUC(from_logits=True), keras.metrics.AUC(from_logits=True)
    ours.update(true, pred.logit())
    theirs.update_state(true, pred.logit())
    assert ours.result() == pytest.approx(number(theirs), rel=RTOL)


@pytest.mark.parametrize("curve", ["ROC", "PR"])
def test_predictions_on_a_threshold_lie_below_it(keras: Any, curve: str) -> None:
    pred = torch.tensor([0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 1.0, 1.0])[:, None]
    true = torch.tensor([0.0, 1, 0, 1, 0, 1, 1, 0])[:, None]
    ours, theirs = (module.AUC(num_thresholds=5, curve=curve) for module in (metrics, keras.metrics))
    ours.update(true, pred)
    theirs.update_state(true, pred)
    assert ours.result() == pytest.approx(number(theirs), rel=RTOL)


def test_a_rounded_probability_spoils_no_area() -> None:
    true, pred = binary(50)
    plain, rounded = metrics.AUC(), metrics.AUC()
    plain.update(true, pred.index_fill(0, torch.tensor([0]), 1.0))
    rounded.update(true, pred.index_fill(0, torch.tensor([0]), 1 + 4 * EPS))
    assert plain.result() == rounded.result()


@pytest.mark.parametrize("target", [0.0, 1.0])
@pytest.mark.parametrize(("name", "kwargs"), [("Precision", {}), ("Recall", {}), ("AUC", {}), ("AUC", {"curve": "PR"})])
def test_one_kind_of_target_alone(keras: Any, name: str, kwargs: dict[str, Any], target: float) -> None:
    pred = torch.rand(20, 1) * 0.4
    ours, theirs = getattr(metrics, name)(**kwargs), getattr(keras.metrics, name)(**kwargs)
    ours.update(torch.full((20, 1), target), pred)
    theirs.update_state(torch.full((20, 1), target), pred)
    assert ours.result() == pytest.approx(number(theirs), rel=RTOL)


def test_f1_of_ties_and_zeros(keras: Any) -> None:
    pred = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -3.0]])
    true = torch.eye(3)
    ours, theirs = metrics.F1Score(), keras.metrics.F1Score(average="macro")
    ours.update(true, pred)
    theirs.update_state(true, pred)
    assert ours.result() == pytest.approx(number(theirs), rel=RTOL)


def test_top_k_of_ties_and_few_classes(keras: Any) -> None:
    pred = torch.tensor([[0.4, 0.3, 0.3], [0.1, 0.2, 0.7]])
    for label in range(3):
        true = torch.tensor([label, label])
        ours, theirs = (module.SparseTopKCategoricalAccuracy(k=2) for module in (metrics, keras.metrics))
        ours.update(true, pred)
        theirs.update_state(true, pred)
        assert ours.result() == number(theirs)
    ours = metrics.SparseTopKCategoricalAccuracy()
    ours.update(torch.tensor([0, 2]), pred)
    assert ours.result() == 1


def test_a_label_outside_the_classes_is_a_wrong_answer(keras: Any) -> None:
    true, pred = torch.tensor([-1, 0, 3]), torch.tensor([[0.9, 0.05, 0.05]]).expand(3, 3)
    for name in ("SparseCategoricalAccuracy", "SparseTopKCategoricalAccuracy"):
        metric = getattr(metrics, name)()
        metric.update(true, pred)
        assert metric.result() == pytest.approx(1 / 3)


def test_decoded_labels_are_compared_exactly() -> None:
    metric = metrics.Accuracy()
    metric.update(torch.tensor([2**24]), torch.tensor([2**24 + 1]))
    assert metric.result() == 0


# State


EVERY = [
    *((name, kwargs, make) for name, kwargs, make in MEANS + COUNTS),
    ("Perplexity", {}, sparse),
    ("AccuracyByShape", {}, dense),
]


@pytest.mark.parametrize(("name", "kwargs", "make"), EVERY, ids=ids(EVERY))
def test_the_state_in_the_middle_of_an_epoch(name: str, kwargs: dict[str, Any], make: Make) -> None:
    batches = [make(n) for n in (9, 8, 7, 6)]
    metric = getattr(metrics, name)(**kwargs)
    for batch in batches[:2]:
        metric.update(*batch)
    state = metric.state_dict()
    kept = {key: value.clone() for key, value in state.items()}
    half = metric.result()
    for batch in batches[2:]:
        metric.update(*batch)
    assert state.keys() == kept.keys()
    assert all(torch.equal(state[key], kept[key]) for key in kept), "the state changed after it was taken"

    again = getattr(metrics, name)(**kwargs)
    again.update(*make(3))  # forgotten by what is loaded
    again.load_state_dict(state)
    assert again.result() == half
    for batch in batches[2:]:
        again.update(*batch)
    assert again.result() == metric.result()
    assert all(torch.equal(state[key], kept[key]) for key in kept), "the state changed after it was loaded"

    again.load_state_dict(state)
    taken = again.state_dict()
    for value in (*state.values(), *taken.values()):
        value.zero_()
    assert again.result() == half
    for batch in batches[2:]:
        again.update(*batch)
    assert again.result() == metric.result()


@pytest.mark.parametrize(("name", "kwargs", "make"), EVERY, ids=ids(EVERY))
def test_the_state_of_a_fresh_metric(name: str, kwargs: dict[str, Any], make: Make) -> None:
    fresh, used = getattr(metrics, name)(**kwargs), getattr(metrics, name)(**kwargs)
    assert fresh.result() == 0
    used.update(*make(9))
    used.load_state_dict(fresh.state_dict())
    assert used.result() == 0
    copied = copy.deepcopy(used)
    copied.update(*make(9))
    assert used.state_dict().keys() == fresh.state_dict().keys()


def test_the_state_of_the_running_mean() -> None:
    mean = metrics.Mean()
    mean.update(torch.rand(5, requires_grad=True))
    assert not any(value.requires_grad for value in mean.state_dict().values())
    again = metrics.Mean()
    again.load_state_dict(mean.state_dict())
    assert again.result() == mean.result()
    assert all(value.dtype == torch.float64 for value in mean.state_dict().values())


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("MeanSquaredError", "R2Score"),
        ("R2Score", "MeanSquaredError"),
        ("Precision", "MeanSquaredError"),
        ("MeanSquaredError", "Precision"),
        ("Precision", "AUC"),
    ],
)
def test_the_state_of_another_metric(source: str, target: str) -> None:
    metric = getattr(metrics, source)()
    metric.update(*(binary(9) if source == "Precision" else numbers(9)))
    with pytest.raises(CheckpointError, match="state of another metric"):
        getattr(metrics, target)().load_state_dict(metric.state_dict())


def test_the_state_of_other_thresholds() -> None:
    metric = metrics.AUC(num_thresholds=7)
    metric.update(*binary(9))
    other = metrics.AUC()
    other.update(*binary(9))
    before = other.result()
    with pytest.raises(CheckpointError, match="state of another metric"):
        other.load_state_dict(metric.state_dict())
    assert other.result() == before


# Names


@pytest.mark.parametrize("name", ["accuracy", "acc", "Accuracy"])
@pytest.mark.parametrize(
    ("make", "same"),
    [
        (binary, "BinaryAccuracy"),
        (binary_steps, "BinaryAccuracy"),
        (sparse, "SparseCategoricalAccuracy"),
        (sparse_column, "SparseCategoricalAccuracy"),
        (steps, "SparseCategoricalAccuracy"),
        (dense, "CategoricalAccuracy"),
        (multi_label, "CategoricalAccuracy"),
    ],
)
def test_accuracy_by_shape_is_that_of_keras(keras: Any, name: str, make: Make, same: str) -> None:
    true, pred = make(20)
    ours = metrics.get(name)
    theirs = keras.src.trainers.compile_utils.get_metric(name, true, pred)
    ours.update(true, pred)
    theirs.update_state(true, pred)
    assert type(theirs).__name__ == same
    assert ours.name == theirs.name == name
    assert ours.result() == pytest.approx(number(theirs), rel=RTOL)


def test_accuracy_stays_with_its_first_choice() -> None:
    metric = metrics.get("accuracy")
    metric.update(*dense(5))
    with pytest.raises(ShapeError, match="Use sparse_categorical_accuracy for integer labels"):
        metric.update(*sparse(5))
    with pytest.raises(ShapeError, match="last axis"):
        metrics.get("accuracy").update(torch.ones(3), torch.ones(3))


def test_every_name_of_keras_that_we_have_means_the_same(keras: Any) -> None:
    theirs = keras.src.metrics.ALL_OBJECTS_DICT
    common = metrics.NAMES & set(theirs)
    for name in common - {"Accuracy", "accuracy"}:
        metric = metrics.get(name)
        kind = type(metric.loss if isinstance(metric, metrics.LossMetric) else metric).__name__
        assert kind == theirs[name].__name__
        assert metric.name == name
    for kind in metrics.OBJECTS.values():
        if issubclass(kind, metrics.Metric) and hasattr(keras.metrics, kind.__name__):
            assert kind().name == getattr(keras.metrics, kind.__name__)(name=None).name or kind().name in theirs
    assert {"mse", "MAE", "auc", "AUC", "F1Score", "f1_score", "r2_score", "root_mean_squared_error"} <= common


def test_get(keras: Any) -> None:
    metric = metrics.AUC()
    assert metrics.get(metric) is metric
    assert isinstance(metrics.get(metrics.AUC), metrics.AUC)
    assert isinstance(metrics.get("crossentropy"), metrics.LossMetric)
    assert isinstance(metrics.get("mse"), metrics.MeanSquaredError)
    assert metrics.get(serialize(metrics.Precision(top_k=3))).top_k == 3
    assert metrics.get(losses.Huber(delta=2.0)).name == "huber_loss"


@pytest.mark.parametrize(
    ("name", "near"), [("acuracy", "accuracy"), ("SparseCategoricalAcuracy", "SparseCategoricalAccuracy"), ("zz", None)]
)
def test_an_unknown_name(name: str, near: str | None) -> None:
    with pytest.raises(ArgumentError, match=f"no metric called '{name}'") as error:
        metrics.get(name)
    assert "sparse_categorical_accuracy" in str(error.value.expected)
    assert (f"Did you mean '{near}'" in str(error.value.fix)) == (near is not None)


@pytest.mark.parametrize("what", [None, 3, int, torch.nn.MSELoss(), F.mse_loss])
def test_what_is_no_metric(what: object) -> None:
    with pytest.raises(ArgumentError):
        metrics.get(what)


# Others' metrics


def close(y_true: Tensor, y_pred: Tensor) -> Tensor:
    return (y_true - y_pred).abs().amax(-1) < 0.5


def test_a_function_is_a_metric(keras: Any) -> None:
    ours, theirs = metrics.get(close), keras.metrics.MeanMetricWrapper(close)
    for n in (9, 4):
        true, pred = numbers(n)
        weight = torch.rand(n)
        ours.update(true, pred, weight)
        theirs.update_state(true, pred, sample_weight=weight)
    assert ours.name == "close"
    assert ours.result() == pytest.approx(number(theirs), rel=RTOL)


def test_a_metric_of_torchmetrics() -> None:
    from torchmetrics.classification import BinaryAUROC, MulticlassCohenKappa

    batches = [sparse(n) for n in (20, 9, 5)]
    for theirs, make in ((MulticlassCohenKappa(K), sparse), (BinaryAUROC(), None)):
        ours = metrics.get(copy.deepcopy(theirs))
        assert ours.result() == 0
        for true, pred in batches:
            if make is None:
                true, pred = true % 2, pred[:, 0]
            ours.update(true, pred)
            theirs.update(pred, true)
        assert ours.result() == theirs.compute().item()
    assert metrics.get(MulticlassCohenKappa(K)).name == "multiclass_cohen_kappa"


def test_the_state_of_a_metric_of_torchmetrics() -> None:
    import torchmetrics
    from torchmetrics.classification import BinaryAUROC

    class Spread(torchmetrics.Metric):
        """Two lists of unequal length, and a metric inside."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = BinaryAUROC()
            self.add_state("pairs", [], dist_reduce_fx="cat")
            self.add_state("single", [], dist_reduce_fx="cat")

        def update(self, preds: Tensor, target: Tensor) -> None:
            self.inner.update(preds, target)
            self.pairs += [preds, target.float()]
            self.single += [preds]

        def compute(self) -> Tensor:
            return self.inner.compute() + torch.cat(self.pairs).sum() + torch.cat(self.single).sum()

    for kind in (Spread, lambda: BinaryAUROC()):
        batches = [tuple(y[:, 0] for y in binary(n)) for n in (9, 8, 7)]
        ours, again = metrics.TorchMetric(kind(), "mine"), metrics.TorchMetric(kind(), "mine")
        again.update(batches[0][0].long(), batches[0][1])
        for true, pred in batches[:2]:
            ours.update(true.long(), pred)
        half = ours.result()
        again.load_state_dict(ours.state_dict())
        assert again.result() == half
        for metric in (ours, again):
            metric.update(batches[2][0].long(), batches[2][1])
        assert again.result() == ours.result() != half
        again.reset()
        assert again.result() == 0
        with pytest.raises(CheckpointError, match="state of another metric"):
            again.load_state_dict({"total": torch.zeros(())})


def test_a_metric_of_torchmetrics_that_is_not_one_number() -> None:
    from torchmetrics import MetricCollection
    from torchmetrics.classification import BinaryAUROC, MulticlassAccuracy
    from torchmetrics.wrappers import MinMaxMetric

    true, pred = binary(9)
    for theirs, batch in (
        (MulticlassAccuracy(K, average=None), sparse(9)),
        (MinMaxMetric(BinaryAUROC()), (true[:, 0].long(), pred[:, 0])),
    ):
        metric = metrics.get(theirs)
        metric.update(*batch)
        with pytest.raises(ArgumentError, match="average='macro'"):
            metric.result()
    with pytest.raises(ArgumentError, match="one by one"):
        metrics.TorchMetric(MetricCollection([BinaryAUROC()]))  # type: ignore[arg-type]
    with pytest.raises(SaveError):
        serialize(metric)


def test_torchmetrics_is_imported_when_it_is_needed() -> None:
    code = """
import sys, torch
from rondeau.training import metrics
for name in metrics.NAMES:
    metrics.get(name)
assert "torchmetrics" not in sys.modules
metrics.Precision().update(torch.ones(1, 1), torch.ones(1, 1))
assert "torchmetrics" in sys.modules
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


# Input that makes no sense


@pytest.mark.parametrize("name", ["Precision", "Recall", "F1Score", "AUC"])
def test_counts_take_no_weights(name: str) -> None:
    with pytest.raises(ArgumentError, match="takes no sample_weight"):
        getattr(metrics, name)().update(*dense(9), torch.ones(9))


def test_a_metric_of_torchmetrics_takes_no_weights() -> None:
    from torchmetrics.classification import BinaryAUROC

    with pytest.raises(ArgumentError, match="takes no sample_weight"):
        metrics.get(BinaryAUROC()).update(*binary(9), torch.ones(9))


@pytest.mark.parametrize(("name", "kwargs", "make"), MEANS, ids=ids(MEANS))
def test_weights_that_do_not_fit(name: str, kwargs: dict[str, Any], make: Make) -> None:
    with pytest.raises(ShapeError, match="sample_weight does not fit"):
        getattr(metrics, name)(**kwargs).update(*make(9), torch.ones(8))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("CategoricalAccuracy", sparse),
        ("SparseCategoricalAccuracy", dense),
        ("TopKCategoricalAccuracy", sparse),
        ("SparseTopKCategoricalAccuracy", dense),
        ("BinaryAccuracy", sparse),
        ("Accuracy", sparse),
        ("Precision", sparse),
        ("AUC", sparse),
        ("F1Score", sparse),
        ("MeanSquaredError", sparse),
        ("RootMeanSquaredError", sparse),
        ("R2Score", sparse),
        ("R2Score", binary_steps),
        ("CategoricalAccuracy", binary),
    ],
)
def test_shapes_that_do_not_fit(name: str, make: Make) -> None:
    with pytest.raises(ShapeError):
        getattr(metrics, name)().update(*make(9))


@pytest.mark.parametrize("name", ["Precision", "Recall", "F1Score", "AUC"])
@pytest.mark.parametrize("bad", [2.0, -1.0, 0.5])
def test_a_target_that_is_no_decision(name: str, bad: float) -> None:
    true, pred = dense(9)
    true[3, 2] = bad
    with pytest.raises(DataError, match="neither 0 nor 1") as error:
        getattr(metrics, name)().update(true, pred)
    assert (error.value.got, error.value.where) == (bad, "y_true[3, 2]")


@pytest.mark.parametrize(
    ("name", "kwargs"), [("Precision", {}), ("Recall", {}), ("F1Score", {"threshold": 0.5}), ("AUC", {})]
)
def test_a_prediction_that_is_no_probability(name: str, kwargs: dict[str, Any]) -> None:
    true, pred = dense(9)
    pred[3, 2] = 1.5
    with pytest.raises(DataError, match="not a probability") as error:
        getattr(metrics, name)(**kwargs).update(true, pred)
    assert error.value.where == "y_pred[3, 2]"


@pytest.mark.parametrize("name", ["Precision", "Recall", "F1Score", "AUC"])
def test_a_prediction_that_is_nan(name: str) -> None:
    true, pred = dense(9)
    pred[3, 2] = torch.nan
    with pytest.raises(NumericsError, match=r"y_pred\[3, 2\]"):
        getattr(metrics, name)().update(true, pred)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: metrics.MeanSquaredError(dtype="float16"), "dtype cannot be chosen"),
        (lambda: metrics.Precision(thresholds=[0.1, 0.5]), "one threshold"),
        (lambda: metrics.Precision(thresholds=1.5), "no such probability"),
        (lambda: metrics.Recall(top_k=0), "top_k"),
        (lambda: metrics.Recall(top_k=K + 1).update(*dense(3)), "no such top_k"),
        (lambda: metrics.Recall(class_id=K).update(*dense(3)), "no such class_id"),
        (lambda: metrics.F1Score(average=None), "unknown average"),
        (lambda: metrics.F1Score(threshold=0.0), "no such probability"),
        (lambda: metrics.F1Score().update(*binary(3)), "threshold=0.5"),
        (lambda: metrics.AUC(curve="roc"), "unknown curve"),
        (lambda: metrics.AUC(summation_method="mean"), "unknown summation"),
        (lambda: metrics.AUC(num_thresholds=1), "too few thresholds"),
        (lambda: metrics.AUC(thresholds=[2.0]), "no such probability"),
        (lambda: metrics.AUC(multi_label=True), "one curve"),
        (lambda: metrics.R2Score(class_aggregation=None), "unknown aggregation"),
        (lambda: metrics.R2Score(num_regressors=-1), "num_regressors is negative"),
        (lambda: metrics.TopKCategoricalAccuracy(k=0), "k is how many"),
        (lambda: metrics.SparseTopKCategoricalAccuracy(from_sorted_ids=True), "scores, not class numbers"),
        (lambda: metrics.get(lambda true, pred: 1.0).update(*numbers(3)), "returned no tensor"),
    ],
)
def test_arguments_that_make_no_sense(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


# Nothing to add, gradients, saving


@pytest.mark.parametrize(("name", "kwargs", "make"), EVERY, ids=ids(EVERY))
def test_no_steps_at_all_change_nothing(name: str, kwargs: dict[str, Any], make: Make) -> None:
    metric = getattr(metrics, name)(**kwargs)
    metric.update(*make(0))
    assert metric.result() == 0
    metric.update(*make(9))
    before = metric.result()
    metric.update(*make(0))
    assert metric.result() == before


@pytest.mark.parametrize(("name", "kwargs", "make"), EVERY, ids=ids(EVERY))
def test_a_metric_holds_no_graph(name: str, kwargs: dict[str, Any], make: Make) -> None:
    true, pred = make(9)
    metric = getattr(metrics, name)(**kwargs)
    metric.update(true, pred.float().requires_grad_() if name == "Accuracy" else pred.requires_grad_())
    assert not any(value.requires_grad for value in metric.state_dict().values())


@pytest.mark.parametrize(("name", "kwargs", "make"), EVERY, ids=ids(EVERY))
def test_a_metric_comes_back_from_its_config(name: str, kwargs: dict[str, Any], make: Make) -> None:
    metric = getattr(metrics, name)(**kwargs, name="mine")
    again = deserialize(serialize(metric), metrics.OBJECTS)
    batch = make(20)
    metric.update(*batch)
    again.update(*batch)
    assert again.name == "mine"
    assert again.result() == metric.result()


def test_a_loss_metric_comes_back_from_its_config() -> None:
    metric = metrics.LossMetric(losses.Huber(delta=0.1))
    again = deserialize(serialize(metric), metrics.OBJECTS)
    assert again.loss.delta == 0.1
