"""A step as a map from state to state: what it stretches and shrinks along a real sequence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from rondeau.cells import Cell
from rondeau.cells.base import begin, map_state
from rondeau.errors import ArgumentError, DataError, ShapeError
from rondeau.insight.names import Names
from rondeau.insight.records import Dynamics
from rondeau.insight.trajectory import Trajectory, row_of
from rondeau.insight.undisturbed import states_kept
from rondeau.module import positive
from rondeau.nn import accelerate
from rondeau.recurrence.context import gather_context
from rondeau.recurrence.given import giving
from rondeau.recurrence.watch import Call, watching
from rondeau.sequence import Ragged
from rondeau.training.trainer import in_mode

SPANS = (1, 2, 5, 10, 20, 50, 100)
_EXACT = 256  # numbers in a state up to which each step's whole Jacobian is computed
_SOME = 4  # steps whose whole Jacobian is computed all the same in a larger one
_SETTLED = 40  # steps of one sweep or several until directions have turned; of a block of
_BLOCK = 16  # of them, where only the first is asked for


def dynamics(
    cell: Cell,
    inputs: Tensor | Ragged,
    state: Any = None,
    *,
    row: int = 0,
    context: Mapping[str, Any] | None = None,
    reverse: bool = False,
    steps: int = 100,
    leading: int | None = 16,
    name: str = "",
) -> Dynamics:
    """What a cell's steps make of small changes of its state, along one real sequence.

    Of each step it takes the Jacobian of the whole state after it (of an LSTM h and c together) by the whole state
    before it, from the cell's own `step`.

    Args:
        cell: any; one whose weights come with the call is to be measured inside of `giving`.
        inputs: `(batch, time, features)`, one sequence `(time, features)`, or a `Ragged`.
        state: before the first step, as `scan` takes it; row: the one that is measured.
        context: as `scan` takes it; in training what the cell draws is drawn.
        reverse: from the last step to the first.
        steps: at most, from the first one made; the sequence's later ones are left out.
        leading: how many Lyapunov exponents, the largest; None: all, one for each number in the state.
        name: goes into the result.

    Returns:
        `Dynamics`. Products are those of the last 1, 2, 5, ... 100 of these steps. The exponents are the logarithms of
        the singular values of all steps' product, by one, found by QR (Benettin et al. 1980; for recurrent networks
        Engelken, Wolf & Abbott 2023, arXiv 2006.02427), begun with directions from a sweep backwards. Of a state of
        more than 256 numbers, whole Jacobians are computed at a few steps only; products and exponents come from the
        leading directions.

    Everything that is not finite gives NaN. Raises `ShapeError`, `StateError` or `DataError` for inputs, states or a
    row that do not fit, and for a row without steps; `ArgumentError` for `steps` or `leading` below one.

    >>> from rondeau.cells import GRUCell
    >>> found = dynamics(GRUCell(4), torch.zeros(1, 20, 3))
    >>> len(found.largest), found.spans, len(found.exponents)
    (20, [1, 2, 5, 10, 20], 4)
    """
    batch = _ragged(inputs)
    cell.build_for(batch.values.shape[-1])
    tensors = gather_context(cell, batch, context or {}, None)
    return dynamics_along(
        cell, batch, begin(cell, state, batch, "the initial state"), tensors, reverse, row, steps, leading, name
    )


def dynamics_along(
    cell: Cell,
    inputs: Ragged,
    state: Any,
    context: Mapping[str, tuple[bool, Tensor]],
    reverse: bool = False,
    row: int = 0,
    steps: int = 100,
    leading: int | None = 16,
    name: str = "",
) -> Dynamics:
    """As `dynamics`, of what a scan itself goes by: a state with all rows, and context that is gathered."""
    steps = positive("dynamics", "steps", steps)
    if not 0 <= row < len(inputs) or not int(inputs.lengths[row]):
        got = f"{len(inputs)} rows, lengths {inputs.lengths.tolist()[:8]}"
        raise DataError("there is no such row with steps", expected=f"row {row}", got=got)
    path = row_of(cell, inputs, state, context, reverse, row, steps)
    size = path.size
    count = size if leading is None else min(size, positive("dynamics", "leading", leading))
    if not size:
        raise ArgumentError(f"{type(cell).__name__} has a state without floating-point numbers: nothing to measure")
    spans = [span for span in SPANS if span <= len(path)]
    if size <= _EXACT:
        jacobians = [path.jacobian(t).double() for t in range(len(path))]
        logs, measured = _dense_products(jacobians, spans), jacobians
    else:
        chosen = sorted({round(i * (len(path) - 1) / (_SOME - 1)) for i in range(_SOME)})
        measured = [path.jacobian(t) for t in chosen]
        jacobians = []
        logs = [_sweeps(path, jacobians, len(path) - span, _BLOCK)[1] for span in spans]
    ends = [_extremes(jacobian) for jacobian in measured]
    return Dynamics(
        name=name,
        radius=radius(cell),
        largest=[high for high, _ in ends],
        smallest=[low for _, low in ends],
        spans=spans,
        products=[_exp(value) for value in logs],
        exponents=[value / len(path) for value in _sweeps(path, jacobians, 0, count)[0]],
    )


def dynamics_of_call(call: Call, name: str = "", row: int = 0, steps: int = 100, leading: int | None = 16) -> Dynamics:
    """As `dynamics`, of a scan that was watched, with the weights and context it was called with."""
    with giving(call.weights):
        state = map_state(Tensor.detach, call.state)
        return dynamics_along(call.cell, call.inputs, state, call.context, call.reverse, row, steps, leading, name)


def dynamics_of(
    model: torch.nn.Module, x: Any, *, row: int = 0, steps: int = 100, leading: int | None = 16
) -> list[Dynamics]:
    """`dynamics` of each scan that a model makes of a batch, in the order it makes them.

    Args:
        model: any; it runs in `eval` mode, and recurrent modules of torch.nn on scans. What it has learnt, its mode and
            the states it carries stay as they are.
        x: what the model is called with; a tuple holds several arguments.
        row, steps, leading: as for `dynamics`; scans in which the row has no step are left out.

    >>> model = torch.nn.LSTM(3, 4, num_layers=2)
    >>> [one.name for one in dynamics_of(model, torch.zeros(20, 2, 3))]
    ['l0', 'l1']
    """
    calls = watched_calls(model, x if isinstance(x, tuple) else (x,))
    there = [(name, call) for name, call in calls if row < len(call.inputs) and int(call.inputs.lengths[row])]
    with in_mode(model, training=False):
        return [dynamics_of_call(call, name, row, steps, leading) for name, call in there]


def watched_calls(model: torch.nn.Module, arguments: tuple[Any, ...]) -> list[tuple[str, Call]]:
    """The scans of one forward pass in `eval` mode, named."""
    calls: list[tuple[str, Call]] = []
    names = Names(model)
    with ExitStack() as stack:
        stack.enter_context(in_mode(model, training=False))
        stack.enter_context(states_kept(model))
        stack.callback(accelerate(model, quiet=True).undo)
        stack.enter_context(names.following())
        stack.enter_context(watching(lambda call: calls.append((names.of(call), call))))
        stack.enter_context(torch.no_grad())
        model(*arguments)
    return calls


def radius(cell: Cell) -> float | None:
    """Spectral radius of the recurrent kernel: of several gates' or cells' square blocks the largest; None without."""
    found = [_largest_eigenvalue(block) for part in cell.modules() for block in _blocks(part)]
    return max(found) if found else None


def _blocks(part: torch.nn.Module) -> list[Tensor]:
    kernel = getattr(part, "recurrent_kernel", None)
    if not isinstance(kernel, Tensor) or kernel.ndim != 2 or not kernel.numel():
        return []
    rows, columns = kernel.shape
    gates = getattr(part, "gates", columns // rows)
    return list(torch.split(kernel.detach().double(), rows, dim=1)) if gates * rows == columns else []


def _largest_eigenvalue(matrix: Tensor) -> float:
    return float(torch.linalg.eigvals(matrix).abs().max()) if bool(torch.isfinite(matrix).all()) else math.nan


def _extremes(jacobian: Tensor) -> tuple[float, float]:
    """The largest and the smallest singular value."""
    if not bool(torch.isfinite(jacobian).all()):
        return math.nan, math.nan
    values = torch.linalg.svdvals(jacobian)
    return float(values[0]), float(values[-1])


def _dense_products(jacobians: list[Tensor], spans: list[int]) -> list[float]:
    """The logarithm of the largest singular value of the product of the last so many steps."""
    found, product = [], _Product(len(jacobians[-1]), jacobians[-1])
    for span, jacobian in enumerate(reversed(jacobians[-spans[-1] :]), start=1):
        product.times(jacobian)
        if span in spans:
            found.append(product.log_norm())
    return found


def _sweeps(path: Trajectory, jacobians: list[Tensor], first: int, count: int) -> tuple[list[float], float]:
    """Of the product of all steps from `first` on: logarithms of its `count` largest singular values, falling; and of
    its largest, closer than the first of these where the next ones lie near.

    A sweep backwards turns random directions towards those that the product stretches most; one ahead then measures
    them. `jacobians`: of each step where they are known, else none.
    """
    steps = range(first, len(path))
    generator = torch.Generator().manual_seed(0)  # no draw from the global one: training must not notice
    start = torch.randn(path.size, count, dtype=torch.float64, generator=generator).to(path.inputs.device)
    basis, logs, largest = torch.linalg.qr(start)[0], [math.nan] * count, math.nan
    for _ in range(2 + _SETTLED // len(steps)):
        for t in reversed(steps):
            moved = jacobians[t].T @ basis if jacobians else path.back(t, basis.T).T
            if not bool(torch.isfinite(moved).all()):
                return [math.nan] * count, math.nan
            basis = torch.linalg.qr(moved)[0]
        total, product = torch.zeros(count, dtype=torch.float64, device=basis.device), _Product(count, basis)
        for t in steps:
            moved = jacobians[t] @ basis if jacobians else path.ahead(t, basis.T).T
            if not bool(torch.isfinite(moved).all()):
                return [math.nan] * count, math.nan
            basis, stretched = torch.linalg.qr(moved)
            total += stretched.diagonal().abs().log()
            product.times(stretched, left=True)
        logs, largest = sorted(total.tolist(), reverse=True), product.log_norm()
    return logs, largest


class _Product:
    """A product of matrices of which none is too large or small: its scale is kept apart, as a logarithm."""

    def __init__(self, size: int, like: Tensor) -> None:
        self.matrix, self.log = torch.eye(size, dtype=torch.float64, device=like.device), 0.0

    def times(self, factor: Tensor, left: bool = False) -> None:
        self.matrix = factor @ self.matrix if left else self.matrix @ factor
        scale = float(self.matrix.abs().max())
        if math.isfinite(scale) and scale > 0:
            self.matrix, self.log = self.matrix / scale, self.log + math.log(scale)

    def log_norm(self) -> float:
        """Of the largest singular value."""
        if not bool(torch.isfinite(self.matrix).all()):
            return math.nan
        norm = float(torch.linalg.matrix_norm(self.matrix, 2))
        return self.log + math.log(norm) if norm else -math.inf


def _exp(log: float) -> float:
    """What is beyond a float is infinite."""
    return math.exp(log) if not log > 709 else math.inf


def _ragged(inputs: Tensor | Ragged) -> Ragged:
    if isinstance(inputs, Ragged):
        return inputs
    if not isinstance(inputs, Tensor):
        raise ArgumentError("dynamics: inputs", expected="a tensor or a Ragged", got=type(inputs).__name__)
    if inputs.ndim == 2:
        inputs = inputs[None]
    if inputs.ndim < 3:
        expected = "(batch, time, features) or (time, features)"
        raise ShapeError("dynamics: inputs", expected=expected, got=tuple(inputs.shape))
    return Ragged.full(inputs)
