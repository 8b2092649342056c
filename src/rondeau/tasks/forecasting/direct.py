"""All steps ahead at once, as quantiles (MQ-RNN: Wen et al. 2017, arXiv 1711.11053).

At each step that is read the network gives the quantiles of the next `horizon` steps, none of which is drawn or read
again; what is known of these in advance, calendar and covariates, is read with the step. So every step of a window is
an origin to learn from (the paper's forking sequences), and errors do not pile up along a path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rondeau.errors import ShapeError
from rondeau.heads.likelihoods import Quantiles, pinball
from rondeau.training.losses import Loss

if TYPE_CHECKING:
    from rondeau.tasks.forecasting.windows import Numbers, Scheme, Windows

KIND = Quantiles()


class DirectQuantileLoss(Loss):
    """The pinball loss of several steps at once, its mean over the levels, doubled, a value for each step ahead.

    Predictions `(..., steps * levels)`, the levels of a step together; targets `(..., steps)`. Raises `ShapeError` for
    what does not fit.
    """

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        true = torch.as_tensor(y_true, device=y_pred.device).to(y_pred.dtype)
        if y_pred.shape != (*true.shape[:-1], true.shape[-1] * KIND.size):
            expected = f"(..., steps) and (..., steps * {KIND.size})"
            got = f"{tuple(true.shape)} and {tuple(y_pred.shape)}"
            raise ShapeError("targets and predictions", expected=expected, got=got, where=self.name)
        levels = torch.tensor(KIND.levels, dtype=y_pred.dtype, device=y_pred.device)
        return pinball(y_pred.reshape(*true.shape, KIND.size), true[..., None], levels).mean(-1) * 2


def inputs(scheme: Scheme, windows: Windows) -> NDArray[np.float32]:
    """What is read at the steps up to the origin's, `(rows, context + 1, features)`: theirs, and what is known ahead.

    Of each of the steps after them: calendar and numbers, and a column for each word of a category.
    """
    steps = scheme.context + 1
    first = len(scheme.lags) + 1 + 2  # before it: lags, and what is the same at all steps
    known = [windows.x[:, :, first:]]
    words = windows.ids[len(windows.ids) - len(scheme.words) :]
    for ids, labels in zip(words, scheme.words.values(), strict=True):
        known.append(np.eye(len(labels) + 1, dtype=np.float32)[ids])
    told = np.concatenate(known, -1)
    ahead = [told[:, step : step + steps] for step in range(1, scheme.horizon)]
    return np.concatenate([windows.x[:, :steps], *ahead], -1)


def targets(scheme: Scheme, windows: Windows, past: float) -> tuple[Tensor, Tensor]:
    """What the loss takes and its weights, both `(rows, context + 1, horizon)`; arguments as `windows.targets`."""
    known = np.any(windows.seen[:, : windows.seen.shape[1] - scheme.horizon], axis=1)
    there = ~np.isnan(windows.values) & known[:, None]
    values = np.where(there, windows.values - windows.centre[:, None], 0) / windows.scale[:, None]
    steps = scheme.context + 1
    y = np.stack([values[:, step : step + steps] for step in range(scheme.horizon)], -1)
    weights = np.stack([there[:, step : step + steps] for step in range(scheme.horizon)], -1).astype(np.float32)
    weights[:, :-1] *= past
    return torch.from_numpy(y.astype(np.float32)), torch.from_numpy(weights)


def paths(model: Any, scheme: Scheme, windows: Windows, given: Any, draws: int) -> Numbers:
    """`(rows, draws, horizon)`: at each step as many evenly spaced quantiles, the lowest first.

    They are no paths through time: how steps depend on each other is not known. `given`: what the model reads.
    """
    outputs = torch.as_tensor(model.predict_on_batch(given))[:, scheme.context].double()
    levels = ((np.arange(draws) + 0.5) / draws).tolist()
    found = KIND.quantiles(outputs.reshape(-1, scheme.horizon, KIND.size), levels).numpy().transpose(0, 2, 1)
    spread: Numbers = found * windows.scale[:, None, None] + windows.centre[:, None, None]
    return spread
