"""What a language model is judged by: the bits that each token costs it, and how far other text would move them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rondeau.insight.results import Metric
from rondeau.insight.undisturbed import begin_anew, device_of, states_kept
from rondeau.tasks.bootstrap import block_interval
from rondeau.tasks.job import placed
from rondeau.tasks.language.baselines import Bits, Ids, token_bits

METRIC = Metric("bits_per_character", higher=False)
PERPLEXITY = Metric("perplexity", higher=False, digits=2)  # of a token
STRETCH = 1000  # characters that are drawn together
STRETCHES = (
    f"Intervals: stretches of {STRETCH:,} characters drawn anew, since neighbouring characters are not independent."
)
_READ = 512  # tokens read at once


def model_bits(model: Any, ids: Ids, device: str = "auto") -> Bits:
    """Bits to predict each token but the first, `(tokens - 1,)`, read as one sequence from its beginning."""
    model = placed(model, device)
    found = []
    with torch.no_grad(), states_kept(model):
        begin_anew(model)
        for start in range(0, len(ids) - 1, _READ):
            part = torch.as_tensor(np.asarray(ids[start : start + _READ + 1], np.int64), device=device_of(model))
            found.append(token_bits(model(part[None, :-1])[0], part[1:]))
    return np.concatenate(found) if found else np.zeros(0)


def scores(bits: Bits, per_token: float) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Figures from the bits of each token, and their 95 % intervals.

    Args:
        per_token: characters of a token, on average.

    Stretches of as many tokens as about 1,000 characters are drawn, not single ones: neighbouring characters depend on
    each other (the block bootstrap of Künsch 1989, see `rondeau.tasks.bootstrap.block_interval`). All models are drawn
    at the same places. How long each token is counts as an average in every stretch.
    """
    mean = float(bits.mean())
    figures = {METRIC.name: mean / per_token, PERPLEXITY.name: 2**mean}
    low, high = block_interval(bits, max(1, round(STRETCH / per_token)))
    return figures, {METRIC.name: (low / per_token, high / per_token), PERPLEXITY.name: (2**low, 2**high)}
