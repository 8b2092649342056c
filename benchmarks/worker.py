"""A peer's own process: two threads, awake only when it is asked something. `python -m benchmarks.worker PEER`.

Requests come pickled on standard input and answers go out where standard output was; what a library prints goes to
standard error instead.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import sys
import time
import traceback
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from benchmarks.cases import Problem
from benchmarks.memory import peak_above
from benchmarks.messages import Failure, Prepared, Turn
from benchmarks.peers import EVERYBODY
from benchmarks.peers.base import Runner
from benchmarks.stats import median

QUIET, SETTLING = 0.005, 100  # seconds in which a process must stay quiet, and how often that is tried
TURN = 0.08  # seconds a turn should last at least, so that one wake-up does not show


@dataclass
class Desk:
    """What the process holds: runners by key, and when it last answered."""

    peer: str
    runners: dict[str, tuple[Runner, int]] = field(default_factory=dict)
    cpu: float = field(default_factory=time.process_time)
    wall: float = field(default_factory=time.perf_counter)

    def wake(self) -> None:
        """Import what the peer stands on, which is not counted as preparing."""
        self._module()

    def _module(self) -> Any:
        return importlib.import_module(f"benchmarks.peers.{EVERYBODY[self.peer].module}")

    def prepare(self, key: str, problem: Problem, factory: str = "make") -> Prepared:
        """Build, compile, compute once for the gate and warm up."""
        begun = time.perf_counter()
        runner: Runner = getattr(self._module(), factory)(problem)
        results = runner.results()
        times = [timed(runner) for _ in range(3)]
        repeats = max(1, min(5000, round(TURN / min(times))))
        self.runners[key] = runner, repeats
        gc.collect()
        return Prepared(results, runner.note, time.perf_counter() - begun, repeats)

    def turn(self, key: str) -> Turn:
        """One repetition to wake up by, then those that count."""
        idle_cpu, idle = time.process_time() - self.cpu, time.perf_counter() - self.wall
        runner, repeats = self.runners[key]
        gc.disable()
        timed(runner)
        seconds = median([timed(runner) for _ in range(repeats)])
        gc.enable()
        settle()
        return Turn(seconds, idle_cpu, idle)

    def memory(self, problem: Problem) -> int:
        """Bytes by which a training step raises the process's memory at its peak, above data and weights."""
        module = self._module()
        short = replace(problem, case=replace(problem.case, time=min(3, problem.case.time)))
        timed(module.make(short))  # what is allocated once and for all is no part of a step
        return peak_above(module.make(problem))

    def compare(self, name: str, mode: str, rounds: int) -> Any:
        """A model before and after `rondeau.accelerate`."""
        self.wake()
        return importlib.import_module("benchmarks.models").compare(name, mode, rounds)

    def forget(self) -> None:
        """Let go of every runner."""
        self.runners.clear()
        gc.collect()


def settle() -> None:
    """Wait until the libraries' threads have stopped spinning, so that nobody pays for the turn before."""
    for _ in range(SETTLING):
        begun = time.process_time()
        time.sleep(QUIET)
        if time.process_time() - begun < QUIET / 10:
            return


def timed(runner: Runner) -> float:
    """Seconds of a repetition; the parameters' change before it is not counted."""
    runner.change()
    begun = time.perf_counter()
    runner.run()
    return time.perf_counter() - begun


def serve(desk: Desk, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until nobody asks any more."""
    while True:
        try:
            what, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            answer = getattr(desk, what)(*arguments)
        except Exception as error:  # whatever a peer does not manage is reported, and fails the case
            answer = Failure(f"{type(error).__name__}: {error}", traceback.format_exc())
        desk.cpu, desk.wall = time.process_time(), time.perf_counter()
        pickle.dump(answer, answers, protocol=5)
        answers.flush()


def main() -> None:
    """Two processor cores where they can be chosen, two threads everywhere else."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    desk = Desk(sys.argv[1])
    with answers:
        serve(desk, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
