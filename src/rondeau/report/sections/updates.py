"""Gradient norms, clipping, and the size of updates."""

from __future__ import annotations

from rondeau.report.blocks import Block, Section, drawn
from rondeau.report.figures import updates as figures
from rondeau.tasks.record import RunRecord


def updates(record: RunRecord) -> Section | None:
    """The gradient's norm over the updates, and each parameter's update beside its weight."""
    samples = record.samples
    known = [s.clipped for s in samples if s.clipped is not None]
    share = f"{100 * sum(known) / len(known):.0f} % of the sampled updates were clipped." if known else ""
    blocks: list[Block] = drawn(
        "gradient-norm",
        figures.gradient_norm(samples),
        "The norm of all gradients together, before clipping. Look for spikes (explosions), and how many points are "
        "clipped: nearly all means that the limit sets the learning rate, none that it protects from nothing. " + share,
        "Gradient norm over the updates. " + share,
    )
    found = figures.ratios(samples)
    last = {name: values[-1] for name, values in found.items()}
    extremes = ""
    if last:
        low, high = min(last, key=lambda n: last[n]), max(last, key=lambda n: last[n])
        extremes = f"Smallest now: {low}, {last[low]:.1e}; largest: {high}, {last[high]:.1e}."
    left_out = (
        f" Of {len(found)}, those with the {figures.MOST} most extreme are shown." if len(found) > figures.MOST else ""
    )
    blocks += drawn(
        "update-ratios",
        figures.update_ratios(samples),
        "How large each update is beside the weight it changes; the line is its range over the training, the dot where "
        "it is now. About one in a thousand is usual (dashed); look for parameters outside the grey band: to its left "
        "they hardly learn, to its right the learning rate is too high for them." + left_out,
        "Update-to-weight ratio of each parameter. " + extremes,
    )
    return Section("updates", "Updates", blocks) if blocks else None
