"""`Recognizer`: frames of sound in, a transcript out, by CTC or by a transducer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rondeau import layers
from rondeau.errors import ArgumentError, DataError
from rondeau.heads.ctc import ctc_loss
from rondeau.heads.transducer import Transducer
from rondeau.init import by_name
from rondeau.models.model import Model
from rondeau.models.sequential import Sequential
from rondeau.models.stacking import Floats, Stacking, StackingStream
from rondeau.module import positive
from rondeau.sequence import Ragged
from rondeau.training.trainer import in_mode

HEADS = ("ctc", "transducer")
CONTEXT = 16  # steps of other speech around a recording in training
CELLS: dict[str, Any] = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}


class Recognizer(Model):
    """Stacked frames, a dense layer, recurrent layers, and a head over symbols.

    Called with `[frames, symbols]`, `Ragged` of values `(frames, features)` and `(symbols,)`, it gives each
    transcript's negative log-likelihood `(rows, 1)`: `compile(loss="mae")` with targets of zero minimises it. `encode`
    gives what decoders read, `stream()` the same as frames come.

    Args:
        features: of a frame; classes: symbols and the blank, which is class 0.
        head: 'ctc' (default; Graves et al. 2006), or 'transducer' (Graves 2012), which also knows what it has written.
        cell: 'lstm' (default), 'gru' or 'simple_rnn'; units: of a layer, in each direction; depth: recurrent layers.
        bidirectional: read both ways (default no): better, and of no use for sound that is still coming.
        window, stride: frames of a step, and from one to the next (default 6 and 3).
        dropout: rate before, between and after the recurrent layers (default 0).
        joint, written: width of a transducer's joint and prediction networks (default 128 each).

    Raises `ArgumentError`; called, `DataError` for a transcript longer than CTC can align with its steps.

    >>> model = Recognizer(features=4, classes=3, units=8, depth=1)
    >>> x = Ragged.from_rows([torch.zeros(20, 4)]), Ragged.from_rows([[1, 2]])
    >>> model(list(x)).shape, model.encode(x[0]).shape
    (torch.Size([1, 1]), (1, None, 3))
    """

    def __init__(
        self,
        features: int,
        classes: int,
        head: str = "ctc",
        cell: str = "lstm",
        units: int = 128,
        depth: int = 2,
        bidirectional: bool = False,
        window: int = 6,
        stride: int = 3,
        dropout: float = 0.0,
        joint: int = 128,
        written: int = 128,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if head not in HEADS:
            raise ArgumentError("Recognizer: head", expected=" or ".join(map(repr, HEADS)), got=repr(head))
        kind, owner = by_name(cell, CELLS, "cell"), type(self).__name__
        self.features, self.classes = positive(owner, "features", features), positive(owner, "classes", classes)
        self.head, self.bidirectional, self.stacking = head, bidirectional, Stacking(window, stride)
        stack: list[Any] = [layers.Input((None, window * features)), layers.Dense(units, activation="relu")]
        for _ in range(positive(owner, "depth", depth)):
            layer = kind(units, return_sequences=True)
            stack += [layers.Dropout(dropout), layers.Bidirectional(layer) if bidirectional else layer]
        stack.append(layers.Dropout(dropout))
        if head == "ctc":
            stack.append(layers.Dense(classes, name="scores"))
        self.encoder = Sequential(stack, name="encoder")
        self.transducer: Transducer | None = None
        if head == "transducer":
            self.transducer = Transducer(classes, joint, cell, written, dropout=dropout)
            self.transducer.build_for((None, None, 2 * units if bidirectional else units))
        self._output_count = 1  # all weights are there: nothing needs to be tried out

    @property
    def input_count(self) -> int:
        return 2

    def forward(self, x: Any) -> Tensor:
        if not isinstance(x, (list, tuple)) or len(x) != 2 or not all(isinstance(one, Ragged) for one in x):
            raise DataError("the input", expected="[frames, symbols], each a Ragged", where=self.name)
        encoded = self._encoded(x[0])
        if self.transducer is None:
            return ctc_loss(encoded, x[1])[:, None]
        loss: Tensor = self.transducer(encoded, x[1])
        return loss[:, None]

    def _encoded(self, frames: Ragged) -> Ragged:
        if not self.training:
            found: Ragged = self.encoder(self.stacking(frames), expand=False)
            return found
        wide, before = among_others(frames, CONTEXT * self.stacking.stride, self.bidirectional)
        steps = self.stacking(wide)
        first, own = before // self.stacking.stride, self.stacking.steps(frames.lengths)
        step = torch.arange(len(steps.values)) - steps.offsets[steps.row_index]
        inside = (step >= first[steps.row_index]) & (step < (first + own)[steps.row_index])
        outputs = self.encoder(steps, expand=False).values
        return Ragged(outputs[inside.to(outputs.device)], own)

    def encode(self, frames: Ragged) -> Ragged:
        """What decoders read of whole recordings: for CTC log-probabilities `(steps, classes)`, else features."""
        device = next(self.parameters()).device
        with in_mode(self, training=False), torch.no_grad():
            found = self._encoded(frames.to(device))
            return found if self.transducer is not None else found.with_values(torch.log_softmax(found.values, -1))

    def listen(self) -> RecognizerStream:
        """For frames as they come. Raises `ArgumentError` for a model that reads both ways."""
        return RecognizerStream(self)


def among_others(frames: Ragged, most: int, behind: bool) -> tuple[Ragged, Tensor]:
    """Rows in the middle of speech: before each the end of the row before it, and `behind` it that row's beginning.

    Where every row began at a layer's first state, that state would tell the beginning, and a head that does not hear
    yet would learn to guess the first symbols there, which it is very slow to give up.

    Args:
        most: frames on a side; fewer, but a multiple of so many sixteenths, where the other row is shorter.

    Returns the rows, and how many frames were put before each, `(rows,)`.
    """
    rows, unit = frames.rows(), most // CONTEXT
    parts, before, lengths = [], [], []
    for number, row in enumerate(rows):
        other = rows[number - 1]
        count = min(most, len(other) // unit * unit)
        pieces = [other[len(other) - count :], row, other[: count if behind else 0]]
        parts += pieces
        before.append(count)
        lengths.append(sum(map(len, pieces)))
    return Ragged(torch.cat(parts), torch.tensor(lengths)), torch.tensor(before)


class RecognizerStream:
    """What `Recognizer.encode` gives, as frames come: each step with its last frame, by compiled code.

    `state` is all that is kept between two pieces, by name.
    """

    def __init__(self, model: Recognizer) -> None:
        if model.bidirectional:
            fix = "Train it with streaming: rondeau train --task speech_recognition --streaming"
            raise ArgumentError("the model reads both ways, and cannot hear sound that is still coming", fix=fix)
        self.model, self._steps = model, model.encoder.stream()
        self._frames = StackingStream(model.stacking, model.features)

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """The recurrent layers' states, and the `frames` that the next step needs."""
        return {**self._steps.state, "frames": self._frames.held.copy()}

    def push(self, frames: Floats) -> Tensor:
        """More frames `(frames, features)`; the steps they complete, `(steps, ...)`."""
        return self._run(self._frames.push(frames))

    def finish(self) -> Tensor:
        """The end: the last step, where frames are left."""
        return self._run(self._frames.finish())

    def _run(self, steps: Floats) -> Tensor:
        width = self.model.encoder.output_shape[-1]
        outputs = [self._steps(step[None])[0] for step in steps]
        found = torch.from_numpy(np.stack(outputs) if outputs else np.zeros((0, width), np.float32))
        return found if self.model.transducer is not None else torch.log_softmax(found, -1)
