"""Networks drawn at random, healthy or with one fault built in, and their training."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F

import rondeau
from benchmarks.advice.problems import ROWS, Make, Problem
from rondeau import layers
from rondeau.callbacks import Insight
from rondeau.errors import NumericsError
from rondeau.insight.checks import Checks, check_inputs
from rondeau.insight.facts import Facts
from rondeau.insight.memory import memory_helps
from rondeau.insight.results import Metric, Results, Row

CELLS = ("SimpleRNN", "LSTM", "GRU")
EVERY = 10  # updates between samples
WILD = 200.0  # times what a target ought to be


@dataclass(frozen=True)
class Plan:
    """What is drawn of a network and its training; faults change it.

    Attributes:
        options: arguments of each recurrent layer; optimizer: of Adam.
        penalty: L2, on input and recurrent kernels.
        radius, kernel: what recurrent and input kernels are multiplied with.
        bias: what recurrent biases lie between; signed: of either sign.
        wild: how many rows have targets far too large; shuffled: targets of other rows.
    """

    seed: int
    make: Make
    steps: int
    cell: str
    units: int
    depth: int
    rate: float
    rows: int = ROWS
    batch: int = 32
    epochs: int = 20
    window: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    penalty: float = 0.0
    radius: float = 1.0
    kernel: float = 1.0
    bias: tuple[float, float] | None = None
    signed: bool = False
    wild: int = 0
    shuffled: bool = False

    def but(self, **changes: Any) -> Plan:
        return replace(self, **changes)


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        facts: what insight knows; left: the share of the first held-out loss that remains.
        loss: that of held-out rows without any penalty, at the end.
    """

    plan: Plan
    facts: Facts
    left: float
    loss: float = float("inf")


def train(plan: Plan) -> Trained:
    """Draw, train, sample, check. A training that ends in numbers that are not finite keeps its samples."""
    generator = torch.Generator().manual_seed(plan.seed)
    problem = plan.make(generator, plan.steps)
    problem = _spoilt(problem, plan, generator)
    torch.manual_seed(plan.seed)
    model = _model(plan, problem)
    x, y = problem.rows(plan.rows)
    before = model.evaluate(*problem.held_out, verbose=0)
    insight = Insight(every=EVERY, dynamics=0.0)  # no rule reads them
    options: dict[str, Any] = {"window": plan.window} if plan.window else {}
    try:
        history = model.fit(
            x,
            y,
            batch_size=plan.batch,
            epochs=plan.epochs,
            validation_data=problem.held_out,
            callbacks=[insight],
            verbose=0,
            **options,
        )
    except NumericsError:
        return Trained(plan, Facts(insight.samples), float("inf"))
    checks = check_inputs(model, *problem.held_out)
    checks = checks.with_comparison(memory_helps(model, x, y, problem.held_out))
    left = history.history["val_loss"][-1] / before
    facts = replace(Facts.of(insight, history, checks), results=_beside(model, checks))
    return Trained(plan, facts, left, _loss(model, problem))


def _beside(model: rondeau.Sequential, checks: Checks) -> Results | None:
    """The table a run would have: the network beside one that sees the last step alone."""
    if checks.comparison is None:
        return None
    other, own = checks.comparison, checks.comparison.model
    rows = [
        Row("feed-forward over the last step", other.parameters, {"loss": other.feed_forward}),
        Row("the network", model.count_params(), {"loss": own}),
    ]
    return Results([Metric("loss", higher=False)], rows)


@torch.no_grad()
def _loss(model: rondeau.Sequential, problem: Problem) -> float:
    x, y = problem.held_out
    found = model.eval()(x)
    return float(F.cross_entropy(found.flatten(0, -2), y.flatten()) if problem.classes else F.mse_loss(found, y))


def _spoilt(problem: Problem, plan: Plan, generator: torch.Generator) -> Problem:
    x, y = problem.x, problem.y
    if plan.wild:
        y = y.clone()
        y[torch.randperm(plan.rows, generator=generator)[: plan.wild]] *= WILD
    if plan.shuffled:
        y = y[torch.randperm(len(y), generator=generator)]
    return replace(problem, x=x, y=y)


def _model(plan: Plan, problem: Problem) -> rondeau.Sequential:
    stack: list[Any] = [layers.Embedding(problem.ids, 8, embeddings_initializer="random_normal")] if problem.ids else []
    options = dict(plan.options)
    if plan.penalty:
        penalty = rondeau.regularizers.L2(plan.penalty)
        options |= {"kernel_regularizer": penalty, "recurrent_regularizer": penalty}
    for place in range(plan.depth):
        sequences = problem.by_step or place < plan.depth - 1
        stack.append(getattr(layers, plan.cell)(plan.units, return_sequences=sequences, **options))
    stack.append(layers.Dense(problem.outputs))
    model = rondeau.Sequential(stack)
    loss = rondeau.losses.SparseCategoricalCrossentropy(from_logits=True) if problem.classes else "mse"
    model.compile(rondeau.optimizers.Adam(plan.rate, **plan.optimizer), loss, device="cpu")
    model.build_on(problem.x[:2])
    _change(plan, model)
    return model


@torch.no_grad()
def _change(plan: Plan, model: rondeau.Sequential) -> None:
    """Faults in the weights."""
    for name, weight in model.named_parameters():
        last = name.rpartition(".")[2]
        if last == "recurrent_kernel":
            weight.mul_(plan.radius)
        elif ".cell." in name and last == "kernel":
            weight.mul_(plan.kernel)
        elif ".cell." in name and last == "bias" and plan.bias is not None:
            low, high = plan.bias
            sign = torch.randn(weight.shape[-1]).sign() if plan.signed else 1.0  # GRU's two biases add up
            weight.copy_(sign * (low + (high - low) * torch.rand_like(weight)))
