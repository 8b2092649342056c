"""Part of speech on Universal Dependencies English EWT, the given division: a row of docs/results.md.

    python -m benchmarks.results.ewt --data ../shared/data [--crf]

The published figure is of a BiLSTM over GloVe vectors (bentrevett/pytorch-pos-tagging); this one has no vectors.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PUBLISHED = "BiLSTM with GloVe-100, 10 epochs: 88.26"


def main() -> None:
    """Train as a user would, and print the row."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="The folder that holds ud_english_ewt."
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--crf", action="store_true")
    parser.add_argument("--out", type=Path, help="Keep the run here.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = given.out or Path(scratch) / "run"
        options = ["--task", "tagging", "--seed", str(given.seed), "--epochs", str(given.epochs)]
        options += ["--crf"] * given.crf
        command = ["train", str(given.data / "ud_english_ewt"), *options]
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "rondeau", *command, "--out", str(out)], check=True)
        minutes = (time.perf_counter() - begin) / 60
        results = json.loads((out / "results.json").read_text(encoding="utf-8"))
        findings = json.loads((out / "findings.json").read_text(encoding="utf-8"))
        alone = _without_leakage(given.data / "ud_english_ewt", out)
    *baselines, own = results["rows"]
    low, high = own["intervals"]["accuracy"]
    figure = f"**{own['scores']['accuracy']:.2%}** ({low:.2%} to {high:.2%})"
    best = max(baselines, key=lambda row: row["scores"]["accuracy"])
    by_word = next(table for table in findings["by_group"] if table["heads"][0] == "word")
    words = ", ".join(f"{word} words {accuracy:.2%}" for word, _, accuracy in by_word["rows"])
    print("\n| task | measure | Rondeau | baseline | published | seed | minutes | command |")
    print("|---|---|---|---|---|---|---|---|")
    baseline = f"{best['name']}: {best['scores']['accuracy']:.2%}"
    how = f"{given.seed} | {minutes:.0f} | `rondeau {' '.join(command)}`"
    print(f"| EWT part of speech (UPOS) | test token accuracy | {figure} | {baseline} | {PUBLISHED} | {how} |")
    print(f"\n{words}; sentences that do not stand in the training part too: {alone:.2%}")


def _without_leakage(folder: Path, run: Path) -> float:
    """Accuracy on the test sentences that the training part does not hold word for word."""
    from rondeau.data.texts.conll import read_conllu

    known = {one.words for one in read_conllu(next(folder.glob("*train.conllu")))}
    right = total = 0
    with open(run / "predictions.jsonl", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if tuple(record["words"]) not in known:
                right += sum(a == b for a, b in zip(record["tags"], record["predicted"], strict=True))
                total += len(record["tags"])
    return right / total


if __name__ == "__main__":
    main()
