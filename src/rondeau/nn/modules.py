"""`LSTM`, `GRU` and `RNN` as torch.nn has them, run on scans."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch

from rondeau.errors import EngineError
from rondeau.nn.choice import log, slower
from rondeau.nn.functions import OnScans


class OnLoops(torch.nn.RNNBase):
    """torch's own module, of which only the computation itself is another's.

    Constructor, weights and their names, checks and errors, the forms of inputs and states, `flatten_parameters`,
    pickling: all that is torch's, down to the random numbers of the dropout between layers. Weights are read at each
    call, so parametrisations, shared weights and `torch.func.functional_call` mean what they mean there.
    """

    def forward(self, input: Any, hx: Any = None) -> Any:
        # what is exported or traced holds torch's function, so that it needs no Rondeau
        if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
            return super().forward(input, hx)
        if type(input).__module__ == "torch.fx.proxy":
            fix = "Have the tracer's is_leaf_module say so of it, or undo() what accelerate did before tracing"
            raise EngineError(f"torch.fx traces into rondeau.nn.{type(self).__name__}", expected="a leaf", fix=fix)
        why = slower(self, input)
        if why is not None:
            log(type(self).__name__, why)
            return super().forward(input, hx)
        return _runner()(super().forward, input, hx)

    def __prepare_scriptable__(self) -> torch.nn.Module:
        """torch's own module with the same weights, for `torch.jit.script`, which cannot compile this one."""
        from rondeau.nn.classes import off_loops

        kind: Any = off_loops(type(self))
        plain: torch.nn.Module = kind.__new__(kind)
        plain.__dict__ = self.__dict__
        what = (
            f"torch.jit.script compiles torch.nn.{type(self).__name__} instead of Rondeau's, and leaves it in the model"
        )
        warnings.warn(what, RuntimeWarning, stacklevel=2)
        return plain


def _run(forward: Callable[..., Any], input: Any, hx: Any) -> Any:
    with OnScans():
        return forward(input, hx)


_unseen: list[Callable[..., Any]] = []


def _runner() -> Callable[..., Any]:
    """`_run`, and nothing inside it is for torch.compile to look at, where that was ever imported."""
    if "torch._dynamo" not in sys.modules:
        return _run
    if not _unseen:
        _unseen.append(torch.compiler.disable(_run, reason="a loop of rondeau.nn is compiled already"))  # type: ignore[no-untyped-call]
    return _unseen[0]


class LSTM(OnLoops, torch.nn.LSTM):
    """`torch.nn.LSTM`, argument for argument, on compiled loops (Hochreiter & Schmidhuber 1997).

    Args:
        input_size, hidden_size: features of the input, units of the state.
        num_layers: of layers, each over the outputs of the one below (default 1).
        bias: whether there are biases (default true).
        batch_first: `(batch, time, features)` instead of `(time, batch, features)` (default false).
        dropout: share of the outputs zeroed between layers in training (default 0).
        bidirectional: whether each layer runs both ways, outputs side by side (default false).
        proj_size: size of the output and of h, where not 0: a projection of the units (Sak et al. 2014, arXiv
            1402.1128).
        device, dtype: of the weights.

    Called with `(input, (h_0, c_0) = zeros)`: input `(time, batch, features)`, `(time, features)` or a
    `PackedSequence`, of which no padding is computed; states `(layers * directions, batch, size)`. Returns `(output,
    (h_n, c_n))` in the same forms.

    Raises what `torch.nn.LSTM` raises.

    float32 and float64 on the CPU run on compiled loops. Everything else is computed by torch's own function: other
    devices and types, autocast, `torch.func`, `torch.export`.

    >>> layer = LSTM(3, 4, num_layers=2, bidirectional=True)
    >>> output, (h, c) = layer(torch.zeros(5, 2, 3))
    >>> output.shape, h.shape, c.shape
    (torch.Size([5, 2, 8]), torch.Size([4, 2, 4]), torch.Size([4, 2, 4]))
    """


class GRU(OnLoops, torch.nn.GRU):
    """`torch.nn.GRU`, argument for argument, on compiled loops (Cho et al. 2014, arXiv 1406.1078).

    Arguments, inputs and errors are those of `LSTM`, but for `proj_size`, which it does not have; the state is h alone.

    >>> output, h = GRU(3, 4, batch_first=True)(torch.zeros(2, 5, 3))
    >>> output.shape, h.shape
    (torch.Size([2, 5, 4]), torch.Size([1, 2, 4]))
    """


class RNN(OnLoops, torch.nn.RNN):
    """`torch.nn.RNN`, argument for argument, on compiled loops (Elman 1990).

    Arguments, inputs and errors are those of `GRU`, and `nonlinearity`: "tanh" (default) or "relu".

    >>> output, h = RNN(3, 4, nonlinearity="relu")(torch.zeros(5, 2, 3))
    >>> output.shape, h.shape
    (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]))
    """
