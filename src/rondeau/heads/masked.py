"""Many answers at once that depend on each other: each is given after those before it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau.errors import ShapeError
from rondeau.layers.base import Layer
from rondeau.layers.graph import Shape
from rondeau.module import positive
from rondeau.sequence import Ragged


class MaskedAutoregression(Layer):
    """Logits of values in an order, each from those before it and from features of the step.

    A network with one hidden layer whose connections are masked, so that no value sees itself or those after it (MADE,
    Germain et al. 2015, arXiv 1502.03509), with the features in every hidden unit and every answer. The crossentropies
    of all values (`nll_of_groups`) add up to the exact likelihood of the whole; as the output of a recurrent network,
    see RNN-NADE (Boulanger-Lewandowski et al. 2012, arXiv 1206.6392).

    Args:
        hidden: units of the hidden layer (default 256).
        group: values that are one choice among so many, one of them 1; default 1: each is yes or no by itself.

    Called with `[features, values]`, `(..., features)` and `(..., size)`, tensors or `Ragged`s of equal lengths:
    logits `(..., size)`. Weights: `kernel`, `recurrent_kernel` and `bias` of the hidden layer, `skip_kernel`,
    `output_kernel` and `output_bias` of the answers. Raises `ShapeError` where the two do not fit, or a group is not
    whole.

    >>> layer = MaskedAutoregression(16)
    >>> layer([torch.zeros(2, 5, 3), torch.zeros(2, 5, 88)]).shape
    torch.Size([2, 5, 88])
    """

    fixed_features = True
    reads: Tensor
    helps: Tensor

    def __init__(self, hidden: int = 256, group: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self.group = positive("MaskedAutoregression", "group", group)
        self.hidden = positive("MaskedAutoregression", "hidden", hidden)

    def build(self, input_shape: list[Shape]) -> None:
        features, size = self._widths(input_shape)
        self.kernel = self.add_weight("kernel", (features, self.hidden))
        self.recurrent_kernel = self.add_weight("recurrent_kernel", (size, self.hidden))
        self.bias = self.add_weight("bias", (self.hidden,), "zeros")
        self.skip_kernel = self.add_weight("skip_kernel", (features, size))
        self.output_kernel = self.add_weight("output_kernel", (self.hidden, size))
        self.output_bias = self.add_weight("output_bias", (size,), "zeros")
        # hidden unit i sees the first `seen[i]` groups, and helps the answers from there on
        seen = torch.arange(self.hidden) % max(size // self.group - 1, 1) + 1
        place = torch.arange(size) // self.group
        self.register_buffer("reads", (place[:, None] < seen).to(self.kernel.dtype), persistent=False)
        self.register_buffer("helps", (seen[:, None] <= place).to(self.kernel.dtype), persistent=False)

    def _widths(self, input_shape: list[Shape]) -> tuple[int, int]:
        if len(input_shape) != 2 or None in (input_shape[0][-1], input_shape[1][-1]):
            expected = "[features, values], of known sizes"
            raise ShapeError(f"layer {self.name}", expected=expected, got=input_shape)
        if input_shape[1][-1] % self.group:
            expected = f"values in whole groups of {self.group}"
            raise ShapeError(f"layer {self.name}", expected=expected, got=input_shape[1])
        return input_shape[0][-1], input_shape[1][-1]

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        return input_shape[1]

    def forward(self, inputs: list[Any]) -> Any:
        features, values = inputs
        if isinstance(values, Ragged) != isinstance(features, Ragged):
            raise ShapeError(f"layer {self.name}", expected="features and values of the same kind", got=inputs)
        if isinstance(features, Ragged):
            return features.with_values(self.logits(features.values, values.values))
        return self.logits(features, values)

    def logits(self, features: Tensor, values: Tensor) -> Tensor:
        """`(..., features)`, `(..., size)` -> `(..., size)`."""
        hidden = F.relu(
            F.linear(features, self.kernel.T, self.bias) + F.linear(values, (self.recurrent_kernel * self.reads).T)
        )
        own = F.linear(features, self.skip_kernel.T, self.output_bias)
        return own + F.linear(hidden, (self.output_kernel * self.helps).T)

    @torch.no_grad()
    def sample(self, features: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Values drawn one group after another, `(rows, features)` -> 0 or 1 `(rows, size)`."""
        values = features.new_zeros(len(features), len(self.output_bias))
        for begin in range(0, values.shape[1], self.group):
            part = slice(begin, begin + self.group)
            values[:, part] = draw_group(self.logits(features, values)[:, part] / temperature, generator)
        return values


def draw_group(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One choice a row, `(rows, group)` -> 0 or 1; of a group of one, yes or no."""
    if logits.shape[1] == 1:
        return torch.bernoulli(torch.sigmoid(logits), generator=generator)
    chosen = torch.multinomial(logits.softmax(1), 1, generator=generator)
    return torch.zeros_like(logits).scatter_(1, chosen, 1.0)


def nll_of_groups(values: Tensor, logits: Tensor, group: int = 1) -> Tensor:
    """Negative log-likelihood in nats, summed over the groups: two of `(..., size)` -> `(...)`."""
    if group == 1:
        return F.binary_cross_entropy_with_logits(logits, values, reduction="none").sum(-1)
    logs = logits.reshape(*logits.shape[:-1], -1, group).log_softmax(-1)
    return -(values.reshape(logs.shape) * logs).sum((-2, -1))
