"""Frames stacked: several in one step, so that fewer steps are made; of a whole batch, or as they come."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rondeau.module import positive
from rondeau.sequence import Ragged

Floats = NDArray[np.float32]


class Stacking:
    """Step i is of the `window` frames that end with frame `(i + 1) * stride - 1`; what is not there is zero.

    With the layer that reads them this is a strided, causal convolution: no step waits for a frame behind it.

    >>> frames = Ragged.from_rows([torch.arange(1.0, 6.0)[:, None]])
    >>> Stacking(3, 2)(frames).values.tolist()
    [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [4.0, 5.0, 0.0]]
    """

    def __init__(self, window: int, stride: int) -> None:
        self.window = positive("stacking", "window", window)
        self.stride = positive("stacking", "stride", stride)

    def steps(self, frames: Tensor) -> Tensor:
        """How many steps so many frames give."""
        return -(-frames // self.stride)

    def __call__(self, frames: Ragged) -> Ragged:
        """Values `(frames, features)` -> `(steps, window * features)`, the oldest frame first."""
        steps = self.steps(frames.lengths)
        row = torch.repeat_interleave(torch.arange(len(steps)), steps)
        step = torch.arange(len(row)) - (steps.cumsum(0) - steps)[row]
        frame = step[:, None] * self.stride + self.stride - self.window + torch.arange(self.window)
        there = (frame >= 0) & (frame < frames.lengths[row][:, None])
        index = (frames.offsets[row][:, None] + frame + 1) * there  # 0 is the frame of zeros put in front
        padded = torch.cat([frames.values.new_zeros(1, *frames.values.shape[1:]), frames.values])
        return Ragged(padded[index.to(padded.device)].flatten(1), steps)


class StackingStream:
    """The same of frames as they come.

    Attributes:
        held: the frames that steps to come still need, `(frames, features)`: the state.
    """

    def __init__(self, stacking: Stacking, features: int) -> None:
        self.stacking, self.features = stacking, features
        self.held: Floats = np.zeros((max(stacking.window - stacking.stride, 0), features), np.float32)
        self._skip = max(stacking.stride - stacking.window, 0)  # frames before a step that it does not look at

    def push(self, frames: Floats) -> Floats:
        """More frames `(frames, features)`; the steps they complete, `(steps, window * features)`."""
        window, stride = self.stacking.window, self.stacking.stride
        held = np.concatenate([self.held, np.asarray(frames, np.float32)])
        count = max((len(held) - self._skip - window) // stride + 1, 0)
        first = np.arange(count)[:, None] * stride + self._skip + np.arange(window)
        self.held = held[count * stride :]
        steps: Floats = held[first].reshape(count, window * self.features)
        return steps

    def finish(self) -> Floats:
        """The end: the last step, filled up with zeros, where frames are left that no step has had."""
        missing = (-self._new) % self.stacking.stride
        return self.push(np.zeros((missing, self.features), np.float32)) if missing else self.push(self.held[:0])

    @property
    def _new(self) -> int:
        """Frames held that begin a step."""
        return len(self.held) - max(self.stacking.window - self.stacking.stride, 0)
