"""What it costs in time to train in little memory: `Recompute` against everything kept, an LSTM's last output."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import gate
from benchmarks.cases import Case, Problem
from benchmarks.measure import GREEN, RED, Entry, Seat, alternate
from benchmarks.peers import AGAIN, FULL, WINDOW, Peer
from benchmarks.pool import PeerError, Pool, Worker

CASE = Case(4000, 16, 32, 256)
QUICK_CASE = Case(40, 4, 8, 16)


@dataclass
class Cost:
    """Of a training step: both entries, and the bytes of memory at both peaks, above inputs and weights."""

    case: Case
    window: int
    full: Entry
    again: Entry
    peaks: tuple[int, int]

    @property
    def ratio(self) -> float | None:
        """How many times as long as with everything kept."""
        own, other = self.again.seconds, self.full.seconds
        return None if own is None or other is None else own / other

    def as_json(self) -> dict[str, Any]:
        """Every round included."""
        return {**asdict(self), "ratio": self.ratio}


def measure(pool: Pool, environment: dict[str, str], rounds: int, quick: bool) -> Cost:
    """Both in turn, then the peak of each in a fresh process. Raises `PeerError` where one does not run."""
    problem = Problem("lstm", QUICK_CASE if quick else CASE)
    full, again = (Entry(peer.title) for peer in (FULL, AGAIN))
    whole = pool[FULL].ask("prepare", problem.name, problem, patience=FULL.patience)
    windows = pool[AGAIN].ask("prepare", problem.name, problem, patience=AGAIN.patience)
    again.errors = gate.errors(problem, windows.results, whole.results)
    if not gate.passes(again.errors):
        name, error = gate.worst(again.errors)
        again.status, again.note = RED, f"{name} is {error:.3g} epsilon from what it is with everything kept"
    alternate(pool, [Seat(peer, problem.name, e) for peer, e in ((FULL, full), (AGAIN, again))], rounds)
    for entry in (full, again):
        if entry.status not in (GREEN, RED):
            raise PeerError(f"{entry.title}: {entry.note}")
    peaks = tuple(_peak(peer, problem, environment) for peer in (FULL, AGAIN))
    return Cost(problem.case, min(WINDOW, problem.case.time // 3), full, again, (peaks[0], peaks[1]))


def _peak(peer: Peer, problem: Problem, environment: dict[str, str]) -> int:
    worker = Worker(peer, environment)
    try:
        return int(worker.ask("memory", problem, patience=peer.patience))
    finally:
        worker.close()
