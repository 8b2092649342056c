"""The same bad calls: the same kind of error, from torch and from us."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import rondeau

pytestmark = pytest.mark.usefixtures("native")
MADE: dict[str, Callable[[Any], Any]] = {
    "dropout above 1": lambda nn: nn.LSTM(3, 4, 2, dropout=1.5),
    "dropout true": lambda nn: nn.LSTM(3, 4, 2, dropout=True),
    "dropout a word": lambda nn: nn.GRU(3, 4, 2, dropout="much"),
    "no features": lambda nn: nn.LSTM(0, 4),
    "no units": lambda nn: nn.GRU(3, 0),
    "units a float": lambda nn: nn.GRU(3, 4.0),
    "features a word": lambda nn: nn.RNN("3", 4),
    "no layers": lambda nn: nn.LSTM(3, 4, 0),
    "bias a number": lambda nn: nn.LSTM(3, 4, bias=1),
    "batch_first a number": lambda nn: nn.LSTM(3, 4, batch_first=1),
    "proj_size too large": lambda nn: nn.LSTM(3, 4, proj_size=4),
    "proj_size negative": lambda nn: nn.LSTM(3, 4, proj_size=-1),
    "proj_size of a GRU": lambda nn: nn.GRU(3, 4, proj_size=2),
    "proj_size of an RNN": lambda nn: nn.RNN(3, 4, proj_size=2),
    "nonlinearity unknown": lambda nn: nn.RNN(3, 4, nonlinearity="gelu"),
    "argument unknown": lambda nn: nn.LSTM(3, 4, units=3),
    "no arguments": lambda nn: nn.GRU(),
    "cell's nonlinearity": lambda nn: nn.RNNCell(3, 4, nonlinearity="gelu")(torch.zeros(2, 3)),
}
X = torch.zeros(5, 2, 3)
H = torch.zeros(1, 2, 4)


def _packed(**parts: Any) -> PackedSequence:
    good = pack_sequence([torch.zeros(3, 3), torch.zeros(1, 3)])  # type: ignore[arg-type]
    return PackedSequence(parts.get("data", good.data), parts.get("batch_sizes", good.batch_sizes))


CALLED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "one axis": ("LSTM", lambda m: m(torch.zeros(3))),
    "four axes": ("GRU", lambda m: m(torch.zeros(1, 5, 2, 3))),
    "wrong features": ("LSTM", lambda m: m(torch.zeros(5, 2, 4))),
    "wrong features, RNN": ("RNN", lambda m: m(torch.zeros(5, 2, 4))),
    "double": ("LSTM", lambda m: m(X.double())),
    "integers": ("GRU", lambda m: m(X.long())),
    "no steps": ("LSTM", lambda m: m(torch.zeros(0, 2, 3))),
    "no steps, GRU": ("GRU", lambda m: m(torch.zeros(0, 2, 3))),
    "a list": ("LSTM", lambda m: m([[1.0, 2.0, 3.0]])),
    "None": ("RNN", lambda m: m(None)),
    "h alone": ("LSTM", lambda m: m(X, H)),
    "h of another batch": ("LSTM", lambda m: m(X, (torch.zeros(1, 3, 4), H))),
    "c of another size": ("LSTM", lambda m: m(X, (H, torch.zeros(1, 2, 5)))),
    "h unbatched": ("LSTM", lambda m: m(X, (torch.zeros(1, 4), torch.zeros(1, 4)))),
    "h batched for one row": ("LSTM", lambda m: m(X[:, 0], (H, H))),
    "h a pair for a GRU": ("GRU", lambda m: m(X, (H, H))),
    "h of more layers": ("GRU", lambda m: m(X, torch.zeros(2, 2, 4))),
    "h unbatched, GRU": ("GRU", lambda m: m(X, torch.zeros(1, 4))),
    "h batched for one row, RNN": ("RNN", lambda m: m(X[:, 0], H)),
    "h a list of numbers": ("RNN", lambda m: m(X, [0.0])),
    "h double": ("GRU", lambda m: m(X, H.double())),
    "three states": ("LSTM", lambda m: m(X, (H, H, H))),
    "packed, wrong features": ("LSTM", lambda m: m(_packed(data=torch.zeros(4, 5)))),
    "packed, h of another batch": ("GRU", lambda m: m(_packed(), torch.zeros(1, 3, 4))),
    "packed, h of another batch, LSTM": ("LSTM", lambda m: m(_packed(), (torch.zeros(1, 3, 4), torch.zeros(1, 3, 4)))),
    "packed, h alone": ("LSTM", lambda m: m(_packed(), H)),
    "packed, three states": ("LSTM", lambda m: m(_packed(), (H, H, H))),
    "packed, states that are numbers": ("LSTM", lambda m: m(_packed(), (torch.tensor(0.0), torch.tensor(0.0)))),
    "packed, h a number": ("GRU", lambda m: m(_packed(), 0.5)),
    "packed, h a pair for an RNN": ("RNN", lambda m: m(_packed(), (H, H))),
    "nested": ("GRU", lambda m: m(torch.nested.nested_tensor([torch.zeros(40, 3)] * 2, layout=torch.jagged))),
    "sparse": ("GRU", lambda m: m(X.to_sparse())),
    "packed, sizes that do not add up": ("LSTM", lambda m: m(_packed(batch_sizes=torch.tensor([2, 1])))),
    "packed, double": ("RNN", lambda m: m(_packed(data=torch.zeros(4, 3).double()))),
    "too many arguments": ("LSTM", lambda m: m(X, None, None)),
}


def _outcome(call: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except Exception as error:
            return type(error), str(error)
    return None


@pytest.mark.parametrize("what", MADE)
def test_constructors(what: str) -> None:
    theirs, ours = _outcome(lambda: MADE[what](torch.nn)), _outcome(lambda: MADE[what](rondeau.nn))
    assert theirs is not None
    assert ours == theirs


@pytest.mark.parametrize("what", CALLED)
def test_calls(what: str) -> None:
    name, call = CALLED[what]
    theirs, ours = getattr(torch.nn, name)(3, 4), getattr(rondeau.nn, name)(3, 4)
    expected, found = _outcome(lambda: call(theirs)), _outcome(lambda: call(ours))
    if what == "too many arguments":  # Python names the class
        found = found[0], found[1].replace("OnLoops", name)
    assert found == expected
    if what != "packed, sizes that do not add up":  # which torch does not notice
        assert expected is not None


def test_weights_of_other_sizes() -> None:
    modules = torch.nn.GRU(3, 4, 2), rondeau.nn.GRU(3, 4, 2)
    for module in modules:
        module.weight_ih_l1 = torch.nn.Parameter(torch.zeros(12, 7))
    theirs, ours = (_outcome(lambda m=m: m(X)) for m in modules)  # type: ignore[misc]
    assert theirs is not None
    assert ours == theirs


def test_no_rows() -> None:
    theirs, ours = torch.nn.GRU(3, 4), rondeau.nn.GRU(3, 4)
    assert ours(torch.zeros(5, 0, 3))[0].shape == theirs(torch.zeros(5, 0, 3))[0].shape


def test_warns_as_torch_does_of_dropout_that_has_no_place() -> None:
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        rondeau.nn.LSTM(3, 4, dropout=0.5)
