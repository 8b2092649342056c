"""A cell on compiled loops beside the reference loop: outputs, final states and every gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rondeau import scan
from rondeau.cells import Cell
from rondeau.cells.base import map_state, state_leaves
from rondeau.sequence import Ragged


@contextmanager
def poisoned() -> Iterator[None]:
    """Memory that torch hands out without filling it holds NaN here, so that an element nobody wrote is seen."""
    before = torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@dataclass
class Case:
    """What a cell is run on: values are sequence-major, `context` as `scan` takes it."""

    x: Tensor
    lengths: Tensor
    state: Any
    context: Mapping[str, Any] = field(default_factory=dict)
    reverse: bool = False

    @classmethod
    def random(
        cls, cell: Cell, features: int, lengths: Sequence[int], dtype: torch.dtype = torch.float64, seed: int = 0
    ) -> Case:
        g = torch.Generator().manual_seed(seed)
        x = torch.randn(sum(lengths), features, dtype=dtype, generator=g)
        state = map_state(
            lambda size: torch.randn(
                len(lengths), *((size,) if isinstance(size, int) else size), dtype=dtype, generator=g
            ),
            cell.state_size,
        )
        return cls(x, torch.tensor(lengths), state)

    def to(self, dtype: torch.dtype) -> Case:
        context = {
            n: v.with_values(_to(v.values, dtype)) if isinstance(v, Ragged) else _to(v, dtype)
            for n, v in self.context.items()
        }
        state = map_state(lambda s: s.to(dtype), self.state)
        return Case(_to(self.x, dtype), self.lengths, state, context, self.reverse)


def _to(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def results(cell: Cell, case: Case, engine: str | None, gradients: bool = True, **options: Any) -> dict[str, Tensor]:
    """Outputs, final states, and the gradients of x, states, context and parameters, by name.

    The cotangents are random but always the same. A gradient that autograd leaves out counts as zero. `options` are
    for `scan`.
    """
    with poisoned():
        return _results(cell, case, engine, gradients, options)


def _results(cell: Cell, case: Case, engine: str | None, gradients: bool, options: Any) -> dict[str, Tensor]:
    sources: dict[str, Tensor] = {}

    def leaf(name: str, tensor: Tensor) -> Tensor:
        own = tensor.detach().clone()
        if own.is_floating_point() and gradients:
            sources[name] = own.requires_grad_()
        return own

    x = leaf("x", case.x)
    names = iter([name for name, _ in state_leaves(case.state)])
    state = map_state(lambda s: leaf(f"state {next(names)}", s), case.state)
    context = {
        n: v.with_values(leaf(n, v.values)) if isinstance(v, Ragged) else leaf(n, v) for n, v in case.context.items()
    }
    rows = Ragged(x, case.lengths)
    outputs, final = scan(cell, rows, state, context=context, reverse=case.reverse, engine=engine, **options)
    found = {
        "output": outputs.values if isinstance(outputs, Ragged) else outputs,
        **{f"final {n}": t for n, t in state_leaves(final)},
    }
    if gradients:
        sources |= {f"parameter {n}": p for n, p in cell.named_parameters() if p.requires_grad}
        g = torch.Generator().manual_seed(1)
        cotangents = {n: torch.randn(t.shape, dtype=torch.float64, generator=g).to(t.dtype) for n, t in found.items()}
        kept = [n for n, t in found.items() if t.requires_grad]
        grads = torch.autograd.grad(
            [found[n] for n in kept], list(sources.values()), [cotangents[n] for n in kept], allow_unused=True
        )
        for (name, source), grad in zip(sources.items(), grads, strict=True):
            found[f"gradient of {name}"] = torch.zeros_like(source) if grad is None else grad
    return {n: t.detach() for n, t in found.items()}


def check(cell: Cell, case: Case, tolerance: float) -> None:
    """Natively as on the reference loop, within `tolerance` epsilons of the type, relative to each result's largest."""
    native, reference = results(cell, case, "native"), results(cell, case, "reference")
    assert native.keys() == reference.keys()
    for name, expected in reference.items():
        assert_close(name, native[name], expected, tolerance)


def assert_close(name: str, found: Tensor, expected: Tensor, tolerance: float) -> None:
    found, expected = found.detach(), expected.detach()
    assert found.shape == expected.shape, name
    assert found.dtype == expected.dtype, name
    if not expected.numel():
        return
    assert torch.equal(found.isnan(), expected.isnan()), f"{name}: NaN in other places\n{found}\n{expected}"
    allowed = tolerance * torch.finfo(expected.dtype).eps * max(1.0, float(expected.nan_to_num().abs().max()))
    error = float((found - expected).nan_to_num().abs().max())
    assert error <= allowed, f"{name}: off by {error:.3g}, allowed {allowed:.3g}\n{found}\n{expected}"
