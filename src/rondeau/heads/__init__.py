"""Losses over sequences, and decoders."""

from rondeau.heads.beam import Hypothesis, beam_search, greedy
from rondeau.heads.crf import CRF
from rondeau.heads.ctc import ctc_loss
from rondeau.heads.ctc_decoding import PrefixBeam
from rondeau.heads.masked import MaskedAutoregression
from rondeau.heads.sampled_softmax import SampledSoftmax
from rondeau.heads.transducer import Transducer
from rondeau.heads.transducer_decoding import TransducerBeam

__all__ = [
    "CRF",
    "Hypothesis",
    "MaskedAutoregression",
    "PrefixBeam",
    "SampledSoftmax",
    "Transducer",
    "TransducerBeam",
    "beam_search",
    "ctc_loss",
    "greedy",
]
