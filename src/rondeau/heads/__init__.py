"""Losses over sequences, and decoders."""

from rondeau.heads.beam import Hypothesis, beam_search, greedy

__all__ = ["Hypothesis", "beam_search", "greedy"]
