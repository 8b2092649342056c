"""Lengths never seen: three problems learnt on sequences of up to 100 steps, judged on sequences of up to 1,000.

    python examples/lengths.py [lengths.png]

prints the accuracy by length, the median of three networks that began elsewhere and saw other sequences, and draws it,
with the best and the worst, where a file is named. Windows of 50 steps keep a long sequence as cheap
in memory as a short one; the state is carried from each to the next.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import rondeau
from rondeau import layers, losses, optimizers
from rondeau.data.made.synthetic import PROBLEMS

LENGTHS = [10, 20, 50, 100, 200, 300, 500, 700, 1000]
SHORT, LONG = 10, 100  # steps of the sequences it learns from
WINDOW = 50
SEEDS = range(3)
BUDGET = {"copy memory": 1500, "bracket depth": 300, "running sum": 600}  # updates


def build(ids: int, classes: int, rate: float) -> Any:
    model = rondeau.Sequential(
        [
            layers.Embedding(ids, 16, embeddings_initializer=rondeau.initializers.RandomNormal(stddev=1.0)),
            layers.LSTM(64, return_sequences=True),
            layers.Dense(classes),
        ]
    )
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.Adam(rate, global_clipnorm=1.0), loss)
    return model


def learn(name: str, updates: int, seed: int) -> Any:
    """A model that has seen `updates` batches of 64 sequences, each batch of one length, all of them new."""
    lengths = np.random.default_rng(1 + seed)
    first = PROBLEMS[name](1, SHORT)

    def batches() -> Any:
        for number in range(updates):
            reach = SHORT + (LONG - SHORT) * min(1.0, 2 * number / updates)  # longer and longer, then all lengths
            problem = PROBLEMS[name](64, int(lengths.integers(SHORT, reach + 1)), seed=1 + number + 10_000 * seed)
            weight = np.where(problem.counted, 1.0, 0.02) * problem.counted.size / problem.counted.sum()
            yield problem.x, problem.y, weight.astype("float32")

    model = build(first.ids, first.classes, 4e-3)
    model.fit(batches(), steps_per_epoch=updates, verbose=0)
    return model


def accuracy(model: Any, name: str, length: int, rows: int = 100) -> float:
    """The share of right answers among the steps that count, in sequences it has not seen."""
    problem = PROBLEMS[name](rows, length, seed=10**6 + length)
    answers = model.predict(problem.x, batch_size=rows, window=WINDOW).argmax(-1)
    return float((answers == problem.y)[problem.counted].mean())


def draw(found: dict[str, list[list[float]]], chance: dict[str, float], path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(SHORT, LONG, color="#eeeeee", label="lengths it learnt from")
    for (name, values), colour in zip(found.items(), ["#1f5fa8", "#c1440e", "#3a7d2c"], strict=True):
        axes.semilogx(LENGTHS, np.median(values, 0), "o-", ms=4, color=colour, label=name)
        axes.fill_between(LENGTHS, np.min(values, 0), np.max(values, 0), color=colour, alpha=0.15, lw=0)
        axes.axhline(chance[name], color=colour, lw=0.8, ls=":")
    axes.set(xlabel="steps in a sequence", ylabel="share of right answers", ylim=(0, 1.03))
    named = [length for length in LENGTHS if length != 700]  # no room for it beside 1,000
    axes.set_xticks(named, [f"{length:,}" for length in named])
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, title="dotted: guessing\nshaded: best to worst")
    figure.savefig(path, dpi=150, facecolor="white")


if __name__ == "__main__":
    found: dict[str, list[list[float]]] = {}
    chance: dict[str, float] = {}
    print("steps         " + "".join(f"{length:>7,}" for length in LENGTHS))
    for name, updates in BUDGET.items():
        found[name] = []
        for seed in SEEDS:
            rondeau.utils.set_random_seed(seed)
            model = learn(name, updates, seed)
            found[name].append([accuracy(model, name, length) for length in LENGTHS])
        judged = PROBLEMS[name](100, LONG, seed=10**6)
        chance[name] = float(np.bincount(judged.y[judged.counted]).max() / judged.counted.sum())
        print(f"{name:<14}" + "".join(f"{value:7.3f}" for value in np.median(found[name], 0)), flush=True)
        print("  worst       " + "".join(f"{value:7.3f}" for value in np.min(found[name], 0)), flush=True)
    if len(sys.argv) > 1:
        draw(found, chance, sys.argv[1])
