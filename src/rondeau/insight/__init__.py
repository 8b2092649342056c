"""What gradients, gates and states do over time: measured while a model trains, and put into words."""

from rondeau.insight.advice import Advice, Facts, advise, facts_of
from rondeau.insight.attach import Watch, watch
from rondeau.insight.callback import Insight
from rondeau.insight.checks import Checks, check_inputs
from rondeau.insight.dynamics import dynamics_of
from rondeau.insight.files import read_samples
from rondeau.insight.hidden import HiddenStates, hidden_states
from rondeau.insight.learning_rate import LearningRates, find_learning_rate
from rondeau.insight.memory import Comparison, memory_helps
from rondeau.insight.monitor import Monitor
from rondeau.insight.nonfinite import NonFinite, trace_nonfinite
from rondeau.insight.records import Decay, Dynamics, Flow, Sample, ScanSample, Values, Weight
from rondeau.insight.saliency import Saliency, saliency
from rondeau.insight.updates import Updates

__all__ = [
    "Advice",
    "Checks",
    "Comparison",
    "Decay",
    "Dynamics",
    "Facts",
    "Flow",
    "HiddenStates",
    "Insight",
    "LearningRates",
    "Monitor",
    "NonFinite",
    "Saliency",
    "Sample",
    "ScanSample",
    "Updates",
    "Values",
    "Watch",
    "Weight",
    "advise",
    "check_inputs",
    "dynamics_of",
    "facts_of",
    "find_learning_rate",
    "hidden_states",
    "memory_helps",
    "read_samples",
    "saliency",
    "trace_nonfinite",
    "watch",
]
