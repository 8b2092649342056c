"""Rules on values: gates that stand at their ends, and units that are never on."""

from __future__ import annotations

from statistics import fmean, median

from rondeau.insight.facts import Facts
from rondeau.insight.records import ScanSample, Values
from rondeau.insight.rules.base import Advice, percent
from rondeau.insight.values import FORGET, QUANTILES

STANDS = 0.7  # of its values within a twentieth of an end: so little of its slope is left that it hardly learns
FOREVER = 10.0  # times the sequence: whoever forgets so slowly does not forget at all
DEAD = 0.4  # of the units: with fewer the others do the work
CHRONO = 0.1  # how far input gate and 1 - forget gate may differ where both were begun to remember
GATES = {"input_gate", "output_gate", "reset_gate", *FORGET}


def saturated(facts: Facts) -> list[Advice]:
    """Gates, or a state of tanh, stand at their ends, where their slope is nearly zero."""
    found = []
    for name in facts.names:
        scans = facts.scans(name)
        shares: dict[str, list[float]] = {}
        for scan in scans:
            for part, share in _standing(scan).items():
                shares.setdefault(part, []).append(share)
        worst = {part: median(values) for part, values in shares.items() if median(values) > STANDS}
        if not worst:
            continue
        listed = ", ".join(f"{percent(share)} of {part.replace('_', ' ')}" for part, share in worst.items())
        text = (
            f"Of {name}'s values {listed} lie within a twentieth of an end of their range: their slope is close to "
            "zero there, so they hardly learn."
        )
        fix = facts.fix(
            "smaller inputs (layers.LayerNormalization() before it), bias_initializer='zeros', "
            "recurrent_initializer='orthogonal', or a smaller learning_rate",
            f"rondeau train --learning-rate {(facts.setting('learning_rate') or 1e-2) / 3:.1g}",
        )
        figure = f"{'saturation' if any(part in GATES for part in worst) else 'state'}-{name}"
        found.append(Advice("saturated", "problem", "Saturated gates", text, fix, figure, worst))
    return found


def _standing(scan: ScanSample) -> dict[str, float]:
    """The share that stands at an end, of what should not."""
    gates = {name.rpartition(".")[2]: values for name, values in scan.gates.items()}
    never = _never_forget(scan)
    found = {name: values.at_low + values.at_high for name, values in gates.items() if name in GATES}
    for name in FORGET:
        if name in found:
            found[name] = min(gates[name].at_low + never, 1.0)  # high is what remembering takes, but not without an end
    if _remembers(gates) and never < STANDS:
        found["input_gate"] = gates["input_gate"].at_high  # little is written where much is kept
    if not gates:
        found |= {f"state {name}": values.at_low + values.at_high for name, values in scan.states.items()}
    return found


def _never_forget(scan: ScanSample) -> float:
    """The share of units, at least, that keep their state for many times the sequence."""
    if scan.time_constants is None:
        return 0.0
    most = FOREVER * (scan.decay.reach + 1)
    beyond = (share for share, count in zip(QUANTILES, scan.time_constants, strict=True) if count > most)
    return 1 - next(beyond, 1.0)


def _remembers(gates: dict[str, Values]) -> bool:
    if not {"input_gate", "forget_gate"} <= gates.keys():
        return False
    return abs(gates["input_gate"].mean + gates["forget_gate"].mean - 1) < CHRONO


def dead(facts: Facts) -> list[Advice]:
    """Units of a state, as of relu, are zero at every step (Lu et al. 2020, arXiv 1903.06733)."""
    found = []
    for name in facts.names:
        shares = [fmean(v.dead for v in scan.states.values()) for scan in facts.scans(name) if scan.states]
        if not shares or median(shares) < DEAD:
            continue
        share = median(shares)
        text = (
            f"{percent(share)} of {name}'s units are zero at every step of every row that was measured: "
            "no gradient passes through them, so they stay as they are."
        )
        fix = facts.fix(
            "activation='tanh', or a smaller learning_rate with bias_initializer='zeros'",
            f"rondeau train --learning-rate {(facts.setting('learning_rate') or 1e-2) / 3:.1g}",
        )
        found.append(Advice("dead", "problem", "Dead units", text, fix, f"state-{name}", {"dead": share}))
    return found
