"""What insight measures of a language model that is trained: one sample, of a text it did not learn from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

from rondeau.insight import Monitor, Sample, dynamics_of
from rondeau.insight.undisturbed import begin_anew, device_of, undisturbed
from rondeau.tasks.language.training import Ids

ROWS, STEPS = 8, 256  # of the text that are read side by side, and how long each: beyond the windows of training

DYNAMICS = 60  # steps along which dynamics are measured


def measure(model: Any, ids: Ids) -> Sample | None:
    """Gradients, gates, states and dynamics, without dropout, over up to 8 parts of the text of 256 tokens each.

    The model is as before, gradients of its weights are gone. None for a text of fewer than two tokens.
    """
    steps = min(STEPS, len(ids) - 1)
    if steps < 1:
        return None
    rows = min(ROWS, (len(ids) - 1) // steps)
    starts = [round(place * (len(ids) - 1 - steps) / max(rows - 1, 1)) for place in range(rows)]
    parts = torch.stack([torch.as_tensor(ids[start : start + steps + 1]).long() for start in starts])
    parts = parts.to(device_of(model))
    monitor = Monitor(model, dynamics=0)
    with undisturbed(model), torch.enable_grad():
        begin_anew(model)
        monitor.begin()
        loss = F.cross_entropy(model(parts[:, :-1]).flatten(0, 1), parts[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        monitor.before_update(loss=float(loss.detach()))
        sample = monitor.after_update()
        model.zero_grad(set_to_none=True)
        begin_anew(model)
        found = dynamics_of(model, parts[:1, :-1], steps=DYNAMICS)
    return None if sample is None else replace(sample, weights=[], dynamics=found)
