"""What gradients, gates and states do over time: measured while a model trains, and put into words."""

from rondeau.insight.attach import Watch, watch
from rondeau.insight.callback import Insight
from rondeau.insight.files import read_samples
from rondeau.insight.hidden import HiddenStates, hidden_states
from rondeau.insight.learning_rate import LearningRates, find_learning_rate
from rondeau.insight.monitor import Monitor
from rondeau.insight.records import Decay, Dynamics, Flow, Sample, ScanSample, Values, Weight
from rondeau.insight.saliency import Saliency, saliency

__all__ = [
    "Decay",
    "Dynamics",
    "Flow",
    "HiddenStates",
    "Insight",
    "LearningRates",
    "Monitor",
    "Saliency",
    "Sample",
    "ScanSample",
    "Values",
    "Watch",
    "Weight",
    "find_learning_rate",
    "hidden_states",
    "read_samples",
    "saliency",
    "watch",
]
