"""`python -m benchmarks.gallery`: every cell learns every problem at every length; pictures, figures and tables follow.

Takes about half an hour on one thread. `--draw` makes pictures and tables anew from what was measured last.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.gallery import draw, page
from benchmarks.gallery.cells import CELLS, TOO_FAST
from benchmarks.gallery.problems import PROBLEMS
from benchmarks.gallery.train import JUDGED, Plan, Run, run

DOCS = Path(__file__).parents[2] / "docs"
UPDATES = {100: 3000, 300: 2000, 1000: 1500}  # by length: longer ones cost more


def main() -> None:
    """Parse, measure, draw, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gallery", description=__doc__)
    parser.add_argument("--folder", type=Path, default=DOCS / "gallery", help="for pictures and figures")
    parser.add_argument("--page", type=Path, default=DOCS / "gallery.md", help="whose tables are renewed")
    parser.add_argument("--steps", type=int, nargs="+", default=list(UPDATES), help="lengths")
    parser.add_argument("--updates", type=int, help="for every length; default: 3,000 at 100 steps, 1,500 at 1,000")
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--draw", action="store_true", help="train nothing")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    figures = options.folder / "measured.json"
    if not options.draw:
        page.save(_measured(options), figures)
    runs = page.read(figures)
    for name in page.problems(runs):
        for kind, function in (("learning", draw.learning), ("gradients", draw.gradients)):
            (options.folder / f"{name}-{kind}.svg").write_bytes(function(runs, name))
    if options.page.exists():
        text = options.page.read_text("utf-8")
        options.page.write_text(page.filled(text, page.tables(runs)), "utf-8")


def _measured(options: argparse.Namespace) -> list[Run]:
    torch.set_num_threads(1)
    runs = []
    for steps in options.steps:
        plan = Plan(updates=options.updates or UPDATES.get(steps, max(1, 300_000 // steps)))
        for problem in PROBLEMS:
            too_fast = [TOO_FAST] if (steps, problem) == (max(options.steps), "adding") else []
            for cell in [*options.cells, *too_fast]:
                found = run(problem, cell, steps, plan)
                said = f"{PROBLEMS[problem].score_name} {found.score:.3g} on {JUDGED} not seen"
                print(f"{problem:>7} {steps:>5,} steps  {cell:<13} {said}, {found.seconds:.0f} s", flush=True)
                runs.append(found)
                page.save(runs, options.folder / "measured.json")  # in case it is interrupted
    return runs


if __name__ == "__main__":
    main()
