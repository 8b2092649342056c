"""Which steps of a sequence a prediction rests on."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, DataError, NumericsError
from rondeau.insight.attribution import METHODS, Attribution, Path, by_step
from rondeau.insight.sources import Sources, as_rows
from rondeau.insight.targets import choose_target
from rondeau.insight.undisturbed import undisturbed


@dataclass(frozen=True)
class Saliency:
    """What each step of one row did for one number of the model's output.

    Attributes:
        scores: of each step, in units of the output; above 0 it made the number larger. A step that an embedding or
            a `Masking` layer left out has 0.
        features: `(steps, features)`, what the scores are the sums of, where x has features of its own; else None.
        method: "gradient_x_input", "integrated_gradients" or "occlusion".
        target: in words what is explained; index, step: the unit and the step of the output, None where it has none.
        value, baseline_value: that number, for the row and for the baseline.
        gap: the scores' sum less (value - baseline_value): 0 where they account for all of the difference.
        evaluations: how many times a row went through the model.
    """

    scores: list[float]
    features: list[list[float]] | None
    method: str
    target: str
    index: int | None
    step: int | None
    value: float
    baseline_value: float
    gap: float
    evaluations: int

    @property
    def relative_gap(self) -> float:
        """The gap as a share of what was attributed: of the sum of the scores' magnitudes; 0 where both are 0."""
        attributed = sum(map(abs, self.scores))
        return abs(self.gap) / attributed if attributed else (0.0 if self.gap == 0 else math.inf)

    @property
    def shares(self) -> list[float]:
        """Magnitudes of the scores, which sum to 1; zeros where there are none but zeros."""
        total = sum(map(abs, self.scores))
        return [abs(score) / total if total else 0.0 for score in self.scores]


def saliency(
    model: Callable[..., Any],
    x: Any,
    method: str = "integrated_gradients",
    target: int | Callable[[Any], Tensor] | Sequence[int] | None = None,
    step: int | Sequence[int] | None = None,
    baseline: Any = None,
    *,
    window: int = 1,
    tolerance: float = 0.01,
    max_points: int = 1024,
    batch_size: int = 64,
) -> list[Saliency]:
    """How much each step of a sequence did for one prediction, for each row of x.

    Of ids the steps are moved where they enter: at the output of the embeddings that read them. Nothing of the model
    is changed: it runs in `eval` mode, `stateful` layers begin anew, and afterwards mode, states, gradients and random
    numbers are what they were.

    Args:
        model: a model or layer of Rondeau, any `torch.nn.Module`, or (for floats) any function of x; x and its outputs
            have the batch first.
        x: floats `(batch, time, *features)`, ids `(batch, time)`, a `Ragged`, an array, or a list of sequences.
        method:
            "gradient_x_input": ∂f/∂x · (x - baseline), one backward pass (Shrikumar et al. 2016, arXiv 1605.01713);
            blind where the output is saturated.
            "integrated_gradients": its mean along the straight line from the baseline to x, whose sum over all steps
            is f(x) - f(baseline) (Sundararajan et al. 2017, arXiv 1703.01365). The mean is taken by Gauss's rule at 8
            points; stretches of the line on which the sum misses what f gains there are halved, until what is missed on
            all of them is at most `tolerance` of what was attributed.
            "occlusion": f(x) less f where the step is the baseline's (Zeiler and Fergus 2014, arXiv 1311.2901).
        target: which unit of the output: f; default: for each row the one with the largest value. One for each row, in
            a list; or a function, outputs -> `(rows,)`, differentiable unless by occlusion.
        step: of outputs at every step, which one; negative from the row's end (default: its last); one for each row,
            in a list.
        baseline: what stands for "nothing there": None: zeros, at an embedding's output the zero vector; "mean": the
            mean over the row's steps; an int: the embedding of that id; or a tensor that broadcasts to a row's
            `(steps, *features)`.
        window: for occlusion, steps that are replaced together; each gets an equal part (default 1).
        tolerance, max_points: of integrated gradients. A row whose `relative_gap` is above the tolerance when so many
            points are used is told by a `RuntimeWarning`; above ten times the tolerance it is a `NumericsError`.
        batch_size: rows that go through the model at once.

    Returns a `Saliency` for each row of x.

    Raises `ArgumentError` for an unknown method, unit, step, baseline or number; `DataError` for x that does not fit;
    `ShapeError` for outputs that need a function as target; `NumericsError` for outputs that are not finite.

    >>> from rondeau import Sequential, layers
    >>> model = Sequential([layers.Input((None, 3)), layers.LSTM(4), layers.Dense(2)])
    >>> (found,) = saliency(model, torch.ones(1, 5, 3), target=1)
    >>> len(found.scores), found.target, found.relative_gap < 0.01
    (5, 'output 1', True)
    """
    _check(method, window, tolerance, max_points, batch_size)
    rows = as_rows(model, x)
    targets = target if isinstance(target, (list, tuple, Tensor)) else [target] * len(rows)
    steps = step if isinstance(step, (list, tuple, Tensor)) else [step] * len(rows)
    for name, given in (("target", targets), ("step", steps)):
        if len(given) != len(rows):
            raise ArgumentError(f"saliency: {name}", expected=f"one, or {len(rows)}, one for each row", got=len(given))
    numbers = METHODS[method](window, tolerance, max_points)
    found = []
    with undisturbed(model), torch.inference_mode(False), torch.enable_grad():
        for row, own, at in zip(rows, _plain(targets), _plain(steps), strict=True):
            found.append(_explain(model, row, method, numbers, own, at, baseline, batch_size))
    if method == "integrated_gradients":
        _judge(found, tolerance, max_points)
    return found


def _explain(
    model: Any, row: Any, method: str, attribute: Any, target: Any, step: Any, baseline: Any, batch_size: int
) -> Saliency:
    sources = Sources(model, row)
    with torch.no_grad():
        chosen = choose_target(sources.run([value[None] for value in sources.values]), target, step)
    ends = _baseline(sources, baseline)
    path = Path(sources, ends, chosen, batch_size)
    value, nothing = path.ends()
    attribution: Attribution = attribute(path)
    scores = torch.stack([by_step(part) for part in attribution.parts]).sum(0)
    own = attribution.parts[0] if not sources.embedded and attribution.parts[0].ndim == 2 else None
    return Saliency(
        scores=_at_their_places(scores, sources.mask),
        features=None if own is None else own.tolist(),
        method=method,
        target=chosen.name,
        index=chosen.index,
        step=chosen.step,
        value=value,
        baseline_value=nothing,
        gap=float(scores.sum()) - (value - nothing),
        evaluations=path.evaluations,
    )


def _baseline(sources: Sources, given: Any) -> list[Tensor]:
    if given is None:
        return [torch.zeros_like(value) for value in sources.values]
    if isinstance(given, str):
        if given != "mean":
            raise ArgumentError("saliency: baseline", expected="None, 'mean', an id or a tensor", got=repr(given))
        return [value.mean(0, keepdim=True).expand_as(value).clone() for value in sources.values]
    if isinstance(given, int) and not isinstance(given, bool):
        return sources.of_id(given)
    if not isinstance(given, Tensor) and not hasattr(given, "__array__"):
        raise ArgumentError("saliency: baseline", expected="None, 'mean', an id or a tensor", got=type(given).__name__)
    tensor = torch.as_tensor(given)
    try:
        return [tensor.to(value).expand_as(value).clone() for value in sources.values]
    except RuntimeError as error:
        expected = " and ".join(str(tuple(value.shape)) for value in sources.values)
        what = "saliency: the baseline does not broadcast to a row's steps"
        raise DataError(what, expected=expected, got=tuple(tensor.shape)) from error


def _at_their_places(scores: Tensor, mask: Tensor | None) -> list[float]:
    if mask is None:
        return scores.tolist()
    placed = scores.new_zeros(mask.shape[1])
    placed[mask[0].to(scores.device)] = scores
    return placed.tolist()


def _plain(values: Any) -> list[Any]:
    return values.tolist() if isinstance(values, Tensor) else list(values)


def _check(method: str, window: Any, tolerance: Any, max_points: Any, batch_size: Any) -> None:
    if method not in METHODS:
        raise ArgumentError("saliency: method", expected=f"one of {', '.join(METHODS)}", got=repr(method))
    for name, value in (("window", window), ("max_points", max_points), ("batch_size", batch_size)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ArgumentError(f"saliency: {name}", expected="a whole number, at least 1", got=repr(value))
    if not isinstance(tolerance, (int, float)) or not tolerance > 0:
        raise ArgumentError("saliency: tolerance", expected="a number above 0", got=repr(tolerance))
    if window > 1 and method != "occlusion":
        raise ArgumentError(f"saliency: window has no meaning for {method}", fix="Leave it out, or use occlusion")


def _judge(found: list[Saliency], tolerance: float, max_points: int) -> None:
    """Say where integrated gradients do not add up."""
    far = [row for row, one in enumerate(found) if not one.relative_gap <= tolerance]
    if not far:
        return
    worst = max(far, key=lambda row: found[row].relative_gap)
    gap = found[worst].relative_gap
    words = f"the scores' sum misses f(x) - f(baseline) by {gap:.2g} of what was attributed"
    fix = "Raise max_points, choose a baseline nearer to the data, or use method='occlusion'"
    if gap > 10 * tolerance:
        what = "saliency: integrated gradients do not add up"
        raise NumericsError(what, expected=f"at most {tolerance:g}", got=words, where=f"row {worst}", fix=fix)
    warnings.warn(
        f"saliency: of {len(found)} rows {len(far)} are above the tolerance of {tolerance:g} with {max_points} points; "
        f"at worst, in row {worst}, {words}. {fix}.",
        RuntimeWarning,
        stacklevel=3,
    )
