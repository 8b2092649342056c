"""What recurrent layers hold while they read: each state over the steps of one input, as plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, DataError, NumericsError
from rondeau.insight.flow import named_leaves
from rondeau.insight.names import Names
from rondeau.insight.sources import as_rows
from rondeau.insight.undisturbed import begin_anew, undisturbed
from rondeau.nn import accelerate
from rondeau.recurrence import Keep, scan
from rondeau.recurrence.given import giving
from rondeau.recurrence.watch import Call, watching


@dataclass(frozen=True)
class HiddenStates:
    """One part of one layer's state after each step of one input.

    Attributes:
        name: of the layer or module; cell: its cell's class; part: of the state, such as "h" or "c".
        backward: whether the layer reads from the last step to the first; steps stand in the order of the input.
        values: `(units, steps)`, the units in the layer's own order.
        order: the units as a picture should show them, so that neighbours do alike; see `by_likeness`.
        components: `(components, steps)`: where the state is at each step along its principal components, of which
            there are 3 at most; the sign of each is such that its largest loading is positive.
        explained: the share of the state's variance over the steps that each component has.
    """

    name: str
    cell: str
    part: str
    backward: bool
    values: list[list[float]]
    order: list[int]
    components: list[list[float]]
    explained: list[float]


def hidden_states(model: Callable[..., Any], x: Any) -> list[HiddenStates]:
    """What each recurrent layer of a model holds while it reads one input.

    The model runs in `eval` mode, `stateful` layers begin anew, and nothing of it is changed. Recurrent modules of
    torch.nn run on scans meanwhile (`accelerate`), which compute the same within rounding.

    Args:
        model: a model or layer of Rondeau, or any `torch.nn.Module`, with recurrent layers inside.
        x: one row: floats `(1, time, *features)`, ids `(1, time)`, a `Ragged` or a list of one sequence.

    Returns the states in the order in which the layers run. Raises `ArgumentError` for a model without recurrent
    layers, `DataError` for x of more rows than one, `NumericsError` where a state is NaN or infinite.

    >>> from rondeau import Sequential, layers
    >>> model = Sequential([layers.Input((None, 3)), layers.LSTM(4)])
    >>> [(s.name, s.part, len(s.values), len(s.values[0])) for s in hidden_states(model, torch.randn(1, 9, 3))]
    [('lstm', 'h', 4, 9), ('lstm', 'c', 4, 9)]
    """
    if not isinstance(model, torch.nn.Module):
        raise ArgumentError("hidden_states: model", expected="a torch.nn.Module", got=type(model).__name__)
    rows = as_rows(model, x, "hidden_states")
    if len(rows) > 1:
        raise DataError("hidden_states: x", expected="one row", got=len(rows), fix="Take one: x[:1]")
    names = Names(model)
    calls: list[tuple[str, Call]] = []
    with undisturbed(model), torch.no_grad(), ExitStack() as stack:
        swapped = accelerate(model, quiet=True)
        stack.callback(swapped.undo)
        stack.enter_context(names.following())
        stack.enter_context(watching(lambda call: calls.append((names.of(call), call))))
        begin_anew(model)
        model(rows[0])
    if not calls:
        left = "; ".join(f"{name}: {kind}, {why}" for name, (kind, why) in swapped.left.items())
        what = "hidden_states: no recurrent layer ran"
        raise ArgumentError(what, expected="a model with one, of rondeau or torch.nn", got=left or None)
    with torch.no_grad():
        return [states for name, call in calls for states in _states(name, call)]


def _states(name: str, call: Call) -> list[HiddenStates]:
    """The scan made again, with its states kept."""
    keep = Keep(states=True)
    context = {n: call.inputs.with_values(t) if per_step else t for n, (per_step, t) in call.context.items()}
    with giving(call.weights):
        scan(call.cell, call.inputs, call.state, reverse=call.reverse, context=context, keep=keep, engine=call.engine)
    found = []
    for part, kept in named_leaves(keep.states):
        if kept.values.is_floating_point() and len(kept.values):
            values = kept.values.reshape(len(kept.values), -1).double().cpu()
            if not bool(torch.isfinite(values).all()):
                fix = "rondeau.insight.trace_nonfinite tells where it comes from"
                raise NumericsError("hidden_states: a state is not finite", where=f"{name}, {part}", fix=fix)
            components, explained = principal(values)
            found.append(
                HiddenStates(
                    name=name,
                    cell=type(call.cell).__name__,
                    part=part,
                    backward=call.reverse,
                    values=values.T.tolist(),
                    order=by_likeness(values),
                    components=components.T.tolist(),
                    explained=explained.tolist(),
                )
            )
    return found


def principal(values: Tensor, components: int = 3) -> tuple[Tensor, Tensor]:
    """Principal components of `(steps, units)`: coordinates `(steps, components)`, and their shares of the variance.

    By the singular value decomposition of what is left when each unit's mean is taken away. There are fewer where
    steps or units are fewer. The largest loading of each is positive. Without any variance the shares are zeros.
    """
    centred = values - values.mean(0)
    left, singular, right = torch.linalg.svd(centred, full_matrices=False)
    count = min(components, len(singular))
    largest = right[:count].gather(1, right[:count].abs().argmax(1, keepdim=True))[:, 0]
    signs = torch.where(largest < 0, -1.0, 1.0).to(values)
    variance = singular.square()
    total = variance.sum()
    shares = variance[:count] / total if float(total) > 0 else torch.zeros(count).to(values)
    return left[:, :count] * singular[:count] * signs, shares


def by_likeness(values: Tensor) -> list[int]:
    """The units of `(steps, units)` so that those which rise and fall together are neighbours.

    Two units are alike as their values correlate over the steps. Each is a point in the plane of the correlations' two
    largest eigenvectors; they are taken by the angle of these points, beginning after the widest gap between two
    (Friendly 2002, "Corrgrams: Exploratory displays for correlation matrices", The American Statistician 56).
    Units that do not change come last.
    """
    centred = values - values.mean(0)
    length = centred.norm(dim=0)
    moving = (length > 1e-6 * values.norm(dim=0)).nonzero()[:, 0]  # less is float32's rounding
    still = [unit for unit in range(values.shape[1]) if unit not in set(moving.tolist())]
    if len(moving) < 3:
        return [*moving.tolist(), *still]
    own = centred[:, moving] / length[moving]
    _, _, right = torch.linalg.svd(own, full_matrices=False)
    first, second = right[0], right[1] if len(right) > 1 else torch.zeros_like(right[0])
    angle = torch.atan2(second, first)
    turn = angle.argsort(stable=True)
    around = torch.cat([angle[turn], angle[turn[:1]] + 2 * torch.pi])
    begin = (int(around.diff().argmax()) + 1) % len(turn)
    return [*moving[turn.roll(-begin)].tolist(), *still]
