"""Advice on a run: what its model makes of its input is checked, and the rules read the run's files."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rondeau.insight.advice import Advice, advise, facts_of
from rondeau.insight.checks import Checks, check_inputs, checks_to_json
from rondeau.tasks.run_folder import RunFolder
from rondeau.training.losses import SparseCategoricalCrossentropy

ROWS, STEPS = 32, 128  # of held-out text: some thousands of predictions, in a second or two
SPANS = (1, 4, 16, 64)


def advice_of(run: RunFolder) -> list[Advice]:
    """What follows from the files of a run, finished or not; problems first. Raises `CheckpointError` for damage."""
    return advise(facts_of(run.path))


def check_run(run: RunFolder, ids: np.ndarray[Any, Any], device: str = "auto") -> Checks | None:
    """What the run's best model makes of its input and the past, on held-out text; written to `checks.json`.

    Args:
        ids: tokens of text the run has not learnt from, `(tokens,)`.
        device: 'auto', 'cpu' or 'cuda'.

    None, and no file, for fewer than two rows of two steps. Raises `CheckpointError` where there is no model yet.
    """
    model = run.load_model()
    steps = min(STEPS, (len(ids) - 1) // 2)
    rows = min(ROWS, (len(ids) - 1) // max(steps, 1))
    if steps < 2:
        return None
    x, y = (torch.as_tensor(np.asarray(ids[s : s + rows * steps], np.int64)).view(rows, steps) for s in (0, 1))
    model.compile("sgd", SparseCategoricalCrossentropy(from_logits=True), device=device)
    checks = check_inputs(model, x, y, SPANS)
    run.write_json(run.checks, checks_to_json(checks))
    return checks
