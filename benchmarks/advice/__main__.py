"""`python -m benchmarks.advice`: how often each rule is right, as the table of the docs."""

from __future__ import annotations

import argparse
import sys
import time
import warnings

import torch

from benchmarks.advice.faults import FAULTS
from benchmarks.advice.rates import DEVELOPED, MEASURED, cases, table


def main() -> None:
    """Draw, train, ask, count."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.advice", description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="networks of each kind")
    parser.add_argument("--development", action="store_true", help="those by which thresholds were chosen")
    parser.add_argument("--only", choices=["healthy", "windowed", *FAULTS], help="networks of this kind alone")
    parser.add_argument("--verbose", action="store_true", help="a line for each network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    began = time.monotonic()
    first = DEVELOPED if options.development else MEASURED
    say = (lambda line: print(line, file=sys.stderr, flush=True)) if options.verbose else (lambda line: None)
    found = list(cases(options.count, first, say, options.only))
    print(table(found))
    print(f"{len(found)} networks in {(time.monotonic() - began) / 60:.0f} minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
