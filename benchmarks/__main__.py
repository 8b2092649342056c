"""`python -m benchmarks`: Rondeau beside its peers, as a table, as JSON and as a drawing.

Ends with status 1 when a correctness gate was red or something that was to be measured was not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import chart, engine, machine, recompute
from benchmarks.cases import CASES, DENSE, INFERENCE, QUICK, RAGGED, SINGLE, STREAM, STREAMING, TRAINING, Case, Problem
from benchmarks.floors import floors
from benchmarks.formulas import CUSTOM, FORMULAS, STANDARD
from benchmarks.measure import GREEN, LEFT_OUT, Outcome, measure
from benchmarks.models import MODELS, Comparison
from benchmarks.peers import EVERYBODY, OURS, PEERS, Peer
from benchmarks.pool import PeerError, Pool, Worker
from benchmarks.report import Report, as_json, faults, text

ROUNDS = 9
GROUPS = {"dense": DENSE, "single": SINGLE, "ragged": RAGGED, "all": CASES}
EXTRA = ("streaming", "memory", "models", "recompute")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for; returns the exit status."""
    options = parse(arguments)
    missing = {peer.name: peer.missing for peer in options.peers if peer.missing}
    peers = [peer for peer in options.peers if not peer.missing]
    report = Report(machine.describe(), options.rounds, missing=missing)
    with Pool({engine.VARIABLE: options.engine}) as pool:
        refused: dict[tuple[str, str, str], tuple[int, str]] = {}
        for problem in problems(options):
            say(problem.name)
            left_out = known_too_long(problem, refused)
            try:
                outcome = measure(pool, problem, peers, options.rounds, left_out)
            except PeerError as error:  # the reference or sgemm, which are nobody's fault but the benchmark's
                report.faults.append(f"{problem.name}: {error}")
                continue
            except KeyboardInterrupt:  # what there is after an hour is worth a report
                report.faults.append(f"interrupted at {problem.name}")
                break
            remember_too_long(outcome, refused)
            report.outcomes.append(outcome)
        if options.recompute:
            say("recompute")
            try:
                environment = {engine.VARIABLE: options.engine}
                report.recompute = recompute.measure(pool, environment, options.rounds, options.quick)
            except PeerError as error:
                report.faults.append(f"recompute: {error}")
            else:
                cost = report.recompute.again
                report.faults += [f"recompute: {cost.status}: {cost.note}"] if cost.status != GREEN else []
    if options.memory:
        report.memory, lacking = memory(options)
        report.faults += lacking
    if options.models:
        report.models, lacking = models(options)
        report.faults += lacking
    report.floors = floors(report.outcomes, report.memory)
    report.faults += faults(report.outcomes)
    if options.named_peers:
        report.faults += [f"{name}: not installed, and asked for" for name in missing]
    print(text(report))
    if options.json:
        options.json.write_text(json.dumps(as_json(report), indent=1) + "\n")
    if options.svg:
        options.svg.write_bytes(chart.draw(report.outcomes))
    return 1 if report.faults else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options, names turned into cases and peers."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.splitlines()[0] if __doc__ else None)
    names = f"{', '.join([*GROUPS, *EXTRA])}, or one of {', '.join(case.name for case in CASES)}"
    parser.add_argument("--cases", type=commas, help=f"{names}; default: all")
    parser.add_argument("--cells", type=commas, default=list(FORMULAS), help=", ".join(FORMULAS))
    parser.add_argument("--peers", type=commas, help=", ".join(peer.name for peer in PEERS))
    parser.add_argument("--modes", type=commas, default=[TRAINING, INFERENCE], help=f"{TRAINING}, {INFERENCE}")
    parser.add_argument("--rounds", type=int, help=f"at least {ROUNDS}, the default")
    parser.add_argument("--engine", default=engine.NATIVE, choices=[engine.NATIVE, engine.REFERENCE])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, every round included")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw it")
    parser.add_argument("--quick", action="store_true", help="tiny cases and few rounds: whether it runs, not how fast")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (3 if options.quick else ROUNDS)
    if options.rounds < ROUNDS and not options.quick:
        parser.error(f"--rounds: at least {ROUNDS}; fewer only with --quick, whose figures say nothing")
    options.named_peers = options.peers is not None
    chosen = check(parser, "--peers", options.peers, [peer.name for peer in PEERS])
    options.peers = [EVERYBODY[name] for name in chosen]
    options.cells = check(parser, "--cells", options.cells, list(FORMULAS))
    options.modes = check(parser, "--modes", options.modes, [TRAINING, INFERENCE])
    wanted = check(parser, "--cases", options.cases, [*GROUPS, *EXTRA, *(case.name for case in CASES)])
    tiny = options.quick and options.cases is None
    for name in EXTRA:
        setattr(options, name, name in wanted and not tiny)
    options.cases = list(QUICK) if tiny else list(pick(wanted))
    return options


def commas(value: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in value.split(",") if name.strip()]


def check(parser: argparse.ArgumentParser, option: str, names: list[str] | None, known: list[str]) -> list[str]:
    """The names, all known ones where none were given; an unknown one ends the program."""
    for name in names or ():
        if name not in known:
            parser.error(f"{option}: there is no {name!r}; known are {', '.join(known)}")
    return known if names is None else names


def pick(names: Sequence[str]) -> Iterator[Case]:
    """The cases behind names of cases and of groups, each once, in the order in which they are defined."""
    for case in CASES:
        if any(name == case.name or case in GROUPS.get(name, ()) for name in names):
            yield case


def problems(options: argparse.Namespace) -> Iterator[Problem]:
    """What is measured: training of every cell, inference of those for which peers have kernels, one stream."""
    for mode in options.modes:
        for cell in (cell for cell in (*STANDARD, *CUSTOM) if cell in options.cells):
            for case in options.cases:
                if mode == TRAINING or (cell in STANDARD and not case.ragged):
                    yield Problem(cell, case, mode)
    if options.streaming and "lstm" in options.cells:
        yield Problem("lstm", STREAM, STREAMING)


def known_too_long(problem: Problem, refused: dict[tuple[str, str, str], tuple[int, str]]) -> dict[str, str]:
    """Compilers that gave up on as many steps of the same cell before."""
    return {
        peer: f"{why} at {time} steps"
        for (peer, cell, mode), (time, why) in refused.items()
        if (cell, mode) == (problem.cell, problem.mode) and problem.case.time >= time
    }


def remember_too_long(outcome: Outcome, refused: dict[tuple[str, str, str], tuple[int, str]]) -> None:
    """Keep the smallest number of steps for which a compiler took too long."""
    problem = outcome.problem
    for name, entry in outcome.entries.items():
        key = name, problem.cell, problem.mode
        if entry.status == LEFT_OUT and (key not in refused or problem.case.time < refused[key][0]):
            refused[key] = problem.case.time, entry.note


def memory(options: argparse.Namespace) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Peaks of a training step of an LSTM, each in a fresh process; and a line for each that could not be had."""
    found, lacking = {}, []
    pair: tuple[Peer, Peer] = OURS, EVERYBODY["torch.nn"]
    for case in DENSE:
        problem = Problem("lstm", case)
        say(f"memory {case.name}")
        try:
            ours, theirs = (fresh_memory(peer, problem, options.engine) for peer in pair)
        except PeerError as error:
            lacking.append(f"memory {case.name}: {error}")
        else:
            found[case.name] = ours, theirs
    return found, lacking


def models(options: argparse.Namespace) -> tuple[list[Comparison], list[str]]:
    """Models written for torch.nn before and after `rondeau.accelerate`; and a line for each that could not be had."""
    found: list[Comparison] = []
    lacking: list[str] = []
    worker = Worker(replace(OURS), {engine.VARIABLE: options.engine})
    try:
        for name in MODELS:
            for mode in options.modes:
                say(f"{name} {mode}")
                try:
                    found.append(worker.ask("compare", name, mode, options.rounds, patience=OURS.patience))
                except PeerError as error:
                    lacking.append(f"{name} {mode}: {error}")
    finally:
        worker.close()
    wrong = [
        f"{c.model} {c.mode}: off by {c.errors[1]:.3g} epsilon, before by {c.errors[0]:.3g}"
        for c in found
        if not c.green
    ]
    return found, [*lacking, *wrong]


def fresh_memory(peer: Peer, problem: Problem, chosen: str) -> int:
    """Bytes, from a process of its own."""
    worker = Worker(replace(peer), {engine.VARIABLE: chosen})
    try:
        return int(worker.ask("memory", problem, patience=peer.patience))
    finally:
        worker.close()


def say(what: str) -> None:
    """Progress, where it does not mix with the table."""
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
