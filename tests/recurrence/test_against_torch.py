"""The same weights in `torch.nn`: the same outputs, states and gradients, in float64 to 1e-10."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rondeau import scan
from rondeau.cells import GRUCell, LSTMCell, SimpleRNNCell

TOLERANCE = 1e-10
# batch, steps, features, units: each odd size at least once
SIZES = [(1, 1, 1, 1), (5, 1, 4, 3), (1, 6, 3, 17), (7, 5, 1, 63), (33, 4, 2, 3), (5, 9, 7, 1), (33, 2, 1, 17)]


def lstm(features: int, units: int) -> tuple[Any, Any, dict[str, Callable[[Any], Tensor]]]:
    """Ours, torch's with the same weights, and where ours has its gradients in torch's."""
    ours, theirs = (
        LSTMCell(units, bias_initializer="normal").double(),
        torch.nn.LSTM(features, units, batch_first=True).double(),
    )
    ours.build_for(features)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.kernel.T)
        theirs.weight_hh_l0.copy_(ours.recurrent_kernel.T)
        theirs.bias_ih_l0.copy_(ours.bias)
        theirs.bias_hh_l0.zero_()
    return (
        ours,
        theirs,
        {
            "kernel": lambda t: t.weight_ih_l0.grad.T,
            "recurrent_kernel": lambda t: t.weight_hh_l0.grad.T,
            "bias": lambda t: t.bias_ih_l0.grad,
        },
    )


def rnn(features: int, units: int) -> tuple[Any, Any, dict[str, Callable[[Any], Tensor]]]:
    ours, theirs = (
        SimpleRNNCell(units, bias_initializer="normal").double(),
        torch.nn.RNN(features, units, batch_first=True).double(),
    )
    ours.build_for(features)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.kernel.T)
        theirs.weight_hh_l0.copy_(ours.recurrent_kernel.T)
        theirs.bias_ih_l0.copy_(ours.bias)
        theirs.bias_hh_l0.zero_()
    return (
        ours,
        theirs,
        {
            "kernel": lambda t: t.weight_ih_l0.grad.T,
            "recurrent_kernel": lambda t: t.weight_hh_l0.grad.T,
            "bias": lambda t: t.bias_ih_l0.grad,
        },
    )


def swapped(gates: Tensor) -> Tensor:
    """z, r, n along the first axis as r, z, n: torch's order, or ours again."""
    z, r, n = gates.chunk(3)
    return torch.cat([r, z, n])


def gru(features: int, units: int) -> tuple[Any, Any, dict[str, Callable[[Any], Tensor]]]:
    ours, theirs = (
        GRUCell(units, bias_initializer="normal").double(),
        torch.nn.GRU(features, units, batch_first=True).double(),
    )
    ours.build_for(features)
    assert ours.bias is not None
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(swapped(ours.kernel.T))
        theirs.weight_hh_l0.copy_(swapped(ours.recurrent_kernel.T))
        theirs.bias_ih_l0.copy_(swapped(ours.bias[0]))
        theirs.bias_hh_l0.copy_(swapped(ours.bias[1]))
    return (
        ours,
        theirs,
        {
            "kernel": lambda t: swapped(t.weight_ih_l0.grad).T,
            "recurrent_kernel": lambda t: swapped(t.weight_hh_l0.grad).T,
            "bias": lambda t: torch.stack([swapped(t.bias_ih_l0.grad), swapped(t.bias_hh_l0.grad)]),
        },
    )


KINDS = {"lstm": lstm, "rnn": rnn, "gru": gru}


def turned(x: Tensor, lengths: list[int]) -> Tensor:
    """Each row's real steps back to front."""
    return torch.stack([torch.cat([row[:n].flip(0), row[n:]]) for row, n in zip(x, lengths, strict=True)])


def run_torch(
    module: Any, x: Tensor, state: tuple[Tensor, ...], lengths: list[int], reverse: bool
) -> tuple[Tensor, list[Tensor]]:
    """Outputs `(batch, time, units)`, zero behind each length, and final states; torch takes no row without steps."""
    full = [i for i, n in enumerate(lengths) if n]
    outputs, finals = x.new_zeros(*x.shape[:2], module.hidden_size), [s.clone() for s in state]
    if not full:
        return outputs, finals
    kept = [lengths[i] for i in full]
    steps = turned(x[full], kept) if reverse else x[full]
    begun = tuple(s[full][None] for s in state)
    packed = pack_padded_sequence(steps, torch.tensor(kept), batch_first=True, enforce_sorted=False)
    y, last = module(packed, begun if len(begun) > 1 else begun[0])
    y = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])[0]
    outputs[full] = turned(y, kept) if reverse else y
    for final, part in zip(finals, last if len(state) > 1 else (last,), strict=True):
        final[full] = part[0]
    return outputs, finals


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_states_and_gradients_are_torchs(kind: str, ragged: bool, reverse: bool) -> None:
    for batch, time, features, units in SIZES:
        lengths = [(7 * i + 1) % (time + 1) for i in range(batch)] if ragged else None
        errors = differences(kind, (batch, time, features, units), lengths, reverse)
        assert max(errors.values()) < TOLERANCE, ((batch, time, features, units), errors)


def differences(kind: str, size: tuple[int, ...], lengths: list[int] | None, reverse: bool) -> dict[str, float]:
    """The largest difference in each result, over the same weights, inputs and cotangents."""
    batch, time, features, units = size
    ours, theirs, places = KINDS[kind](features, units)
    given = [
        torch.randn(batch, time, features),
        *[torch.randn(batch, units) for _ in range(2 if kind == "lstm" else 1)],
    ]
    mine, other = ([t.double().requires_grad_() for t in given] for _ in range(2))
    y, last = scan(ours, mine[0], mine[1:], lengths=lengths, reverse=reverse)
    want, finals = run_torch(theirs, other[0], tuple(other[1:]), lengths or [time] * batch, reverse)
    cotangents = [torch.randn_like(t) for t in (want, *finals)]
    torch.autograd.backward([y, *last], cotangents)
    torch.autograd.backward([want, *finals], cotangents)

    pairs = {"outputs": (y, want)}
    pairs |= {f"final state {i}": pair for i, pair in enumerate(zip(last, finals, strict=True))}
    pairs |= {f"gradient of input {i}": (a.grad, b.grad) for i, (a, b) in enumerate(zip(mine, other, strict=True))}
    pairs |= {f"gradient of {name}": (getattr(ours, name).grad, place(theirs)) for name, place in places.items()}
    assert all(a.shape == b.shape for a, b in pairs.values())
    return {name: float((a - b).detach().abs().max()) for name, (a, b) in pairs.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_two_directions_are_torchs_bidirectional(kind: str) -> None:
    ours, theirs, _ = KINDS[kind](3, 5)
    back, their_back, _ = KINDS[kind](3, 5)
    both = type(theirs)(3, 5, batch_first=True, bidirectional=True).double()
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            getattr(both, name).copy_(weight)
            getattr(both, f"{name}_reverse").copy_(getattr(their_back, name))
    x, lengths = torch.randn(4, 6, 3, dtype=torch.float64), [6, 1, 4, 6]
    packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    want = pad_packed_sequence(both(packed)[0], batch_first=True)[0]
    y = torch.cat([scan(ours, x, lengths=lengths)[0], scan(back, x, lengths=lengths, reverse=True)[0]], -1)
    assert float((y - want).detach().abs().max()) < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_are_torchs(kind: str) -> None:
    ours, theirs, _ = KINDS[kind](2, 3)
    x = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)

    def curvature(f: Callable[[Tensor], Tensor]) -> Tensor:
        [slope] = torch.autograd.grad(f(x).square().sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), x)[0]

    assert float((curvature(lambda v: scan(ours, v)[0]) - curvature(lambda v: theirs(v)[0])).abs().max()) < TOLERANCE
