"""A softmax over very many classes, of which training looks at a sample (Jean et al. 2015, arXiv 1412.2007)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau.errors import ShapeError
from rondeau.layers.base import Layer, each_step
from rondeau.layers.core import known_features
from rondeau.layers.graph import Shape
from rondeau.module import positive


class LogUniform:
    """Classes drawn as words fall off in a text: class k with probability `log((k + 2) / (k + 1)) / log(classes + 1)`.

    For ids ordered from the most frequent class on (Zipf's law), as `rondeau.data.Vocabulary` orders words.

    >>> proposal = LogUniform(1000)
    >>> float(proposal.log_probability(torch.arange(1000)).exp().sum())
    1.0...
    """

    def __init__(self, classes: int) -> None:
        self.classes = positive("LogUniform", "classes", classes)
        self._width = math.log(classes + 1)

    def sample(self, count: int, generator: torch.Generator | None = None, device: Any = "cpu") -> Tensor:
        """`(count,)` classes, each drawn by itself: some come twice."""
        drawn = torch.rand(count, dtype=torch.float64, generator=generator, device=device)
        return (torch.exp(drawn * self._width).long() - 1).clamp_(0, self.classes - 1)

    def log_probability(self, classes: Tensor) -> Tensor:
        """The logarithm of the probability of each class to be drawn, float64."""
        return torch.log(torch.log1p(1 / (classes.double() + 1)) / self._width)


def sampled_crossentropy(
    features: Tensor, targets: Tensor, kernel: Tensor, bias: Tensor, drawn: Tensor, log_probability: Tensor
) -> Tensor:
    """The crossentropy of `softmax(features kernelᵀ + bias)`, its denominator estimated from the classes drawn.

    Args:
        features: `(steps, features)`; targets: `(steps,)`, the true classes.
        kernel, bias: `(classes, features)`, `(classes,)`.
        drawn: `(samples,)`, classes drawn with replacement, the same for all steps; log_probability: of each.

    Gives `log(exp(true score) + mean of exp(score) / probability over the drawn classes, without the true one) - true
    score`, `(steps,)`. What stands in the logarithm is an unbiased estimate of the softmax's denominator (importance
    sampling: Bengio & Senécal 2008), so that the loss lies below the full one on average, and comes to it with more
    samples. Raises `ShapeError` for what does not fit.
    """
    if features.ndim != 2 or targets.shape != features.shape[:1] or kernel.shape[1] != features.shape[1]:
        got = f"features {tuple(features.shape)}, targets {tuple(targets.shape)}, kernel {tuple(kernel.shape)}"
        expected = "(steps, features), (steps,), (classes, features)"
        raise ShapeError("sampled softmax", expected=expected, got=got)
    steps = len(targets)
    rows = F.embedding(torch.cat([targets, drawn]), kernel)  # one gather: its gradient is as large as the kernel
    biases = bias[torch.cat([targets, drawn])]
    true = torch.einsum("nf,nf->n", features, rows[:steps]) + biases[:steps]
    correction = log_probability.to(features.dtype) + math.log(len(drawn))
    others = torch.addmm(biases[steps:] - correction, features, rows[steps:].T)
    others = others.masked_fill(drawn == targets[:, None], -torch.inf)
    return torch.logaddexp(true, torch.logsumexp(others, 1)) - true


class SampledSoftmax(Layer):
    """The last layer of a model of very many classes: logits of all of them, except in training.

    Args:
        classes: how many, their ids from the most frequent on.
        samples: of how many drawn ones the loss estimates the others' share in training (default 1024).
        seed: of the draws; None (default) draws from torch's global generator.

    `(..., features)` -> logits `(..., classes)` in `eval` mode. In training it hands its input on to the loss
    `SampledSoftmaxLoss`, which asks `sampled_loss` of it: a step costs `samples` classes, not all of them. Weights
    `kernel` `(classes, features)` and `bias` `(classes,)`.

    >>> layer = SampledSoftmax(50_000, samples=512)
    >>> layer(torch.zeros(2, 7, 16)).shape, layer.eval()(torch.zeros(2, 7, 16)).shape
    (torch.Size([2, 7, 16]), torch.Size([2, 7, 50000]))
    """

    fixed_features = True

    def __init__(self, classes: int, samples: int = 1024, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.classes = positive("SampledSoftmax", "classes", classes)
        self.samples = positive("SampledSoftmax", "samples", samples)
        self.proposal, self.seed = LogUniform(self.classes), seed

    def build(self, input_shape: Shape) -> None:
        features = known_features(self, input_shape)
        self.kernel = self.add_weight("kernel", (self.classes, features))
        self.bias = self.add_weight("bias", (self.classes,), "zeros")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.classes)

    def forward(self, x: Any) -> Any:
        return x if self.training else each_step(x, lambda values: F.linear(values, self.kernel, self.bias))

    def sampled_loss(self, targets: Tensor, features: Tensor) -> Tensor:
        """`sampled_crossentropy` of `(..., features)` and `targets` `(...)`, with classes drawn anew."""
        drawn = self.proposal.sample(self.samples, self.generator(features.device), features.device)
        flat = features.reshape(-1, features.shape[-1]), targets.reshape(-1)
        logs = self.proposal.log_probability(drawn)
        return sampled_crossentropy(*flat, self.kernel, self.bias, drawn, logs).reshape(targets.shape)
