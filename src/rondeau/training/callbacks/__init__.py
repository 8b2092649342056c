"""Callbacks of `fit`."""

from rondeau.training.callbacks.base import Callback, CallbackList, History, LambdaCallback

__all__ = ["Callback", "CallbackList", "History", "LambdaCallback"]
