"""Drawing a token from logits: temperature, top-k, nucleus."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rondeau.errors import ArgumentError


def sample(
    logits: Float[Tensor, "rows tokens"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Int64[Tensor, " rows"]:
    """One token for each row.

    Args:
        logits: unnormalised log-probabilities; minus infinity forbids a token.
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_k: only the k likeliest tokens (default: all).
        top_p: only the likeliest tokens that together reach this probability (Holtzman et al. 2020, arXiv 1904.09751).
        generator: default torch's global one.

    Raises `ArgumentError` for a negative temperature, top_k below 1, top_p outside (0, 1].
    """
    if temperature < 0:
        raise ArgumentError("temperature", expected="0 or more", got=temperature)
    if top_k is not None and top_k < 1:
        raise ArgumentError("top_k", expected="1 or more", got=top_k)
    if top_p is not None and not 0 < top_p <= 1:
        raise ArgumentError("top_p", expected="above 0, at most 1", got=top_p)
    if temperature == 0:
        return logits.argmax(-1)
    logits = logits / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[:, -1:], -torch.inf)
    probabilities = torch.softmax(logits, -1)
    if top_p is not None:
        ordered, order = probabilities.sort(descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered  # probability of all likelier tokens
        kept = torch.zeros_like(probabilities).scatter(-1, order, ordered * (before < top_p))
        probabilities = kept / kept.sum(-1, keepdim=True)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]
