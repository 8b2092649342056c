"""A rule on clipping: it acts all the time, or is missing where gradients leap."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import median

from rondeau.insight.facts import Facts
from rondeau.insight.rules.base import Advice, percent

ENOUGH = 8  # samples: a share of fewer says nothing
ALWAYS = 0.9  # of the samples: what is always scaled down is a learning rate, not a guard
LEAP = 10.0  # times its neighbours' median: batches differ by a few times, not by ten
WILD = 30.0  # times, of a batch's loss: a square of what LEAP is to gradients, and no less than wild targets make
ROUGH = 3.0  # times between a sample and the next, at the median: it leaps up and down all the time
LEARNT = 0.8  # of the loss taken off: what leaps then is small, and has done no harm
HARD = 3.0  # times the limit, at the median: below, clipping still tells large gradients from small ones
HIGH = 3.0  # times the median of all: a leap among gradients that are nearly zero does no harm
AROUND = 4  # samples before and after: norms fall as a network learns, so that only near ones can be compared


def clipping(facts: Facts) -> list[Advice]:
    """Clipping changes nearly every gradient, or there is none while norms leap (Pascanu et al. 2013)."""
    known = [sample for sample in facts.samples if sample.clipped is not None]
    if len(known) < ENOUGH:
        return []
    share = sum(bool(sample.clipped) for sample in known) / len(known)
    if share >= ALWAYS:
        return _always(facts, share)
    if any(sample.clip is not None or sample.clipped for sample in known):
        return []
    leap, rough, wild = leaps(facts.gradients), roughness(facts), leaps(_losses(facts))
    if facts.learnt is not None and facts.learnt > LEARNT:
        leap, rough = 0.0, 1.0
    return [_never(facts, leap, rough, wild)] if leap >= LEAP or rough >= ROUGH or wild >= WILD else []


def _always(facts: Facts, share: float) -> list[Advice]:
    norms = facts.gradients
    limit = next((sample.clip for sample in reversed(facts.samples) if sample.clip is not None), None)
    middle = median(norms) if norms else math.nan
    if limit is not None and middle < HARD * limit:
        return []
    against = f" to {limit:g}, while its norm is {middle:.3g} at the median" if limit is not None and norms else ""
    wanted = 2 * middle
    text = (
        f"{percent(share)} of the sampled gradients were clipped{against}: all of them are scaled down, "
        "and the rare wild one is no longer told from the others."
    )
    fix = facts.fix(f"global_clipnorm={wanted:.2g}", f"rondeau train --clipnorm {wanted:.2g}")
    return [Advice("clips_always", "hint", "Clipping acts all the time", text, fix, "gradient-norm", {"share": share})]


def _never(facts: Facts, leap: float, rough: float, wild: float) -> Advice:
    middle = median(facts.gradients)
    said = f"differs {rough:.1f} times from one to the next"
    if leap >= LEAP:
        said = f"leapt to {leap:,.0f} times those around it"
    elif wild >= WILD:
        said = f"is not limited where a batch's loss leapt to {wild:,.0f} times those around it"
    text = (
        f"The gradient's norm {said} (its median is {middle:.3g}), and nothing clips it: one such step can undo many."
    )
    robust = ", or loss='huber' where targets are wild" if wild >= WILD else ""
    fix = facts.fix(f"global_clipnorm={2 * middle:.2g}{robust}", f"rondeau train --clipnorm {2 * middle:.2g}")
    numbers = {"leap": leap, "rough": rough, "loss": wild}
    title = "Gradients leap, and nothing clips them"
    return Advice("clips_never", "problem", title, text, fix, "gradient-norm", numbers)


def _losses(facts: Facts) -> list[float]:
    return [sample.loss for sample in facts.samples if sample.loss is not None and math.isfinite(sample.loss)]


def leaps(values: Sequence[float]) -> float:
    """The largest among those around it, as a multiple of their median; the first updates' are left out."""
    values = values[2:]
    middle, found = median(values or [0.0]), 0.0
    for place, value in enumerate(values):
        near = [*values[max(place - AROUND, 0) : place], *values[place + 1 : place + 1 + AROUND]]
        if near and median(near) > 0 and value > HIGH * middle:
            found = max(found, value / median(near))
    return found


def roughness(facts: Facts) -> float:
    """The median ratio of a sampled norm to the next, the larger by the smaller; 1 where all are alike."""
    norms = [norm for norm in facts.gradients[2:] if norm > 0]
    return median([max(a, b) / min(a, b) for a, b in itertools.pairwise(norms)] or [1.0])
