"""Recurrent layers against Keras: every direction, output, mask and state, outputs and gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from rondeau import Ragged, layers
from rondeau.cells import GRUCell, LSTMCell, SimpleRNNCell

BATCH, TIME, FEATURES, UNITS = 5, 6, 3, 4

MASKS = {
    "none": None,
    "all valid": [[1] * 6] * 5,
    "trailing": [[1] * 6, [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1] * 5 + [0], [1] * 6],
    "leading": [[0, 0, 1, 1, 1, 1], [1] * 6, [0] * 5 + [1], [0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]],
    "holes": [[0, 1, 0, 1, 1, 0], [1, 1, 0, 0, 1, 1], [0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0], [1, 0, 1, 0, 1, 0]],
    "a whole row": [[1] * 6, [0] * 6, [1, 1, 0, 0, 0, 0], [0] * 6, [0, 0, 1, 1, 0, 0]],
    "everything": [[0] * 6] * 5,
}

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "SimpleRNN": ("SimpleRNN", {}),
    "LSTM": ("LSTM", {}),
    "GRU": ("GRU", {}),
    "GRU, reset before": ("GRU", {"reset_after": False}),
    "SimpleRNN, relu": ("SimpleRNN", {"activation": "relu"}),
    "LSTM, no bias": ("LSTM", {"use_bias": False}),
    "GRU, no bias": ("GRU", {"use_bias": False}),
    "GRU, reset before, no bias": ("GRU", {"reset_after": False, "use_bias": False}),
    "LSTM, other activations": ("LSTM", {"activation": "softsign", "recurrent_activation": "hard_sigmoid"}),
    "GRU, other activations": ("GRU", {"activation": None, "recurrent_activation": "hard_sigmoid"}),
}
FIRST = ["SimpleRNN", "LSTM", "GRU", "GRU, reset before"]


def mask_of(name: str) -> torch.Tensor | None:
    return None if MASKS[name] is None else torch.tensor(MASKS[name], dtype=torch.bool)


def called_with(name: str) -> Callable[..., Any]:
    mask = mask_of(name)
    return lambda layer, x, *state: layer(x, initial_state=list(state) or None, mask=mask)


def check(judge: Any, kind: str, options: dict[str, Any], masks: list[str], states: list[bool]) -> None:
    name, own = KINDS[kind]
    options = {**own, **options}
    ours, theirs = judge.twins(
        getattr(layers, name)(UNITS, **options),
        getattr(judge.keras.layers, name)(UNITS, **options),
        (BATCH, TIME, FEATURES),
    )
    x = torch.randn(BATCH, TIME, FEATURES)
    for mask, given in itertools.product(masks, states):
        begun = [torch.randn(BATCH, UNITS) for _ in range((2 if name == "LSTM" else 1) * given)]
        judge.same(ours, theirs, [x, *begun], called_with(mask), note=(kind, options, mask, given))


@pytest.mark.parametrize("kind", FIRST)
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_every_mask_and_state(judge: Any, kind: str, go_backwards: bool, return_sequences: bool) -> None:
    options = {"return_sequences": return_sequences, "return_state": True, "go_backwards": go_backwards}
    check(judge, kind, options, list(MASKS), [False, True])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in FIRST])
def test_other_arguments(judge: Any, kind: str) -> None:
    check(judge, kind, {"return_sequences": True, "return_state": True}, ["none", "holes"], [True])


@pytest.mark.parametrize("kind", FIRST)
def test_without_the_state(judge: Any, kind: str) -> None:
    for return_sequences in (False, True):
        check(judge, kind, {"return_sequences": return_sequences}, ["none", "holes", "everything"], [False])


@pytest.mark.parametrize("kind", FIRST)
def test_zero_output_for_mask(judge: Any, kind: str) -> None:
    for options in itertools.product([False, True], [False, True]):
        named = dict(zip(("return_sequences", "go_backwards"), options, strict=True))
        check(
            judge, kind, {**named, "zero_output_for_mask": True}, ["none", "trailing", "holes", "everything"], [False]
        )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_everything_with_everything(judge: Any, kind: str) -> None:
    for options in itertools.product([False, True], repeat=4):
        names = ("return_sequences", "return_state", "go_backwards", "zero_output_for_mask")
        check(judge, kind, dict(zip(names, options, strict=True)), list(MASKS), [False, True])


def test_a_stack_of_cells(judge: Any) -> None:
    keras = judge.keras
    for go_backwards, return_sequences in itertools.product([False, True], repeat=2):
        options = {"return_sequences": return_sequences, "return_state": True, "go_backwards": go_backwards}
        ours, theirs = judge.twins(
            layers.RNN([LSTMCell(4), GRUCell(3), SimpleRNNCell(5)], **options),
            keras.layers.RNN(
                [keras.layers.LSTMCell(4), keras.layers.GRUCell(3), keras.layers.SimpleRNNCell(5)], **options
            ),
            (BATCH, TIME, FEATURES),
        )
        x, begun = torch.randn(BATCH, TIME, FEATURES), [torch.randn(BATCH, n) for n in (4, 4, 3, 5)]
        for name in ("none", "holes", "a whole row"):
            mask = mask_of(name)

            def their_call(layer: Any, x: Any, a: Any, b: Any, c: Any, d: Any, mask: Any = mask) -> Any:
                return layer(x, initial_state=[[a, b], [c], [d]], mask=mask)

            judge.same(ours, theirs, [x, *begun], called_with(name), their_call, note=(options, name))


def test_a_single_cell(judge: Any) -> None:
    theirs = judge.keras.layers.RNN(judge.keras.layers.LSTMCell(4), return_state=True)
    ours, theirs = judge.twins(layers.RNN(layers.LSTMCell(4), return_state=True), theirs, (BATCH, TIME, FEATURES))
    judge.same(ours, theirs, [torch.randn(BATCH, TIME, FEATURES)])


@pytest.mark.parametrize("kind", FIRST)
def test_stateful_batches_go_on_where_the_last_one_ended(judge: Any, kind: str) -> None:
    name, own = KINDS[kind]
    theirs = getattr(judge.keras.layers, name)(UNITS, stateful=True, return_sequences=True, **own)
    ours, theirs = judge.twins(
        getattr(layers, name)(UNITS, stateful=True, return_sequences=True, **own), theirs, (BATCH, TIME, FEATURES)
    )
    batches = torch.randn(3, BATCH, TIME, FEATURES)
    for masks in ([None] * 3, [mask_of("trailing"), mask_of("holes"), mask_of("a whole row")]):
        for layer in (ours, theirs):
            layer.reset_state()
        for x, mask in zip(batches, masks, strict=True):
            a, b = ours(x, mask=mask), theirs(x, mask=mask)
            assert torch.allclose(a, b, rtol=0, atol=1e-5)
    assert not torch.allclose(ours(batches[0]), ours(batches[0]))
    ours.reset_states()
    first = ours(batches[0])
    ours.reset_states()
    assert torch.equal(ours(batches[0]), first)


def test_a_stateful_layers_state_holds_no_gradient() -> None:
    layer = layers.LSTM(3, stateful=True)
    for _ in range(3):
        layer.zero_grad()
        layer(torch.randn(2, 4, 5)).sum().backward()
        assert not any(part.requires_grad for part in layer.state)


@pytest.mark.parametrize("go_backwards", [False, True])
def test_lengths_in_a_ragged_are_a_trailing_mask(go_backwards: bool) -> None:
    for kind in (layers.SimpleRNN, layers.LSTM, layers.GRU):
        layer = kind(4, return_sequences=True, return_state=True, go_backwards=go_backwards)  # type: ignore[operator]
        x, mask = torch.randn(BATCH, TIME, FEATURES), mask_of("trailing")
        assert mask is not None
        y, *state = layer(Ragged.from_padded(x, mask.sum(1)))
        want, *finals = layer(x, mask=mask)
        assert isinstance(y, Ragged)
        valid = mask.flip(1) if go_backwards else mask
        assert torch.equal(y.values, want[valid])
        assert all(torch.equal(a, b) for a, b in zip(state, finals, strict=True))


def test_a_ragged_with_a_mask_expands_to_what_the_mask_gives() -> None:
    x = torch.randn(BATCH, TIME, FEATURES)
    for name, go_backwards, zeros in itertools.product(
        ("holes", "leading", "everything"), [False, True], [False, True]
    ):
        mask = mask_of(name)
        assert mask is not None
        layer = layers.GRU(4, go_backwards=go_backwards, return_sequences=True, zero_output_for_mask=zeros)
        y = layer(Ragged.compress(x, mask))
        assert torch.equal(y.expand(zeros=zeros), layer(x, mask=mask))
        last = layers.GRU(4, go_backwards=go_backwards, zero_output_for_mask=zeros)
        assert torch.equal(last(Ragged.compress(x, mask)), last(x, mask=mask))
