"""JSB chorales, the next step of 88 keys: rows of docs/results.md.

    python -m benchmarks.results.jsb_chorales --data ../shared/data [--kind independent|chained]

The protocol of Bai, Kolter & Koltun 2018 (arXiv 1803.01271): the sum of 88 binary crossentropies a step, over all steps
but each piece's first; the epoch that is best on the validation part.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rondeau.insight.files import read_lines
from rondeau.tasks.speed import total_speed

KINDS = {
    "independent": {"chained": 0, "units": 200, "epochs": 150, "patience": 40, "learning-rate": 0.01, "dropout": 0.5},
    "chained": {"chained": 256, "units": 256, "epochs": 25, "transpose": 5, "learning-rate": 0.003, "dropout": 0.4},
}
COMMON = ["--clipnorm", "1", "--no-insight"]


def main() -> None:
    """Train as a user would, and print a row for each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder that holds jsb_chorales")
    parser.add_argument("--kind", choices=[*KINDS], help="default: both")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("| | weights | nats a step | minutes | command |\n| --- | ---: | ---: | ---: | --- |")
    for number, kind in enumerate([given.kind] if given.kind else KINDS):
        options = [part for name, value in KINDS[kind].items() for part in (f"--{name}", str(value))]
        command = ["train", str(given.data / "jsb_chorales" / "JSB_Chorales.mat"), *options, *COMMON]
        command += ["--seed", str(given.seed)]
        with tempfile.TemporaryDirectory() as scratch:
            run = Path(scratch) / "run"
            subprocess.run([sys.executable, "-m", "rondeau", *command, "--out", str(run)], check=True)
            rows = json.loads((run / "results.json").read_text(encoding="utf-8"))["rows"]
            speed: Any = total_speed(read_lines(run / "speed.jsonl")) or {}
        for row in rows if number == 0 else rows[-1:]:
            low, high = row["intervals"]["nats_per_step"]
            figure = f"{row['scores']['nats_per_step']:.3f} ({low:.3f} to {high:.3f})"
            own = row is rows[-1]
            how = f"{speed['seconds'] / 60:.0f} | `rondeau {' '.join(command)}`" if own and speed else "– | –"
            print(f"| {row['name']} | {row['parameters'] or '–'} | {figure} | {how} |")


if __name__ == "__main__":
    main()
