"""Callbacks of `fit`, with Keras's names, arguments and behaviour.

`BackupAndRestore`, which keeps a whole run, is in `rondeau.callbacks` with them.
"""

from rondeau.training.callbacks.base import Callback, CallbackList, History, LambdaCallback
from rondeau.training.callbacks.csv_logger import CSVLogger
from rondeau.training.callbacks.early_stopping import EarlyStopping
from rondeau.training.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from rondeau.training.callbacks.model_checkpoint import ModelCheckpoint
from rondeau.training.callbacks.monitor import MonitorCallback
from rondeau.training.callbacks.tensorboard import TensorBoard
from rondeau.training.callbacks.terminate import TerminateOnNaN

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "MonitorCallback",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
]
