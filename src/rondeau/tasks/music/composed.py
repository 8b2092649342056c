"""Pieces that a run's model goes on with: MIDI files in its folder, and notes for the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rondeau.data.music.midi import write_midi
from rondeau.data.music.piece import LOWEST, Piece
from rondeau.tasks.music.model import compose
from rondeau.tasks.music.preparation import MusicPreparation
from rondeau.tasks.run_folder import RunFolder

PIECES, LENGTH, PRIMER = 3, 96, 16  # how many, steps composed, steps given
TEMPERATURE = 0.9


def write_composed(
    run: RunFolder, model: Any, prepared: MusicPreparation, pieces: Sequence[Piece], seed: int, steps_per_beat: int
) -> list[dict[str, Any]]:
    """How the model goes on with the beginnings of some pieces; `composed_1.mid`, ... and what the report draws."""
    told = []
    count = min(PIECES, len(pieces))
    chosen = [pieces[i * len(pieces) // count] for i in range(count)]
    for number, piece in enumerate(chosen, 1):
        primer = prepared.encode(piece)[:PRIMER]
        rest = compose(model, primer, LENGTH, prepared.group, TEMPERATURE, seed + number)[0]
        whole = prepared.decode(np.concatenate([primer, rest]))
        file = run.composed(number)
        write_midi(file, whole.roll(), steps_per_beat)
        told.append(
            {
                "title": Path(piece.where).name,
                "primer": len(primer),
                "notes": notes_of(whole),
                "file": file.name,
                "steps": len(whole),
            }
        )
    return told


def notes_of(piece: Piece) -> list[list[int]]:
    """[pitch, first step, steps] of every note, a key that goes on sounding being one, by beginning."""
    roll = np.pad(piece.roll().astype(np.int8), ((1, 1), (0, 0)))
    change = np.diff(roll, axis=0)
    notes = []
    for key in range(roll.shape[1]):
        begins, ends = np.flatnonzero(change[:, key] > 0), np.flatnonzero(change[:, key] < 0)
        notes += [[LOWEST + key, int(b), int(e - b)] for b, e in zip(begins, ends, strict=True)]
    return sorted(notes, key=lambda note: (note[1], note[0]))
