"""The sections of a report, in the order they are read; each module makes some from what stands in a run's folder."""

from __future__ import annotations

from collections.abc import Callable

from rondeau.report.blocks import Section
from rondeau.report.sections.answers import by_group, confusion, data, examples
from rondeau.report.sections.attention import attention
from rondeau.report.sections.curves import curves
from rondeau.report.sections.dynamics import dynamics
from rondeau.report.sections.forecast import forecast
from rondeau.report.sections.gates import gates, state
from rondeau.report.sections.gradient import gradient
from rondeau.report.sections.inspected import learning_rate, saliency, surprise, trajectories, worst
from rondeau.report.sections.learning import baselines, learning
from rondeau.report.sections.model import model
from rondeau.report.sections.music import music
from rondeau.report.sections.repeat import repeat
from rondeau.report.sections.summary import summary
from rondeau.report.sections.updates import updates
from rondeau.report.sections.written import written
from rondeau.tasks.record import RunRecord

SECTIONS: tuple[Callable[[RunRecord], Section | None], ...] = (
    summary,
    learning,
    baselines,
    confusion,
    by_group,
    examples,
    forecast,
    curves,
    attention,
    learning_rate,
    gradient,
    gates,
    state,
    trajectories,
    updates,
    dynamics,
    surprise,
    saliency,
    worst,
    written,
    music,
    data,
    model,
    repeat,
)


def sections(record: RunRecord) -> list[Section]:
    """Those sections for which the run has something to show."""
    return [made for make in SECTIONS if (made := make(record)) is not None]
