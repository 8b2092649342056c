"""Convolution and pooling over time: against Keras, and each row of a `Ragged` against itself alone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rondeau import Ragged, layers
from rondeau.errors import ArgumentError, ShapeError

X = torch.randn(3, 11, 4, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
def test_convolution_is_keras(judge: Any, padding: str) -> None:
    for size, stride, dilation, groups in itertools.product([1, 2, 3], [1, 2, 3], [1, 2], [1, 2]):
        if stride > 1 and dilation > 1:
            continue  # Keras refuses the two together
        options = {"strides": stride, "padding": padding, "dilation_rate": dilation, "groups": groups}
        ours, theirs = judge.twins(
            layers.Conv1D(6, size, **options), judge.keras.layers.Conv1D(6, size, **options), (3, 11, 4)
        )
        for time in (11, 10, 7):
            judge.same(ours, theirs, [X[:, :time]], note=(size, options, time))


def test_convolution_without_bias_and_with_activation(judge: Any) -> None:
    options = {"use_bias": False, "activation": "relu"}
    ours, theirs = judge.twins(
        layers.Conv1D(6, 3, **options), judge.keras.layers.Conv1D(6, (3,), **options), (3, 11, 4)
    )
    judge.same(ours, theirs, [X])


def test_strides_and_dilation_together() -> None:
    layer = layers.Conv1D(2, 2, strides=3, dilation_rate=4)
    y = layer(X)
    assert y.shape == (3, 3, 2)
    k, b = layer.kernel, layer.bias
    assert b is not None
    assert torch.allclose(y[:, 1], X[:, 3] @ k[0] + X[:, 7] @ k[1] + b, atol=1e-6)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_max_pooling_is_keras(judge: Any, padding: str) -> None:
    for size, stride in itertools.product([1, 2, 3, 4], [None, 1, 2, 3, 5]):
        for time in (11, 10, 7):
            ours = layers.MaxPooling1D(size, stride, padding)
            theirs = judge.keras.layers.MaxPooling1D(size, stride, padding)
            judge.same(ours, theirs, [X[:, :time]], note=(size, stride, time))


MASK = torch.tensor([[1] * 11, [1, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0], [0] * 10 + [1]]).bool()


@pytest.mark.parametrize("keepdims", [False, True])
def test_global_pooling_is_keras(judge: Any, keepdims: bool) -> None:
    ours, theirs = layers.GlobalAveragePooling1D(keepdims), judge.keras.layers.GlobalAveragePooling1D(keepdims=keepdims)
    judge.same(ours, theirs, [X])
    judge.same(ours, theirs, [X], lambda layer, x: layer(x, mask=MASK))
    ours, theirs = layers.GlobalMaxPooling1D(keepdims), judge.keras.layers.GlobalMaxPooling1D(keepdims=keepdims)
    judge.same(ours, theirs, [X])


def test_the_global_maximum_is_of_real_steps() -> None:
    y = layers.GlobalMaxPooling1D()(X, mask=MASK)
    assert torch.equal(y[1], X[1, [0, 2, 4, 6]].amax(0))
    assert torch.equal(y[2], X[2, 10])


def test_rows_without_steps_pool_to_zero() -> None:
    r = Ragged.from_padded(X, [0, 3, 0])
    for kind in (layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D):
        y = kind()(r)  # type: ignore[operator]
        assert not y[[0, 2]].any()
        assert torch.allclose(y[1], kind()(X[1:2, :3])[0])  # type: ignore[operator]
        assert kind(keepdims=True)(r).shape == (3, 1, 4)  # type: ignore[operator]
        with pytest.raises(ShapeError, match="no steps to pool"):
            kind()(X[:, :0])  # type: ignore[operator]


windows = st.tuples(
    st.integers(1, 4), st.integers(1, 3), st.sampled_from(["valid", "same", "causal"]), st.integers(1, 3)
)


@given(windows, st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_each_row_of_a_ragged_is_convolved_alone(window: Any, lengths: list[int]) -> None:
    size, stride, padding, dilation = window
    layer = layers.Conv1D(3, size, stride, padding, dilation, bias_initializer="normal")
    x = torch.randn(len(lengths), 9, 2, requires_grad=True)
    y = layer(Ragged.from_padded(x, lengths))
    alone_x = x.detach().clone().requires_grad_()
    span = (size - 1) * dilation + 1
    for row, own, n in zip(y.rows(), alone_x, lengths, strict=True):
        if n == 0 or (padding == "valid" and n < span):
            assert row.shape == (0, 3)
            continue
        want = layer(own[None, :n])[0]
        assert torch.allclose(row, want, rtol=0, atol=1e-6)
        want.square().sum().backward()
    if len(y.values):
        y.values.square().sum().backward()
        wanted = torch.zeros_like(x) if alone_x.grad is None else alone_x.grad
        assert x.grad is not None
        assert torch.allclose(x.grad, wanted, rtol=1e-5, atol=1e-5)


@given(windows.filter(lambda w: w[2] != "causal"), st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_each_row_of_a_ragged_is_pooled_alone(window: Any, lengths: list[int]) -> None:
    size, stride, padding, _ = window
    layer = layers.MaxPooling1D(size, stride, padding)
    x = torch.randn(len(lengths), 9, 2)
    y = layer(Ragged.from_padded(x, lengths))
    for row, own, n in zip(y.rows(), x, lengths, strict=True):
        if n == 0 or (padding == "valid" and n < size):
            assert row.shape == (0, 2)
        else:
            assert torch.equal(row, layer(own[None, :n])[0])


def test_a_mask_stays_where_the_rows_kept_their_lengths() -> None:
    r = Ragged.compress(X, MASK)
    kept = layers.Conv1D(2, 3, padding="same")(r)
    assert kept.mask is not None
    assert kept.expand().shape == (3, 11, 2)
    assert layers.Conv1D(2, 3)(r).mask is None
    assert layers.MaxPooling1D()(r).lengths.tolist() == [5, 2, 0]


@pytest.mark.parametrize("layer", [layers.Conv1D(2, 3), layers.MaxPooling1D(3), layers.Conv1D(2, 2, dilation_rate=2)])
def test_a_padded_sequence_shorter_than_the_window(layer: Any) -> None:
    with pytest.raises(ShapeError, match="shorter than the window: expected at least 3 steps, got 2"):
        layer(torch.zeros(1, 2, 4))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: layers.Conv1D(0, 3), "Conv1D: filters: expected a positive integer, got 0"),
        (lambda: layers.Conv1D(2, 0), "kernel_size: expected a positive integer, got 0"),
        (lambda: layers.Conv1D(2, (3, 3)), r"kernel_size: expected a positive integer, got \(3, 3\)"),
        (lambda: layers.Conv1D(2, 3, strides=-1), "strides: expected a positive integer, got -1"),
        (lambda: layers.Conv1D(2, 3, dilation_rate=0), "dilation_rate: expected a positive integer"),
        (lambda: layers.Conv1D(2, 3, padding="full"), "padding: expected one of .*, got 'full'"),
        (lambda: layers.Conv1D(3, 3, groups=2), "filters: expected a multiple of groups=2, got 3"),
        (
            lambda: layers.Conv1D(2, 3, groups=2)(torch.zeros(1, 5, 3)),
            "groups: expected a divisor of 3 features, got 2",
        ),
        (
            lambda: layers.Conv1D(2, 3, data_format="channels_first"),
            r"data_format has no meaning.*\(batch, time, features\)",
        ),
        (lambda: layers.MaxPooling1D(0), "MaxPooling1D: pool_size: expected a positive integer"),
        (lambda: layers.MaxPooling1D(2, 0), "strides: expected a positive integer"),
        (lambda: layers.MaxPooling1D(2, padding="causal"), "padding: expected one of .*, got 'causal'"),
    ],
)
def test_wrong_arguments(make: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        make()


@pytest.mark.parametrize("layer", [layers.GlobalAveragePooling1D(), layers.GlobalMaxPooling1D()])
def test_masks_that_do_not_fit(layer: Any) -> None:
    with pytest.raises(ShapeError, match=r"the mask does not fit the input: expected \(3, 11\), got \(3, 10\)"):
        layer(X, mask=MASK[:, :10])
    with pytest.raises(ArgumentError, match="a mask beside a Ragged"):
        layer(Ragged.from_padded(X, [1, 2, 3]), mask=MASK)
