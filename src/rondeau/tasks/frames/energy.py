"""Speech is louder than what is not: a threshold on the energy of a frame, the baseline of voice activity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rondeau.data.audio.features import Floats
from rondeau.tasks.ranking import Ranking

_FLOOR = 0.1  # share of a recording's frames that are taken to be its background
_SMOOTHED = 5  # frames


def energy(frames: Floats, above_floor: bool) -> NDArray[np.float64]:
    """The logarithm of each frame's energy, over a few frames, `(frames,)`; `above_floor`: less the recording's
    quietest tenth."""
    loud = np.log(np.exp(frames.astype(np.float64)).mean(1))
    size = min(_SMOOTHED, len(loud))
    padded = np.pad(loud, (size // 2, size - 1 - size // 2), mode="edge")
    smooth = np.convolve(padded, np.full(size, 1 / size), "valid")
    return smooth - np.quantile(smooth, _FLOOR) if above_floor else smooth


def best_threshold(energies: Sequence[NDArray[np.float64]], truth: Sequence[NDArray[np.int64]]) -> float:
    """From which energy on F1 is best."""
    return Ranking(np.concatenate(list(truth)) == 1, np.concatenate(list(energies))).best_threshold()
