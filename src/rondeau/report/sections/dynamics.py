"""The recurrent step as a dynamical system."""

from __future__ import annotations

from rondeau.report.blocks import Block, Section, Table, drawn, slug
from rondeau.report.figures import dynamics as figures
from rondeau.tasks.record import RunRecord


def dynamics(record: RunRecord) -> Section | None:
    """Spectral radius, singular values of the step's Jacobian, Lyapunov exponents, as measured last: of the best model,
    where it was inspected, else while it trained.
    """
    measured, latest = record.measured, figures.latest(record.samples)
    if measured is not None and measured.dynamics:
        when, found = "of the best model", measured.dynamics
    elif latest is not None:
        when, found = f"at update {latest[0]}", latest[1]
    else:
        return None
    rows = [
        (
            one.name,
            "–" if one.radius is None else f"{one.radius:.3f}",
            f"{max(one.exponents):+.4f}" if one.exponents else "–",
        )
        for one in found
    ]
    heads = ("scan", "spectral radius", "largest Lyapunov exponent")
    blocks: list[Block] = [Table(f"Dynamics {when}", heads, rows, frozenset({1, 2}))]
    for one in found:
        blocks += drawn(
            f"jacobian-{slug(one.name)}",
            figures.jacobian(one),
            f"{one.name}: how much one step, and many in a row, can stretch or shrink a small change of the state. "
            "Look at the right: a line that falls forgets, one that rises explodes, one near the dashed 1 keeps.",
            f"Singular values of the Jacobian of {one.name} along a sequence, and of its products.",
        )
    blocks += drawn(
        "exponents",
        figures.exponents(found),
        "Lyapunov exponents: the average rate at which small differences grow. Look at the first: above 0 the state "
        "is chaotic and gradients explode; far below 0 it forgets in about -1 / exponent steps.",
        "Lyapunov exponents. " + " ".join(f"{name}: largest {largest}." for name, _, largest in rows),
    )
    return Section("dynamics", "Dynamics", blocks)
