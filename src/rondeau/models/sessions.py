"""`Sessions`: many sequences that come and go, each at its own pace, stepped as one batch."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from rondeau.errors import ArgumentError
from rondeau.models.network import Network
from rondeau.models.stream import Array, Stream

_FIRST = 8  # rows there is room for at first


class Sessions:
    """A model over many live sequences; made by `model.sessions()`.

    A session joins under a key of the caller's, takes a step whenever there is one for it, and leaves. Calling this
    with keys and their inputs makes one step of these sessions and of no other, in one call of compiled code: keys
    `[k1, ...]` and x `(keys, features)`, or ids `(keys,)`, give y `(keys, ...)`, row by row. Each session's results are
    the same bits as those of a stream of its own, whoever else is there.

    Weights are those of the moment it was made. One thread at a time may use it.

    >>> import numpy as np
    >>> from rondeau import Sequential, layers
    >>> model = Sequential([layers.Input((None, 3)), layers.LSTM(4, return_sequences=True), layers.Dense(2)])
    >>> sessions = model.sessions()
    >>> for name in ("ann", "bob"):
    ...     sessions.join(name)
    >>> sessions(["bob", "ann"], np.ones((2, 3), np.float32)).shape
    (2, 2)
    >>> sessions(["ann"], np.ones((1, 3), np.float32)).shape
    (1, 2)
    >>> state = sessions.leave("bob")
    >>> len(sessions), state["lstm.h"].shape
    (1, (4,))
    """

    def __init__(self, model: Network) -> None:
        self._stream = Stream(model, _FIRST)
        self._row: dict[Hashable, int] = {}
        self._free = list(range(_FIRST))[::-1]

    def __len__(self) -> int:
        return len(self._row)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._row

    @property
    def keys(self) -> list[Hashable]:
        """Who is there, in the order in which they joined."""
        return list(self._row)

    def join(self, key: Hashable, state: Mapping[str, Any] | None = None) -> None:
        """Begin a session.

        Args:
            key: what it is called from now on.
            state: where it goes on, as `leave` or `state` gave it, or one row of a stream's or model's state; what is
                left out, and everything by default, begins anew.

        Raises `ArgumentError` for a key that is there already, `StateError` for a state that does not fit.
        """
        if key in self._row:
            raise ArgumentError("sessions.join: there is such a session", got=repr(key), fix="Let it leave first")
        if not self._free:
            rows = self._stream.rows
            self._stream.widen(2 * rows)
            self._free = list(range(rows, 2 * rows))[::-1]
        row = self._free[-1]
        self._stream.reset([row])
        if state is not None:
            self._stream.put_row(row, state)
        self._row[key] = self._free.pop()

    def leave(self, key: Hashable) -> dict[str, Array]:
        """End a session; gives its state, `(size,)` arrays by name."""
        state = self.state(key)
        self._free.append(self._row.pop(key))
        return state

    def state(self, key: Hashable) -> dict[str, Array]:
        """The state of a session, `(size,)` arrays by name: copies. Raises `ArgumentError` for an unknown key."""
        return self._stream.row(self._find(key))

    def __call__(self, keys: Sequence[Hashable], x: Any) -> Array:
        """One step of these sessions. Raises `ArgumentError`, `ShapeError` or `DataError`, and then steps none."""
        keys = list(keys)
        rows = np.array([self._find(key) for key in keys], np.int64)
        if len(set(rows.tolist())) < len(rows):
            twice = sorted({repr(k) for k in keys if keys.count(k) > 1})
            raise ArgumentError("sessions: a key stands there twice", got=", ".join(twice), fix="Make two calls")
        return self._stream.step_rows(rows, x)

    def _find(self, key: Hashable) -> int:
        found = self._row.get(key)
        if found is None:
            known = ", ".join(map(repr, list(self._row)[:8])) or "none"
            raise ArgumentError("there is no such session", expected=known, got=repr(key), fix="Let it join first")
        return found
