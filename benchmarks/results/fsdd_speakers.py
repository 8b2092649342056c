"""Spoken digits (Free Spoken Digit Dataset), one speaker left out: learnt from five, judged on the sixth, six times.

python -m benchmarks.results.fsdd_speakers --data ../shared/data [--speakers george,theo]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results.fsdd import manifest
from rondeau.tasks.audio.settings import AudioSettings
from rondeau.tasks.bootstrap import intervals
from rondeau.tasks.registry import get_task

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
EPOCHS, RECORDINGS = 12, 500  # times all is read; recordings of each speaker


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the sets")
    parser.add_argument("--speakers", default=",".join(SPEAKERS), help="who is left out, one after another")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    speakers = asked.speakers.split(",")
    begun = time.perf_counter()
    by_model: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as cache:
        for speaker in speakers:
            for row in _left_out(asked.data, speaker, cache, asked.seed).rows:
                by_model.setdefault(row.name, []).append(row.scores["accuracy"])
            told = ", ".join(f"{name} {values[-1]:.3f}" for name, values in by_model.items())
            print(f"{speaker}: {told}, {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    print("| | " + " | ".join(speakers) + " | mean ± deviation | 95 % over recordings | 95 % over speakers |")
    print("| --- |" + " ---: |" * (len(speakers) + 3))
    for name, values in by_model.items():
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        spread = f"**{statistics.fmean(values):.1%}** ± {deviation:.1%}"
        ends = [f"{low:.1%} to {high:.1%}" for low, high in _intervals(values)]
        print(f"| {name} | " + " | ".join([*(f"{value:.1%}" for value in values), spread, *ends]) + " |")
    command = " ".join(["python -m benchmarks.results.fsdd_speakers", *sys.argv[1:]])
    print(f"\nSeed {asked.seed}, {time.perf_counter() - begun:.0f} s, baselines included: `{command}`")


def _left_out(data: Path, speaker: str, cache: str, seed: int) -> Any:
    job: Any = get_task("audio_classification")
    with tempfile.TemporaryDirectory() as folder:
        given = manifest(data, Path(folder) / "fsdd.csv", lambda own, _: "test" if own == speaker else "train")
        # validation is of the five speakers; the best epoch is chosen without a look at the sixth
        asked = replace(
            AudioSettings(), path=str(given), epochs=EPOCHS, validation=0.05, cache=cache, seed=seed, insight=False
        )
        work = job.begin(asked, Path(folder) / "run")
        job.fit(work, lambda steps, speed: [])
        return job.conclude(work, lambda steps, speed: [])


def _intervals(values: list[float]) -> list[tuple[float, float]]:
    """Of the mean, with recordings, and with whole speakers, drawn anew."""
    right = np.concatenate([np.arange(RECORDINGS) < round(value * RECORDINGS) for value in values])
    groups = np.repeat(np.arange(len(values)), RECORDINGS).tolist()
    return [
        intervals(lambda rows: {"accuracy": right[rows].mean()}, len(right), given)["accuracy"]
        for given in (None, groups)
    ]


if __name__ == "__main__":
    main()
