"""Losses over sequences, and decoders."""

from rondeau.heads.beam import Hypothesis, beam_search, greedy
from rondeau.heads.crf import CRF

__all__ = ["CRF", "Hypothesis", "beam_search", "greedy"]
