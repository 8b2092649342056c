"""Random numbers for making batches, apart from the model's own."""

from __future__ import annotations

from typing import Any

import torch


class RandomStream:
    """Inside `with`, torch's global CPU generator is this stream's; it goes on where the last `with` left it.

    >>> stream = RandomStream(7)
    >>> before = torch.get_rng_state()
    >>> with stream:
    ...     first = torch.rand(())
    >>> torch.equal(before, torch.get_rng_state())
    True
    """

    def __init__(self, seed: int) -> None:
        self._own = torch.Generator().manual_seed(seed).get_state()

    def __enter__(self) -> None:
        self._outer = torch.get_rng_state()
        torch.set_rng_state(self._own)

    def __exit__(self, *_: object) -> None:
        self._own = torch.get_rng_state()
        torch.set_rng_state(self._outer)


def mixed(seed: int, *numbers: int) -> int:
    """One seed of several numbers: another for each epoch, pass or batch."""
    for number in numbers:
        seed = (seed * 1_000_003 + number) % 2**63
    return seed


def own_generators(loader: Any) -> list[torch.Generator]:
    """The generators a `DataLoader` and its sampler were given, which decide the order instead of the global one."""
    sampler = getattr(loader, "sampler", None)
    inner = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
    found = (getattr(holder, "generator", None) for holder in (loader, sampler, inner))
    return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())
