"""How gates and states spread: saturated, dead and stuck units, and what a forget gate's time constants are."""

from __future__ import annotations

import torch
from torch import Tensor

from rondeau.insight.records import Values

PARTS = 20  # of the histogram
EDGE = 1 / PARTS  # of the range, at either end: saturated
STILL = 1e-3  # of the range: a unit that moves less is stuck
FORGET = ("forget_gate", "update_gate")  # the share of the old state that is kept: LSTM's, and GRU's as Keras writes it
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


def measure_values(values: Tensor, gate: bool) -> Values:
    """Of `(steps, units)`; `gate`: values within 0 and 1 are a sigmoid's, not a tanh's.

    A range without bounds, as of an LSTM's c or of relu, is that of the values themselves, and has no saturated ends.
    """
    values = values.detach().double().reshape(len(values), -1)
    least, most = (float(v) for v in torch.aminmax(values))
    low, high, bounded = _range(least, most, gate)
    share = (values - low) / (high - low)
    place = (share * PARTS).nan_to_num(0.0).clamp(0, PARTS - 1).long()
    histogram = torch.bincount(place.flatten(), minlength=PARTS).double() / values.numel()
    zero = (values == 0).all(0)
    still = (values.std(0, correction=0) < STILL * (high - low)) & ~zero
    return Values(
        low=low,
        high=high,
        histogram=histogram.tolist(),
        mean=float(values.mean()),
        deviation=float(values.std(correction=0)),
        at_low=float((share < EDGE).double().mean()) if bounded else 0.0,
        at_high=float((share > 1 - EDGE).double().mean()) if bounded else 0.0,
        dead=float(zero.double().mean()),
        stuck=float(still.double().mean()),
    )


def _range(least: float, most: float, gate: bool) -> tuple[float, float, bool]:
    if gate and least >= 0 and most <= 1:
        return 0.0, 1.0, True
    if least >= -1 and most <= 1 and least < 0:
        return -1.0, 1.0, True
    if least - least != 0 or most - most != 0:  # not finite
        return -1.0, 1.0, False
    return (least, most, False) if most > least else (least - 0.5, most + 0.5, False)


def time_constants(gates: dict[str, Tensor]) -> list[float] | None:
    """Quantiles over units of -1 / ln(mean forget gate), in steps; None where no gate is named as one."""
    name = next((name for gate in FORGET for name in gates if name.rpartition(".")[2] == gate), None)
    if name is None:
        return None
    mean = gates[name].detach().double().reshape(len(gates[name]), -1).mean(0).clamp(1e-12, 1 - 1e-9)
    steps = -1 / mean.log()
    return [float(v) for v in torch.quantile(steps, steps.new_tensor(QUANTILES))]
