"""How far back the gradient reaches."""

from __future__ import annotations

from rondeau.insight.records import Sample, ScanSample
from rondeau.report.blocks import Block, Section, Table, Text, drawn
from rondeau.report.figures import flow
from rondeau.tasks.record import RunRecord

HEADS = ("scan", "factor per step", "under 1 % after", "longest dependency it can learn")


def gradient(record: RunRecord) -> Section | None:
    """The gradient over the steps back, the memory and the decay that follow from it."""
    samples = record.samples
    if not any(sample.scans for sample in samples):
        return None
    samples = [sample for sample in samples if sample.scans]
    last = samples[-1]
    blocks: list[Block] = [
        Text(
            "A recurrent network learns a dependency only if the gradient still reaches the step on which it depends. "
            f"The rows of the last sampled update had {_lengths(last)} steps."
        )
    ]
    blocks.append(
        Table(
            f"How far back each scan's gradient reaches, at update {last.step}",
            HEADS,
            [row(scan) for scan in last.scans],
            frozenset({1, 2, 3}),
        )
    )
    if last.left:
        names = "; ".join(f"{name} ({why})" for name, why in last.left.items())
        blocks.append(Text(f"Not measured: {names}."))
    blocks += drawn(
        "flow",
        flow.gradient_flow(samples),
        "The gradient that a row's last output sends back, as a share of what it is at the last step; dotted before or "
        "early in training, solid late. Look where a line falls under the dashed 1 %: what lies further back is hardly "
        "learnt. A line that rises to the right explodes." + _cut_note(last.scans),
        _flow_alt(samples),
    )
    blocks += drawn(
        "memory",
        flow.memory(samples),
        "Steps back until less than 1 % of the gradient is left, over the training. Look whether it comes up to the "
        "dashed line, the median row; below it, the ends of rows cannot learn from their beginnings. A triangle says "
        "that more was left as far back as was measured.",
        "Effective memory over the training. " + _sentences(last.scans),
    )
    blocks += drawn(
        "decay",
        flow.decay(samples),
        "By how much the gradient is multiplied on each step back. Below 1 it vanishes (0.9: a tenth is left after 22 "
        "steps), above 1 it explodes. Look whether training brings it near 1 from below.",
        "Decay of the gradient per step over the training. "
        + " ".join(f"{s.name}: {s.decay.factor:.3f}." for s in last.scans if s.decay.factor is not None),
    )
    blocks += drawn(
        "whole-loss",
        flow.whole_loss(samples),
        "The gradient of the whole loss by the state, late in training. Where every step has a loss, it is fed at each "
        "step and need not fall even where nothing reaches far; look at it for steps that stand out.",
        "Norm of the whole loss's gradient by the state against steps back, for each scan.",
    )
    return Section("gradient", "Gradient through time", blocks)


def row(scan: ScanSample) -> tuple[str, str, str, str]:
    """The cells of a table under `HEADS`."""
    decay = scan.decay
    memory = f"more than {decay.reach} steps" if decay.memory is None else f"{decay.memory} steps"
    cut = ", where the window cuts" if scan.cut is not None and scan.horizon == scan.cut - 1 else ""
    factor = "–" if decay.factor is None else f"{decay.factor:.3f}"
    return scan.name, factor, memory, f"{scan.horizon} steps{cut}"


def in_words(scan: ScanSample) -> str:
    """`less than 1 % is left after 37 steps, half of it after 5.6`."""
    decay = scan.decay
    if decay.memory is None:
        return f"more than 1 % is left even {decay.reach} steps back, as far as was measured"
    half = f", half after {decay.half_life:.1f}" if decay.half_life is not None else ""
    return f"less than 1 % is left after {decay.memory} steps{half}"


def _sentences(scans: list[ScanSample]) -> str:
    return " ".join(f"{scan.name}: {in_words(scan)}." for scan in scans)


def _flow_alt(samples: list[Sample]) -> str:
    return (
        "Gradient by the state against steps back on a logarithmic scale, for each scan, at update "
        f"{samples[0].step} and {samples[-1].step}. " + _sentences(samples[-1].scans)
    )


def _cut_note(scans: list[ScanSample]) -> str:
    cuts = sorted({scan.cut for scan in scans if scan.cut is not None})
    if not cuts:
        return ""
    steps = " or ".join(map(str, cuts))
    return f" The window cuts every gradient after {steps} steps: nothing beyond can be learnt, however it flows."


def _lengths(sample: Sample) -> str:
    short, median, long = sample.lengths
    return f"{long}" if short == long else f"{short} to {long} (median {median})"
