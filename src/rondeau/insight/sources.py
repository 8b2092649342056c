"""Where the steps of one row enter a model, as numbers that can be moved: its input, or what embeddings make of it.

A `Masking` layer counts as an embedding that keeps what it reads: which steps are real does not change as they move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, DataError
from rondeau.insight.undisturbed import begin_anew, device_of
from rondeau.layers import Embedding, Layer, Masking
from rondeau.sequence import Ragged
from rondeau.training.batch import place, take, to_data
from rondeau.training.trainer import model_dtype

Values = list[Tensor]
_ENTRANCES = (Embedding, torch.nn.Embedding, Masking)


class Sources:
    """A model as a function of one row's steps.

    Args:
        model: a module, or a function of the inputs.
        x: one row: floats `(1, time, *features)` or ids `(1, time)`, or a `Ragged` of one row.

    Attributes:
        values: the row's steps where they enter: one tensor, `(steps, *features)`, of floats; for ids one for each
            embedding that reads them.
        steps: how many there are; mask: `(1, time)`, where an embedding left some out, else None.

    Raises `DataError` for ids that no embedding module reads.
    """

    def __init__(self, model: Callable[..., Any], x: Tensor | Ragged) -> None:
        self.model, self.x = model, x
        self.mask: Tensor | None = None
        self._embeddings: list[_Reading] = []
        if any(isinstance(module, _ENTRANCES) for module in _modules(model)):
            self._embeddings = self._find()
        if self._embeddings:
            self.values = [reading.values for reading in self._embeddings]
            self.mask = self._embeddings[0].mask
        else:
            self.x = x if x.dtype.is_floating_point else self._as_floats(x)
            inside = self.x.values if isinstance(self.x, Ragged) else self.x[0]
            self.values = [inside.detach().clone()]
        self.steps = len(self.values[0])

    @property
    def embedded(self) -> bool:
        """Whether the steps are moved inside the model, not at its input."""
        return bool(self._embeddings)

    def of_id(self, token: int) -> Values:
        """What each embedding makes of a row of this id. Raises `ArgumentError` where x are no ids."""
        if self.x.dtype.is_floating_point or not self._embeddings:
            fix = "Give a tensor of features"
            raise ArgumentError("saliency: baseline is an id, and x are none", got=token, fix=fix)
        x = self.x
        same = x.with_values(torch.full_like(x.values, token)) if isinstance(x, Ragged) else torch.full_like(x, token)
        other = Sources(self.model, same)
        if [value.shape for value in other.values] != [value.shape for value in self.values]:
            what = "saliency: the baseline's id is one that the model leaves out"
            raise ArgumentError(what, got=token, fix="Choose another id, or baseline=None")
        return other.values

    def run(self, values: Values) -> Any:
        """The outputs for rows like this one, whose steps are `(rows, steps, *features)`."""
        rows = len(values[0])
        begin_anew(self.model)
        if not self._embeddings:
            return self.model(_like(self.x, values[0]))
        with self._given(values):
            return self.model(_repeated(self.x, rows))

    def _as_floats(self, x: Tensor | Ragged) -> Tensor | Ragged:
        """Whole numbers that are no ids, such as counts: models of Rondeau take them as they are."""
        if not isinstance(self.model, Layer):
            fix = "Give floats, or let a torch.nn.Embedding or rondeau.layers.Embedding inside the model read the ids"
            raise DataError("saliency: no embedding module of the model reads these ids", got=str(x.dtype), fix=fix)
        return x.to(model_dtype(self.model))

    def _find(self) -> list[_Reading]:
        """Which calls of embedding modules read the ids, in the order in which they are made."""
        time = 0 if isinstance(self.x, Ragged) else self.x.shape[1]
        # never square: a batch that was turned round is told from one that was not
        rows = 3 if time == 2 else 2
        ids = _repeated(self.x, rows)
        found: list[_Reading] = []
        number = -1

        def note(module: Any, args: Any, output: Any) -> None:
            nonlocal number
            number += 1
            reading = _Reading.of(number, rows, ids, args[0] if args else None, output)
            if reading is not None:
                found.append(reading)

        with _hooked(self.model, note), torch.no_grad():
            begin_anew(self.model)
            self.model(ids)
        return found

    @contextmanager
    def _given(self, values: Values) -> Iterator[None]:
        """Within this, the embeddings give these."""
        places = {reading.number: (reading, value) for reading, value in zip(self._embeddings, values, strict=True)}
        number = -1

        def replace(module: Any, args: Any, output: Any) -> Any:
            nonlocal number
            number += 1
            if number not in places:
                return None
            reading, value = places[number]
            return reading.put(value, output)

        with _hooked(self.model, replace):
            yield


class _Reading:
    """One call of an embedding, which read the ids: what it gave for the first row."""

    def __init__(self, number: int, values: Tensor, turned: bool, mask: Tensor | None) -> None:
        self.number, self.values, self.turned, self.mask = number, values, turned, mask

    @classmethod
    def of(cls, number: int, rows: int, ids: Any, given: Any, output: Any) -> _Reading | None:
        """None where it read something else."""
        if not isinstance(given, (Tensor, Ragged)):
            return None
        own, read = (t.values if isinstance(t, Ragged) else t for t in (ids, given))
        own = own.to(read.device, read.dtype) if own.numel() == read.numel() else own
        turned = read.ndim == 2 and own.ndim == 2 and read.shape == own.T.shape and torch.equal(read, own.T)
        if not turned and not (own.numel() == read.numel() and torch.equal(read.flatten(), own.flatten())):
            return None
        values = output.values if isinstance(output, Ragged) else output
        if isinstance(output, Ragged):
            mask = None if output.mask is None else output.mask[:1]
            return cls(number, values[: int(output.lengths[0])].detach(), False, mask)
        features = values.shape[read.ndim :]
        if not values.is_floating_point():
            return None
        if turned:
            return cls(number, values[:, 0].detach(), True, None)
        return cls(number, values.reshape(rows, -1, *features)[0].detach(), False, None)

    def put(self, value: Tensor, output: Any) -> Any:
        if isinstance(output, Ragged):
            return output.with_values(value.flatten(0, 1))
        return value.transpose(0, 1) if self.turned else value.reshape(output.shape)


@contextmanager
def _hooked(model: Any, hook: Callable[..., Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for module in _modules(model):
            if isinstance(module, _ENTRANCES):
                stack.callback(module.register_forward_hook(hook).remove)
        yield


def _modules(model: Any) -> Iterator[torch.nn.Module]:
    return model.modules() if isinstance(model, torch.nn.Module) else iter(())


def _repeated(x: Tensor | Ragged, rows: int) -> Tensor | Ragged:
    """One row, so many times."""
    if isinstance(x, Ragged):
        return Ragged(x.values.repeat(rows, *[1] * (x.values.ndim - 1)), x.lengths.repeat(rows))
    return x.repeat(rows, *[1] * (x.ndim - 1))


def _like(x: Tensor | Ragged, values: Tensor) -> Tensor | Ragged:
    """Rows of steps `(rows, steps, *features)` in the form of x."""
    return Ragged(values.flatten(0, 1), x.lengths.repeat(len(values))) if isinstance(x, Ragged) else values


def as_rows(model: Any, x: Any, owner: str = "saliency") -> list[Tensor | Ragged]:
    """What a user gives as x, as batches of one row, where the model's weights are and of their type.

    Raises `DataError` for several inputs, or no rows, or rows without steps.
    """
    data = to_data(x, 1, "x")
    if not isinstance(data, (Tensor, Ragged)):
        fix = "Wrap the model in a function of the one that is to be explained"
        raise DataError(f"{owner}: several inputs", expected="one", got=type(x).__name__, fix=fix)
    if isinstance(data, Tensor) and data.ndim < 2:
        fix = "Add a batch axis: x[None]"
        raise DataError(
            f"{owner}: x", expected="(batch, time) or (batch, time, features)", got=tuple(data.shape), fix=fix
        )
    floats = model_dtype(model) if isinstance(model, torch.nn.Module) else torch.get_default_dtype()
    data = place(data, device_of(model), floats) if isinstance(model, torch.nn.Module) else data
    rows = [take(data, torch.tensor([row])) for row in range(len(data))]
    lengths = data.lengths.tolist() if isinstance(data, Ragged) else [data.shape[1]] * len(data)
    if not rows or 0 in lengths:
        where, expected = (f"row {lengths.index(0)}" if rows else None), "rows of at least one step"
        raise DataError(f"{owner}: there is nothing to explain", expected=expected, got=0, where=where)
    return rows
