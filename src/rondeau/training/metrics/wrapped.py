"""A user's own metric of torchmetrics, and how the state of any of them is taken out and put back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.training.lookup import snake_case
from rondeau.training.metrics.base import Metric, check_keys

if TYPE_CHECKING:
    import torchmetrics

_UPDATES = "updates"  # how often a metric of torchmetrics has been updated: without it, it warns that it is empty


class TorchMetric(Metric):
    """A `torchmetrics.Metric` as one of ours.

    Args:
        metric: one whose `compute` gives a single number. It is updated with `(y_pred, y_true)`, torchmetrics' order.
        name: the key in logs; by default the name of the metric's class in snake case.

    It has no weights for samples and cannot be written into a saved model. `state_dict` has what the metric registered
    with `add_state`, and those inside it too. Raises `ArgumentError` for anything that is no `torchmetrics.Metric`.
    """

    def __init__(self, metric: torchmetrics.Metric, name: str | None = None, dtype: None = None) -> None:
        import torchmetrics

        super().__init__(name or snake_case(type(metric).__name__), dtype)
        if not isinstance(metric, torchmetrics.Metric):
            fix = "Give the metrics of a collection one by one"
            raise ArgumentError("this is no torchmetrics.Metric", got=type(metric).__name__, fix=fix)
        self.metric = metric
        self._updated = False  # torchmetrics does not count the updates of its wrappers

    def update(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> None:
        refuse_weights(sample_weight, self.name)
        pred = torch.as_tensor(y_pred).detach()
        if pred.numel() == 0:  # a batch of nothing but empty sequences; torchmetrics cannot reshape it
            return
        if self.metric.device != pred.device:
            self.metric = self.metric.to(pred.device)
        self.metric.update(pred, torch.as_tensor(y_true, device=pred.device))
        self._updated = True

    def result(self) -> float:
        """The number so far; 0 before the first update. Raises `ArgumentError` where `compute` gives more than one."""
        if not self._updated:
            return 0.0
        value = self.metric.compute()
        if isinstance(value, Tensor) and value.numel() == 1:
            return float(value.item())
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        fix = "Average it, average='macro' for example, or take one entry by a function of your own"
        raise ArgumentError("the metric is not one number", expected="one number", got=got, where=self.name, fix=fix)

    def reset(self) -> None:
        self.metric.reset()
        self._updated = False

    def state_dict(self) -> dict[str, Tensor]:
        return states_of(self.metric) if self._updated else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        if not state:
            return self.reset()
        restore_states(self.metric, state, self.name)
        self._updated = True


def refuse_weights(sample_weight: object, where: str) -> None:
    """`ArgumentError` where weights are given to a metric that torchmetrics counts."""
    if sample_weight is not None:
        fix = "Move it from weighted_metrics to metrics; accuracies, errors and R2Score take weights"
        raise ArgumentError("this metric takes no sample_weight", where=where, fix=fix)


def states_of(metric: torchmetrics.Metric) -> dict[str, Tensor]:
    """Copies, on the CPU, of what the metric and those inside it have gathered; lists become `name.0`, `name.1`, ..."""
    state: dict[str, Tensor] = {}
    for prefix, part in _parts(metric):
        state[prefix + _UPDATES] = torch.tensor(part.update_count)
        for name, value in part.metric_state.items():
            entries = {name: value} if isinstance(value, Tensor) else {f"{name}.{i}": v for i, v in enumerate(value)}
            state.update({prefix + key: entry.detach().cpu().clone() for key, entry in entries.items()})
    return state


def restore_states(metric: torchmetrics.Metric, state: dict[str, Tensor], where: str) -> None:
    """Puts back what `states_of` took. Raises `CheckpointError` for another metric's, before it changes anything."""
    found = [
        (part, name, value, _keys(state, prefix + name, isinstance(value, Tensor)))
        for prefix, part in _parts(metric)
        for name, value in part.metric_state.items()
    ]
    counts = [(part, prefix + _UPDATES) for prefix, part in _parts(metric)]
    check_keys(state, tuple(key for *_, keys in found for key in keys) + tuple(key for _, key in counts), where)
    for part, name, value, keys in found:
        entries = [state[key].clone().to(part.device) for key in keys]
        setattr(part, name, entries[0] if isinstance(value, Tensor) else entries)
    for part, key in counts:
        part._update_count = int(state[key])
        part._computed = None


def _parts(metric: torchmetrics.Metric) -> Iterator[tuple[str, torchmetrics.Metric]]:
    """The metric and those inside it, each with the prefix of its keys."""
    import torchmetrics

    for path, part in metric.named_modules():
        if isinstance(part, torchmetrics.Metric):
            yield (path + "." if path else ""), part


def _keys(state: dict[str, Tensor], key: str, single: bool) -> list[str]:
    """The keys under which a state of that name lies: one, or as many as a list had entries."""
    return [key] if single else [f"{key}.{i}" for i in range(sum(other.startswith(key + ".") for other in state))]
