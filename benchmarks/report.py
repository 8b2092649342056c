"""What was measured, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks import gate
from benchmarks.cases import STREAMING
from benchmarks.floors import Floor
from benchmarks.formulas import operations
from benchmarks.measure import FAILED, GREEN, RED, SPINNING, Entry, Outcome
from benchmarks.peers import EVERYBODY
from benchmarks.recompute import Cost
from benchmarks.stats import median

if TYPE_CHECKING:  # which stands on torch
    from benchmarks.models import Comparison

NOISY = 0.1  # spread of the rounds above which a figure is marked
BUSY = 0.5  # processes that wanted to run in the minute before, above which nothing should be quoted
UNEXPLAINED = 0.7  # share of sgemm below which docs/performance.md has to say why


@dataclass
class Report:
    """A run of the benchmark, complete.

    Attributes:
        machine: see `machine.describe`.
        missing: peers that are not installed, and what they need.
        faults: why the run fails; empty when it does not.
        memory: case name -> bytes of a training step's peak, of Rondeau and of torch.nn.
        models: models before and after `rondeau.accelerate`.
        recompute: what training in little memory costs in time, where it was measured.
    """

    machine: dict[str, Any]
    rounds: int
    outcomes: list[Outcome] = field(default_factory=list)
    floors: list[Floor] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    memory: dict[str, tuple[int, int]] = field(default_factory=dict)
    models: list[Comparison] = field(default_factory=list)
    recompute: Cost | None = None
    faults: list[str] = field(default_factory=list)


def faults(outcomes: Sequence[Outcome]) -> list[str]:
    """One line for everything that was red or did not come about."""
    return [
        f"{outcome.problem.name}: {entry.title}: {entry.status}: {entry.note}"
        for outcome in outcomes
        for entry in outcome.entries.values()
        if entry.status in (RED, FAILED)
    ]


def text(report: Report) -> str:
    """Everything, as Markdown that also reads well on a screen."""
    parts = [_machine(report)]
    for mode, cell in dict.fromkeys((o.problem.mode, o.problem.cell) for o in report.outcomes):
        chosen = [o for o in report.outcomes if (o.problem.mode, o.problem.cell) == (mode, cell)]
        parts.append(f"## {cell}, {mode}\n\n{outcomes_table(chosen)}")
    if report.memory:
        rows = [[case, _bytes(a), _bytes(b), f"{a / b:.2f}x"] for case, (a, b) in report.memory.items()]
        parts.append(
            "## Peak memory of a training step, lstm\n\n" + table(["case", "Rondeau", "torch.nn", "ratio"], rows)
        )
    if report.models:
        parts.append("## Models of torch.nn, before and after rondeau.accelerate\n\n" + models_table(report.models))
    if report.recompute is not None:
        parts.append("## Recompute over time, lstm, the last output\n\n" + recompute_table(report.recompute))
    if report.floors:
        parts.append("## Floors\n\n" + floors_table(report.floors))
    parts += [f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines) for title, lines in _lists(report) if lines]
    return "\n\n".join(parts) + "\n"


def as_json(report: Report) -> dict[str, Any]:
    """Everything, every round included; times in seconds."""
    return {
        "machine": report.machine,
        "rounds": report.rounds,
        "tolerance_epsilon": gate.TOLERANCE,
        "missing": report.missing,
        "memory": report.memory,
        "models": [{**asdict(model), "ratio": model.ratio} for model in report.models],
        "recompute": None if report.recompute is None else report.recompute.as_json(),
        "outcomes": [_outcome(outcome) for outcome in report.outcomes],
        "floors": [{**asdict(floor), "met": floor.met} for floor in report.floors],
        "faults": report.faults,
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    entries = {
        name: {**asdict(entry), "seconds": entry.seconds, "ratio": outcome.ratio(name)}
        for name, entry in outcome.entries.items()
    }
    return {
        "problem": {**asdict(outcome.problem), "case_name": outcome.problem.case.name},
        "useful_operations": operations(outcome.problem),
        "sgemm": {"square": outcome.square, "outside": outcome.outside},
        "share_of_sgemm": outcome.share(),
        "ragged_efficiency": outcome.ragged_efficiency,
        "entries": entries,
    }


def outcomes_table(outcomes: Sequence[Outcome]) -> str:
    """A row a case, a column a peer: milliseconds, and how many times Rondeau's."""
    peers = list(dict.fromkeys(n for o in outcomes for n in o.entries if n not in ("rondeau", "dense")))
    head = ["case", "Rondeau", "GFLOP/s", "of sgemm", *map(title, peers), "error"]
    rows = []
    for outcome in outcomes:
        seconds, share = outcome.ours.seconds, outcome.share()
        streaming = outcome.problem.mode == STREAMING
        case = outcome.problem.case
        rows.append(
            [
                f"one step, {case.features} -> {case.units}" if streaming else case.name,
                _time(outcome.ours),
                "" if seconds is None or streaming else f"{operations(outcome.problem) / seconds / 1e9:.1f}",
                "" if share is None or streaming else f"{share:.0%}",
                *(_peer(outcome, name) for name in peers),
                f"{gate.worst(outcome.ours.errors)[1]:.0f}" if outcome.ours.errors else "",
            ]
        )
    return table(head, rows)


def title(name: str) -> str:
    """How a peer is called."""
    return EVERYBODY[name].title if name in EVERYBODY else name


def _peer(outcome: Outcome, name: str) -> str:
    entry, ratio = outcome.entries.get(name), outcome.ratio(name)
    if entry is None:
        return ""
    return _time(entry) + (f" ({ratio:.2f}x)" if ratio is not None else "")


def _time(entry: Entry) -> str:
    if entry.seconds is None:
        return entry.status
    noisy = "~" if entry.disturbed > NOISY else ""
    milliseconds = entry.seconds * 1e3
    return noisy + (f"{milliseconds:.3g} ms" if milliseconds >= 0.1 else f"{milliseconds * 1e3:.3g} us")


def models_table(models: Sequence[Comparison]) -> str:
    """A row a model and mode: milliseconds before and after, and how many times as fast it became."""
    rows = []
    for model in models:
        ratio = model.ratio
        times = [f"{median(t) * 1e3:.3g} ms" if ratio is not None else RED for t in (model.before, model.after)]
        rows.append(
            [
                model.model,
                model.mode,
                *times,
                "" if ratio is None else f"{ratio:.2f}x",
                *(f"{e:.0f}" for e in model.errors),
            ]
        )
    return table(["model", "", "before", "after", "ratio", "error before", "after"], rows)


def recompute_table(cost: Cost) -> str:
    """Time and memory of a training step, everything kept and by windows."""
    full, again = cost.peaks
    ratio = "" if cost.ratio is None else f"{cost.ratio:.2f}x"
    error = f"{gate.worst(cost.again.errors)[1]:.3g}"
    head = ["case", "", "step", "ratio", "peak memory", "ratio", "difference in epsilon"]
    name = f"Recompute(every={cost.window})"
    rows = [
        [cost.case.name, cost.full.title, _time(cost.full), "", _bytes(full), "", ""],
        [cost.case.name, name, _time(cost.again), ratio, _bytes(again), f"{again / full:.3f}x", error],
    ]
    return table(head, rows)


def floors_table(floors: Sequence[Floor]) -> str:
    """Each promise beside what was measured."""
    verdicts = {True: "met", False: "MISSED", None: "not measured"}
    rows = [
        [
            floor.what,
            floor.where,
            ("at most " if floor.at_most else "") + _figure(floor.wanted, floor.unit),
            "" if floor.measured is None else _figure(floor.measured, floor.unit),
            verdicts[floor.met],
        ]
        for floor in floors
    ]
    return table(["work", "cases", "floor", "measured", ""], rows)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, its columns as wide as they need."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)


def _figure(value: float, unit: str) -> str:
    return f"{value:.0%}" if unit == "%" else f"{value:.2f}x"


def _bytes(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def _machine(report: Report) -> str:
    machine = report.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    rates = [outcome.sgemm / 1e9 for outcome in report.outcomes if outcome.sgemm]
    sgemm = f"{min(rates):.0f} to {max(rates):.0f} GFLOP/s over the run" if rates else "not measured"
    load = machine["load"]
    warning = [f"OTHER PROGRAMS WERE RUNNING before this began (load {load:.1f}): quote no figure."] * (load > BUSY)
    return "\n".join(
        [
            f"# {machine['cpu']}, {machine['threads']} threads, {machine['cores']} cores to be had",
            "",
            f"{machine['system']}. {versions}. Rondeau's engine: {machine['engine']}. sgemm: {sgemm}.",
            f"Medians of {report.rounds} alternating rounds, one process awake at a time. In brackets: how many times",
            f"Rondeau's time. Errors are in units of float32's epsilon, {gate.TOLERANCE:.0f} are allowed; ~ marks",
            f"rounds that differ by more than {NOISY:.0%}.",
            *warning,
        ]
    )


def _lists(report: Report) -> list[tuple[str, list[str]]]:
    notes: dict[str, list[str]] = {}
    spinning: dict[str, float] = {}
    for outcome in report.outcomes:
        for entry in outcome.entries.values():
            if entry.note and entry.status not in (RED, FAILED):
                line = f"{entry.title}: {'' if entry.status == GREEN else entry.status + ': '}{entry.note}"
                notes.setdefault(line, []).append(
                    f"{outcome.problem.cell} {outcome.problem.mode} {outcome.problem.case.name}"
                )
            if entry.idle_cpu > SPINNING:
                spinning[entry.title] = max(spinning.get(entry.title, 0), entry.idle_cpu)
    missing = [f"{title(name)}: needs {', '.join(needs)}" for name, needs in report.missing.items()]
    if missing:
        missing.append("pip install -c constraints.txt -e '.[bench]' installs them")
    low = [f"{f.what}, {f.where}: {f.measured:.0%}" for f in report.floors if f.measured is not None and _low(f)]
    return [
        ("Peers that are not installed", missing),
        ("How they ran", [f"{line} ({_some(where)})" for line, where in notes.items()]),
        ("Busy while it was not its turn", [f"{who}: {share:.0%} of a core" for who, share in spinning.items()]),
        ("Below 70 % of sgemm", low),
        ("FAILED", report.faults),
    ]


def _low(floor: Floor) -> bool:
    return floor.unit == "%" and "sgemm" in floor.what and floor.measured is not None and floor.measured < UNEXPLAINED


def _some(where: list[str]) -> str:
    return where[0] if len(where) == 1 else f"{len(where)} cases, first {where[0]}"
