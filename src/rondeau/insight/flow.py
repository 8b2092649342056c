"""The gradient through time: the loss's derivative by the state at each step, and how it falls on its way back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rondeau.cells.base import state_leaves
from rondeau.insight.records import Decay, Flow
from rondeau.insight.replay import Replay, cut_of
from rondeau.recurrence import Keep, Policy, Truncated
from rondeau.sequence import Ragged

LEFT = 0.01  # what is left of a gradient where memory is said to end
DENSE, MOST = 60, 120  # every lag up to the first, then ever fewer, up to the second
_ROUNDING = 1e-6  # below this share of where it began a gradient is rounding errors


def measure_flow(replay: Replay, keep: Keep) -> tuple[dict[str, Flow], Decay]:
    """‖∂L/∂s‖ of each part of the state over the lags, and how the whole of it decays.

    `keep` keeps cotangents; afterwards it holds what else it was told to keep of the scan, without a policy.
    """
    cut = cut_of(replay.watched.call.policy)
    if cut is None:
        last, loss = _by_states(replay, keep, None, [_last_only(replay), replay.outputs])
    else:
        (last,) = _by_states(replay, keep, None, [_last_only(replay)])
        longer = replay.between_cuts(cut)
        (loss,) = _by_states(longer, Keep(cotangents=True), Truncated(cut), [longer.outputs])
    lags = chosen_lags(int(replay.lengths.max()))
    flow = {name: Flow(lags, _at(loss[name], lags), _at(last[name], lags)) for name in last}
    return flow, fit_decay(torch.stack(list(last.values())).square().sum(0).sqrt().tolist())


def _by_states(replay: Replay, keep: Keep, policy: Policy | None, seeds: list[Tensor]) -> list[dict[str, Tensor]]:
    """For each gradient by the outputs, and the loss's by the final state, the norms of those by the states."""
    outputs, final, sources = replay.run(keep, policy)
    ends = [(leaf, given) for (_, leaf), given in zip(state_leaves(final), replay.final, strict=True)]
    ends = [(leaf, given) for leaf, given in ends if leaf.requires_grad]
    found = []
    for seed in seeds:
        made, given = [outputs.values, *(leaf for leaf, _ in ends)], [seed, *(given for _, given in ends)]
        torch.autograd.grad(made, sources, given, retain_graph=seed is not seeds[-1], allow_unused=True)
        kept = zip(named_leaves(keep.cotangents), state_leaves(final), strict=True)
        found.append({name: _by_lag(cotangent) for (name, cotangent), (_, s) in kept if s.is_floating_point()})
    return found


def named_leaves(state: object) -> list[tuple[str, Ragged]]:
    """A state's parts with names like "h", or "0.h" in a stack."""
    return [(name or "state", leaf) for name, leaf in state_leaves(state)]


def _last_only(replay: Replay) -> Tensor:
    """The gradient by the outputs, of each row's last one only; any direction where the loss takes none from there."""
    ends = replay.last_steps().to(replay.outputs.device)
    seed = torch.zeros_like(replay.outputs)
    given = replay.outputs[ends]
    if not bool(given.any()) and not any(bool(final.any()) for final in replay.final):
        given = torch.ones_like(given)
    seed[ends] = given
    return seed


def _by_lag(cotangent: Ragged) -> Tensor:
    """The root of the mean square over rows of each step's norm, from the last step back: `(longest row,)`, float64."""
    square = cotangent.values.double().reshape(len(cotangent.values), -1).square().sum(1)
    lag = torch.repeat_interleave(cotangent.offsets + cotangent.lengths - 1, cotangent.lengths) - torch.arange(
        len(square)
    )
    lag = lag.to(square.device)
    longest = int(cotangent.lengths.max())
    total = square.new_zeros(longest).index_add(0, lag, square)
    rows = square.new_zeros(longest).index_add(0, lag, torch.ones_like(square))
    return (total / rows).sqrt().cpu()


def chosen_lags(longest: int) -> list[int]:
    """Up to `MOST` of the lags 0 ... longest - 1: the first `DENSE` and the last are among them."""
    if longest <= MOST:
        return list(range(longest))
    ratio = math.log((longest - 1) / DENSE) / (MOST - DENSE)
    later = (round(DENSE * math.exp(ratio * place)) for place in range(1, MOST - DENSE + 1))
    return sorted({*range(DENSE), *later})


def _at(values: Tensor, lags: Sequence[int]) -> list[float]:
    return [float(v) for v in values[torch.as_tensor(lags)]]


def fit_decay(norms: Sequence[float]) -> Decay:
    """The decay of a gradient from its norms at lags 0, 1, 2, ...: its factor per step, and its memory.

    The factor is that of the straight line which fits the logarithms best, from lag 1 to where the norms sink into
    rounding; None for fewer than three of them. Memory is the lag from which on less than 1 % of what there was at lag
    0 is left for good; None where more is left at the end, or where there was nothing to begin with.
    """
    reach = len(norms) - 1
    begin = norms[0] if norms else 0.0
    if not begin > 0 or not all(math.isfinite(norm) for norm in norms):
        return Decay(None, None, max(reach, 0))
    above = [lag for lag, norm in enumerate(norms) if norm >= LEFT * begin]
    memory = None if above[-1] == reach else above[-1] + 1
    end = next((lag for lag, norm in enumerate(norms) if norm < _ROUNDING * begin), len(norms))
    return Decay(_slope([math.log(norm) for norm in norms[1:end]]), memory, reach)


def _slope(logs: Sequence[float]) -> float | None:
    if len(logs) < 3:
        return None
    middle, mean = (len(logs) - 1) / 2, sum(logs) / len(logs)
    spread = sum((place - middle) ** 2 for place in range(len(logs)))
    return math.exp(sum((place - middle) * (value - mean) for place, value in enumerate(logs)) / spread)
