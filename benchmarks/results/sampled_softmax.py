"""A training step of a language model of 50,000 words: sampled softmax beside the full one.

python -m benchmarks.results.sampled_softmax [--steps 5]
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

from rondeau.models.language_model import language_model

WORDS, UNITS, ROWS, WINDOW = 50_000, 256, 20, 35


def measure(sampled: int | None, steps: int, seed: int) -> tuple[float, float]:
    """Words a second in training, and the seconds of the median step."""
    torch.manual_seed(seed)
    model = language_model(WORDS, units=UNITS, embedding=UNITS, sampled=sampled)
    if sampled is None:
        from rondeau.training.losses import SparseCategoricalCrossentropy

        model.compile("adam", SparseCategoricalCrossentropy(from_logits=True))
    else:
        model.compile("adam", "sampled_softmax")
    ids = (torch.rand(ROWS, WINDOW + 1) * 10.8).exp().long().clamp(max=WORDS - 1)  # as words fall off in a text
    times = []
    for _ in range(steps + 1):  # the first compiles
        model.reset_states()
        begin = time.perf_counter()
        model.train_on_batch(ids[:, :-1], ids[:, 1:])
        times.append(time.perf_counter() - begin)
    median = sorted(times[1:])[steps // 2]
    return ROWS * WINDOW / median, median


def main() -> None:
    """Print the rows of the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    command = f"python -m benchmarks.results.sampled_softmax --steps {given.steps} --seed {given.seed}"
    rates = {}
    print("| last layer | words/s | seconds a step | peak memory so far, MiB | threads | command |")
    print("|---|---|---|---|---|---|")
    for sampled in (1024, 8192, None):  # the full one last: the peak of memory is that of the process
        rate, median = measure(sampled, given.steps, given.seed)
        rates[sampled] = rate
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        name = "full softmax" if sampled is None else f"sampled softmax, {sampled:,}"
        figures = f"{rate:,.0f} | {median:.3f} | {peak:,} | {torch.get_num_threads()}"
        print(f"| {name} | {figures} | `{command}` |", flush=True)
    print(f"\n1,024 samples: {rates[1024] / rates[None]:.1f} times the words a second of the full softmax.")


if __name__ == "__main__":
    main()
