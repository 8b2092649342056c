"""`CRF`: the layer that makes a tagger's scores a distribution over whole sequences of tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.heads.chain import FORBIDDEN, conditionals, marginals, viterbi
from rondeau.layers.base import Layer, real_steps
from rondeau.layers.core import known_features
from rondeau.layers.graph import Shape
from rondeau.sequence import Ragged


class CRF(Layer):
    """A linear-chain conditional random field (Lafferty, McCallum & Pereira 2001), as a model's last layer.

    `(batch, time, tags)`, a score for each tag, -> `(batch, time, tags, tags)`: the log-probability of each tag (last
    axis) after each tag before it, given the whole input. That chain is the field's own distribution, the tags before
    and after taken into account, so its loss is a mean over steps as any other: `compile(loss="crf")`, metric
    `"crf_accuracy"`. `decode` finds the best tags, `probabilities` those of each tag.

    Args:
        forbidden: pairs (tag before, tag) that cannot be, by number; None before the first step, or after the last:
            `(None, 2)` if no row begins with tag 2. See `rondeau.data.texts.schemes.bio_forbidden`.

    Weights `transitions` `(tags, tags)`, `start` and `end` `(tags,)`, zero at first. A `Ragged` gives a `Ragged`, and
    masked steps (`mask` `(batch, time)`) are skipped: the tags on both their sides are neighbours. Raises
    `ArgumentError` for pairs that are no tags.

    >>> from rondeau import Sequential, layers
    >>> model = Sequential([layers.Input((None, 8)), layers.Dense(3), CRF(forbidden=[(None, 2), (0, 2)])])
    >>> chain = model(torch.zeros(2, 5, 8))
    >>> chain.shape, CRF.decode(chain).shape
    (torch.Size([2, 5, 3, 3]), torch.Size([2, 5]))
    """

    input_rank = 3
    fixed_features = True

    def __init__(self, forbidden: Sequence[Sequence[int | None]] = (), **options: Any) -> None:
        super().__init__(**options)
        self.forbidden = [tuple(pair) for pair in forbidden]

    def build(self, input_shape: Shape) -> None:
        tags = known_features(self, input_shape)
        self.transitions = self.add_weight("transitions", (tags, tags), "zeros")
        self.start = self.add_weight("start", (tags,), "zeros")
        self.end = self.add_weight("end", (tags,), "zeros")
        barred = torch.zeros(tags + 1, tags + 1)  # the last row: before the first step; the last column: after the last
        for pair in self.forbidden:
            if len(pair) != 2 or pair == (None, None) or any(one is not None and not 0 <= one < tags for one in pair):
                expected = f"two tags from 0 to {tags - 1}, or a tag and None"
                raise ArgumentError(f"layer {self.name}: forbidden", expected=expected, got=pair)
            before, tag = (tags if one is None else one for one in pair)
            barred[before, tag] = FORBIDDEN
        self.register_buffer("barred", barred, persistent=False)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, input_shape[-1])

    def forward(self, x: Any, mask: Any = None) -> Any:
        steps = real_steps(self, x, mask)
        if isinstance(steps, Ragged):
            chain = self._chain(steps)
            return chain if mask is None else chain.expand()
        return self._chain(Ragged.full(steps)).pad(steps.shape[1])

    def _chain(self, steps: Ragged) -> Ragged:
        barred: Any = self.barred
        barred = barred.to(steps.dtype)
        return conditionals(
            steps, self.transitions + barred[:-1, :-1], self.start + barred[-1, :-1], self.end + barred[:-1, -1]
        )

    @staticmethod
    def decode(chain: Any) -> Any:
        """The most probable tags, of what the layer gave: `(batch, time)`, or a `Ragged` for a `Ragged`."""
        if isinstance(chain, Ragged):
            return viterbi(chain)[0]
        return viterbi(Ragged.full(chain))[0].pad(chain.shape[1])

    @staticmethod
    def probabilities(chain: Any) -> Any:
        """Of each tag at each step, whatever the others are: `(batch, time, tags)`, or a `Ragged` for a `Ragged`."""
        if isinstance(chain, Ragged):
            return marginals(chain)
        return marginals(Ragged.full(chain)).pad(chain.shape[1])


def rows_of_chain(chain: Tensor) -> Ragged:
    """A batch's chain `(steps, tags, tags)` as rows: one begins wherever the tag before makes no difference."""
    begins = (chain == chain[:, :1]).all(2).all(1).cpu()
    begins[:1] = True
    places = begins.nonzero()[:, 0]
    ends = torch.cat([places[1:], torch.tensor([len(chain)])]) if len(chain) else places
    return Ragged(chain, ends - places)
