"""What a model makes of its input and its past: its loss with either taken away, and that of one without memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rondeau.errors import ArgumentError, CheckpointError, DataError
from rondeau.insight.memory import Comparison
from rondeau.insight.undisturbed import states_kept
from rondeau.models import Model
from rondeau.sequence import Ragged

FILE = "checks.json"  # in a run's folder
SPANS = (1, 4, 16)
ROWS = 256  # more say the same more slowly
WAYS = 9  # to exchange rows: a loss below all of them would be so by chance once in ten times


@dataclass(frozen=True)
class Checks:
    """Losses of a model whose weights stay as they are.

    Attributes:
        loss: on the rows as they are.
        exchanged: with each row given the inputs of another, once for each of several ways to deal them out; empty for
            fewer than two rows.
        recent: (k, loss) where only the last k steps of the past are a row's own: for one answer a row, the steps
            before are another row's; for an answer a step, states begin anew every k steps.
        steps: of the longest row.
        comparison: with a feed-forward network, where there was one.
    """

    loss: float
    exchanged: list[float]
    recent: list[tuple[int, float]] = field(default_factory=list)
    steps: int = 0
    comparison: Comparison | None = None

    def with_comparison(self, comparison: Comparison) -> Checks:
        """The same, and `comparison`."""
        return replace(self, comparison=comparison)


def checks_to_json(checks: Checks) -> dict[str, Any]:
    """As JSON's types."""
    return asdict(checks)


def checks_from_json(data: dict[str, Any]) -> Checks:
    """What `checks_to_json` wrote. Raises `CheckpointError` for anything else."""
    try:
        given = data.get("comparison")
        recent = [(int(steps), float(loss)) for steps, loss in data["recent"]]
        comparison = None if given is None else Comparison(**given)
        exchanged = [float(loss) for loss in data["exchanged"]]
        return Checks(float(data["loss"]), exchanged, recent, int(data["steps"]), comparison)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        fix = "Delete the file; the rest of the run does not need it"
        raise CheckpointError("the checks cannot be read", where=FILE, got=error, fix=fix) from error


def check_inputs(model: Model, x: Any, y: Any, spans: Sequence[int] = SPANS, rows: int = ROWS) -> Checks:
    """The loss of a model as it is, with inputs of other rows, and without the past.

    Exchanging what a model reads, and seeing how much worse it gets, is permutation importance (Breiman 2001); a model
    whose loss stays what it was does not use what was exchanged.

    Args:
        model: compiled, with one input and one output; its weights stay as they are.
        x: rows: an array `(rows, time, ...)`, or a list of sequences, or a `Ragged`. Of padded rows give lists: the
            last steps are taken to be real ones.
        y: targets: one a row `(rows, ...)`, or one a step `(rows, time, ...)` or a list of sequences.
        spans: lengths k of the past that is left; those not below the longest row are left out. A model whose input
            has a fixed number of steps and that answers at every step needs `spans=()`.
        rows: at most so many rows are used, spread over all, in one batch.

    Raises `DataError` for no rows, or as many targets as there are not rows, `ArgumentError` for spans below one,
    and what `Model.evaluate` raises.
    """
    if any(span < 1 for span in spans):
        raise ArgumentError("check_inputs: spans", expected="whole numbers, 1 or more", got=spans)
    inputs, targets = _rows(x), _rows(y)
    if not inputs or len(inputs) != len(targets):
        raise DataError("check_inputs: rows", expected="as many targets as inputs", got=(len(inputs), len(targets)))
    chosen = np.linspace(0, len(inputs) - 1, min(rows, len(inputs))).round().astype(int)
    inputs, targets = [inputs[i] for i in chosen], [targets[i] for i in chosen]
    with states_kept(model):
        return _check(_Rows(model, inputs, targets), spans)


def _check(data: _Rows, spans: Sequence[int]) -> Checks:
    inputs = data.inputs
    longest = max(len(row) for row in inputs)
    ways = range(1, min(WAYS, len(inputs) - 1) + 1)
    exchanged = [data.loss(_others(inputs, way)) for way in ways]
    others, recent = _others(inputs, 1), []
    for span in spans:
        if span < longest and len(inputs) > 1:
            recent.append((span, data.anew(span) if data.by_step else data.loss(_own(inputs, others, span))))
    return Checks(data.loss(inputs), exchanged, recent, longest)


class _Rows:
    """Rows and their targets, on which a model is evaluated."""

    def __init__(self, model: Model, inputs: list[Tensor], targets: list[Tensor]) -> None:
        self.model, self.inputs, self.targets = model, inputs, targets
        model.reset_states()
        output = model.predict(_together(inputs[:1]))
        self.by_step = isinstance(output, list) or output.ndim > 2

    def loss(self, inputs: list[Tensor], targets: list[Tensor] | None = None) -> float:
        """In one batch, with which `stateful` layers begin anew."""
        given = _together(self.targets if targets is None else targets)
        self.model.reset_states()
        return float(self.model.evaluate(_together(inputs), given, len(inputs), 0, return_dict=True)["loss"])

    def anew(self, span: int) -> float:
        """With states begun anew every `span` steps."""
        return self.loss(
            *([part for row in rows for part in torch.split(row, span)] for rows in (self.inputs, self.targets))
        )


def _own(inputs: list[Tensor], others: list[Tensor], span: int) -> list[Tensor]:
    """Each row's last `span` steps, after the earlier ones of another."""
    return [
        torch.cat([other[: max(len(row) - span, 0)], row[-span:]]) for row, other in zip(inputs, others, strict=True)
    ]


def _others(inputs: list[Tensor], way: int) -> list[Tensor]:
    """For each row the one `way` rows before it, as long as the row itself."""
    return [_fitted(inputs[i - way], len(row)) for i, row in enumerate(inputs)]


def _fitted(row: Tensor, steps: int) -> Tensor:
    """A row cut to so many steps, or gone through again."""
    return row[torch.arange(steps) % max(len(row), 1)]


def _rows(data: Any) -> list[Tensor]:
    if isinstance(data, Ragged):
        return list(data.rows())
    if isinstance(data, Tensor):
        return list(data)
    if isinstance(data, (list, np.ndarray)):
        return [torch.as_tensor(row) for row in data]
    expected = "an array, a tensor, a list of sequences or a Ragged"
    raise ArgumentError("check_inputs: a model of one input and one output", expected=expected, got=type(data).__name__)


def _together(rows: list[Tensor]) -> Any:
    """A tensor where all rows are alike, else a list of them."""
    return torch.stack(rows) if len({row.shape for row in rows}) == 1 else rows
