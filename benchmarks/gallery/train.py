"""One run of the gallery: a cell learns a problem, and its gradient is measured before and after."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.gallery.cells import kind_of
from benchmarks.gallery.problems import PROBLEMS, Batch, Problem
from rondeau import Keep, optimizers, scan
from rondeau.cells.base import state_leaves

POINTS = 60  # of a learning curve
JUDGED = 500  # sequences by which a run is judged
FRESH = 10**7  # seeds from here on are for what it has not learnt from


@dataclass(frozen=True)
class Plan:
    """What to learn with: rows a batch, units a layer, updates, the highest norm of a gradient."""

    updates: int
    rows: int = 16
    units: int = 64
    clip: float = 1.0


@dataclass(frozen=True)
class Run:
    """What was measured.

    Attributes:
        loss: of the training batches, the means of equal parts of the run; updates: where each part ends.
        score: on sequences not seen, as `Problem.score` has it; of a run that ended early, since its loss was no longer
            finite, of what it was then.
        before, after: by lag, 0 the last step: the root of the mean over rows of the squared norm of the derivative of
            the last answer's loss by the whole state.
        seconds: it took.
    """

    problem: str
    cell: str
    steps: int
    updates: list[int]
    loss: list[float]
    score: float
    before: list[float]
    after: list[float]
    seconds: float


class Network(torch.nn.Module):
    """A cell over time, `(rows, steps, features)`, and linear answers at the last steps: `(rows, answers, outputs)`."""

    def __init__(self, cell: str, problem: Problem, units: int, steps: int) -> None:
        super().__init__()
        self.cell, self.answers = kind_of(cell).make(units, steps), problem.answers
        self.readout = torch.nn.Linear(units, problem.outputs)

    def forward(self, x: Tensor, keep: Keep | None = None) -> Tensor:
        outputs, _ = scan(self.cell, x, keep=keep)
        answers: Tensor = self.readout(outputs[:, -self.answers :])
        return answers


def run(name: str, cell: str, steps: int, plan: Plan, seed: int = 0) -> Run:
    """Train one network from scratch on batches that are all new, and measure it; `cell`: of `CELLS`, or `TOO_FAST`."""
    torch.manual_seed(seed)
    began, problem = time.perf_counter(), PROBLEMS[name]
    network = Network(cell, problem, plan.units, steps)
    network(problem.batch(1, steps, 0).x)  # makes the weights
    rate = optimizers.schedules.CosineDecay(kind_of(cell).rate(steps), decay_steps=plan.updates)
    optimizer = optimizers.Adam(rate, global_clipnorm=plan.clip)
    optimizer.build(network.named_parameters())
    before = gradient(network, problem, problem.batch(plan.rows, steps, FRESH))
    losses = []
    for update in range(plan.updates):
        x, y = problem.batch(plan.rows, steps, 1 + update + 10**5 * seed)
        loss = problem.loss(network(x), y)
        optimizer.zero_grad()
        losses.append(loss.detach())
        if not bool(torch.isfinite(loss)):
            break
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    after = gradient(network, problem, problem.batch(plan.rows, steps, FRESH))
    parts = torch.stack(losses).double().tensor_split(min(POINTS, len(losses)))
    ends = torch.tensor([len(part) for part in parts]).cumsum(0).tolist()
    means = [float(part.mean()) for part in parts]
    seconds = time.perf_counter() - began
    return Run(name, cell, steps, ends, means, score(network, problem, steps), before, after, seconds)


@torch.no_grad()
def score(network: Network, problem: Problem, steps: int) -> float:
    """What it comes to on sequences it has not seen."""
    x, y = problem.batch(JUDGED, steps, FRESH + 1)
    return problem.score(network(x), y)


def gradient(network: Network, problem: Problem, batch: Batch) -> list[float]:
    """By lag, 0 first: how strongly the last answer's loss depends on the state so many steps before it."""
    keep = Keep(cotangents=True)
    answers = network(batch.x, keep)
    problem.loss(answers[:, -1:], batch.y[:, -1:]).backward()  # type: ignore[no-untyped-call]
    network.zero_grad()
    parts = [part.pad().double() for _, part in state_leaves(keep.cotangents)]
    by_lag = torch.cat(parts, dim=-1).square().sum(-1).mean(0).sqrt().flip(0)
    return [float(value) for value in by_lag]
