"""Layers that need more of a sequence than the steps until now: neither a stream nor a window has it."""

from __future__ import annotations

from rondeau.heads.crf import CRF
from rondeau.layers import (
    AdditiveAttention,
    Attention,
    Bidirectional,
    Conv1D,
    Flatten,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    Layer,
    MaxPooling1D,
    RepeatVector,
)

_POOLED = "it pools over time, and needs the whole sequence"
_LOOKS = "it looks at other steps of the sequence"
NEEDS_MORE: dict[type[Layer], str] = {
    Bidirectional: "it also reads the sequence from its end",
    GlobalAveragePooling1D: _POOLED,
    GlobalMaxPooling1D: _POOLED,
    MaxPooling1D: _POOLED,
    Attention: _LOOKS,
    AdditiveAttention: _LOOKS,
    Conv1D: _LOOKS,
    CRF: "its probabilities rest on all tags of the sequence",
    Flatten: "it joins all steps into one vector",
    RepeatVector: "it makes steps of its own",
}
