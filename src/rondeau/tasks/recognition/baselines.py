"""What knows less of speech: the commonest transcript, and the nearest word by time warping between pauses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rondeau.data.audio.batches import Frames
from rondeau.data.audio.features import Features, Floats
from rondeau.data.audio.index import AudioIndex
from rondeau.tasks.audio.baselines import nearest_by_warping

PAUSE, SHORTEST = 0.10, 0.10  # seconds: a shorter pause is part of a word, a shorter sound is none
QUIET = 0.25  # of the way from a recording's quiet to its loud frames, in decibels, below which it is a pause


def commonest(texts: Sequence[str]) -> str:
    """The transcript that most recordings have; of several the first by the alphabet."""
    counts = Counter(texts)
    most = max(counts.values())
    return min(text for text, count in counts.items() if count == most)


def words_between_pauses(loud: NDArray[np.floating], hop: float) -> list[tuple[int, int]]:
    """Where sound is, as pairs of frames, of the loudness `(frames,)` of a recording, in decibels.

    >>> words_between_pauses(np.repeat([0.0, 1.0, 0.0, 1.0, 0.0], 20), 0.01)
    [(20, 40), (60, 80)]
    """
    low, high = np.percentile(loud, [5, 95])
    sounds = np.concatenate([[False], loud > low + QUIET * (high - low), [False]])
    edges = np.flatnonzero(np.diff(sounds.astype(np.int8))).reshape(-1, 2).tolist()
    found: list[tuple[int, int]] = []
    for begin, end in edges:
        if found and (begin - found[-1][1]) * hop < PAUSE:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return [(begin, end) for begin, end in found if (end - begin) * hop >= SHORTEST]


def nearest_words(train: AudioIndex, test: AudioIndex, rate: int, seed: int) -> tuple[list[str], int] | None:
    """Each sound between two pauses as the nearest word by dynamic time warping of cepstra (Sakoe & Chiba 1978).

    Words are the training recordings of a single word. Returns transcripts, and how many such words were asked; None
    where fewer than two different ones were recorded.
    """
    single = [row for row in range(len(train)) if len((train[row].text or "").split()) == 1]
    texts = [train[row].text or "" for row in single]
    words = sorted(set(texts))
    if len(words) < 2:
        return None
    coarse = Features("mfcc", rate, window=0.03, hop=0.02)
    templates, labels = [], []
    heard = Frames(train.take(single), coarse)
    for number, text in enumerate(texts):
        pieces = _cut(heard[number], coarse.hop)
        if pieces:
            templates.append(max(pieces, key=len))
            labels.append(words.index(text))
    heard = Frames(test, coarse)
    asked = [_cut(heard[number], coarse.hop) for number in range(len(heard))]
    flat = [piece for pieces in asked for piece in pieces]
    if not flat or not templates:
        return None
    found, count = nearest_by_warping(templates, np.array(labels), flat, seed)
    said = iter(found.tolist())
    return [" ".join(words[next(said)] for _ in pieces) for pieces in asked], count


def _cut(cepstra: Floats, hop: float) -> list[Floats]:
    """The sounds between pauses, each less its mean; the first coefficient is the loudness."""
    pieces = [cepstra[a:b] for a, b in words_between_pauses(cepstra[:, 0], hop)]
    return [piece - piece.mean(0) for piece in pieces]
