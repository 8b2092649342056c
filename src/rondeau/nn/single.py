"""`LSTMCell`, `GRUCell` and `RNNCell` as torch.nn has them."""

from __future__ import annotations

import torch


class LSTMCell(torch.nn.LSTMCell):
    """`torch.nn.LSTMCell`, and computed by torch: one step at a time is no loop that could be compiled.

    A loop over steps written in Python runs compiled as `rondeau.scan(cell, inputs)`, with `rondeau.cells.LSTMCell` or
    a cell of your own.

    >>> h, c = LSTMCell(3, 4)(torch.zeros(2, 3))
    >>> h.shape, c.shape
    (torch.Size([2, 4]), torch.Size([2, 4]))
    """


class GRUCell(torch.nn.GRUCell):
    """`torch.nn.GRUCell`, computed by torch; see `LSTMCell`.

    >>> GRUCell(3, 4)(torch.zeros(2, 3)).shape
    torch.Size([2, 4])
    """


class RNNCell(torch.nn.RNNCell):
    """`torch.nn.RNNCell`, computed by torch; see `LSTMCell`.

    >>> RNNCell(3, 4)(torch.zeros(2, 3)).shape
    torch.Size([2, 4])
    """
