"""One problem, everybody in turn: prepare, gate, then alternating rounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks import gate
from benchmarks.cases import Problem
from benchmarks.formulas import operations
from benchmarks.messages import Prepared, Turn
from benchmarks.peers import OURS, REFERENCE, SGEMM, Peer
from benchmarks.peers.sgemm import outside_operations, square_operations
from benchmarks.pool import PeerError, PeerTimeout, Pool
from benchmarks.stats import median, spread

WAKING = 180.0  # seconds for a framework to be imported
SPINNING = 0.1  # processor seconds per second of somebody else's turn, above which a peer is named
GREEN, RED, FAILED, LEFT_OUT = "green", "red", "failed", "left out"


@dataclass
class Entry:
    """What one participant did with a problem.

    Attributes:
        status: `green`; `red` for wrong results; `failed`; `left out`, which is no fault.
        note: why it is not green, or how it ran.
        errors: of each tensor, in units of epsilon.
        rounds: seconds of each round.
        idle_cpu: processor seconds used per second of others' turns.
    """

    title: str
    status: str = GREEN
    note: str = ""
    errors: dict[str, float] = field(default_factory=dict)
    rounds: list[float] = field(default_factory=list)
    prepared: float = 0.0
    idle_cpu: float = 0.0

    @property
    def seconds(self) -> float | None:
        """The median round; nothing from a red gate."""
        return median(self.rounds) if self.status == GREEN and self.rounds else None

    @property
    def disturbed(self) -> float:
        """See `stats.spread`."""
        return spread(self.rounds) if self.rounds else 0.0


@dataclass
class Outcome:
    """Everything measured of one problem; entries by the peer's name, `dense` being Rondeau at the dense twin."""

    problem: Problem
    entries: dict[str, Entry]
    square: float = 0.0
    outside: float = 0.0

    @property
    def sgemm(self) -> float:
        """Floating-point operations a second: the better of the two products, in the same rounds."""
        return max(self.square, self.outside)

    @property
    def ours(self) -> Entry:
        """Rondeau's entry."""
        return self.entries[OURS.name]

    def ratio(self, name: str) -> float | None:
        """How many times as long as Rondeau a peer takes; nothing where either has no green time."""
        peer = self.entries.get(name)
        theirs, own = peer.seconds if peer else None, self.ours.seconds
        return None if theirs is None or own is None else theirs / own

    def best_ratio(self, names: list[str]) -> float | None:
        """The ratio to the fastest of these."""
        ratios = [ratio for name in names if (ratio := self.ratio(name)) is not None]
        return min(ratios, default=None)

    def share(self, name: str = OURS.name) -> float | None:
        """Useful operations a second as a share of sgemm."""
        entry = self.entries.get(name)
        seconds = entry.seconds if entry else None
        return None if seconds is None or not self.sgemm else operations(self.problem) / seconds / self.sgemm

    @property
    def ragged_efficiency(self) -> float | None:
        """Time per real step of equally long rows, over that of these."""
        dense = self.entries.get("dense")
        if dense is None or dense.seconds is None or self.ours.seconds is None:
            return None
        return (dense.seconds / self.problem.case.dense_twin.steps) / (self.ours.seconds / self.problem.case.steps)


@dataclass
class Seat:
    """Who takes part in the rounds, under which key, and where its times go."""

    peer: Peer
    key: str
    entry: Entry
    idle_cpu: float = 0.0
    idle: float = 0.0


def measure(pool: Pool, problem: Problem, peers: list[Peer], rounds: int, refused: dict[str, str]) -> Outcome:
    """Run a problem by Rondeau and those peers that take it; `refused` says why one of them is to be left out."""
    truth = pool[REFERENCE].ask("prepare", problem.name, problem, patience=REFERENCE.patience).results
    seats, entries = [], {}
    for peer in (OURS, *(peer for peer in peers if peer.takes(problem))):
        reason = refused.get(peer.name)
        entry = Entry(peer.title, LEFT_OUT, reason) if reason else prepare(pool, peer, problem, truth)
        entries[peer.name] = entry
        if entry.status == GREEN:
            seats.append(Seat(peer, problem.name, entry))
    if problem.case.ragged and entries[OURS.name].status == GREEN:
        twin = Problem(problem.cell, problem.case.dense_twin, problem.mode)
        entries["dense"] = prepare_dense(pool, twin)
        if entries["dense"].status == GREEN:
            seats.append(Seat(OURS, "dense", entries["dense"]))
    square, outside = (Seat(SGEMM, key, Entry(key)) for key in ("square", "outside"))
    pool[SGEMM].ask("prepare", "square", problem, "make_square", patience=SGEMM.patience)
    pool[SGEMM].ask("prepare", "outside", problem, patience=SGEMM.patience)
    alternate(pool, [*seats, square, outside], rounds)
    for worker in pool.workers.values():
        if worker.process is not None:
            worker.ask("forget", patience=60)
    return Outcome(
        problem,
        entries,
        square_operations() / median(square.entry.rounds),
        outside_operations(problem) / median(outside.entry.rounds),
    )


def prepare(pool: Pool, peer: Peer, problem: Problem, truth: Any) -> Entry:
    """Make a peer ready and hold its results to the truth."""
    try:
        pool[peer].ask("wake", patience=WAKING)
        ready: Prepared = pool[peer].ask("prepare", problem.name, problem, patience=peer.patience)
    except PeerTimeout as error:
        return (
            Entry(peer.title, LEFT_OUT, f"compiling {error}")
            if peer.compiles
            else Entry(peer.title, FAILED, str(error))
        )
    except PeerError as error:
        return Entry(peer.title, FAILED, str(error).splitlines()[0][:300])
    found = gate.errors(problem, ready.results, truth)
    entry = Entry(peer.title, GREEN, ready.note, found, prepared=ready.seconds)
    if not gate.passes(found):
        name, size = gate.worst(found)
        entry.status, entry.note = RED, f"{name} is off by {size:.3g} epsilon, {gate.TOLERANCE:.0f} are allowed"
    return entry


def prepare_dense(pool: Pool, twin: Problem) -> Entry:
    """Make Rondeau ready for a ragged case's dense twin, which no gate looks at: the dense cases have their own."""
    entry = Entry("Rondeau, rows of one length")
    try:
        pool[OURS].ask("prepare", "dense", twin, patience=OURS.patience)
    except PeerError as error:
        entry.status, entry.note = FAILED, str(error).splitlines()[0][:300]
    return entry


def alternate(pool: Pool, seats: list[Seat], rounds: int) -> None:
    """Everybody once a round, one at a time; every other round the other way about."""
    for number in range(rounds):
        for seat in seats if number % 2 == 0 else seats[::-1]:
            if seat.entry.status != GREEN:
                continue
            try:
                turn: Turn = pool[seat.peer].ask("turn", seat.key, patience=seat.peer.patience)
            except PeerError as error:
                seat.entry.status, seat.entry.note = FAILED, str(error).splitlines()[0][:300]
                continue
            seat.entry.rounds.append(turn.seconds)
            if number:  # before its first turn, the worker was preparing
                seat.idle_cpu, seat.idle = seat.idle_cpu + turn.idle_cpu, seat.idle + turn.idle
    for seat in seats:
        seat.entry.idle_cpu = seat.idle_cpu / seat.idle if seat.idle else 0.0
