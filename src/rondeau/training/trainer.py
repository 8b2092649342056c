"""One step of training and of testing: a model with its optimiser, objective and device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from rondeau.errors import ArgumentError, DataError, NumericsError, ShapeError
from rondeau.sequence import Ragged
from rondeau.training import optimizers
from rondeau.training.batch import Batch, data_leaves, place
from rondeau.training.callbacks.learning_rate import get_rates, set_rates
from rondeau.training.objective import Objective, Pair, Scores

ClassWeight = Mapping[int, float] | None


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

    def prepare(self, peek: Callable[[], Batch | None]) -> None:
        """Make what is not there yet: weights for the data that `peek` shows, the optimiser's slots, the metrics.

        Raises `DataError` where the weights need data and there is none, `ArgumentError` where the model has got other
        weights since the optimiser was built.
        """
        if not self.model.ready:
            first = peek()
            if first is None:
                raise DataError("there is no data", expected="at least one batch", got=0)
            self.model.build_on(place(first.x, torch.device("cpu"), model_dtype(self.model)))
        self.model.to(self.device)
        if isinstance(self.optimizer, optimizers.Optimizer):
            self.optimizer.build(self.model.named_parameters())
        self.objective.bind(self.model.output_names)
        self.objective.attach(self.model)

    def train_step(
        self,
        batch: Batch,
        class_weight: ClassWeight = None,
        before_update: Callable[[float], None] | None = None,
    ) -> float:
        """Forward, backward, update; gives the batch's loss. A window without a real step makes no update.

        `before_update` is called with the loss where an update comes next, gradients finite and not yet clipped.

        Raises `NumericsError` when the loss or a gradient is not finite; weights, optimiser, the states of `stateful`
        layers and the running means are then as they were before.
        """
        states = self.model.states()
        x, pairs, scores = self.forward(batch, class_weight)
        if not scores.total.requires_grad:
            fix = "Set trainable = True on the layers that shall learn, and keep the loss a function of the outputs"
            raise ArgumentError("the loss depends on no trainable weight", fix=fix)
        self.optimizer.zero_grad()
        scores.total.backward()  # type: ignore[no-untyped-call]
        loss = scores.total.item()
        try:
            self._check_finite(loss, x)
        except NumericsError:
            self.model.load_states(states)
            self.optimizer.zero_grad()
            raise
        if not batch.carried or any(pair is not None and pair.size for pair in pairs):
            if before_update is not None:
                before_update(loss)
            self._update(batch.rate)
        self.objective.update(pairs, scores, by_step=batch.carried)
        return loss

    def _update(self, rate: float) -> None:
        """A step of the optimiser with its learning rate times `rate`."""
        if rate == 1:
            self.optimizer.step()
        elif isinstance(self.optimizer, optimizers.Optimizer):
            self.optimizer.step(rate)
        else:
            before = get_rates(self.optimizer)
            set_rates(self.optimizer, [own * rate for own in before])
            self.optimizer.step()
            set_rates(self.optimizer, before)

    @torch.no_grad()
    def test_step(self, batch: Batch) -> float:
        """Forward only; gives the batch's loss."""
        _, pairs, scores = self.forward(batch, None)
        self.objective.update(pairs, scores, by_step=batch.carried)
        return scores.total.item()

    def forward(self, batch: Batch, class_weight: ClassWeight) -> tuple[Any, list[Pair | None], Scores]:
        """The batch as it is placed, what the loss is made of, and the loss. Raises `DataError` without targets."""
        if batch.y is None:
            fix = "Give y beside x, or batches that are tuples (x, y)"
            raise DataError("there are no targets", expected="x and y", got="x alone", fix=fix)
        x, y, weight, *_ = self.placed(batch)
        if class_weight is not None and len(self.model.output_names) > 1:
            raise ArgumentError("class_weight works with one output", fix="Give sample_weight for several")
        outputs = flat_outputs(self.model(x, expand=False))
        if len(outputs) != len(self.model.output_names):
            what = "the model gives another number of outputs than before"
            raise ShapeError(what, expected=len(self.model.output_names), got=len(outputs))
        targets, weights = self._per_output(y, "y"), self._per_output(weight, "sample_weight")
        pairs = self.objective.pairs(targets, outputs, weights, class_weight)
        return x, pairs, self.objective.loss(pairs, self.model.losses)

    def placed(self, batch: Batch) -> Batch:
        """The batch on the training device, its floats in the type of the model's."""
        dtype = model_dtype(self.model)
        return batch.map(lambda part: place(part, self.device, dtype))

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
        if what == "y" and len(names) > 1:
            expected = f"{len(names)}: {', '.join(names)}"
            raise DataError("y does not fit the outputs", expected=expected, got=1, fix="Give a list or a dict by name")
        return [data] * len(names)

    def _check_finite(self, loss: float, x: Any) -> None:
        named = [(name, p.grad) for name, p in self.model.named_parameters() if p.grad is not None and p.numel()]
        finite = self._finite([gradient for _, gradient in named])
        if all(finite) and loss - loss == 0:  # inf - inf and nan - nan are nan
            return
        bad = [name for (name, _), fine in zip(named, finite, strict=True) if not fine]
        what = "the loss is not finite" if loss - loss != 0 else "a gradient is not finite"
        if bad:  # going backwards, the last of them is where it began
            what += f"; its gradient is lost in layer {self.model.layer_of(bad[-1])}"
        raise NumericsError(
            what,
            got=f"loss {loss}" + (f", {len(bad)} of {len(named)} gradients not finite" if bad else ""),
            fix=_advice(x),
        )

    def _finite(self, gradients: list[torch.Tensor]) -> list[bool]:
        """Of each gradient, whether it is."""
        finite: list[bool] = []
        # The Euclidean norm of gradients that are merely large is infinite; on a CPU it is 20 times as fast as the
        # largest magnitude, which therefore has its say only where the first finds something.
        for order in (2.0, float("inf")):
            norms = torch._foreach_norm(gradients, order) if gradients else []
            finite = torch.isfinite(torch.stack([n.float().to(self.device) for n in norms])).tolist() if norms else []
            if all(finite):
                break
        return finite


def _advice(x: Any) -> str:
    leaves = (leaf.values if isinstance(leaf, Ragged) else leaf for leaf in data_leaves(x))
    if not all(bool(torch.isfinite(leaf).all()) for leaf in leaves):
        return "The batch's own x holds NaN or infinite values: clean the data, or mask them"
    return "Lower the learning rate, clip (global_clipnorm=1.0), or look for huge values in the data"


@contextmanager
def in_mode(model: torch.nn.Module, training: bool) -> Iterator[None]:
    """`model.train(training)` inside `with`; afterwards every module's mode is what it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, before in modes:
            module.training = before


def model_dtype(model: torch.nn.Module) -> torch.dtype:
    """The type of a model's first floating-point weight, torch's default where it has none."""
    types = (p.dtype for p in model.parameters() if p.dtype.is_floating_point)
    return next(types, torch.get_default_dtype())


def resolve_device(device: Any) -> torch.device:
    """'auto' as CUDA where there is one, else the CPU. Raises `ArgumentError` for a device this machine lacks."""
    try:
        chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError("device", expected="'auto', 'cpu' or 'cuda'", got=repr(device)) from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ArgumentError("device='cuda': there is no CUDA device here", fix="Use device='auto' or 'cpu'")
    if chosen.type == "cuda" and chosen.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return chosen


def flat_outputs(outputs: Any) -> list[Any]:
    """A model's outputs as a list, whether one, several, or named in a dict."""
    if isinstance(outputs, Mapping):
        return list(outputs.values())
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
