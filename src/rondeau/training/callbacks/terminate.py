"""`TerminateOnNaN`: end training, instead of raising, when loss or gradients are no longer finite."""

from __future__ import annotations

from rondeau.errors import NumericsError
from rondeau.training.callbacks.base import Callback, Logs


class TerminateOnNaN(Callback):
    """Ends `fit` after a batch whose loss or gradients are NaN or infinite, and prints which.

    Without it `fit` raises `NumericsError`. Either way the weights are those from before that batch (in Keras they are
    ruined by then). The epoch is closed as usual, with a loss of NaN in its logs: nothing takes it for a good one.

    Args:
        raise_error: raise the `NumericsError` all the same, whatever other callbacks would do about it (default false).
    """

    turn = -1

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = raise_error
        self._ended = False

    def on_train_begin(self, logs: Logs) -> None:
        self._ended = False

    def on_numerics_error(self, error: NumericsError, logs: Logs) -> bool:
        if self.raise_error:
            raise error
        print(f"TerminateOnNaN ends training: {error}", flush=True)
        self.model.stop_training = self._ended = True
        return True

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self._ended:
            logs["loss"] = float("nan")  # the mean of the batches before it, none of them perhaps
