from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import rondeau
from rondeau import layers
from rondeau.errors import ArgumentError, ShapeError
from rondeau.training.class_weight import checked_class_weight, class_weights

WEIGHTS = {0: 0.5, 2: 3.0}
OUTPUT = torch.zeros(4, 3)
LABELS = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    "target",
    [LABELS, LABELS[:, None], LABELS.float(), torch.eye(3)[LABELS], torch.eye(3, dtype=torch.int64)[LABELS]],
    ids=["integers", "column", "floats", "one-hot", "one-hot of integers"],
)
def test_targets_of_every_form(target: Any) -> None:
    assert class_weights(WEIGHTS, target, OUTPUT).tolist() == [0.5, 1, 3, 0.5]


def test_a_single_probability() -> None:
    for target in (torch.tensor([0, 1, 1, 0]), torch.tensor([[0.0], [1.0], [1.0], [0.0]])):
        assert class_weights({1: 4}, target, torch.zeros(4, 1)).tolist() == [1, 4, 4, 1]


def test_steps_and_given_weights() -> None:
    target = torch.tensor([[0, 1], [2, 0]])
    output = torch.zeros(2, 2, 3)
    assert class_weights(WEIGHTS, target, output).tolist() == [[0.5, 1], [3, 0.5]]
    assert class_weights(WEIGHTS, target, output, torch.tensor([2.0, 10.0])).tolist() == [[1, 2], [30, 5]]
    assert class_weights(WEIGHTS, LABELS, OUTPUT, torch.tensor([1.0, 2, 3, 4])).tolist() == [0.5, 2, 9, 2]


def test_labels_that_are_ignored_weigh_1() -> None:
    assert class_weights(WEIGHTS, torch.tensor([-1, 7, 0, 2]), OUTPUT).tolist() == [1, 1, 0.5, 3]


def test_targets_that_are_no_classes() -> None:
    with pytest.raises(ShapeError, match="class_weight: the targets are no classes"):
        class_weights(WEIGHTS, torch.zeros(4, 2), OUTPUT)


def test_numpys_numbers_are_numbers() -> None:
    assert checked_class_weight({np.int64(1): np.float32(2)}) == {1: 2.0}


@pytest.mark.parametrize("weights", [[1, 2], {0: -1}, {-1: 1}, {0.5: 1}, {0: float("nan")}, {0: "a"}, {"a": 1}])
def test_weights_that_are_none(weights: Any) -> None:
    with pytest.raises(ArgumentError, match=r"class_weight: expected {class: weight}"):
        checked_class_weight(weights)


def test_classes_of_ragged_steps_weigh_as_much_as_weights_of_these_steps() -> None:
    model = rondeau.Sequential([layers.LSTM(3, return_sequences=True), layers.Dense(2, activation="softmax")])
    still = rondeau.optimizers.SGD(0.0)
    model.compile(still, "sparse_categorical_crossentropy", weighted_metrics=["sparse_categorical_accuracy"])
    x, y = [[[1.0], [2.0]], [[3.0]]], [[0, 1], [1]]
    by_class = model.train_on_batch(x, y, class_weight={0: 3.0, 1: 0.5})
    by_step = model.train_on_batch(x, y, sample_weight=[[3.0, 0.5], [0.5]])
    assert by_class == by_step != model.train_on_batch(x, y)


def test_one_output_only() -> None:
    x = layers.Input((3,))
    model = rondeau.Model(x, [layers.Dense(2)(x), layers.Dense(2)(x)])
    model.compile("sgd", "mse")
    with pytest.raises(ArgumentError, match="class_weight works with one output"):
        model.fit(np.zeros((2, 3)), [np.zeros((2, 2))] * 2, class_weight={0: 1.0}, verbose=0)
