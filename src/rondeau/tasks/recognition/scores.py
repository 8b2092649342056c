"""How far what was written is from what was said: word and character error rate (jiwer), with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.errors import MissingExtraError
from rondeau.tasks.bootstrap import intervals


class Scored:
    """Transcripts beside references.

    Attributes:
        words, characters: of each the edits that turn one into the other, and how many the reference has, int64
            `(recordings, 2)`: the fewest substitutions, deletions and insertions (Levenshtein 1966).
    """

    def __init__(self, references: Sequence[str], written: Sequence[str]) -> None:
        self.right = np.array([a == b for a, b in zip(references, written, strict=True)])
        pairs = list(zip(references, written, strict=True))
        self.words, self.characters = (np.array([_edits(*pair, words) for pair in pairs]) for words in (True, False))

    def figures(self, rows: Any = slice(None)) -> dict[str, float]:
        """Rates over all words and characters of some recordings, and the share written without an error."""
        found = {"wer": _rate(self.words[rows]), "cer": _rate(self.characters[rows])}
        return {**found, "exact": float(self.right[rows].mean())}

    def intervals(self, groups: Sequence[Any] | None, seed: int = 0) -> dict[str, tuple[float, float]]:
        """By the bootstrap over recordings, or over whole groups such as speakers."""
        return intervals(self.figures, len(self.right), groups, seed=seed)


def _rate(edits: NDArray[np.int64]) -> float:
    """Edits a word; NaN where nothing was to be said."""
    wrong, there = edits.sum(0)
    return float(wrong / there) if there else float("nan")


def _edits(reference: str, written: str, words: bool) -> tuple[int, int]:
    if not reference:  # which jiwer refuses: all that was written is too much
        return len(written.split() if words else written), 0
    try:
        import jiwer
    except ImportError as error:
        fix = "Install it: pip install 'rondeau[audio]'"
        raise MissingExtraError("error rates need jiwer", fix=fix) from error
    found: Any = (jiwer.process_words if words else jiwer.process_characters)(reference, written)
    wrong = found.substitutions + found.deletions + found.insertions
    return wrong, found.hits + found.substitutions + found.deletions
