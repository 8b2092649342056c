"""One step of training and of testing: a model with its optimiser, objective and device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, DataError, NumericsError
from rondeau.sequence import Ragged
from rondeau.training import optimizers
from rondeau.training.data import Batch, map_data
from rondeau.training.objective import Objective


class Trainer:
    """What `compile` makes.

    Args:
        model: a `Model`; it must have weights by the first step.
        optimizer: a name, an `Optimizer`, or a torch optimiser made over the model's parameters.
        device: 'auto' (CUDA where there is one), 'cpu', 'cuda', or a torch device.
    """

    def __init__(self, model: Any, optimizer: Any, objective: Objective, device: Any = "auto") -> None:
        self.model, self.objective = model, objective
        self.optimizer = optimizers.get(optimizer)
        self.device = resolve_device(device)

    def prepare(self, batch: Batch) -> None:
        """Make what depends on data: the model's weights, its place, the optimiser's slots, the metrics."""
        self.model.build_on(self.to_device(batch.x), self.device)
        if isinstance(self.optimizer, optimizers.Optimizer) and not self.optimizer.built:
            self.optimizer.build(self.model.named_parameters())
        self.objective.bind(self.model.output_names)

    def train_step(self, batch: Batch) -> float:
        """Forward, backward, update; gives the batch's loss.

        Raises `NumericsError`, leaving weights and optimiser as they were, when the loss or a gradient is not finite.
        """
        x, targets, weights = self._unpack(batch)
        outputs = self._outputs(x)
        loss = self.objective.loss(targets, outputs, weights, self.model.losses)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        value = loss.item()
        self._check_finite(value)
        self.optimizer.step()
        self.objective.update_metrics(targets, outputs, weights)
        return value

    @torch.no_grad()
    def test_step(self, batch: Batch) -> float:
        """Forward only; gives the batch's loss."""
        x, targets, weights = self._unpack(batch)
        outputs = self._outputs(x)
        loss = self.objective.loss(targets, outputs, weights, self.model.losses)
        self.objective.update_metrics(targets, outputs, weights)
        return loss.item()

    def _unpack(self, batch: Batch) -> tuple[Any, list[Any], list[Any]]:
        if batch.y is None:
            raise DataError("there are no targets", expected="y beside x, or batches (x, y)", got="x alone")
        x, y, weight = (self.to_device(part) for part in batch)
        return x, self._per_output(y, "y"), self._per_output(weight, "sample_weight")

    def _per_output(self, data: Any, what: str) -> list[Any]:
        names = self.model.output_names
        if isinstance(data, Mapping):
            unknown = sorted(set(data) - set(names))
            if unknown:
                raise DataError(f"{what} names an output there is not", expected=list(names), got=unknown)
            return [data.get(name) for name in names]
        if isinstance(data, list):
            if len(data) != len(names):
                raise DataError(f"{what} does not fit the outputs", expected=len(names), got=len(data))
            return data
        return [data] * len(names) if data is None or what == "sample_weight" else [data]

    def _outputs(self, x: Any) -> list[Any]:
        return flat_outputs(self.model(x, expand=False))

    def to_device(self, data: Any) -> Any:
        """Tensors moved to the training device."""
        return map_data(lambda leaf: leaf.to(self.device) if isinstance(leaf, (Tensor, Ragged)) else leaf, data)

    def _check_finite(self, loss: float) -> None:
        named = [(name, p.grad) for name, p in self.model.named_parameters() if p.grad is not None]
        norms = torch.stack(torch._foreach_norm([g for _, g in named])) if named else torch.zeros(1)
        good = torch.isfinite(norms)
        if loss - loss == 0 and bool(good.all()):  # inf - inf and nan - nan are nan
            return
        bad = [name for (name, _), fine in zip(named, good.tolist(), strict=True) if not fine] if named else []
        what = "the loss is not finite" if loss - loss != 0 else "a gradient is not finite"
        got = f"loss {loss}" + (f", and no finite gradient of {', '.join(bad[:3])}" if bad else "")
        raise NumericsError(
            what + (f"; its gradient is lost in layer {self.model.layer_of(bad[-1])}" if bad else ""),
            got=got,
            fix="Lower the learning rate, clip (global_clipnorm=1.0), or look for NaN and huge values in the data",
        )


def resolve_device(device: Any) -> torch.device:
    """'auto' as CUDA where there is one, else the CPU. Raises `ArgumentError` for a device this machine lacks."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ArgumentError("device", expected="'auto', 'cpu' or 'cuda'", got=repr(device)) from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ArgumentError("device='cuda': there is no CUDA device here", fix="Use device='auto' or 'cpu'")
    return chosen


def flat_outputs(outputs: Any) -> list[Any]:
    """A model's outputs as a list, whether one, several, or named in a dict."""
    if isinstance(outputs, Mapping):
        return list(outputs.values())
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
