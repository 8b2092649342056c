"""Spoken digits (Free Spoken Digit Dataset), the set's own division: takes 0 to 4 of every speaker are the test.

    python -m benchmarks.results.fsdd --data ../shared/data --seeds 1

All six speakers are on both sides; `benchmarks.results.fsdd_speakers` is the harder and honest one.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.results.seeds import arguments, table, trained
from rondeau.tasks.audio.settings import AudioSettings

EPOCHS = 20


def manifest(data: Path, file: Path, part: Callable[[str, int], str]) -> Path:
    """A manifest of the recordings, each in the part that its speaker and its take give."""
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["path", "label", "speaker", "split"])
        for path in sorted((data / "fsdd" / "recordings").glob("*.wav")):
            label, speaker, take = path.stem.split("_")
            rows.writerow([path.resolve(), label, speaker, part(speaker, int(take))])
    return file


def main() -> None:
    """Print the rows."""
    asked = arguments(__doc__, "benchmarks.results.fsdd")
    with tempfile.TemporaryDirectory() as folder:
        cache = str(Path(folder) / "features")
        given = manifest(asked.data, Path(folder) / "fsdd.csv", lambda _, take: "test" if take < 5 else "train")
        # the job's own defaults, with fewer epochs and features kept on disk
        found = trained(
            "audio_classification",
            asked.seeds,
            lambda settings, seed: replace(AudioSettings(), path=str(given), epochs=EPOCHS, cache=cache),
        )
    print(table("spoken digits, takes 0 to 4", found, ["accuracy", "macro_f1"], asked.command))
    for name, (low, high) in found[0][0].own.intervals.items():
        print(f"seed 0, {name}: {low:.4f} to {high:.4f} over speakers drawn anew")


if __name__ == "__main__":
    main()
