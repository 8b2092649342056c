"""Tiny Shakespeare, character by character: a row of docs/results.md.

    python -m benchmarks.results.tiny_shakespeare --data ../shared/data --out runs/tiny_shakespeare

Takes up a run where it stopped, if there is one at OUT, and prints the row of one that has come to its end. The
published figures are of the last tenth of the text; here the best epoch is chosen on the first half of that tenth. The
table is of the second, and the last line of both.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from rondeau.insight.files import read_lines
from rondeau.tasks.language.judging import model_bits
from rondeau.tasks.language.training import read_again
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.speed import total_speed

PUBLISHED = "transformers of characters: 1.4697 (trained on a GPU), 1.88 (of a CPU's size)"  # nanoGPT's README
OPTIONS = {
    "tokens": "characters",
    "units": 512,
    "layers": 2,
    "dropout": 0.3,
    "window": 128,
    "batch-size": 32,
    "epochs": 10,
}


def main() -> None:
    """Train as a user would, and print the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="has tinyshakespeare in it")
    parser.add_argument("--out", type=Path, default=Path("runs/tiny_shakespeare"), help="the run's folder")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    options = [part for name, value in {**OPTIONS, "seed": asked.seed}.items() for part in (f"--{name}", str(value))]
    command = ["train", str(asked.data / "tinyshakespeare" / "input.txt"), "--task", "language_model", *options]
    if not (asked.out / "results.json").exists():
        begun = (asked.out / "config.json").exists()
        given = ["train", "--resume", str(asked.out)] if begun else [*command, "--out", str(asked.out)]
        subprocess.run([sys.executable, "-m", "rondeau", *given], check=True)
    print(table(asked.out, asked.seed, f"rondeau {' '.join(command)}"))


def table(run: Path, seed: int, command: str) -> str:
    """A line for each model, nats and bits a character, and what stands beneath."""
    rows = json.loads((run / "results.json").read_text(encoding="utf-8"))["rows"]
    speed: Any = total_speed(read_lines(run / "speed.jsonl")) or {}
    minutes = f"{speed['seconds'] / 60:.0f} minutes" if "seconds" in speed else "time unknown"
    lines = ["| | weights | nats a character | bits a character |", "| --- | ---: | ---: | ---: |"]
    for row in rows:
        bits = row["scores"]["bits_per_character"]
        between = [f"{_nats(edge)}" for edge in row.get("intervals", {}).get("bits_per_character", ())]
        interval = f" ({' to '.join(between)})" if between else ""
        lines.append(f"| {row['name']} | {row['parameters']:,} | {_nats(bits)}{interval} | {bits:.3f} |")
    first, second, both = _halves(run)
    told = f"of the first half {first:.3f} nats, of the second {second:.3f}, of the whole last tenth {both:.3f}"
    return "\n".join([*lines, f"\n{told}. Published: {PUBLISHED}. Seed {seed}, {minutes}: `{command}`"])


def _halves(run: Path) -> tuple[float, float, float]:
    """Nats a character of the text that chose the epoch, of that for the figure, and of both."""
    folder = RunFolder.open(run)
    _, corpus = read_again(folder)
    model = folder.load_model()
    first, second = (model_bits(model, ids, "cpu") * math.log(2) for ids in corpus.ids[1:])
    return float(first.mean()), float(second.mean()), float(np.concatenate([first, second]).mean())


def _nats(bits: float) -> str:
    return f"{bits * math.log(2):.3f}"


if __name__ == "__main__":
    main()
