"""Chorales of four voices made from a small grammar of harmony, by seed."""

from __future__ import annotations

import random

from rondeau.data.music.piece import Piece
from rondeau.errors import ArgumentError

# Degrees of the scale, 0 to 6: which chord may follow which, the likelier more often.
FOLLOWS = {
    0: (3, 3, 4, 4, 5, 1, 0),
    1: (4, 4, 6, 3),
    2: (5, 5, 3),
    3: (4, 4, 4, 0, 1),
    4: (0, 0, 0, 5, 4),
    5: (1, 3, 3, 4, 2),
    6: (0, 0),
}
CADENCES = ((4, 0), (3, 4, 0), (1, 4, 0))
MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 11)
RANGES = ((60, 79), (55, 72), (48, 67), (40, 60))  # soprano, alto, tenor, bass
PHRASE = 8  # chords


def made_chorales(count: int = 120, seed: int = 0) -> list[Piece]:
    """Pieces of two to five phrases, two steps a chord; some keep a note over, some pass through a neighbour.

    A phrase opens and closes on the tonic, the last of it after a cadence, and half of the pieces repeat their first
    phrase at the end: what comes depends on what was long before.

    >>> piece = made_chorales(1)[0]
    >>> len(piece) % 16, piece.voices.shape[1]
    (0, 4)
    """
    if count < 1:
        raise ArgumentError("made_chorales: count", expected="1 or more", got=count)
    return [_chorale(random.Random(f"chorale {seed} {number}"), f"made chorale {number}") for number in range(count)]


def _chorale(r: random.Random, where: str) -> Piece:
    scale, tonic = r.choice((MAJOR, MAJOR, MINOR)), r.randrange(12)
    phrases = [_phrase(r) for _ in range(r.randrange(2, 5))]
    voices = [tuple((low + high) // 2 for low, high in RANGES)]
    steps: list[tuple[int, ...]] = []
    written: list[list[tuple[int, ...]]] = []
    for chords in phrases:
        begin = len(steps)
        for degree in chords:
            voices.append(_nearest(r, _notes(degree, scale, tonic), voices[-1]))
            steps += [voices[-1], _passing(r, voices[-1], scale, tonic)]
        written.append(steps[begin:])
    if r.random() < 0.5:
        steps += written[0]
    return Piece.of_voices(steps, where)


def _phrase(r: random.Random) -> list[int]:
    end = r.choice(CADENCES)
    chords = [0]
    while len(chords) < PHRASE - len(end):
        chords.append(r.choice(FOLLOWS[chords[-1]]))
    return [*chords, *end]


def _notes(degree: int, scale: tuple[int, ...], tonic: int) -> tuple[int, int, int]:
    root, third, fifth = ((tonic + scale[(degree + up) % 7]) % 12 for up in (0, 2, 4))
    return root, third, fifth


def _nearest(r: random.Random, chord: tuple[int, int, int], before: tuple[int, ...]) -> tuple[int, ...]:
    """The bass takes the root; the others move as little as may be, none above its upper neighbour."""
    root = chord[0]
    bass = min((p for p in range(*RANGES[3]) if p % 12 == root), key=lambda p: abs(p - before[3]))
    found, below = [bass], bass
    for voice in (2, 1, 0):
        low, high = RANGES[voice]
        wanted = {0: chord, 1: chord, 2: chord[1:]}[voice]
        room = [p for p in range(max(low, below + 1), high + 1) if p % 12 in wanted] or [below]
        best = sorted(room, key=lambda p: abs(p - before[voice]))[:2]
        found.append(best[0] if len(best) == 1 or r.random() < 0.85 else best[1])
        below = found[-1]
    return tuple(reversed(found))


def _passing(r: random.Random, chord: tuple[int, ...], scale: tuple[int, ...], tonic: int) -> tuple[int, ...]:
    """The chord's second step: as the first, or its soprano one note of the scale higher."""
    if r.random() < 0.7:
        return chord
    own = {(tonic + step) % 12 for step in scale}
    return (next(p for p in range(chord[0] + 1, chord[0] + 4) if p % 12 in own), *chord[1:])
