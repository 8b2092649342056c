"""`gradient=` on layers: the same results as without, saved with them, passed on to both directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import rondeau
from rondeau import Ragged, Recompute, Sequential, Truncated, layers
from rondeau.errors import ArgumentError
from tests.recurrence.compare import assert_close

MASKS: dict[str, Any] = {
    "none": None,
    "trailing": torch.arange(9) < torch.tensor([9, 4, 0, 1])[:, None],
    "holes": torch.tensor([[1, 0, 1, 1, 0, 0, 1, 1, 0]] * 3 + [[0] * 9]).bool(),
}


def twins(make: Any, gradient: Any, **options: Any) -> tuple[Any, Any]:
    """Two layers with the same weights, one under a policy."""
    plain, other = make(4, **options), make(4, gradient=gradient, **options)
    for layer in (plain, other):
        layer.build_for((None, None, 3))
    other.load_state_dict(plain.state_dict())
    return plain, other


def gradients(layer: Any, x: Tensor, **call: Any) -> list[Tensor]:
    own = x.clone().requires_grad_()
    found = layer(own, **call)
    outputs = [t.values if isinstance(t, Ragged) else t for t in (found if isinstance(found, tuple) else (found,))]
    loss = torch.stack([(t.sin() * (i + 1)).sum() for i, t in enumerate(outputs)]).sum()
    return [*outputs, *torch.autograd.grad(loss, [own, *layer.parameters()])]


@pytest.mark.parametrize(
    ("make", "mask"), [*((layers.GRU, mask) for mask in MASKS), (layers.LSTM, "none"), (layers.SimpleRNN, "none")]
)
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
def test_results_of_the_layer_without(
    make: Any, mask: str, go_backwards: bool, return_sequences: bool, zeros: bool
) -> None:
    options = {
        "go_backwards": go_backwards,
        "return_sequences": return_sequences,
        "return_state": True,
        "zero_output_for_mask": zeros,
    }
    plain, other = twins(make, Recompute(2), **options)
    x = torch.randn(4, 9, 3)
    for mine, theirs in zip(gradients(other, x, mask=MASKS[mask]), gradients(plain, x, mask=MASKS[mask]), strict=True):
        assert_close("result", mine, theirs, 64)
    truncated = make(4, gradient=Truncated(2), **options)
    truncated.build_for((None, None, 3))
    truncated.load_state_dict(plain.state_dict())
    for mine, theirs in zip(truncated(x, mask=MASKS[mask]), plain(x, mask=MASKS[mask]), strict=True):
        assert_close("result", mine, theirs, 8)


@pytest.mark.parametrize("return_sequences", [False, True])
def test_ragged_rows_and_no_steps(return_sequences: bool) -> None:
    plain, other = twins(layers.LSTM, Recompute(2), return_sequences=return_sequences)
    rows = Ragged.from_rows([torch.randn(n, 3) for n in (5, 0, 3)])
    mine, theirs = other(rows), plain(rows)
    if return_sequences:
        mine, theirs = mine.values, theirs.values
    assert_close("outputs", mine, theirs, 8)
    with pytest.raises(rondeau.errors.ShapeError, match="no steps, so no last output"):
        layers.LSTM(4, gradient=Recompute(2))(torch.zeros(2, 0, 3))


@pytest.mark.parametrize("merge_mode", ["concat", None])
def test_both_directions(merge_mode: Any) -> None:
    for return_sequences in (False, True):
        both = [
            layers.Bidirectional(layers.GRU(4, gradient=g, return_sequences=return_sequences), merge_mode)
            for g in (None, Recompute(2))
        ]
        assert both[1].forward_layer.gradient == both[1].backward_layer.gradient == Recompute(2)
        for layer in both:
            layer.build_for((None, None, 3))
        both[1].load_state_dict(both[0].state_dict())
        x = torch.randn(3, 7, 3)
        for mine, theirs in zip(gradients(both[1], x), gradients(both[0], x), strict=True):
            assert_close("result", mine, theirs, 64)


def test_dropout_is_drawn_as_without() -> None:
    for go_backwards in (False, True):
        options = {"dropout": 0.4, "recurrent_dropout": 0.3, "go_backwards": go_backwards}
        plain, other = twins(layers.GRU, Recompute(2), **options)
        x, found = torch.randn(3, 7, 3), []
        for layer in (other, plain):
            torch.manual_seed(3)
            found.append(gradients(layer.train(), x))
        for mine, theirs in zip(*found, strict=True):
            assert_close("result", mine, theirs, 64)


class Zoneout(layers.GRUCell):
    """Random at each step."""

    per_step = ("noise",)

    def draw(self, lengths: Tensor, generator: Any) -> dict[str, Any]:
        noise = torch.rand(len(lengths), int(lengths.max()), self.output_size, generator=generator)
        return {**super().draw(lengths, generator), "noise": noise}

    def step(self, x: Tensor, state: Any, context: Any) -> Any:
        _, after = super().step(x, state, context)
        h = torch.where(context.noise < 0.3, state.h, after.h)
        return h, after._replace(h=h)


def test_what_is_drawn_for_steps_follows_their_order() -> None:
    def make(units: int, **options: Any) -> layers.RNN:
        return layers.RNN(Zoneout(units), **options)

    plain, other = twins(make, Recompute(2), go_backwards=True)
    x, found = torch.randn(3, 7, 3), []
    for layer in (other, plain):
        torch.manual_seed(3)
        found.append(gradients(layer.train(), x))
    for mine, theirs in zip(*found, strict=True):
        assert_close("result", mine, theirs, 64)


def test_stateful_layers_go_on() -> None:
    plain, other = twins(layers.LSTM, Truncated(2), stateful=True)
    for _ in range(2):
        x = torch.randn(2, 5, 3)
        assert_close("output", other(x), plain(x), 8)


def test_it_is_saved_with_the_model(tmp_path: Path) -> None:
    model = Sequential(
        [
            layers.Input((None, 3)),
            layers.LSTM(4, return_sequences=True, gradient=Truncated(5)),
            layers.Bidirectional(layers.GRU(3, gradient=Recompute(every=2))),
            layers.Dense(1),
        ]
    )
    model.save(tmp_path / "model")
    again = rondeau.load(tmp_path / "model")
    assert again.layers[0].gradient == Truncated(5)
    assert again.layers[1].backward_layer.gradient == Recompute(2)
    x = torch.randn(2, 7, 3)
    assert torch.equal(again(x), model.eval()(x))
    assert "gradient" not in layers.LSTM(4).get_config()
    config = layers.GRU(4, gradient=Recompute(2)).get_config()
    assert config["gradient"] == {"class": "Recompute", "config": {"every": 2}}


def test_a_model_learns_under_it() -> None:
    x = torch.randn(32, 20, 1)
    y = x.sum(1)
    losses = []
    for gradient in (None, Recompute(6)):
        rondeau.utils.set_random_seed(0)
        model = Sequential([layers.GRU(8, gradient=gradient), layers.Dense(1)])
        model.compile(optimizer="adam", loss="mse")
        history = model.fit(x.numpy(), y.numpy(), epochs=3, batch_size=8, verbose=0, shuffle=False)
        losses.append(history.history["loss"])
    assert torch.allclose(*map(torch.tensor, losses), rtol=1e-4)


def test_a_stream_does_not_mind() -> None:
    model = Sequential([layers.Input((None, 3)), layers.GRU(4, gradient=Recompute(2), return_sequences=True)])
    stream = model.stream()
    x = torch.randn(1, 6, 3)
    for t in range(6):
        found = torch.from_numpy(stream(x[:, t].numpy()))
        assert_close("step", found, model(x)[:, t].detach(), 16)


@pytest.mark.parametrize("wrong", ["recompute", 5, Recompute])
def test_what_is_no_policy_is_refused_when_the_layer_is_made(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="LSTM: gradient: expected None, Full"):
        layers.LSTM(4, gradient=wrong)
