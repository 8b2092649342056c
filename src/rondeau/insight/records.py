"""What is measured, as plain values: the lines of a run's `insight.jsonl`, from which advice and reports are made."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Flow:
    """The loss's gradient by one part of a state, over the steps.

    Attributes:
        lags: steps back from the last step each row makes (0: that step), rising.
        loss: ‖∂L/∂s‖ of the whole loss at each lag: the root of the mean square over rows.
        last: the same, of that part of the loss alone which goes through each row's last output. Where every step has
            a loss, only this shows how far back a gradient reaches.
    """

    lags: list[int]
    loss: list[float]
    last: list[float]


@dataclass(frozen=True)
class Decay:
    """How the gradient of a row's last step falls on its way back, all parts of the state together.

    Attributes:
        factor: per step, fitted; below 1 it vanishes, above 1 it explodes; None where there is nothing to fit.
        memory: steps until less than 1 % is left; None where more is left at `reach`.
        reach: the largest lag that was measured.
    """

    factor: float | None
    memory: int | None
    reach: int

    @property
    def half_life(self) -> float | None:
        """Steps in which it halves; None where it does not fall."""
        return math.log(0.5) / math.log(self.factor) if self.factor and self.factor < 1 else None


@dataclass(frozen=True)
class Values:
    """How a gate's, or a state's, values spread over rows, steps and units.

    Attributes:
        low, high: what the histogram runs from and to: 0 and 1 for a sigmoid's values, -1 and 1 for a tanh's.
        histogram: shares of values in 20 equal parts of it; what lies outside counts in the first and last.
        mean, deviation: over all of them.
        at_low, at_high: shares within a twentieth of the range from either end: saturated.
        dead: share of units that are zero at every step.
        stuck: share of units, dead ones left out, that do not change over steps and rows.
    """

    low: float
    high: float
    histogram: list[float]
    mean: float
    deviation: float
    at_low: float
    at_high: float
    dead: float
    stuck: float


@dataclass(frozen=True)
class ScanSample:
    """What was measured of one scan: one layer, one direction.

    Attributes:
        name: of the layer or module, as the model has it.
        cell: its class.
        backward: whether it reads from the last step to the first.
        cut: steps after which the gradient is cut: `Truncated(k)`, or the window of `fit`; None: nowhere.
        flow: by part of the state, such as "h" and "c".
        decay: of the whole state.
        gates: by the names the cell gives its intermediates; states: by part of the state.
        time_constants: of units with a forget gate f, their -1 / ln(mean f) in steps: the 0, 10, 25, 50, 75, 90 and
            100 % quantiles over units; None without such a gate.
    """

    name: str
    cell: str
    backward: bool
    cut: int | None
    flow: dict[str, Flow]
    decay: Decay
    gates: dict[str, Values] = field(default_factory=dict)
    states: dict[str, Values] = field(default_factory=dict)
    time_constants: list[float] | None = None

    @property
    def horizon(self) -> int:
        """The longest dependency it can learn, in steps: as far back as 1 % of a gradient gets, and no cut forbids.

        Where more than that was left at the longest lag there was, that lag: it may reach further.
        """
        reach = self.decay.reach if self.decay.memory is None else self.decay.memory - 1
        return reach if self.cut is None else min(reach, self.cut - 1)


@dataclass(frozen=True)
class Weight:
    """Norms of one parameter at one update: of itself, of its gradient before clipping, and of the update made."""

    name: str
    weight: float
    gradient: float
    update: float | None

    @property
    def ratio(self) -> float | None:
        """Update to weight; None where either is unknown or zero."""
        return self.update / self.weight if self.update is not None and self.weight else None


@dataclass(frozen=True)
class Dynamics:
    """A step as a map from one state to the next, along one real sequence.

    Attributes:
        radius: spectral radius of the recurrent kernel (of each gate's square block, the largest); None if it has none.
        largest, smallest: singular values of the step's Jacobian at each step measured.
        spans, products: the largest singular value of the Jacobians' product over so many steps.
        exponents: Lyapunov exponents, nats a step, falling; above 0 a small difference grows.
    """

    name: str
    radius: float | None
    largest: list[float]
    smallest: list[float]
    spans: list[int]
    products: list[float]
    exponents: list[float]


@dataclass(frozen=True)
class Sample:
    """One sampled training step.

    Attributes:
        step: updates made before it; epoch: from 0, None outside of `fit`.
        loss: of its batch; rate: the learning rate, None where unknown.
        rows: in the batch; lengths: the shortest, median and longest of them in steps.
        gradient: norm of all gradients together, before clipping; clip: the limit on it, None without; clipped: whether
            the limit (of whatever kind) changed a gradient, None where unknown.
        scans, weights, dynamics: what was measured; dynamics rarely, else empty.
        seconds: what measuring took.
        left: recurrent modules that could not be measured, by name, and why.
    """

    step: int
    epoch: int | None
    loss: float | None
    rate: float | None
    rows: int
    lengths: tuple[int, int, int]
    gradient: float | None
    clip: float | None
    clipped: bool | None
    scans: list[ScanSample]
    weights: list[Weight]
    dynamics: list[Dynamics] = field(default_factory=list)
    seconds: float = 0.0
    left: dict[str, str] = field(default_factory=dict)


def to_json(record: Any) -> dict[str, Any]:
    """A record as JSON's types; a number that is not finite becomes the word for it: "nan", "inf", "-inf"."""
    return {name: plain(value) for name, value in asdict(record).items()}


def plain(value: Any) -> Any:
    """JSON's types as JSON can hold them: what is not finite as a word."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value


def sample_from_json(data: dict[str, Any]) -> Sample:
    """The `Sample` that `to_json` wrote."""
    made = _made(Sample, data)
    made["lengths"] = tuple(made["lengths"])
    made["scans"] = [_scan(scan) for scan in made["scans"]]
    made["weights"] = [Weight(**_made(Weight, weight)) for weight in made["weights"]]
    made["dynamics"] = [Dynamics(**_made(Dynamics, one)) for one in made["dynamics"]]
    return Sample(**made)


def _scan(data: dict[str, Any]) -> ScanSample:
    made = _made(ScanSample, data)
    made["flow"] = {name: Flow(**_made(Flow, flow)) for name, flow in made["flow"].items()}
    made["decay"] = Decay(**_made(Decay, made["decay"]))
    for part in ("gates", "states"):
        made[part] = {name: Values(**_made(Values, values)) for name, values in made[part].items()}
    return ScanSample(**made)


def _made(kind: Any, data: dict[str, Any]) -> dict[str, Any]:
    """The fields of `kind`, words for numbers turned back; what a later version may have added is left out."""
    names = {f.name for f in fields(kind)}
    return {name: _numbers(value) for name, value in data.items() if name in names}


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(part) for part in value]
    return float(value) if value in ("nan", "inf", "-inf") else value
