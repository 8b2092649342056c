"""`State`: what a model remembers between two calls, as a value with names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, DataError, StateError
from rondeau.sequence import to_tensor
from rondeau.training.files import load_tensors, save_tensors


class State(Mapping[str, Tensor]):
    """The states of a model's recurrent layers by layer and name, `lstm.h`, each `(rows, size)`.

    `model.initial_state(rows)` makes one, and `model(x, initial_state=state, return_state=True)` gives the one after
    x. A mapping that cannot be changed; its methods give new ones. Of two directions each layer is named:
    `bidirectional.forward_layer.h`; a layer that the model calls twice has a second state, `lstm_2.h`.

    Args:
        tensors: by name, all of as many rows. Arrays are taken too, as `stream.state` has them.

    Raises `StateError` for tensors of unequal numbers of rows, `DataError` for what is no array of numbers.

    >>> from rondeau import Sequential, layers
    >>> model = Sequential([layers.Input((None, 3)), layers.GRU(4, return_sequences=True)])
    >>> y, state = model(torch.zeros(2, 5, 3), return_state=True)
    >>> state
    State(rows=2, gru.h=(4,))
    >>> y, state = model(torch.zeros(1, 7, 3), initial_state=state.select([1]).detach(), return_state=True)
    """

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        if not isinstance(tensors, Mapping):
            raise StateError("a state", expected="tensors by name", got=type(tensors).__name__)
        self._tensors = {name: to_tensor(value, f"the state {name}") for name, value in tensors.items()}
        rows = {name: t.shape[0] if t.ndim else 0 for name, t in self._tensors.items()}
        if len(set(rows.values())) > 1:
            raise StateError("the parts of a state differ in rows", expected="as many in each", got=rows)
        self._rows = next(iter(rows.values()), 0)

    @property
    def rows(self) -> int:
        """How many sequences it is of."""
        return self._rows

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        parts = "".join(f", {name}={tuple(t.shape[1:])}" for name, t in self._tensors.items())
        return f"State(rows={self.rows}{parts})"

    def __eq__(self, other: object) -> bool:
        """Whether the other is a state of the same names, numbers and types, on the same devices."""
        if not isinstance(other, State) or set(self) != set(other):
            return False
        pairs = [(self[name], other[name]) for name in self]
        return all(a.dtype == b.dtype and a.device == b.device and torch.equal(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]

    def _each(self, function: Callable[[Tensor], Tensor]) -> State:
        return State({name: function(tensor) for name, tensor in self._tensors.items()})

    def detach(self) -> State:
        """The same values, behind which no gradient flows."""
        return self._each(Tensor.detach)

    def clone(self) -> State:
        """A copy in memory of its own; gradients flow through it."""
        return self._each(Tensor.clone)

    def to(self, *args: Any, **kwargs: Any) -> State:
        """Moved or cast, with the arguments of `Tensor.to`."""
        return self._each(lambda tensor: tensor.to(*args, **kwargs))

    def select(self, rows: Any) -> State:
        """Some rows, in the order given; a row may be taken twice, as a beam search does.

        Args:
            rows: `(n,)` indices, negative ones from the end.

        Raises `DataError` for one that is not there.
        """
        index = to_tensor(rows, "the rows")
        if index.ndim != 1 or (index.numel() and (index.is_floating_point() or index.dtype == torch.bool)):
            got = f"{tuple(index.shape)} of {index.dtype}"
            raise DataError("rows are selected by their indices", expected="(rows,) integers", got=got)
        index = index.long()
        wrong = ((index < -self.rows) | (index >= self.rows)).nonzero()
        if len(wrong):
            expected = f"{-self.rows} to {self.rows - 1}" if self.rows else "none, the state has no rows"
            raise DataError("there is no such row", expected=expected, got=int(index[int(wrong[0])]))
        index = index % max(self.rows, 1)
        return self._each(lambda tensor: tensor.index_select(0, index.to(tensor.device)))

    @staticmethod
    def stack(states: Iterable[State]) -> State:
        """The rows of several states one after another. Raises `StateError` where they are not of one model."""
        listed = list(states)
        if not listed:
            raise ArgumentError("State.stack", expected="at least one state", got="none")
        first = listed[0]
        for number, state in enumerate(listed):
            if not isinstance(state, State):
                raise ArgumentError(f"State.stack: state {number}", expected="a State", got=type(state).__name__)
            own, other = _sizes(first), _sizes(state)
            if own != other:
                raise StateError(f"State.stack: state {number} is another model's", expected=own, got=other)
        return State({name: torch.cat([state[name] for state in listed]) for name in first})

    def save(self, path: Any) -> None:
        """Write it into one safetensors file, whole or not at all."""
        save_tensors(Path(path), "state", self._tensors, {"names": list(self)})

    @classmethod
    def load(cls, path: Any) -> State:
        """What `save` wrote, on the CPU. Raises `CheckpointError` for a file that is missing, damaged, or no state."""
        tensors, about = load_tensors(Path(path), "state")
        return cls({name: tensors[name] for name in about["names"]})  # the file has them in an order of its own


def _sizes(state: State) -> dict[str, tuple[int, ...]]:
    return {name: tuple(state[name].shape[1:]) for name in sorted(state)}
