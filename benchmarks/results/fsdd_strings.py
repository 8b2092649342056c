"""Strings of digits joined from fsdd, of a speaker never heard: a row of docs/results.md, and live decoding beside it.

    python -m benchmarks.results.fsdd_strings --data ../shared/data --out runs/fsdd_strings

Each of the six speakers says 200 strings of one to four digits, drawn by the seed from all 50 takes of each digit, with
pauses of 0.05 to 0.35 seconds. Four speakers are learnt from, one decides on the epoch, one is the test. Both heads
read forwards only. Then the test speaker's strings are heard live, as piped PCM. Takes up a run where it stopped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from rondeau.data.audio.find import find_audio
from rondeau.data.made.digits import DIGITS
from rondeau.data.made.strings import joined_strings
from rondeau.insight.files import read_lines
from rondeau.insight.results import Metric
from rondeau.tasks.recognition.live import PIECE, Live
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.speed import total_speed

STRINGS, LONGEST = 200, 4
HEADS = ("ctc", "transducer")
OPTIONS = {"batch-size": 8, "joint": 64, "beam": 8, "augment": "light"}
EPOCHS = {"ctc": 30, "transducer": 30}
PERCENT = Metric("wer", percent=True)


def main() -> None:
    """Join the strings, train as a user would, hear the test speaker live, and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder that holds fsdd")
    parser.add_argument("--out", type=Path, default=Path("runs/fsdd_strings"), help="where strings and runs are put")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--heads", nargs="+", default=list(HEADS), choices=HEADS)
    asked = parser.parse_args()
    manifest = asked.out / f"strings-{asked.seed}" / "manifest.jsonl"
    if not manifest.exists():
        words = find_audio(asked.data / "fsdd" / "recordings", "{label}_{speaker}_{take}.wav")
        joined_strings(words, manifest.parent, STRINGS, LONGEST, asked.seed, text_of=lambda label: DIGITS[int(label)])
    runs = [trained(manifest, asked.out / f"{head}-{asked.seed}", head, asked.seed) for head in asked.heads]
    for line in rows(runs):
        print(line)
    for run in runs:
        print(live(run, manifest))


def trained(manifest: Path, out: Path, head: str, seed: int) -> Path:
    """The folder of a finished run."""
    if not (out / "results.json").exists():
        options = [
            part for name, value in {**OPTIONS, "epochs": EPOCHS[head]}.items() for part in (f"--{name}", str(value))
        ]
        task = ["--task", "speech_recognition", "--head", head, "--streaming", "--seed", str(seed), "--no-insight"]
        begun = (out / "config.json").exists()
        given = ["--resume", str(out)] if begun else [str(manifest), *task, *options, "--out", str(out)]
        subprocess.run([sys.executable, "-m", "rondeau", "train", *given], check=True)
    return out


def rows(runs: list[Path]) -> list[str]:
    """The table: baselines of the first run, and each run's own model."""
    lines = ["| model | word error rate | character error rate | training |", "|---|---|---|---|"]
    for number, run in enumerate(runs):
        found = json.loads((run / "results.json").read_text(encoding="utf-8"))["rows"]
        for row in found[-1:] if number else found:
            own = row is found[-1]
            speed: Any = total_speed(read_lines(run / "speed.jsonl")) if own else None
            took = f"{speed['seconds'] / 60:.0f} minutes" if speed else "–"
            lines.append(f"| {row['name']} | {_figure(row, 'wer')} | {_figure(row, 'cer')} | {took} |")
    return lines


def _figure(row: dict[str, Any], name: str) -> str:
    return PERCENT.show_with(row["scores"][name], row.get("intervals", {}).get(name))


def live(run: Path, manifest: Path, most: int = 60) -> str:
    """The test speaker's strings, piped in one after another: what was heard, how fast, and how late each word came.

    A word's latency is the time from the true end of its recording, which the join knows, until its last character was
    told, in seconds of sound, with the computing of that piece added.
    """
    folder = RunFolder.open(run)
    offline = {row["path"]: row["written"] for row in folder.read_lines(folder.predictions)}
    said = {one["path"]: one for one in map(json.loads, manifest.read_text(encoding="utf-8").splitlines())}
    seconds = busy = 0.0
    late: list[float] = []
    same = 0
    names = list(offline)[:most]
    for name in names:
        samples, rate = soundfile.read(manifest.parent / name, dtype="int16")
        hearing, size = Live(folder, rate), 2 * round(PIECE * rate)
        pcm = samples.tobytes()
        told: list[tuple[str, float]] = []
        for begin in range(0, len(pcm), size):
            one = hearing.push(pcm[begin : begin + size])
            told += [(character, one.told + hearing.pieces[-1]) for character in one.text]
        told += [(character, hearing.seconds + hearing.pieces[-1]) for character in hearing.finish().text]
        text = "".join(character for character, _ in told).strip()
        same += text == offline[name]
        if text == said[name]["text"]:  # whose words are known to be where they were said
            late += _latencies(told, said[name]["ends"])
        seconds, busy = seconds + hearing.seconds, busy + hearing.busy
    figures = f"{seconds:.0f} s of sound, real-time factor {busy / seconds:.3f}; {same} of {len(names)} as offline"
    if late:
        middle, most_of_it = np.percentile(late, [50, 95])
        figures += f"; {len(late)} words told {middle:.2f} s after their end (median), 95 % within {most_of_it:.2f} s"
    return f"live, {run.name}: {figures}"


def _latencies(told: list[tuple[str, float]], ends: list[float]) -> list[float]:
    """Of each word when its last character was told, less when it was over."""
    closed: list[float] = []
    before, last = " ", 0.0
    for character, second in [*told, (" ", told[-1][1])]:
        if character == " " and before != " ":
            closed.append(last)
        before, last = character, second
    return [second - end for second, end in zip(closed, ends, strict=True)]


if __name__ == "__main__":
    main()
