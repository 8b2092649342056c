"""Losses over sequences, and decoders."""

from rondeau.heads.beam import Hypothesis, beam_search, greedy
from rondeau.heads.crf import CRF
from rondeau.heads.masked import MaskedAutoregression
from rondeau.heads.sampled_softmax import SampledSoftmax

__all__ = ["CRF", "Hypothesis", "MaskedAutoregression", "SampledSoftmax", "beam_search", "greedy"]
