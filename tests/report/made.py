"""Samples and run folders such as training leaves them, made up."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from rondeau.insight.records import (
    Decay,
    Dynamics,
    Flow,
    Sample,
    ScanSample,
    Values,
    Weight,
    to_json,
)

LAGS = [*range(16), *range(16, 64, 4), 63]


def values(low: float, centre: float, spread: float, dead: float = 0.0) -> Values:
    """Values between `low` and 1 heaped about `centre`."""
    middles = [low + (i + 0.5) * (1 - low) / 20 for i in range(20)]
    weights = [math.exp(-(((x - centre) / spread) ** 2)) for x in middles]
    shares = [weight / sum(weights) for weight in weights]
    return Values(low, 1.0, shares, centre, spread, shares[0], shares[-1], dead, 0.02)


def flow(factor: float) -> Flow:
    """A gradient that falls by `factor` a step."""
    return Flow(LAGS, [0.02 * (1 - factor ** (64 - lag)) for lag in LAGS], [0.1 * factor**lag for lag in LAGS])


def scan(name: str, progress: float, cut: int | None = 64, cell: str = "LSTM") -> ScanSample:
    """A layer at so much of the training, from 0 to 1."""
    factor = 0.80 + 0.12 * progress
    reach = LAGS[-1]
    memory = math.ceil(math.log(0.01) / math.log(factor))
    gates = {} if cell == "SimpleRNN" else {
        "i": values(0.0, 0.5 - 0.2 * progress, 0.2),
        "f": values(0.0, 0.6 + 0.3 * progress, 0.2),
        "o": values(0.0, 0.5, 0.1 + 0.3 * progress),
        "g": values(-1.0, 0.0, 0.3 + 0.3 * progress),
    }  # fmt: skip
    states = {"h": values(-1.0, 0.0, 0.2 + 0.4 * progress, 0.05)}
    if gates:
        states["c"] = values(-2.0, 0.1, 0.5 + progress)
    return ScanSample(
        name=name,
        cell=cell,
        backward=False,
        cut=cut,
        flow={part: flow(factor + 0.02 * i) for i, part in enumerate(states)},
        decay=Decay(factor, None if memory > reach else memory, reach),
        gates=gates,
        states=states,
        time_constants=[0.8, 1.2, 2.0, 4.0 + 4 * progress, 9.0, 20.0, 60 + 90 * progress] if gates else None,
    )


def dynamics(name: str) -> Dynamics:
    """A contracting step."""
    noise = random.Random(1)
    largest = [0.9 + 0.3 * noise.random() for _ in range(40)]
    smallest = [0.01 + 0.05 * noise.random() for _ in range(40)]
    spans = [1, 2, 4, 8, 16, 32]
    return Dynamics(
        name, 0.93, largest, smallest, spans, [0.92**k for k in spans], [-0.08 - 0.1 * i for i in range(12)]
    )


def samples(count: int = 12, names: tuple[str, ...] = ("lstm", "lstm_1"), cell: str = "LSTM") -> list[Sample]:
    """A healthy training, sampled every 50 updates."""
    noise = random.Random(0)
    made = []
    for n in range(count):
        progress = n / max(count - 1, 1)
        gradient = 1.4 * math.exp(-progress + noise.uniform(-0.5, 0.5))
        weights = [
            Weight(f"layers.{i}.cell.{part}", 5.0 + i, 0.1, (5.0 + i) * 10 ** noise.uniform(-4.5, -1.6))
            for i in range(len(names) + 1)
            for part in ("kernel", "recurrent_kernel", "bias")
        ]
        made.append(
            Sample(
                step=50 * n,
                epoch=n // 4,
                loss=3.0 - 1.5 * progress,
                rate=0.01 * (1 - progress),
                rows=32,
                lengths=(64, 64, 64),
                gradient=gradient,
                clip=1.0,
                clipped=gradient > 1.0,
                scans=[scan(name, progress, cell=cell) for name in names],
                weights=weights,
                dynamics=[dynamics(name) for name in names] if n % 5 == 0 else [],
                seconds=0.05,
            )
        )
    return made


def write_lines(file: Path, records: list[dict[str, Any]]) -> None:
    """One JSON object a line."""
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def history(epochs: int = 5) -> list[dict[str, Any]]:
    """What a language model's run writes after each epoch."""
    return [
        {
            "epoch": n,
            "loss": 2 / n,
            "bits_per_character": 3 / n,
            "val_loss": 2 / n,
            "val_bits_per_character": 3 / n + 0.1 * n,
        }
        for n in range(1, epochs + 1)
    ]


def rows(bits: float = 2.125) -> list[dict[str, Any]]:
    """Results of a language model, baselines first."""
    return [
        {"name": "unigram", "parameters": 90, "bits_per_character": 4.5},
        {"name": "5-gram", "parameters": 12000, "bits_per_character": 2.5},
        {"name": "lstm", "parameters": 340000, "bits_per_character": bits},
    ]


def text_run(folder: Path, bits: float = 2.125, insight: bool = True, **settings: Any) -> Path:
    """The folder of a language model's run, without its model."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "format": "rondeau-run",
        "version": 1,
        "task": "language_model",
        "settings": {"path": None, "cell": "lstm", "units": 256, "epochs": 5, "seed": 7, **settings},
        "data": {
            "name": "a <b>text</b>",
            "digest": "0123abcd",
            "characters": {"train": 1234567, "validation": 10, "test": 20},
        },
        "reproduce": {
            "command": "rondeau train --units 256 --seed 7",
            "versions": {"rondeau": "0.1.0", "torch": "2.13.0", "python": "3.11.7"},
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    write_lines(folder / "history.jsonl", history())
    (folder / "results.json").write_text(json.dumps({"text": "held-out test text", "rows": rows(bits)}))
    (folder / "samples.txt").write_text("temperature 0.5\n\nx < y & z")
    if insight:
        write_lines(folder / "insight.jsonl", [to_json(sample) for sample in samples()])
    return folder


def fit_run(folder: Path, epochs: int = 4, sampled: int = 6) -> Path:
    """The folder that `fit` leaves through a callback: hardly any configuration, metrics of the user's."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"format": "rondeau-run", "version": 1, "task": "fit", "settings": {}, "data": {}}
    (folder / "config.json").write_text(json.dumps(config))
    records = [
        {"epoch": n, "loss": 1 / n, "accuracy": 1 - 0.5 / n, "val_loss": 1.2 / n, "val_accuracy": 1 - 0.6 / n}
        for n in range(1, epochs + 1)
    ]
    write_lines(folder / "history.jsonl", records)
    write_lines(
        folder / "insight.jsonl", [to_json(sample) for sample in samples(sampled, ("simple_rnn",), "SimpleRNN")]
    )
    return folder
