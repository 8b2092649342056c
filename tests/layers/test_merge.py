from __future__ import annotations

from typing import Any

import pytest
import torch

from rondeau import Ragged, layers
from rondeau.errors import ArgumentError, ShapeError

A, B, C = (torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(i)) for i in range(3))
LENGTHS = [5, 0, 2]
NAMES = ["Add", "Multiply", "Average", "Concatenate"]


@pytest.mark.parametrize("name", NAMES)
def test_merging_is_keras(judge: Any, name: str) -> None:
    for inputs in ([A, B], [A, B, C], [A[:, 0], B[:, 0]]):
        judge.same(
            getattr(layers, name)(), getattr(judge.keras.layers, name)(), inputs, lambda layer, *xs: layer(list(xs))
        )
    if name != "Concatenate":
        judge.same(
            getattr(layers, name)(),
            getattr(judge.keras.layers, name)(),
            [A, B[:, :1]],
            lambda layer, *xs: layer(list(xs)),
        )


@pytest.mark.parametrize("axis", [-1, 1, 2, -2, 0])
def test_concatenation_along_any_axis(judge: Any, axis: int) -> None:
    judge.same(
        layers.Concatenate(axis), judge.keras.layers.Concatenate(axis), [A, B], lambda layer, *xs: layer(list(xs))
    )


@pytest.mark.parametrize("name", NAMES)
def test_ragged_inputs_merge_step_by_step(name: str) -> None:
    layer = getattr(layers, name)()
    y = layer([Ragged.from_padded(A, LENGTHS), Ragged.from_padded(B, LENGTHS)])
    assert isinstance(y, Ragged)
    assert torch.equal(y.values, Ragged.from_padded(layer([A, B]), LENGTHS).values)
    if name == "Concatenate":
        again = layers.Concatenate(axis=2)([Ragged.from_padded(A, LENGTHS), Ragged.from_padded(B, LENGTHS)])
        assert torch.equal(again.values, y.values)


def test_a_mask_one_input_has_stays() -> None:
    mask = torch.tensor([[1] * 5, [0] * 5, [0, 1, 1, 0, 0]]).bool()
    bare, masked = Ragged.from_padded(A, LENGTHS), Ragged.compress(B, mask)
    for inputs in ([bare, masked], [masked, bare], [masked, masked]):
        y = layers.Add()(inputs)
        assert torch.equal(y.mask, mask)
        assert torch.equal(y.values, inputs[0].values + inputs[1].values)
    other = Ragged.compress(B, mask.flip(1))
    with pytest.raises(ShapeError, match="the inputs' masks differ"):
        layers.Add()([masked, other])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("inputs", "kind", "said"),
    [
        ([A], ArgumentError, "expected a list of at least two inputs"),
        (A, ArgumentError, "expected a list of at least two inputs"),
        ([A, B[:, :3]], ShapeError, r"expected \(3, 5, 4\), got \(3, 3, 4\)"),
        ([A, B[0]], ShapeError, r"expected \(3, 5, 4\), got \(5, 4\)"),
        (
            [Ragged.from_padded(A, LENGTHS), Ragged.from_padded(B, [5, 2, 0])],
            ShapeError,
            r"differ in their rows: got \[\[5, 0, 2\]",
        ),
        ([Ragged.from_padded(A, LENGTHS), B], ShapeError, r"differ in their rows: got \[\[5, 0, 2\], \(3, 5, 4\)\]"),
    ],
)
def test_inputs_that_do_not_fit(name: str, inputs: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        getattr(layers, name)()(inputs)


def test_one_stretched_to_two_sizes() -> None:
    with pytest.raises(ShapeError, match=r"expected \(3, 5, 4\), got \(3, 2, 4\)"):
        layers.Add()([A[:, :1], B, C[:, :2]])


def test_wrong_axes() -> None:
    for axis in (3, -4):
        with pytest.raises(ArgumentError, match=f"axis: expected one of 3 axes, got {axis}"):
            layers.Concatenate(axis)([A, B])
    for axis in (0, 1, -2):
        with pytest.raises(ArgumentError, match=f"along their last features: got axis={axis} of 3 axes"):
            layers.Concatenate(axis)([Ragged.from_padded(A, LENGTHS), Ragged.from_padded(B, LENGTHS)])
    ids = Ragged.from_rows([[1, 2], [3]])
    with pytest.raises(ArgumentError, match="got axis=-1 of 2 axes"):
        layers.Concatenate()([ids, ids])


@pytest.mark.parametrize(
    ("layer", "shapes", "want"),
    [
        (layers.Add(), [(None, None, 4), (None, 5, 4)], (None, 5, 4)),
        (layers.Add(), [(None, None, 4), (None, 1, 4)], (None, None, 4)),
        (layers.Add(), [(None, 1, 4), (None, 5, 1)], (None, 5, 4)),
        (layers.Add(), [(2, 0, 4), (2, 0, 4)], (2, 0, 4)),
        (layers.Concatenate(), [(None, None, 4), (None, 5, 3)], (None, 5, 7)),
        (layers.Concatenate(1), [(None, None, 4), (None, 5, 4)], (None, None, 4)),
        (layers.Concatenate(1), [(None, 2, 4), (2, 5, None)], (2, 7, 4)),
    ],
)
def test_shapes_with_unknown_sizes(layer: Any, shapes: Any, want: Any) -> None:
    assert layer.compute_output_shape(shapes) == want
