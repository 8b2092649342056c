"""Multi30k, German to English, test 2016: a row of docs/results.md.

    python -m benchmarks.results.multi30k --data ../shared/data --out runs/multi30k

Takes up a run where it stopped, if there is one at OUT, and prints the row of one that has come to its end. BLEU is of
lower-cased words and punctuation marks, as in the published figure, beside it sacrebleu's own (`bleu 13a`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rondeau.insight.files import read_lines
from rondeau.tasks.speed import total_speed

PUBLISHED = "GRU with attention: BLEU 28.30, perplexity 25.57"  # bentrevett/pytorch-seq2seq, 10 epochs, lower-cased
OPTIONS = {
    "source-language": "de",
    "target-language": "en",
    "units": 384,
    "embedding": 256,
    "batch-size": 64,
    "dropout": 0.3,
    "learning-rate": 2e-3,
    "epochs": 10,
}


def main() -> None:
    """Train as a user would, and print the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder that holds multi30k")
    parser.add_argument("--out", type=Path, default=Path("runs/multi30k"), help="the run's folder")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    options = [part for name, value in {**OPTIONS, "seed": asked.seed}.items() for part in (f"--{name}", str(value))]
    command = ["train", str(asked.data / "multi30k"), "--task", "translation", *options, "--lower", "--no-insight"]
    if not (asked.out / "results.json").exists():
        begun = (asked.out / "config.json").exists()
        given = ["train", "--resume", str(asked.out)] if begun else [*command, "--out", str(asked.out)]
        subprocess.run([sys.executable, "-m", "rondeau", *given], check=True)
    print(row(asked.out, asked.seed, f"rondeau {' '.join(command)}"))


def row(run: Path, seed: int, command: str) -> str:
    """The run's line of the table, and what stands beneath it."""
    *baselines, own = json.loads((run / "results.json").read_text(encoding="utf-8"))["rows"]
    best = max(baselines, key=lambda one: one["scores"]["bleu"])
    speed: Any = total_speed(read_lines(run / "speed.jsonl")) or {}
    minutes = f"{speed['seconds'] / 60:.0f}" if "seconds" in speed else "?"
    figure = f"**BLEU {_with_interval(own, 'bleu')}**, perplexity {_with_interval(own, 'perplexity')}"
    lines = [
        "| task | measure | Rondeau | best baseline | published | seed | minutes | command |",
        "|---|---|---|---|---|---|---|---|",
        f"| Multi30k German to English, test 2016 | tokenised, lower-cased | {figure} | {best['name']}: BLEU "
        f"{best['scores']['bleu']:.2f} | {PUBLISHED} | {seed} | {minutes} | `{command}` |",
        "",
        f"{own['name']}, {own['parameters']:,} weights; BLEU by sacrebleu's own parting into words (13a, lower case) "
        f"{_with_interval(own, 'bleu_13a')}, chrF {_with_interval(own, 'chrf')}",
    ]
    return "\n".join(lines)


def _with_interval(row: Any, name: str) -> str:
    low, high = row["intervals"][name]
    return f"{row['scores'][name]:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
