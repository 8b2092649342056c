"""What Rondeau promises, and whether what was measured keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.cases import DENSE, INFERENCE, RAGGED, SINGLE, STREAMING, TRAINING, Case
from benchmarks.formulas import CUSTOM, STANDARD
from benchmarks.measure import Outcome
from benchmarks.stats import geometric_mean

# Against torch.nn in training: geometric mean and worst of the cases with many rows, then each case of one row.
TRAINING_FLOORS = {"lstm": (1.35, 1.02, 1.8), "gru": (2.0, 1.25, 10.0), "simple rnn": (1.8, 1.25, 5.0)}
CUSTOM_FLOORS = (2.2, 1.5, {100: 1.0, 1000: 2.5})
INFERENCE_FLOORS = {"lstm": 1.1, "gru": 1.6, "simple rnn": 2.0}
INFERENCE_SINGLE = 2.0
RAGGED_FLOORS = {64: 0.75, 256: 0.9}
STREAM_FLOOR, MEMORY_FLOOR = 10.0, 0.9


@dataclass(frozen=True)
class Floor:
    """One promise.

    Attributes:
        what, where: the work, and the cases.
        wanted: the bound: at least, or at most where `at_most`.
        measured: None where something it needs is missing.
        unit: `x` or `%`, for printing.
    """

    what: str
    where: str
    wanted: float
    measured: float | None
    unit: str = "x"
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """None: cannot be told."""
        if self.measured is None:
            return None
        return self.measured <= self.wanted if self.at_most else self.measured >= self.wanted


Outcomes = dict[tuple[str, str, Case], Outcome]
Measure = Callable[[Outcome], "float | None"]


def floors(outcomes: Sequence[Outcome], memory: dict[str, tuple[int, int]]) -> list[Floor]:
    """Every promise about the cells and modes that were measured.

    Args:
        memory: case name -> bytes of a training step's peak, of Rondeau and of torch.nn.
    """
    by: Outcomes = {(o.problem.cell, o.problem.mode, o.problem.case): o for o in outcomes}
    measured = {(cell, mode) for cell, mode, _ in by}
    found: list[Floor] = []
    for cell in (*STANDARD, *CUSTOM):
        if (cell, TRAINING) in measured:
            found += _training(by, cell)
            found += _shares(by, cell)
            found += _ragged(by, cell)
        if (cell, INFERENCE) in measured and cell in INFERENCE_FLOORS:
            found += _inference(by, cell)
    for (cell, mode, _), outcome in by.items():
        if mode == STREAMING:
            found.append(
                Floor(f"{cell}, one streaming step", "against ONNX Runtime", STREAM_FLOOR, outcome.ratio("onnx"))
            )
    for case, (ours, theirs) in memory.items():
        found.append(
            Floor("lstm training, peak memory against torch.nn", case, MEMORY_FLOOR, ours / theirs, at_most=True)
        )
    return found


def _many(by: Outcomes, cell: str, mode: str, value: Measure) -> tuple[float | None, float | None]:
    """Geometric mean and worst over the cases with many rows; None unless every one of them was measured."""
    values = [value(by[cell, mode, case]) if (cell, mode, case) in by else None for case in DENSE]
    known = [v for v in values if v is not None]
    return (geometric_mean(known), min(known)) if len(known) == len(DENSE) else (None, None)


def _single(by: Outcomes, cell: str, mode: str, value: Measure) -> Iterator[tuple[Case, float | None]]:
    for case in SINGLE:
        if (cell, mode, case) in by:
            yield case, value(by[cell, mode, case])


def _training(by: Outcomes, cell: str) -> Iterator[Floor]:
    if cell in TRAINING_FLOORS:
        mean_floor, worst_floor, single_floor = TRAINING_FLOORS[cell]
        against, value = "torch.nn", lambda outcome: outcome.ratio("torch.nn")
        singles = {case.time: single_floor for case in SINGLE}
    else:
        mean_floor, worst_floor, singles = CUSTOM_FLOORS
        against, value = "the best peer", best
    what = f"{cell} training, against {against}"
    mean, worst = _many(by, cell, TRAINING, value)
    yield Floor(what, "B >= 16, geometric mean", mean_floor, mean)
    yield Floor(what, "B >= 16, worst", worst_floor, worst)
    for case, measured in _single(by, cell, TRAINING, value):
        yield Floor(what, case.name, singles[case.time], measured)


def best(outcome: Outcome) -> float | None:
    """The ratio to the fastest peer whatever."""
    return outcome.best_ratio([name for name in outcome.entries if name not in ("rondeau", "dense")])


def _inference(by: Outcomes, cell: str) -> Iterator[Floor]:
    what = f"{cell} inference, against the better of torch.nn and ONNX Runtime"

    def value(outcome: Outcome) -> float | None:
        both = [outcome.ratio("torch.nn"), outcome.ratio("onnx")]
        return None if None in both else min(r for r in both if r is not None)

    yield Floor(what, "B >= 16, geometric mean", INFERENCE_FLOORS[cell], _many(by, cell, INFERENCE, value)[0])
    for case, measured in _single(by, cell, INFERENCE, value):
        yield Floor(what, case.name, INFERENCE_SINGLE, measured)


def _shares(by: Outcomes, cell: str) -> Iterator[Floor]:
    for case in DENSE:
        if (cell, TRAINING, case) not in by:
            continue
        if cell == "lstm":
            wanted = 0.6 if case.features == 1 else 0.7 if case.units <= 128 else 0.85
        elif case.features == 1:
            continue
        else:
            wanted = 0.5
        yield Floor(f"{cell} training, share of sgemm", case.name, wanted, by[cell, TRAINING, case].share(), "%")


def _ragged(by: Outcomes, cell: str) -> Iterator[Floor]:
    for case in RAGGED:
        if (cell, TRAINING, case) in by:
            measured = by[cell, TRAINING, case].ragged_efficiency
            what = f"{cell} training, ragged per real step against dense"
            yield Floor(what, case.name, RAGGED_FLOORS[case.batch], measured, "%")
