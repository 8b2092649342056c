"""Series made from a seed, whose class or target is in the order of what happens and in no summary of it."""

from __future__ import annotations

import numpy as np

from rondeau.data.series.ts import Series
from rondeau.errors import ArgumentError

CLASSES = ("rising, first leads", "rising, second leads", "falling, first leads", "falling, second leads")


def made_gestures(count: int = 600, seed: int = 0) -> list[Series]:
    """Movements along two axes, somewhere in series of 60 to 120 steps, of four kinds.

    Each is a tone whose pitch rises or falls, on one axis a little later than on the other, with rest before and after;
    the third channel is noise. Read backwards a rising one is a falling one: mean, deviation, extremes and all other
    summaries are the same for all four kinds. Raises `ArgumentError` for fewer than 20.
    """
    if count < 20:
        raise ArgumentError("count", expected="20 or more", got=count)
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        kind = number % len(CLASSES)
        steps = int(rng.integers(60, 121))
        moving = int(rng.integers(30, 51))
        time = np.linspace(0, 1, moving)
        slow, fast = rng.uniform(1.5, 2.5), rng.uniform(5, 7)
        pitch = slow + (fast - slow) * (time if kind < 2 else 1 - time)
        phase = 2 * np.pi * np.cumsum(pitch) / moving + rng.uniform(0, 2 * np.pi)
        lag = rng.uniform(0.6, 1.2) * (1 if kind % 2 == 0 else -1)
        values = rng.normal(0, 0.3, (steps, 3))
        begin = int(rng.integers(0, steps - moving + 1))
        size = rng.lognormal(0, 0.3)
        values[begin : begin + moving, 0] += size * np.sin(phase + lag / 2)
        values[begin : begin + moving, 1] += size * np.sin(phase - lag / 2)
        made.append(Series(values.astype(np.float32), CLASSES[kind], where=f"gesture {number}"))
    return made


def made_pulses(count: int = 600, seed: int = 0) -> list[Series]:
    """Two equal pulses somewhere in noisy series of 60 to 100 steps; the target is how many steps lie between them.

    Which numbers there are, their trend and their extremes say nothing of it: only where they stand to each other does.
    Raises `ArgumentError` for fewer than 20.
    """
    if count < 20:
        raise ArgumentError("count", expected="20 or more", got=count)
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        steps, apart = int(rng.integers(60, 101)), int(rng.integers(5, 41))
        begin = int(rng.integers(2, steps - apart - 2))
        values = rng.normal(0, 0.3, (steps, 2))
        for at in (begin, begin + apart):
            values[at - 1 : at + 2, 0] += np.array([1.0, 2.0, 1.0]) * rng.lognormal(0, 0.1)
        made.append(Series(values.astype(np.float32), target=float(apart), where=f"pulses {number}"))
    return made
