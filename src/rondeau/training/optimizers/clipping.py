"""How gradients are kept small, as Keras does it. Those given stay as they are: clipped ones are new tensors."""

from __future__ import annotations

import torch

Tensors = list[torch.Tensor]


def clip_each_norm(gradients: Tensors, limit: float) -> Tensors:
    """Each gradient scaled down so that its own L2 norm is at most `limit`."""
    norms = torch._foreach_norm(gradients)
    # Scaled up before it is divided, as in Keras: an infinite entry becomes NaN and so shows, instead of a quiet zero.
    return list(torch._foreach_div(torch._foreach_mul(gradients, limit), torch._foreach_clamp_min(norms, limit)))


def clip_global_norm(gradients: Tensors, limit: float) -> Tensors:
    """All gradients scaled by one factor, so that the L2 norm of them all together is at most `limit`.

    A norm that is not finite makes every gradient NaN, as in Keras: a broken step is seen at once, not half taken.
    """
    norm = torch.linalg.vector_norm(torch.stack(list(torch._foreach_norm(gradients))))
    scale = (limit / norm).clamp(max=1.0) + (norm - norm)
    return list(torch._foreach_mul(gradients, scale))


def clip_value(gradients: Tensors, limit: float) -> Tensors:
    """Each entry held between `-limit` and `limit`."""
    clipped = list(torch._foreach_clamp_min(gradients, -limit))
    torch._foreach_clamp_max_(clipped, limit)
    return clipped
