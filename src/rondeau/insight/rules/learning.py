"""Rules on learning curves: what it has learnt by heart, and what it has not learnt."""

from __future__ import annotations

import math
from statistics import fmean, median

from rondeau.insight.facts import Facts
from rondeau.insight.rules.base import Advice, Severity, percent
from rondeau.insight.rules.used import knows_little

EPOCHS = 4  # before, a curve is two dots
GAP = 0.2  # of the first loss, between held-out and training loss
ROSE = 0.05  # of the first loss, from the best held-out loss to the last
LEFT = 0.6  # of the first loss: so much is left where a network has hardly learnt
BEATEN = 0.8  # of its loss, by a network without memory: what that can do it has not learnt
FALLING = 0.03  # of the first loss within the last quarter: it is not done


def overfitting(facts: Facts) -> list[Advice]:
    """The held-out loss rises, or stays far above, while the training loss falls."""
    curve, held_out, start = facts.curve, facts.held_out, facts.start
    if len(held_out) < EPOCHS or len(held_out) != len(curve) or not start or not start > 0:
        return []
    best = min(range(len(held_out)), key=held_out.__getitem__)
    rise, gap = (fmean(held_out[-2:]) - held_out[best]) / start, (held_out[-1] - curve[-1]) / start
    if not math.isfinite(gap):
        return []
    fell = curve[-1] < curve[best]
    if not (fell and rise > ROSE and gap > ROSE) and gap < GAP:
        return []
    rose = rise > ROSE
    lowest = f" was lowest at epoch {best + 1} ({held_out[best]:.4g}) and" if rose else ""
    text = (
        f"The held-out loss{lowest} is now {held_out[-1]:.4g}, the training loss {curve[-1]:.4g}: "
        "the network learns its examples by heart, or what is held out is of another kind."
    )
    fix = facts.fix(
        "callbacks=[EarlyStopping(patience=2, restore_best_weights=True)], dropout=0.3, "
        "kernel_regularizer='l2', or fewer units; more data help most",
        f"rondeau train --dropout {min((facts.setting('dropout') or 0.0) + 0.2, 0.6):g}, or fewer --units or --epochs; "
        "more text helps most",
    )
    numbers = {"best_epoch": float(best + 1), "gap": gap}
    severity: Severity = "problem" if rose else "hint"
    return [Advice("overfitting", severity, "It learns by heart", text, fix, "curves", numbers)]


def _beaten(facts: Facts, left: float) -> bool:
    """Whether much is left, and a network that sees a step or a few is better."""
    other = None if facts.checks is None else facts.checks.comparison
    return other is not None and other.feed_forward < BEATEN * other.model and left > LEFT / 2


def underfitting(facts: Facts) -> list[Advice]:
    """The training loss itself stays high."""
    curve, held_out, start = facts.curve, facts.held_out, facts.start
    if len(curve) < EPOCHS or not start or not start > 0 or facts.learnt is None or facts.learnt < 0:
        return []
    if held_out and (held_out[-1] - curve[-1]) / start > GAP:
        return []
    left = median(curve[-3:]) / start
    if left < LEFT and not knows_little(facts) and not _beaten(facts, left):
        return []
    quarter = max(len(curve) // 4, 1)
    fall = (fmean(curve[-2 * quarter : -quarter]) - fmean(curve[-quarter:])) / start
    mean = (
        " Inputs of other rows are hardly worse: perhaps it knows no more than the mean." if knows_little(facts) else ""
    )
    end = "it is still falling" if fall > FALLING else "it has come to rest"
    text = (
        f"The training loss began at {start:.4g} and is {curve[-1]:.4g} after {len(curve)} epochs ({percent(left)} "
        f"is left); {end}.{mean} Either the network is too small or held back, or the data hold no more."
    )
    if fall > FALLING:
        fix = facts.fix("more epochs, or a larger learning_rate", "rondeau train with more --epochs")
    else:
        more = 2 * (facts.setting("units") or 0)
        fix = facts.fix(
            "more units or layers, less dropout and regularizers, a larger learning_rate",
            f"rondeau train --units {more} --dropout 0, or a larger --learning-rate",
        )
    return [Advice("underfitting", "hint", "It has learnt little", text, fix, "curves", {"left": left})]
