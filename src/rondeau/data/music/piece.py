"""A piece of music on a grid of steps: which of a piano's 88 keys sound at each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rondeau.errors import DataError

KEYS = 88
LOWEST, HIGHEST = 21, 108  # the MIDI pitches of a piano's first and last key


@dataclass(frozen=True)
class Piece:
    """The keys that sound, `(steps, 88)`, eight to a byte.

    Attributes:
        packed: uint8 `(steps, 11)`; where: file and place in it, for messages.
        voices: MIDI pitches `(steps, voices)`, int16, where each voice is known; 0: it is silent.

    >>> piece = Piece.of(np.eye(88)[[39, 43]], "a piece")
    >>> piece.pitches()
    [[60], [64]]
    """

    packed: NDArray[np.uint8] = field(repr=False)
    where: str
    voices: NDArray[np.int16] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, roll: NDArray[np.generic], where: str) -> Piece:
        """From 88 numbers a step, above zero where a key sounds."""
        if roll.ndim != 2 or roll.shape[1] != KEYS:
            raise DataError("a piano roll has 88 keys", expected="(steps, 88)", got=roll.shape, where=where)
        return cls(np.packbits(np.asarray(roll) > 0, axis=1), where)

    @classmethod
    def of_voices(cls, voices: Sequence[Sequence[int]], where: str) -> Piece:
        """From the MIDI pitch of each voice at each step; 0 or below: silent. `DataError` for a pitch no piano has."""
        if len({len(step) for step in voices}) > 1:
            first = next(i for i, step in enumerate(voices) if len(step) != len(voices[0]))
            got = f"{len(voices[first])} at step {first}"
            raise DataError("the steps have unlike numbers of voices", expected=len(voices[0]), got=got, where=where)
        table = np.maximum(np.asarray(voices, np.int16), 0)
        return cls(np.packbits(roll_of(voices, where), axis=1), where, table)

    def __len__(self) -> int:
        return len(self.packed)

    def roll(self) -> NDArray[np.float32]:
        """1 where a key sounds, else 0, `(steps, 88)`."""
        return np.unpackbits(self.packed, axis=1, count=KEYS).astype(np.float32)

    def pitches(self) -> list[list[int]]:
        """The MIDI pitches that sound at each step, rising."""
        return [(LOWEST + np.flatnonzero(step)).tolist() for step in self.roll()]

    def digest(self) -> str:
        """Tells it from others, whatever their names."""
        return hashlib.blake2b(self.packed.tobytes(), digest_size=16).hexdigest()

    def moved(self, by: int) -> Piece | None:
        """Transposed by so many keys; None where a note would leave the piano."""
        roll = self.roll()
        if (by > 0 and roll[:, KEYS - by :].any()) or (by < 0 and roll[:, :-by].any()):
            return None
        voices = None if self.voices is None else np.where(self.voices > 0, self.voices + by, 0).astype(np.int16)
        return Piece(np.packbits(np.roll(roll, by, axis=1) > 0, axis=1), self.where, voices)


def roll_of(steps: Iterable[Iterable[int]], where: str) -> NDArray[np.bool_]:
    """The keys of MIDI pitches, `(steps, 88)`; pitches of 0 and below are silence."""
    rows = []
    for number, pitches in enumerate(steps):
        row = np.zeros(KEYS, np.bool_)
        for pitch in pitches:
            if pitch <= 0:
                continue
            if not LOWEST <= pitch <= HIGHEST:
                expected = f"a piano's, {LOWEST} to {HIGHEST}"
                raise DataError(
                    "a pitch is out of range", expected=expected, got=int(pitch), where=f"{where}, step {number}"
                )
            row[int(pitch) - LOWEST] = True
        rows.append(row)
    return np.stack(rows) if rows else np.zeros((0, KEYS), np.bool_)
