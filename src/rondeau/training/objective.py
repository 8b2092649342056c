"""What training minimises and what it reports: a loss and metrics for each output of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, CheckpointError, DataError
from rondeau.layers.graph import map_leaves
from rondeau.sequence import Ragged
from rondeau.training import losses, metrics
from rondeau.training.align import align
from rondeau.training.class_weight import class_weights
from rondeau.training.metrics import Mean, MeanMetric, Metric


class Pair(NamedTuple):
    """An output beside its target and weights, real steps only; `size` values are compared.

    `padded`: the axes are still `(rows, time, ...)`, no step having been left out.
    """

    target: Tensor
    output: Tensor
    weight: Any
    size: int
    padded: bool = False

    def by_step(self) -> Pair:
        """With a single axis for the steps of all rows, so that each counts as much as any other."""
        if not self.padded or self.output.ndim < 2:
            return self
        weight = self.weight
        if isinstance(weight, Tensor) and weight.ndim:
            weight = weight.flatten(0, 1) if weight.ndim > 1 else weight.repeat_interleave(self.output.shape[1])
        return self._replace(target=self.target.flatten(0, 1), output=self.output.flatten(0, 1), weight=weight)


class Scores(NamedTuple):
    """The loss of a batch, 0-d, with the weight penalties, and each output's own (None where it has no loss)."""

    total: Tensor
    parts: list[Tensor | None]


class Objective:
    """Losses, their weights, and metrics, as `compile` was given them.

    Args:
        loss: a name, `Loss` or function; for several outputs a list or dict of them (one for all otherwise).
        metric_list: names, `Metric` objects or functions; for several outputs a list of lists, or a dict by name.
        weighted_metrics: likewise, but these take the sample weights into account.
        loss_weights: how much each output's loss counts (list or dict; default 1).

    The running losses are means over all values compared: where rows have lengths or masks, a long row counts for more
    than a short one, and the last, smaller batch for less. (Keras counts rows there, which makes the mean depend on how
    the rows are dealt out to batches.) The penalties are part of `loss` alone.

    Raises `ArgumentError` for an unknown name.
    """

    def __init__(
        self, loss: Any, metric_list: Any = None, weighted_metrics: Any = None, loss_weights: Any = None
    ) -> None:
        self.given = (loss, metric_list, weighted_metrics, loss_weights)
        self.names: list[str] = []
        self.total = Mean(name="loss")
        self.losses: list[Any] = []
        self.loss_means: list[Mean] = []
        self.loss_weights: list[float] = []
        self.metrics: list[list[Metric]] = []
        self.weighted: list[list[Metric]] = []
        self.reported: dict[str, Any] = {}
        _check_names(losses.get, loss)
        _check_names(metrics.get, [metric_list, weighted_metrics])
        _check_weights(loss_weights)

    def bind(self, names: Sequence[str]) -> None:
        """Make the losses and metrics for outputs of these names, once."""
        if self.names:
            return
        loss, metric_list, weighted, weights = self.given
        names = list(names)
        self.losses = [None if one is None else losses.get(one) for one in _each(names, loss, "loss")]
        self.loss_weights = [1.0 if w is None else float(w) for w in _each(names, weights, "loss_weights")]
        self.loss_means = [Mean() for _ in names]
        self.metrics = [[metrics.get(one) for one in part] for part in _lists(names, metric_list, "metrics")]
        self.weighted = [[metrics.get(one) for one in part] for part in _lists(names, weighted, "weighted_metrics")]
        self.reported = self._named(names)
        self.names = names

    def attach(self, model: Any) -> None:
        """Show the model to the losses. Raises `ArgumentError` for metrics beside a loss that samples the outputs."""
        for i, loss in enumerate(self.losses):
            if loss is None:
                continue
            loss.attach(model)
            if loss.samples_outputs and (self.metrics[i] or self.weighted[i]):
                fix = "Leave them out of compile; the loss of evaluate is exact, and predict gives all outputs"
                raise ArgumentError(f"metrics see no outputs where the loss {loss.name} samples them", fix=fix)

    def _named(self, names: list[str]) -> dict[str, Any]:
        """All that is reported, by the name it has in the logs: Keras's names, and `acc`, `acc_1` for two alike."""
        several = len(names) > 1
        found: dict[str, Any] = {"loss": self.total}
        if several:
            found |= {f"{names[i]}_loss": self.loss_means[i] for i, one in enumerate(self.losses) if one is not None}
        for group, prefix in ((self.metrics, ""), (self.weighted, "weighted_")):
            taken = set(found)
            for output, metric in ((names[i], metric) for i, part in enumerate(group) for metric in part):
                if any(metric is other for other in found.values()):
                    fix = "Make one for each"
                    raise ArgumentError("one metric object stands in two places", got=metric.name, fix=fix)
                name = f"{output}_{metric.name}" if several else metric.name
                found[_free(f"{prefix}{name}" if name in taken else name, found)] = metric
        return found

    def pairs(
        self, targets: list[Any], outputs: list[Any], weights: list[Any], by_class: Mapping[int, float] | None = None
    ) -> list[Pair | None]:
        """What is to be compared: for each output that has a loss or metrics.

        Raises `DataError` for a missing target, `ShapeError` for rows, steps or weights that do not fit.
        """
        return [self._pair(i, *parts, by_class) for i, parts in enumerate(zip(targets, outputs, weights, strict=True))]

    def _pair(self, i: int, target: Any, output: Any, weight: Any, by_class: Mapping[int, float] | None) -> Pair | None:
        if self.losses[i] is None and not self.metrics[i] and not self.weighted[i]:
            return None
        if target is None:
            raise DataError(f"there is no target for {self.names[i]}", fix="Give y, or batches of (x, y)")
        padded = not isinstance(output, Ragged)
        target, plain, weight = align(target, output, weight)
        if by_class is not None:
            weight = class_weights(by_class, target, plain, weight)
        return Pair(target, plain, weight, plain[..., 0].numel() if plain.ndim > 1 else plain.numel(), padded)

    def loss(self, pairs: list[Pair | None], penalties: list[Tensor]) -> Scores:
        """The weighted sum of the outputs' losses and the penalties."""
        parts = [
            None if function is None or pair is None else _loss(function, pair)
            for function, pair in zip(self.losses, pairs, strict=True)
        ]
        weighted = zip(self.loss_weights, parts, strict=True)
        terms = [part if weight == 1 else weight * part for weight, part in weighted if part is not None]
        if not terms:
            raise ArgumentError("no loss was given", fix="compile(optimizer, loss=...)")
        return Scores(reduce(torch.add, [*terms, *penalties]), parts)

    def update(self, pairs: list[Pair | None], scores: Scores, by_step: bool = False) -> None:
        """Take a batch into the running means and the metrics.

        `by_step`: windows of rows are compared step by step, as those of a `Ragged` are: how a row was cut into windows
        must not show.
        """
        if by_step:
            pairs = [None if pair is None else pair.by_step() for pair in pairs]
        most = 0
        for mean, pair, part in zip(self.loss_means, pairs, scores.parts, strict=True):
            if pair is not None and part is not None:
                mean.update(part.detach(), pair.size)
                most = max(most, pair.size)
        self.total.update(scores.total.detach(), most)
        for i, pair in enumerate(pairs):
            if pair is not None and pair.size:
                for metric in self.metrics[i]:
                    metric.update(pair.target, pair.output.detach())
                for metric in self.weighted[i]:
                    metric.update(pair.target, pair.output.detach(), pair.weight)

    def results(self) -> dict[str, float]:
        """Name to value since the last reset: loss first."""
        return {name: metric.result() for name, metric in self.reported.items()}

    def running_results(self) -> dict[str, float]:
        """As `results`, without the metrics that are more than a mean and too slow to ask after every batch."""
        means = {name: m for name, m in self.reported.items() if isinstance(m, (Mean, MeanMetric))}
        return {name: metric.result() for name, metric in means.items()}

    def reset(self) -> None:
        """Begin all running values anew."""
        for metric in self.reported.values():
            metric.reset()

    def state_dict(self) -> dict[str, Tensor]:
        """All running values, by metric and name."""
        return {f"{name}/{key}": v for name, metric in self.reported.items() for key, v in metric.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state_dict` gave. Raises `CheckpointError` for the state of other metrics."""
        parts: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, _, inner = key.rpartition("/")
            parts.setdefault(name, {})[inner] = value
        if not parts.keys() <= self.reported.keys():
            expected = ", ".join(self.reported)
            raise CheckpointError("the state is of other metrics", expected=expected, got=", ".join(parts))
        for name, metric in self.reported.items():
            metric.load_state_dict(parts.get(name, {}))


def _loss(function: Any, pair: Pair) -> Tensor:
    # a batch without a single step has nothing to learn from; its mean would be 0 / 0
    loss: Tensor = function(pair.target, pair.output, pair.weight) if pair.size else pair.output.sum() * 0
    if loss.ndim:
        fix = "Let its reduction be 'sum_over_batch_size', 'mean_with_sample_weight' or 'sum'"
        raise ArgumentError(f"the loss {function.name} is no single number", got=tuple(loss.shape), fix=fix)
    return loss


def _check_weights(given: Any) -> None:
    """Numbers, alone or in a list or dict: names of metrics get here when they are given by position."""
    parts = given.values() if isinstance(given, Mapping) else given if isinstance(given, (list, tuple)) else [given]
    for part in parts:
        if part is not None and not isinstance(part, (int, float)):
            fix = "Name the argument, if metrics were meant: compile(optimizer, loss, metrics=[...])"
            raise ArgumentError("compile: loss_weights", expected="numbers", got=repr(given), fix=fix)


def _check_names(get: Callable[[str], object], given: Any) -> None:
    """Raise for an unknown name at once, not when training begins."""
    map_leaves(lambda one: get(one) if isinstance(one, str) else None, given)


def _each(names: list[str], given: Any, what: str) -> list[Any]:
    """One entry for each output, from a single one for all, a list, or a dict by name."""
    if isinstance(given, Mapping):
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise ArgumentError(f"{what} names an output there is not", expected=names, got=unknown)
        return [given.get(name) for name in names]
    if isinstance(given, (list, tuple)):
        if len(given) != len(names):
            expected = f"{len(names)}: {', '.join(names)}"
            raise ArgumentError(f"{what} does not fit the outputs", expected=expected, got=len(given))
        return list(given)
    return [given] * len(names)


def _lists(names: list[str], given: Any, what: str) -> list[list[Any]]:
    """The metrics of each output: one list for a single output, otherwise as `_each`."""
    parts = [given] if len(names) == 1 and not isinstance(given, Mapping) else _each(names, given, what)
    return [_as_list(part) for part in parts]


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """The name, numbered where it is taken."""
    numbered = (f"{name}_{i}" if i else name for i in count())
    return next(one for one in numbered if one not in taken)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
