"""What gradients, gates and states do over time: measured while a model trains, and put into words."""

from rondeau.insight.attach import Watch, watch
from rondeau.insight.callback import Insight
from rondeau.insight.files import read_samples
from rondeau.insight.monitor import Monitor
from rondeau.insight.records import Decay, Dynamics, Flow, Sample, ScanSample, Values, Weight

__all__ = [
    "Decay",
    "Dynamics",
    "Flow",
    "Insight",
    "Monitor",
    "Sample",
    "ScanSample",
    "Values",
    "Watch",
    "Weight",
    "read_samples",
    "watch",
]
