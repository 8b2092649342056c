"""What training minimises and what it reports: a loss and metrics for each output of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from rondeau.errors import ArgumentError, DataError
from rondeau.sequence import Ragged
from rondeau.training import losses, metrics
from rondeau.training.align import align
from rondeau.training.metrics import Mean, MeanMetric, Metric


class Objective:
    """Losses, their weights, and metrics, as `compile` was given them.

    Args:
        loss: a name, `Loss` or function; for several outputs a list or dict of them (one for all otherwise).
        metric_list: names, `Metric` objects or functions; for several outputs a list of lists, or a dict by output name.
        weighted_metrics: likewise, but these take the sample weights into account.
        loss_weights: how much each output's loss counts (list or dict; default 1).
    """

    def __init__(self, loss: Any, metric_list: Any = None, weighted_metrics: Any = None, loss_weights: Any = None) -> None:
        self.given = (loss, metric_list, weighted_metrics, loss_weights)
        self.names: list[str] = []
        self.total = Mean(name="loss")
        self.losses: list[Any] = []
        self.loss_means: list[Mean] = []
        self.loss_weights: list[float] = []
        self.metrics: list[list[Metric]] = []
        self.weighted: list[list[Metric]] = []

    def bind(self, names: Sequence[str]) -> None:
        """Make the losses and metrics for outputs of these names, once."""
        if self.names:
            return
        loss, metric_list, weighted, weights = self.given
        self.names = list(names)
        several = len(self.names) > 1
        self.losses = [losses.get(one) if one is not None else None for one in self._each(loss, "loss")]
        self.loss_weights = [1.0 if w is None else float(w) for w in self._each(weights, "loss_weights", alike=False)]
        self.loss_means = [Mean(name=f"{name}_loss") for name in self.names] if several else []
        self.metrics = [self._metrics(name, part) for name, part in zip(self.names, self._lists(metric_list), strict=True)]
        self.weighted = [self._metrics(name, part) for name, part in zip(self.names, self._lists(weighted), strict=True)]

    def _each(self, given: Any, what: str, alike: bool = True) -> list[Any]:
        """One entry for each output, from a single one for all, a list, or a dict."""
        if isinstance(given, Mapping):
            unknown = sorted(set(given) - set(self.names))
            if unknown:
                raise ArgumentError(f"{what} names an output there is not", expected=self.names, got=unknown)
            return [given.get(name) for name in self.names]
        if isinstance(given, (list, tuple)):
            if len(given) != len(self.names):
                raise ArgumentError(f"{what} does not fit the outputs", expected=len(self.names), got=len(given))
            return list(given)
        return [given if alike else None] * len(self.names) if given is None or alike else [given]

    def _lists(self, given: Any) -> list[list[Any]]:
        if len(self.names) == 1 and not isinstance(given, Mapping):
            return [_as_list(given)]
        if isinstance(given, (list, tuple)) and len(given) != len(self.names):
            return [list(given)] * len(self.names)
        return [_as_list(part) for part in self._each(given, "metrics")]

    def _metrics(self, output: str, given: list[Any]) -> list[Metric]:
        made = [metrics.get(one) for one in given]
        if len(self.names) > 1:
            for metric in made:
                metric.name = f"{output}_{metric.name}"
        return made

    def loss(self, targets: list[Any], outputs: list[Any], weights: list[Any], penalties: list[Tensor]) -> Tensor:
        """The 0-d loss with the weight penalties; running means are kept."""
        total: Tensor | None = None
        steps = 0
        for i, (function, output) in enumerate(zip(self.losses, outputs, strict=True)):
            if function is None:
                continue
            if targets[i] is None:
                raise DataError(f"there is no target for {self.names[i]}", fix="Give y, or batches of (x, y)")
            target, plain, weight = align(targets[i], output, weights[i])
            count = plain[..., 0].numel() if plain.ndim > 1 else plain.numel()
            # a batch without a single step has nothing to learn from; its mean would be 0 / 0
            one = function(target, plain, weight) if count else plain.sum() * 0
            if self.loss_means:
                self.loss_means[i].update(one.detach(), count)
            steps = max(steps, count)
            part = one if self.loss_weights[i] == 1.0 else one * self.loss_weights[i]
            total = part if total is None else total + part
        if total is None:
            raise ArgumentError("no loss was given", fix="compile(optimizer, loss=...)")
        for penalty in penalties:
            total = total + penalty
        self.total.update(total.detach(), steps)
        return total

    def update_metrics(self, targets: list[Any], outputs: list[Any], weights: list[Any]) -> None:
        """Take a batch into the metrics."""
        for i, output in enumerate(outputs):
            if not self.metrics[i] and not self.weighted[i]:
                continue
            target, plain, weight = align(targets[i], output, weights[i])
            if isinstance(output, Ragged) and not len(plain):
                continue
            for metric in self.metrics[i]:
                metric.update(target, plain.detach())
            for metric in self.weighted[i]:
                metric.update(target, plain.detach(), weight)

    def results(self) -> dict[str, float]:
        """Name to value since the last reset: loss first."""
        return {metric.name: metric.result() for metric in self.all_metrics()}

    def running_results(self) -> dict[str, float]:
        """As `results`, without the metrics that are more than a mean and too slow to ask after every batch."""
        means = [metric for metric in self.all_metrics() if isinstance(metric, (Mean, MeanMetric))]
        return {metric.name: metric.result() for metric in means}

    def reset(self) -> None:
        """Begin all running values anew."""
        for metric in self.all_metrics():
            metric.reset()

    def all_metrics(self) -> list[Any]:
        """The mean loss, each output's, and the metrics, in the order they are reported."""
        inner = [metric for group in (self.metrics, self.weighted) for part in group for metric in part]
        return [self.total, *self.loss_means, *inner]

    def state_dict(self) -> dict[str, Tensor]:
        """All running values, by metric number and name."""
        parts = [(f"{i}.{key}", value) for i, m in enumerate(self.all_metrics()) for key, value in m.state_dict().items()]
        return dict(parts)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state_dict` gave."""
        for i, metric in enumerate(self.all_metrics()):
            metric.load_state_dict({k.split(".", 1)[1]: v for k, v in state.items() if k.split(".", 1)[0] == str(i)})


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
