"""Models as people write them for torch.nn, before and after `rondeau.accelerate`: a training step, and inference."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rondeau
from benchmarks import engine
from benchmarks.cases import SHARES, TRAINING, WORDS
from benchmarks.gate import EPSILON, TOLERANCE
from benchmarks.stats import median
from rondeau.recurrence.engine import use_engine


class Tagger(nn.Module):
    """A tag for each word of sentences of unequal length: two bidirectional layers of 128 units, packed."""

    def __init__(self, words: int = 5000, tags: int = 20) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 100)
        self.encoder = nn.LSTM(100, 128, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(256, tags)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Logits `(steps of all rows, tags)`."""
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.encoder(packed)[0].data)  # type: ignore[no-any-return]

    @classmethod
    def batch(cls) -> tuple[Any, ...]:
        """64 sentences: ids, lengths; tags of the steps in the order of the logits."""
        rows = np.interp((np.arange(64) + 0.5) / 64, SHARES, WORDS).round().astype(np.int64)
        lengths = torch.from_numpy(np.random.default_rng(0).permutation(rows))
        ids = torch.randint(5000, (64, int(lengths.max())))
        return (ids, lengths), torch.randint(20, (int(lengths.sum()),))

    @staticmethod
    def loss(logits: Tensor, tags: Tensor) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(logits, tags)


class EncoderDecoder(nn.Module):
    """Translation with GRUs of 256 units and dot-product attention (Luong et al. 2015), taught with the right words."""

    def __init__(self, words: int = 3000) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(words, 128), nn.Embedding(words, 128)
        self.encoder = nn.GRU(128, 128, bidirectional=True, batch_first=True)
        self.decoder = nn.GRU(128, 256, batch_first=True)
        self.head = nn.Linear(512, words)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits `(batch, time, words)`."""
        memory, last = self.encoder(self.source(source))
        steps, _ = self.decoder(self.target(target), torch.cat([last[0], last[1]], dim=-1)[None])
        seen = torch.softmax(steps @ memory.transpose(1, 2), dim=-1) @ memory
        return self.head(torch.cat([steps, seen], dim=-1))  # type: ignore[no-any-return]

    @classmethod
    def batch(cls) -> tuple[Any, ...]:
        """32 pairs of 40 words."""
        return (torch.randint(3000, (32, 40)), torch.randint(3000, (32, 40))), torch.randint(3000, (32, 40))

    @staticmethod
    def loss(logits: Tensor, words: Tensor) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(logits.flatten(0, 1), words.flatten())


class SpeechCTC(nn.Module):
    """80 filter banks of speech to letters: a convolution, three bidirectional LSTMs of 160 units, CTC."""

    def __init__(self, letters: int = 29) -> None:
        super().__init__()
        self.front = nn.Conv1d(80, 128, 5, stride=2, padding=2)
        self.encoder = nn.LSTM(128, 160, num_layers=3, bidirectional=True, batch_first=True)
        self.head = nn.Linear(320, letters)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Logarithms of probabilities `(time, batch, letters)`."""
        x = torch.relu(self.front(frames.transpose(1, 2))).transpose(1, 2)
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        steps, _ = pad_packed_sequence(self.encoder(packed)[0], batch_first=True)
        return torch.log_softmax(self.head(steps), dim=-1).transpose(0, 1)

    @classmethod
    def batch(cls) -> tuple[Any, ...]:
        """8 utterances of up to 6 seconds, 100 frames a second; lengths are those after the convolution."""
        lengths = torch.tensor([300, 280, 240, 210, 190, 160, 120, 90])
        return (torch.randn(8, 600, 80), lengths), (lengths, torch.randint(1, 29, (8, 40)))

    @staticmethod
    def loss(logs: Tensor, wanted: tuple[Tensor, Tensor]) -> Tensor:
        """Connectionist temporal classification (Graves et al. 2006)."""
        lengths, letters = wanted
        return functional.ctc_loss(logs, letters, lengths, torch.full((8,), 40))


MODELS: dict[str, Any] = {
    "bidirectional tagger": Tagger,
    "encoder-decoder": EncoderDecoder,
    "speech CTC": SpeechCTC,
}


@dataclass
class Comparison:
    """One model before and after; seconds of each round.

    Attributes:
        errors: the largest before and after, against float64, in units of epsilon.
        green: whether each tensor is within the tolerance, or errs at most twice as much as it did before: CTC's
            gradient is that much coarser in float32, whoever computes the recurrence.
    """

    model: str
    mode: str
    errors: tuple[float, float]
    green: bool
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float | None:
        """How many times as long it took before; nothing from a red gate."""
        return median(self.before) / median(self.after) if self.green and self.before else None


def compare(name: str, mode: str, rounds: int) -> Comparison:
    """Gate first, then alternating rounds. Calls go the way `rondeau.nn` chooses, or on the reference loop."""
    with use_engine(engine.REFERENCE) if engine.engine() == engine.REFERENCE else nullcontext():
        return _compare(name, mode, rounds)


def _compare(name: str, mode: str, rounds: int) -> Comparison:
    torch.manual_seed(0)
    made = MODELS[name]
    before = made()
    inputs, wanted = made.batch()
    after = copy.deepcopy(before)
    rondeau.accelerate(after, quiet=True)
    truth = _results(copy.deepcopy(before).double(), made, _double(inputs), wanted)
    plain, ours = (_errors(_results(model, made, inputs, wanted), truth) for model in (before, after))
    green = all(b <= max(TOLERANCE, 2 * a) for a, b in zip(plain, ours, strict=True))
    found = Comparison(name, mode, (max(plain), max(ours)), green)
    if not found.green:
        return found
    runs = [_run(model, made, inputs, wanted, mode) for model in (before, after)]
    for run in runs:
        run()
    for number in range(rounds):
        for i in (0, 1) if number % 2 == 0 else (1, 0):
            begun = time.perf_counter()
            runs[i]()
            (found.before, found.after)[i].append(time.perf_counter() - begun)
    return found


def _run(model: Any, made: Any, inputs: Any, wanted: Any, mode: str) -> Callable[[], None]:
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)

    def train() -> None:
        optimiser.zero_grad()
        made.loss(model(*inputs), wanted).backward()
        optimiser.step()

    def infer() -> None:
        with torch.inference_mode():
            model(*inputs)

    return train if mode == TRAINING else infer


def _results(model: Any, made: Any, inputs: Any, wanted: Any) -> list[Tensor]:
    """Output, and the gradient of the loss by every weight."""
    output = model(*inputs)
    return [output.detach(), *torch.autograd.grad(made.loss(output, wanted), list(model.parameters()))]


def _double(inputs: Sequence[Tensor]) -> list[Tensor]:
    return [t.double() if t.is_floating_point() else t for t in inputs]


def _errors(found: Sequence[Tensor], truth: Sequence[Tensor]) -> list[float]:
    """The largest of each tensor, relative to its largest magnitude, in units of epsilon; infinite where it is NaN."""
    errors = [
        float((a.double() - b).abs().max() / (b.abs().max() * EPSILON)) for a, b in zip(found, truth, strict=True)
    ]
    return [error if error == error else float("inf") for error in errors]
