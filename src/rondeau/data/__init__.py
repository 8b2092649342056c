"""Readers: from files to tokens and batches."""

from rondeau.data.buckets import Buckets
from rondeau.data.disk.packed import Packed, PackedWriter
from rondeau.data.prefetch import Prefetch
from rondeau.data.steps import StepFile, StepStream
from rondeau.data.texts.windows import TextWindows

__all__ = ["Buckets", "Packed", "PackedWriter", "Prefetch", "StepFile", "StepStream", "TextWindows"]
