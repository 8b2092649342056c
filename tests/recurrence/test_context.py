"""Context: per row, per step, the index, and what a cell draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from rondeau import Ragged, scan
from rondeau.cells import Cell, Context, HiddenState
from rondeau.errors import ArgumentError, ShapeError, StateError

LENGTHS = [2, 5, 0, 4]


class Listening(Cell):
    """The state adds up what `heard` makes of the context."""

    def __init__(
        self,
        heard: Callable[[Context], Tensor],
        per_row: tuple[str, ...] = (),
        per_step: tuple[str, ...] = (),
        drawn: Callable[[Tensor, torch.Generator | None], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=1), 1
        self.heard, self.per_row, self.per_step, self.drawn = heard, per_row, per_step, drawn

    def step(self, x: Tensor, state: HiddenState, context: Context) -> tuple[Tensor, HiddenState]:
        h = state.h + x + self.heard(context)
        return h, HiddenState(h)

    def draw(self, lengths: Tensor, generator: torch.Generator | None) -> dict[str, Any]:
        return {} if self.drawn is None else self.drawn(lengths, generator)


def summed(per_step: list[list[float]], reverse: bool = False) -> list[list[float]]:
    """Running sums of each row's numbers, in the direction of the scan, zero behind the row's end."""
    out = []
    for row in per_step:
        row = row[::-1] if reverse else row
        sums = [sum(row[: t + 1]) for t in range(len(row))]
        out.append((sums[::-1] if reverse else sums) + [0.0] * (5 - len(row)))
    return out


ZEROS = torch.zeros(4, 5, 1)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_tensor_per_row_of_any_trailing_shape(reverse: bool) -> None:
    cell = Listening(lambda c: c.scale + c.memory.sum((1, 2))[:, None] + c.one[:, None], ("scale", "memory", "one"))
    scale, memory, one = torch.tensor([[1.0], [2], [3], [4]]), torch.ones(4, 6, 2) * 0.5, torch.tensor([0.0, 0, 0, 10])
    y, last = scan(
        cell, ZEROS, lengths=LENGTHS, reverse=reverse, context={"scale": scale, "memory": memory, "one": one}
    )
    each = [7.0, 8.0, 9.0, 20.0]
    assert y[:, :, 0].tolist() == summed([[v] * n for v, n in zip(each, LENGTHS, strict=True)], reverse)
    assert last.h[:, 0].tolist() == [v * n for v, n in zip(each, LENGTHS, strict=True)]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_tensor_per_step_padded_or_ragged(reverse: bool) -> None:
    cell = Listening(lambda c: c.clock, per_step=("clock",))
    clock = torch.arange(1.0, 29).reshape(4, 7, 1)  # longer than the inputs: the first steps of each row count
    want = summed([clock[i, :n, 0].tolist() for i, n in enumerate(LENGTHS)], reverse)
    for given in (clock, Ragged.from_padded(clock, LENGTHS)):
        y, _ = scan(cell, ZEROS, lengths=LENGTHS, reverse=reverse, context={"clock": given})
        assert y[:, :, 0].tolist() == want


def test_per_step_tensors_follow_the_inputs_mask() -> None:
    cell = Listening(lambda c: c.clock, per_step=("clock",))
    clock = torch.arange(1.0, 21).reshape(4, 5, 1)
    mask = torch.tensor([[0, 1, 0, 1, 0], [1] * 5, [0] * 5, [1, 1, 1, 1, 0]], dtype=torch.bool)
    inputs = Ragged.compress(ZEROS, mask)
    y, _ = scan(cell, inputs, context={"clock": Ragged.compress(clock, mask)})
    assert y.rows()[0][:, 0].tolist() == [2.0, 6.0]
    with pytest.raises(
        ArgumentError, match=r"masked steps in between. Give it compressed.*Ragged.compress\(value, mask\)"
    ):
        scan(cell, inputs, context={"clock": clock})
    trailing = torch.arange(5) < torch.tensor(LENGTHS)[:, None]
    assert scan(cell, Ragged.compress(ZEROS, trailing), context={"clock": clock})[1].h[0].tolist() == [3.0]


@pytest.mark.parametrize("reverse", [False, True])
def test_the_index_counts_the_steps_made_in_either_direction(reverse: bool) -> None:
    cell = Listening(lambda c: c.index.to(torch.float32))
    y, _ = scan(cell, ZEROS, lengths=LENGTHS, reverse=reverse)
    counted = [[float(t) for t in range(n)] for n in LENGTHS]
    assert y[:, :, 0].tolist() == summed([row[::-1] if reverse else row for row in counted], reverse)


def test_gradients_reach_the_context() -> None:
    cell = Listening(lambda c: c.scale * c.clock, ("scale",), ("clock",))
    scale = torch.tensor([[1.0], [2], [3], [4]], requires_grad=True)
    clock = torch.ones(4, 5, 1, requires_grad=True)
    _, last = scan(cell, ZEROS, lengths=LENGTHS, context={"scale": scale, "clock": clock})
    last.h.sum().backward()
    assert scale.grad is not None
    assert scale.grad[:, 0].tolist() == LENGTHS
    assert clock.grad is not None
    assert clock.grad[:, :, 0].tolist() == [
        [v] * n + [0] * (5 - n) for v, n in zip([1.0, 2, 3, 4], LENGTHS, strict=True)
    ]


def noise(lengths: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
    time = int(lengths.max())
    return {
        "row": torch.rand(len(lengths), 1, generator=generator),
        "step": torch.rand(len(lengths), time, 1, generator=generator),
    }


def test_draws_happen_in_training_only_once_and_before_the_loop() -> None:
    calls: list[list[int]] = []

    def counted(lengths: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        calls.append(lengths.tolist())
        return noise(lengths, generator)

    cell = Listening(lambda c: c.row + c.step, ("row",), ("step",), counted)
    cell.seed = 3
    y, _ = scan(cell.train(), ZEROS, lengths=LENGTHS)
    assert calls == [LENGTHS]
    drawn = noise(torch.tensor(LENGTHS), torch.Generator().manual_seed(3))
    want = summed(
        [[float(drawn["row"][i, 0] + drawn["step"][i, t, 0]) for t in range(n)] for i, n in enumerate(LENGTHS)]
    )
    assert torch.allclose(y[:, :, 0], torch.tensor(want), atol=1e-6)
    with pytest.raises(StateError, match=r"reads context.row, which was not given"):
        scan(cell.eval(), ZEROS)
    assert len(calls) == 1


def test_what_is_given_goes_before_what_is_drawn() -> None:
    cell = Listening(lambda c: c.row + 0 * c.step, ("row",), ("step",), noise)
    _, last = scan(cell.train(), ZEROS, lengths=LENGTHS, context={"row": torch.ones(4, 1)})
    assert last.h[:, 0].tolist() == LENGTHS


@pytest.mark.parametrize("padded", [False, True])
def test_a_draw_may_be_ragged_and_knows_nothing_of_masks(padded: bool) -> None:
    def drawn(lengths: Tensor, generator: torch.Generator | None) -> dict[str, Any]:
        r = Ragged(torch.arange(1.0, int(lengths.sum()) + 1)[:, None], lengths)
        return {"step": r.pad() if padded else r}

    cell = Listening(lambda c: c.step, per_step=("step",), drawn=drawn)
    mask = torch.tensor([[0, 1, 0, 1, 0], [0] * 5, [0, 0, 1, 1, 1], [1] * 5], dtype=torch.bool)
    y, _ = scan(cell.train(), Ragged.compress(ZEROS, mask))
    assert [row[:, 0].tolist() for row in y.rows()] == [[1, 3], [], [3, 7, 12], [6, 13, 21, 30, 40]]


ROW = Listening(lambda c: c.row, ("row",))
STEP = Listening(lambda c: c.step, per_step=("step",))


@pytest.mark.parametrize(
    ("cell", "context", "kind", "said"),
    [
        (ROW, {"raw": torch.zeros(4, 1)}, ArgumentError, "declares no context named 'raw': expected one of: row"),
        (Listening(lambda c: c.row), {"row": 1}, ArgumentError, "expected one of: none"),
        (ROW, {}, StateError, r"Listening.step reads context.row, .* scan\(..., context={'row': tensor}\)"),
        (ROW, {"row": torch.zeros(3, 1)}, ShapeError, r"context 'row': expected a tensor \(4, ...\), got \(3, 1\)"),
        (ROW, {"row": torch.zeros(())}, ShapeError, r"got \(\)"),
        (ROW, {"row": [1.0] * 4}, ShapeError, "got list"),
        (ROW, {"row": Ragged.from_padded(ZEROS, LENGTHS)}, ShapeError, "got Ragged"),
        (
            STEP,
            {"step": torch.zeros(4, 3, 1)},
            ShapeError,
            r"expected a tensor \(4, 5, ...\), or a Ragged, got \(4, 3, 1\)",
        ),
        (STEP, {"step": torch.zeros(4)}, ShapeError, r"got \(4,\)"),
        (STEP, {"step": torch.zeros(3, 5)}, ShapeError, r"got \(3, 5\)"),
        (
            STEP,
            {"step": Ragged.from_padded(ZEROS, [1, 1, 1, 1])},
            ShapeError,
            r"expected \[2, 5, 0, 4\], got \[1, 1, 1, 1\]",
        ),
        (Listening(lambda c: c.row, ("row", "row")), {}, ArgumentError, "each name once"),
        (Listening(lambda c: c.row, ("row",), ("row",)), {}, ArgumentError, "each name once"),
        (Listening(lambda c: c.index, ("index",)), {}, ArgumentError, "none 'index'"),
        (
            Listening(lambda c: c.row, drawn=lambda n, g: {"row": torch.zeros(len(n), 1)}).train(),
            {},
            ArgumentError,
            "declares no context named 'row'",
        ),
    ],
)
def test_context_that_does_not_fit(cell: Cell, context: dict[str, Any], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        scan(cell, ZEROS, lengths=LENGTHS, context=context)


def over_its_length(cell: Cell, x: Tensor, state: HiddenState, context: Context) -> Tensor:
    return torch.tanh(state.h / context.memory.shape[1] + x)


def summed_once_per_row(cell: Cell, x: Tensor, state: HiddenState, context: Context) -> Tensor:
    return context.memory.sum(1)


@pytest.mark.parametrize("output", [over_its_length, summed_once_per_row])
def test_a_memory_that_the_loop_itself_does_not_read(output: Callable[..., Tensor]) -> None:
    class Reading(Cell):
        per_row = ("memory",)

        def __init__(self) -> None:
            super().__init__()
            self.state_size, self.output_size = HiddenState(h=2), 2

        def step(self, x: Tensor, state: HiddenState, context: Context) -> tuple[Tensor, HiddenState]:
            return output(self, x, state, context), HiddenState(torch.tanh(state.h + x))

    cell, x = Reading(), torch.randn(3, 4, 2, dtype=torch.float64)
    for entries in (5, 2):
        context = {"memory": torch.randn(3, entries, 2, dtype=torch.float64)}
        found, _ = scan(cell, x, context=context, engine="native")
        expected, _ = scan(cell, x, context=context, engine="reference")
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)


class OncePerRow(Cell):
    """A value of the context that the loop reads, a comparison of it, and nothing else."""

    per_row = ("r",)

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size, self.output_size = HiddenState(h=units), units

    def build(self, features: int) -> None:
        self.w = self.add_weight("w", (self.output_size, self.output_size))

    def step(self, x: Tensor, state: HiddenState, context: Context) -> tuple[Tensor, HiddenState]:
        v = context.r @ self.w
        h = torch.where(v > 0, v, 0.1 * state.h)
        return h, HiddenState(h)


def test_the_loops_for_inference_and_training_are_not_taken_for_one_another() -> None:
    cell, x, context = OncePerRow(16), torch.randn(4, 3, 8), {"r": torch.randn(4, 16)}
    with torch.no_grad():
        expected, _ = scan(cell, x, context=context, engine="reference")
        torch.testing.assert_close(scan(cell, x, context=context, engine="native")[0], expected)
    torch.testing.assert_close(scan(cell, x, context=context, engine="native")[0], expected)


class Nothing(NamedTuple):
    """No state."""


def test_a_cell_without_state_or_weights() -> None:
    class Twice(Cell):
        def __init__(self) -> None:
            super().__init__()
            self.state_size, self.output_size = Nothing(), 9

        def step(self, x: Tensor, state: Nothing) -> tuple[Tensor, Nothing]:
            return torch.tanh(2 * x), Nothing()

    x = torch.randn(2, 5, 9, requires_grad=True)
    output, _ = scan(Twice(), x, engine="native")
    (found,) = torch.autograd.grad(output.sum(), [x])
    torch.testing.assert_close(found, 2 * (1 - torch.tanh(2 * x.detach()) ** 2))
