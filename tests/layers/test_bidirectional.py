from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from rondeau import Ragged, layers
from rondeau.cells import GRUCell, LSTMCell
from rondeau.errors import ArgumentError, StateError

MERGES = ["concat", "sum", "mul", "ave", None]
MASKS = {
    "none": None,
    "trailing": torch.tensor([[1] * 5, [1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0] * 5]).bool(),
    "holes": torch.tensor([[0, 1, 0, 1, 0], [1, 0, 0, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]]).bool(),
    "everything": torch.zeros(4, 5).bool(),
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "SimpleRNN": ("SimpleRNN", {}),
    "LSTM": ("LSTM", {}),
    "GRU": ("GRU", {}),
    "GRU, reset before": ("GRU", {"reset_after": False}),
}


def pair(judge: Any, kind: str, merge_mode: str | None, **options: Any) -> tuple[Any, Any]:
    name, own = KINDS[kind]
    made = [
        one.Bidirectional(getattr(one, name)(3, **own, **options), merge_mode=merge_mode)
        for one in (layers, judge.keras.layers)
    ]
    return judge.twins(*made, (4, 5, 2))  # type: ignore[no-any-return]


def check(judge: Any, kind: str, merge_mode: str | None, masks: list[str], states: list[bool], **options: Any) -> None:
    ours, theirs = pair(judge, kind, merge_mode, **options)
    x = torch.randn(4, 5, 2)
    for mask, given in itertools.product(masks, states):
        begun = [torch.randn(4, 3) for _ in range(2 * (2 if kind == "LSTM" else 1) * given)]

        def call(layer: Any, x: Any, *state: Any, mask: Any = MASKS[mask]) -> Any:
            return layer(x, initial_state=list(state) or None, mask=mask)

        judge.same(ours, theirs, [x, *begun], call, note=(kind, merge_mode, mask, given, options))


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("merge_mode", MERGES)
def test_every_merge_with_masks_and_states(judge: Any, merge_mode: str | None, return_sequences: bool) -> None:
    check(judge, "LSTM", merge_mode, list(MASKS), [False, True], return_sequences=return_sequences, return_state=True)
    check(judge, "GRU", merge_mode, ["none", "holes"], [False], return_sequences=return_sequences)


@pytest.mark.parametrize("kind", KINDS)
def test_every_cell(judge: Any, kind: str) -> None:
    for return_sequences in (False, True):
        check(judge, kind, "concat", ["none", "holes"], [True], return_sequences=return_sequences, return_state=True)


@pytest.mark.parametrize("return_sequences", [False, True])
def test_masked_outputs_are_the_wrappers_business(judge: Any, return_sequences: bool) -> None:
    options = {"return_sequences": return_sequences, "zero_output_for_mask": True}
    check(judge, "LSTM", "concat", ["trailing", "holes"], [False], **options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("merge_mode", MERGES)
def test_everything_with_everything(judge: Any, kind: str, merge_mode: str | None) -> None:
    for sequences, state, zeros in itertools.product([False, True], repeat=3):
        options = {"return_sequences": sequences, "return_state": state, "zero_output_for_mask": zeros}
        check(judge, kind, merge_mode, list(MASKS), [False, True], **options)


def test_a_backward_layer_of_its_own(judge: Any) -> None:
    def made(one: Any) -> Any:
        back = one.GRU(4, return_sequences=True, go_backwards=True)
        return one.Bidirectional(one.LSTM(3, return_sequences=True), backward_layer=back)

    ours, theirs = judge.twins(made(layers), made(judge.keras.layers), (4, 5, 2))
    judge.same(ours, theirs, [torch.randn(4, 5, 2)])


def test_a_layer_that_goes_backwards_turns_the_other_way(judge: Any) -> None:
    check(judge, "LSTM", "concat", ["none"], [False], return_sequences=True, go_backwards=False)
    layer = layers.Bidirectional(layers.LSTM(3), backward_layer=layers.LSTM(3, go_backwards=True))
    assert layer.forward_layer.go_backwards is False
    with pytest.raises(ArgumentError, match="opposite directions: got go_backwards=True in both"):
        layers.Bidirectional(layers.LSTM(3, go_backwards=True))


def test_stateful_batches(judge: Any) -> None:
    ours, theirs = pair(judge, "LSTM", "concat", stateful=True, return_sequences=True)
    batches = torch.randn(3, 4, 5, 2)
    for x in batches:
        assert torch.allclose(ours(x), theirs(x), rtol=0, atol=1e-5)
    ours.reset_state()
    first = ours(batches[0])
    ours.reset_states()
    assert torch.equal(ours(batches[0]), first)


def test_both_directions_over_a_ragged() -> None:
    x, mask = torch.randn(4, 5, 2), MASKS["holes"]
    assert mask is not None
    for merge_mode in MERGES:
        layer = layers.Bidirectional(layers.LSTM(3, return_sequences=True), merge_mode=merge_mode)
        outputs, want = layer(Ragged.compress(x, mask)), layer(x, mask=mask)
        if merge_mode is not None:
            outputs, want = (outputs,), (want,)
        for y, padded in zip(outputs, want, strict=True):
            assert isinstance(y, Ragged)
            assert torch.equal(y.expand(zeros=True), padded)
        last = layers.Bidirectional(layers.LSTM(3), merge_mode="sum")
        assert torch.equal(last(Ragged.compress(x, mask)), last(x, mask=mask))


def test_the_two_layers_share_nothing_with_each_other_or_the_template() -> None:
    cells = (LSTMCell(3), GRUCell(4))
    template = layers.RNN(cells, name="deep")
    layer = layers.Bidirectional(template)
    layer(torch.zeros(1, 2, 5))
    assert not template.built
    assert (layer.forward_layer.name, layer.backward_layer.name) == ("forward_deep", "backward_deep")
    one, other = layer.forward_layer.weights, layer.backward_layer.weights
    assert len(one) == len(other) == 6
    assert not {id(w) for w in one} & {id(w) for w in other}
    assert [w is v for w, v in zip(layer.weights, [*one, *other], strict=True)] == [True] * 12
    assert not torch.equal(one[0], other[0])


def test_a_configuration_makes_the_like() -> None:
    layer = layers.Bidirectional(layers.LSTM(3, return_sequences=True), merge_mode="sum")
    config = layer.get_config()
    assert config["merge_mode"] == "sum"
    assert config["layer"]["config"] == {"units": 3, "return_sequences": True}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: layers.Bidirectional(layers.Dense(3)), "expected a recurrent layer, got Dense"),
        (lambda: layers.Bidirectional(layers.LSTM(3), "add"), "merge_mode: expected one of .*, got 'add'"),
        (
            lambda: layers.Bidirectional(
                layers.LSTM(3, return_sequences=True), backward_layer=layers.LSTM(3, go_backwards=True)
            ),
            "differ in return_sequences: expected the same in both, got True and False",
        ),
        (
            lambda: layers.Bidirectional(layers.LSTM(3), "sum", backward_layer=layers.LSTM(4, go_backwards=True)),
            "differ in units: got 3 and 4. Use merge_mode='concat'",
        ),
    ],
)
def test_layers_that_make_no_pair(make: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        make()


@pytest.mark.parametrize("given", [3, 1, 0])
def test_states_that_do_not_fit(given: int) -> None:
    layer = layers.Bidirectional(layers.LSTM(3))
    with pytest.raises(StateError, match=f"expected 2 tensors forward, then 2 backward, got {given} tensors"):
        layer(torch.zeros(4, 5, 2), initial_state=[torch.zeros(4, 3)] * given)
    with pytest.raises(StateError, match=r"layer backward_lstm, initial_state\): expected \(4, 3\), got \(2, 3\)"):
        layer(torch.zeros(4, 5, 2), initial_state=[torch.zeros(4, 3)] * 2 + [torch.zeros(2, 3)] * 2)
