"""What knows less of music: how often each key sounds, what sounded last, and which chord came after which."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rondeau.tasks.language.ngram import InterpolatedNgram
from rondeau.tasks.music.preparation import Numbers

Floats = NDArray[np.float64]
Judge = Callable[[Numbers], Floats]  # (steps, size) -> nats of each step but the first
ORDER = 3


def _bernoulli(chance: Floats, values: Numbers) -> Floats:
    return np.asarray(-(np.where(values > 0, np.log(chance), np.log1p(-chance))).sum(-1))


def _choice(chance: Floats, values: Numbers, group: int) -> Floats:
    """Of each group the one that is chosen."""
    chosen = np.where(values > 0, np.log(chance), 0.0)
    return np.asarray(-chosen.reshape(*values.shape[:-1], -1, group).sum((-2, -1)))


def by_frequency(train: Sequence[Numbers], group: int) -> Judge:
    """Each key, or each voice's pitch, as often as in training, one added to every count (Laplace)."""
    steps = np.concatenate([piece[1:] for piece in train]).astype(np.float64)
    if group == 1:
        chance = (steps.sum(0) + 1) / (len(steps) + 2)
        return lambda piece: _bernoulli(chance, piece[1:])
    counts = steps.sum(0).reshape(-1, group) + 1
    chance = (counts / counts.sum(1, keepdims=True)).reshape(-1)
    return lambda piece: _choice(chance, piece[1:], group)


def by_repeating(train: Sequence[Numbers], group: int) -> Judge:
    """What sounded goes on: of each key as often as in training, whether it sounded before or not.

    Of voices: the last pitch with the share of steps at which the voice stayed, others by their frequency.
    """
    if group == 1:
        before = np.concatenate([piece[:-1] for piece in train])
        after = np.concatenate([piece[1:] for piece in train]).astype(np.float64)
        on = ((after * before).sum(0) + 1) / (before.sum(0) + 2)
        off = ((after * (1 - before)).sum(0) + 1) / ((1 - before).sum(0) + 2)
        return lambda piece: _bernoulli(np.where(piece[:-1] > 0, on, off), piece[1:])
    voices = train[0].shape[1] // group
    pairs = [(piece[:-1].reshape(-1, voices, group), piece[1:].reshape(-1, voices, group)) for piece in train]
    kept = sum((a * b).sum((0, 2)) for a, b in pairs) + 1
    stays = kept / (sum(len(a) for a, _ in pairs) + 2)
    counts = sum(b.sum(0, dtype=np.float64) for _, b in pairs) + 1
    frequent = counts / counts.sum(1, keepdims=True)

    def judge(piece: Numbers) -> Floats:
        a = piece[:-1].reshape(-1, voices, group)
        # the frequencies of all pitches but the last one share what is left
        others = np.where(a > 0, 0.0, frequent)
        chance = np.where(a > 0, stays[:, None], (1 - stays)[:, None] * others / others.sum(-1, keepdims=True))
        return _choice(np.maximum(chance, 1e-12).reshape(len(a), -1), piece[1:], group)

    return judge


def by_ngram(train: Sequence[Numbers], validation: Sequence[Numbers], group: int, fallback: Judge) -> Judge:
    """Whole steps as tokens of a 3-gram (interpolated Kneser-Ney); `fallback` for steps never heard.

    Of each step's probability a share comes from `fallback`, which knows every step; the share is chosen on the
    validation part.
    """
    known: dict[bytes, int] = {}  # 0: never heard; 1: a piece begins
    for piece in train:
        for step in piece:
            known.setdefault(step.tobytes(), len(known) + 2)

    def ids(piece: Numbers) -> NDArray[np.int64]:
        return np.array([1, *(known.get(step.tobytes(), 0) for step in piece)], np.int64)

    model = InterpolatedNgram(np.concatenate([ids(piece) for piece in train]), len(known) + 2, ORDER)

    def chances(piece: Numbers) -> tuple[Floats, Floats]:
        tokens = ids(piece)
        counted = np.where(tokens > 0, model.probabilities(tokens), 0.0)[2:]
        return counted, np.exp(-fallback(piece))

    pairs = [chances(piece) for piece in validation]
    shares = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
    share = min(shares, key=lambda s: sum(-np.log((1 - s) * a + s * b).sum() for a, b in pairs))

    def judge(piece: Numbers) -> Floats:
        counted, other = chances(piece)
        return np.asarray(-np.log((1 - share) * counted + share * other))

    return judge
