"""Losses over sequences, and decoders."""

from rondeau.heads.beam import Hypothesis, beam_search, greedy
from rondeau.heads.crf import CRF
from rondeau.heads.sampled_softmax import SampledSoftmax

__all__ = ["CRF", "Hypothesis", "SampledSoftmax", "beam_search", "greedy"]
