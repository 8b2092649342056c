"""What is drawn: healthy networks, and for each rule networks with its fault, by construction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from benchmarks.advice import problems
from benchmarks.advice.networks import CELLS, Plan

T = TypeVar("T")
Fault = Callable[[Random, Plan], Plan]
LEARNT = 0.5  # of the first held-out loss: a network that has more left is not called healthy, and drawn again
SHORT = 0.5  # of its held-out loss a network that underfits would not have, had it no fault


def healthy(seed: int, windowed: bool = False) -> Plan:
    """A network that ought to learn its problem: cell, sizes, steps, rate, clipping drawn at random."""
    r = Random(seed)
    window = r.random() < 0.25 or windowed
    make = r.choice(problems.WINDOWED if window else problems.HEALTHY)
    return Plan(
        seed=seed,
        make=make,
        steps=r.randrange(40, 61) if window else r.randrange(20, 61),
        cell=r.choice(CELLS),
        units=r.randrange(12, 33),
        depth=r.choice((1, 1, 2)),
        rate=10 ** r.uniform(-2.5, -2),
        window=r.randrange(16, 25) if window else None,
        epochs=10 if window else 20,  # each is several updates a batch then
        optimizer={"global_clipnorm": r.choice((1.0, 3.0))} if r.random() < 0.5 else {},
    )


def long(r: Random, plan: Plan, make: Sequence[problems.Make] = problems.LONG) -> Plan:
    """The plan on a problem whose causes lie as far back as the row is long."""
    return plan.but(make=r.choice(make), steps=r.randrange(40, 61), window=None, epochs=20)


def vanishing(r: Random, plan: Plan) -> Plan:
    """Recurrent kernels far below a radius of one; gates that forget within a few steps."""
    plan = long(r, plan, problems.EARLY)
    if plan.cell == "SimpleRNN":
        return plan.but(radius=r.uniform(0.2, 0.6))
    options = {"unit_forget_bias": False} if plan.cell == "LSTM" else {}
    return plan.but(radius=r.uniform(0.2, 0.6), bias=(-3.0, -1.0), options=options)


def exploding(r: Random, plan: Plan) -> Plan:
    """Recurrent kernels far above a radius of one (half of relu's units are off), no gates and no clipping."""
    plan = long(r, plan).but(cell="SimpleRNN", optimizer={})
    if r.random() < 0.5:
        return plan.but(radius=r.uniform(1.7, 2.0), options={"activation": "relu"})
    return plan.but(radius=r.uniform(2.0, 4.0))


def clips_always(r: Random, plan: Plan) -> Plan:
    """A limit far below every gradient."""
    return plan.but(optimizer={"global_clipnorm": 10 ** r.uniform(-4, -3)})


def clips_never(r: Random, plan: Plan) -> Plan:
    """A few rows with wild targets, and no limit."""
    make = r.choice((problems.total, problems.series))
    return plan.but(make=make, optimizer={}, wild=r.randrange(1, 4), window=None)


def saturated(r: Random, plan: Plan) -> Plan:
    """Biases of gates far out, of either sign; of a cell without gates, inputs far too strong."""
    if plan.cell == "SimpleRNN":
        return plan.but(kernel=r.uniform(20, 60), make=r.choice((problems.total, problems.series)))
    return plan.but(bias=(6.0, 10.0), signed=True, options={"unit_forget_bias": False} if plan.cell == "LSTM" else {})


def dead(r: Random, plan: Plan) -> Plan:
    """Relu with biases so low that nothing comes through."""
    return plan.but(cell="SimpleRNN", options={"activation": "relu"}, bias=(-6.0, -3.0))


def rate_high(r: Random, plan: Plan) -> Plan:
    """A hundred times the rate."""
    return plan.but(rate=100 * plan.rate)


def rate_low(r: Random, plan: Plan) -> Plan:
    """A thousandth of the rate."""
    return plan.but(rate=plan.rate / 1000)


def window(r: Random, plan: Plan) -> Plan:
    """A window of a few steps on causes twenty and more steps back."""
    return long(r, plan, problems.BEYOND).but(window=r.randrange(3, 7), epochs=4)


def ignores_input(r: Random, plan: Plan) -> Plan:
    """Targets of other rows."""
    return plan.but(make=r.choice(problems.LONG), shuffled=True, window=None, epochs=6)


def ignores_past(r: Random, plan: Plan) -> Plan:
    """Targets that the last step alone decides."""
    return plan.but(make=problems.present, window=None)


def overfitting(r: Random, plan: Plan) -> Plan:
    """A large network, a handful of rows, many epochs; or targets that only learning by heart can fit."""
    shuffled = r.random() < 0.5
    make = r.choice(problems.LONG) if shuffled else problems.total  # a few marks are enough to learn a class from
    steps, rows = r.randrange(15, 31), r.randrange(12, 25)
    return plan.but(
        make=make, steps=steps, rows=rows, batch=8, units=32, epochs=60, rate=1e-2, window=None, shuffled=shuffled
    )


def underfitting(r: Random, plan: Plan) -> Plan:
    """One unit for much, weights held near zero by a penalty, or training that ends long before it is done."""
    kind = r.choice(("units", "penalty", "short"))
    plan = long(r, plan, (problems.series, problems.language, problems.total))
    if kind == "units":
        return plan.but(units=1, depth=1, make=r.choice((problems.series, problems.language)))
    if kind == "penalty":
        return plan.but(penalty=r.uniform(0.1, 1.0))
    return plan.but(rows=64, epochs=5)


def baselines(r: Random, plan: Plan) -> Plan:
    """Targets for which memory is of no use; a feed-forward network stands in the table of results."""
    return ignores_past(r, plan)


FAULTS: dict[str, Fault] = {
    "rate_high": rate_high,
    "exploding": exploding,
    "vanishing": vanishing,
    "window": window,
    "saturated": saturated,
    "dead": dead,
    "clips_always": clips_always,
    "clips_never": clips_never,
    "rate_low": rate_low,
    "ignores_input": ignores_input,
    "ignores_past": ignores_past,
    "overfitting": overfitting,
    "underfitting": underfitting,
    "baselines": baselines,
}


def faulty(name: str, seed: int) -> Plan:
    """A network with the fault; another seed is another network."""
    plan = healthy(seed)
    return FAULTS[name](Random(f"{name} {seed}"), plan)


def unhindered(seed: int, plan: Plan) -> Plan:
    """A network that underfits, on the same problem, without what keeps it from learning."""
    free = healthy(seed)
    return plan.but(units=free.units, depth=free.depth, penalty=0.0, rows=problems.ROWS, epochs=20)
