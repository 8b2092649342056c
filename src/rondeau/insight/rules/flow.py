"""Rules on the gradient's way back: it vanishes, it explodes, or a window cuts it off."""

from __future__ import annotations

import math
from functools import partial
from statistics import median

from rondeau.insight.facts import Facts
from rondeau.insight.flow import LEFT
from rondeau.insight.records import ScanSample
from rondeau.insight.rules.base import Advice, Severity, percent, steps
from rondeau.insight.rules.used import knows_little

SHORT = 0.5  # of the sequence: less than half of it takes part in learning
FEW = 10  # steps: in shorter sequences nothing has room to vanish
LEARNT = 0.5  # of the loss taken off: whoever has learnt so much did not need what lies further back, as far as we know
GROWN = 10.0  # times what it was at the last step: noise between rows and steps stays far below, a power does not
CUT = 0.1  # of what it was at the last step: then what comes before a cut would still have counted
STUCK = 0.2  # of the loss taken off at most: then memory that just reaches the cut, at 1 %, is enough to say so
GATED = ("LSTMCell", "GRUCell")


def total(scan: ScanSample) -> list[float]:
    """The gradient by the whole state at each lag, of the last outputs' loss."""
    parts = [flow.last for flow in scan.flow.values()]
    return [math.sqrt(sum(value * value for value in values)) for values in zip(*parts, strict=True)]


def vanishing(facts: Facts) -> list[Advice]:
    """Memory is far shorter than the sequences, and the network has not learnt (Bengio et al. 1994)."""
    found = []
    for name in facts.names:
        scans = facts.scans(name, late=False)  # from the first update on: what it is to learn with
        reach = max((scan.decay.reach for scan in scans), default=0) + 1
        memories = [reach if scan.decay.memory is None else scan.decay.memory for scan in scans]
        if reach < FEW or not memories or median(memories) > SHORT * reach:
            continue
        memory = median(memories)
        learnt = facts.learnt
        if learnt is not None and learnt >= LEARNT and not knows_little(facts):
            continue
        cell = scans[-1].cell
        halves = [scan.decay.half_life for scan in scans if scan.decay.half_life is not None]
        speed = f"halves every {steps(median(halves))}, and " if halves else ""
        constants = [scan.time_constants[3] for scan in scans if scan.time_constants]
        forgets = f" Half of its units forget within {steps(median(constants))}." if constants else ""
        text = (
            f"{name}'s gradient {speed}is below 1 % after {steps(memory)}, while your sequences have "
            f"{steps(reach)}: what lies further back teaches it hardly anything.{forgets}"
        )
        numbers = {"memory": float(memory), "steps": float(reach)}
        if halves:
            numbers["half_life"] = float(median(halves))
        # where another layer reaches back, what is far is learnt there
        severity: Severity = "hint" if learnt is None or any(map(partial(_reaches, facts), facts.names)) else "problem"
        found.append(
            Advice("vanishing", severity, "The gradient vanishes", text, _remember(facts, cell, reach), "flow", numbers)
        )
    return found


def _reaches(facts: Facts, name: str) -> bool:
    """Whether the late gradient of a scan crosses more than half of its sequences."""
    scans = facts.scans(name)
    reach = max((scan.decay.reach for scan in scans), default=0) + 1
    memories = [reach if scan.decay.memory is None else scan.decay.memory for scan in scans]
    return bool(memories) and median(memories) > SHORT * reach


def _remember(facts: Facts, cell: str, reach: int) -> str:
    if cell in GATED:
        chrono = f"{cell.removesuffix('Cell')}(..., bias_initializer=rondeau.initializers.Chrono(max_steps={reach}))"
        other = "--cell gru" if cell == "LSTMCell" else "--cell lstm"
        return facts.fix(chrono, f"rondeau train {other}, or a smaller --window, which then costs less")
    argument = f"LSTM(..., bias_initializer=rondeau.initializers.Chrono(max_steps={reach})), or "
    return facts.fix(f"{argument}recurrent_initializer='orthogonal' if another is given", "rondeau train --cell lstm")


def exploding(facts: Facts) -> list[Advice]:
    """The gradient grows on its way back (Pascanu et al. 2013)."""
    found = []
    for name in facts.names:
        grown = [_growth(scan) for scan in facts.scans(name, late=False)]
        growths = [growth for growth in grown if growth is not None]
        if not growths or median(growths) < GROWN:
            continue
        growth, reach = median(growths), max(scan.decay.reach for scan in facts.scans(name, late=False))
        factors = [scan.decay.factor for scan in facts.scans(name, late=False) if scan.decay.factor is not None]
        factor = f", by a factor of {median(factors):.3g} a step" if factors else ""
        times = f"to {growth:,.0f} times what it is at the last step" if math.isfinite(growth) else "beyond all bounds"
        text = (
            f"Over {steps(reach)} {name}'s gradient grows {times}{factor}: "
            "a small change of the weights throws the state about."
        )
        fix = facts.fix(
            "optimizer Adam(..., global_clipnorm=1.0), with recurrent_initializer='orthogonal' or a smaller "
            "learning_rate",
            f"rondeau train --clipnorm {(facts.setting('clipnorm') or 1.0) / 2:g} or a smaller --learning-rate",
        )
        found.append(
            Advice(
                "exploding", "problem", "The gradient explodes", text, fix, "flow", {"growth": growth, "steps": reach}
            )
        )
    return found


def _growth(scan: ScanSample) -> float | None:
    """How many times more than at the last step is left at the far end: the mean of the last quarter of lags."""
    values = total(scan) if scan.flow else []
    if len(values) < FEW or not values[0] > 0:
        return None
    far = values[-(len(values) // 4) :]
    return sum(far) / len(far) / values[0]


def window_too_short(facts: Facts) -> list[Advice]:
    """A window cuts the gradient while much of it is left (Williams & Peng 1990; Tallec & Ollivier 2017)."""
    found = []
    for name in facts.names:
        scans = [scan for scan in facts.scans(name) if scan.cut is not None and scan.flow]
        left = [share for share in map(_left_at_cut, scans) if share is not None]
        stuck = facts.learnt is not None and facts.learnt < STUCK
        if not left or median(left) < (LEFT if stuck else CUT):
            continue
        cut, share = scans[-1].cut or 0, median(left)
        text = (
            f"Where the window of {steps(cut)} cuts {name}'s gradient, {percent(share)} of what it is at the last "
            f"step is left: causes further back than {steps(cut)} are not learnt."
        )
        fix = facts.fix(
            f"window={4 * cut} in fit, or gradient=rondeau.Truncated({4 * cut})", f"rondeau train --window {4 * cut}"
        )
        found.append(
            Advice(
                "window", "hint", "The window cuts what it could learn", text, fix, "flow", {"cut": cut, "left": share}
            )
        )
    return found


def _left_at_cut(scan: ScanSample) -> float | None:
    values, lags = total(scan), next(iter(scan.flow.values())).lags
    assert scan.cut is not None  # the caller has asked
    if lags[-1] + 1 < scan.cut or not values[0] > 0:
        return None
    return [value for lag, value in zip(lags, values, strict=True) if lag < scan.cut][-1] / values[0]


def reaches_back(facts: Facts) -> list[Advice]:
    """The gradient reaches the first step, and does not grow."""
    names = facts.names
    for name in names:
        scans = facts.scans(name)
        growths = [growth for growth in map(_growth, scans) if growth is not None]
        if not growths or any(scan.decay.memory is not None for scan in scans) or max(growths) > GROWN:
            return []
    if not names:
        return []
    reach = max(scan.decay.reach for name in names for scan in facts.scans(name)) + 1
    text = f"In every recurrent layer more than 1 % of the gradient is left {steps(reach - 1)} before the last step."
    return [Advice("reaches", "good", "Gradients reach all steps", text, None, "flow", {"steps": float(reach)})]
