"""The transducer's lattice (Graves 2012, arXiv 1211.3711): all ways of writing a transcript while frames are read.

From a node (t, u), frame t after u symbols, `blank[t, u]` goes on to the next frame and `emit[t, u]` writes the next
symbol. All nodes with t + u alike lie on a diagonal and are computed at once, forward and backward.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from rondeau.errors import DataError, ShapeError

NEVER = -torch.inf


class _Lattice(torch.autograd.Function):
    """Log-likelihood of each row `(rows,)`; its derivative by the backward variables, exact, no graph kept."""

    @staticmethod
    def forward(ctx: Any, blank: Tensor, emit: Tensor, frames: Tensor, symbols: Tensor) -> Tensor:
        diagonals = blank.shape[1] + emit.shape[2]
        blanks, emits = _skewed(blank, diagonals), _skewed(emit, diagonals)
        last = frames + symbols - 1  # the diagonal of the node before the end
        rows = torch.arange(len(frames), device=blank.device)
        alpha = torch.full_like(blanks, NEVER)
        alpha[:, 0, 0] = 0
        for n in range(1, diagonals):
            alpha[:, n] = alpha[:, n - 1] + blanks[:, n - 1]
            alpha[:, n, 1:] = torch.logaddexp(alpha[:, n, 1:], alpha[:, n - 1, :-1] + emits[:, n - 1])
        total = alpha[rows, last, symbols] + blanks[rows, last, symbols]
        ctx.save_for_backward(blanks, emits, alpha, total, last, symbols)
        ctx.frames = blank.shape[1]
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, Tensor, None, None]:
        blanks, emits, alpha, total, last, symbols = ctx.saved_tensors
        rows = torch.arange(len(given), device=given.device)
        beta = torch.full_like(alpha[:, 0], NEVER)  # of the diagonal behind
        to_blank, to_emit = torch.empty_like(blanks), torch.empty_like(emits)
        for n in range(alpha.shape[1] - 1, -1, -1):
            end = rows[last == n]
            on, written = blanks[:, n] + beta, emits[:, n] + beta[:, 1:]
            on[end, symbols[end]] = blanks[end, n, symbols[end]]  # here nothing is left to write, nor to read
            to_blank[:, n] = alpha[:, n] + on
            to_emit[:, n] = alpha[:, n, :-1] + written
            beta = on
            beta[:, :-1] = torch.logaddexp(on[:, :-1], written)
        for found in (to_blank, to_emit):
            found.sub_(total[:, None, None]).exp_().mul_(given[:, None, None])
        return _upright(to_blank, ctx.frames), _upright(to_emit, ctx.frames), None, None


def log_likelihood(
    blank: Float[Tensor, "rows time nodes"],
    emit: Float[Tensor, "rows time symbols"],
    frames: Int64[Tensor, " rows"],
    symbols: Int64[Tensor, " rows"],
) -> Float[Tensor, " rows"]:
    """The log-probability of each row's transcript: all paths from (0, 0) to its last frame's last blank, added up.

    Args:
        blank: log-probability of going on to the next frame, `(rows, time, symbols + 1)`.
        emit: of writing the next symbol, `(rows, time, symbols)`.
        frames, symbols: how many of each a row has, int64; what lies beyond is not looked at, and gets no derivative.

    Differentiable once. Raises `ShapeError` where the parts do not fit, `DataError` for a row without frames: nothing
    can be written where nothing is read.
    """
    fits = blank.ndim == 3 and emit.shape == (*blank.shape[:2], blank.shape[2] - 1)
    if not fits or frames.shape != symbols.shape or frames.shape != blank.shape[:1]:
        got = f"blank {tuple(blank.shape)}, emit {tuple(emit.shape)}, frames {tuple(frames.shape)}"
        raise ShapeError("a lattice", expected="(rows, time, symbols + 1), (rows, time, symbols), (rows,)", got=got)
    for name, counts, least, most in (("frames", frames, 1, blank.shape[1]), ("symbols", symbols, 0, emit.shape[2])):
        wrong = ((counts < least) | (counts > most)).nonzero()
        if len(wrong):
            row = int(wrong[0])
            expected = f"{least} to {most}"
            raise DataError(f"a lattice: {name}", expected=expected, got=int(counts[row]), where=f"row {row}")
    apply: Any = _Lattice.apply
    found: Tensor = apply(blank, emit, frames.to(blank.device), symbols.to(blank.device))
    return found


def _skewed(upright: Tensor, diagonals: int) -> Tensor:
    """`(rows, time, nodes)` -> `(rows, diagonals, nodes)`, node u of frame t at t + u; elsewhere impossible."""
    rows, time, nodes = upright.shape
    wide = upright.new_full((rows, nodes, diagonals + 1), NEVER)
    wide[:, :, :time] = upright.transpose(1, 2)
    flat = wide.flatten(1)[:, : nodes * diagonals]  # cut into rows one shorter, each begins one place further on
    return flat.reshape(rows, nodes, diagonals).transpose(1, 2)


def _upright(skewed: Tensor, time: int) -> Tensor:
    """What `_skewed` was given, of what it gave."""
    index = torch.arange(time, device=skewed.device)[:, None] + torch.arange(skewed.shape[2], device=skewed.device)
    return skewed.gather(1, index.expand(len(skewed), -1, -1))
