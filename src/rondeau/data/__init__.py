"""Readers: from files to tokens and batches."""

from rondeau.data.steps import StepFile, StepStream
from rondeau.data.windows import TextWindows

__all__ = ["StepFile", "StepStream", "TextWindows"]
