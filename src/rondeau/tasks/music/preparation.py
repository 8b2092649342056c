"""Pieces as the numbers that the network reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.music.piece import KEYS, LOWEST, Piece
from rondeau.errors import CheckpointError, DataError

Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class MusicPreparation:
    """How steps become numbers.

    Attributes:
        voices: 0: a step is 88 keys, each yes or no; else so many voices, each silent or on one of the 88 keys.
    """

    voices: int = 0

    @classmethod
    def fit(cls, form: str, pieces: Sequence[Piece]) -> MusicPreparation:
        """Of the 'keys' or the 'voices' of pieces. Raises `DataError` where a piece has no voices, or other ones."""
        if form == "keys":
            return cls()
        found = cls(0 if pieces[0].voices is None else pieces[0].voices.shape[1])
        for piece in pieces:
            if piece.voices is None:
                expected = "equally many voices at each step of every piece (.json)"
                raise DataError("a piece has no voices", expected=expected, where=piece.where, fix="Leave out --form")
            found._check(piece)
        return found

    def _check(self, piece: Piece) -> None:
        got = "none" if piece.voices is None else piece.voices.shape[1]
        if got != self.voices:
            raise DataError("a piece has another number of voices", expected=self.voices, got=got, where=piece.where)

    @property
    def group(self) -> int:
        """Numbers that are one choice: silence, and the keys."""
        return KEYS + 1 if self.voices else 1

    @property
    def size(self) -> int:
        """Numbers of a step."""
        return self.group * self.voices or KEYS

    def encode(self, piece: Piece) -> Numbers:
        """`(steps, size)`, 0 and 1. Raises `DataError` for another number of voices."""
        if not self.voices:
            return piece.roll()
        self._check(piece)
        assert piece.voices is not None
        chosen = np.where(piece.voices > 0, piece.voices - LOWEST + 1, 0)
        return np.eye(self.group, dtype=np.float32)[chosen].reshape(len(piece), -1)

    def decode(self, steps: Numbers, where: str = "composed") -> Piece:
        """The piece that `(steps, size)` of 0 and 1 are."""
        if not self.voices:
            return Piece.of(steps, where)
        chosen = steps.reshape(len(steps), self.voices, self.group).argmax(-1)
        return Piece.of_voices(np.where(chosen > 0, chosen + LOWEST - 1, 0).tolist(), where)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return {"voices": self.voices}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MusicPreparation:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        if not isinstance(data.get("voices"), int):
            raise CheckpointError("the preparation of music is damaged", expected="a number of voices", got=dict(data))
        return cls(data["voices"])
