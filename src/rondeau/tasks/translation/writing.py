"""Translations of sources, best first, and where the model looked while it wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rondeau.data.texts.vocabulary import UNKNOWN
from rondeau.heads.beam import Hypothesis
from rondeau.tasks.translation.data import Ids, Prepared, TranslationSettings

SHOWN = 4  # sentences whose attention is drawn


def write(
    model: Any, settings: TranslationSettings, prepared: Prepared, sources: Sequence[Ids], texts: Sequence[str]
) -> list[dict[str, Any]]:
    """Each source's best translation: `translation`, its `ids`, and their `log_probability`; of nothing, nothing."""
    order = [i for i in by_length(sources) if len(sources[i])]
    given = [sources[i].tolist() for i in order]
    found = [Hypothesis([], 0.0, 0.0, ended=True)] * len(sources)
    if order:
        hypotheses = model.hypotheses(given, settings.beam, settings.length_penalty, settings.max_tokens)
        for i, (best, *_) in zip(order, hypotheses, strict=True):
            # a model that has learnt little may answer with the token it begins with, or with padding: no text
            words = [id for id in best.tokens if 0 < id < prepared.target.vocabulary.size]
            found[i] = best._replace(tokens=words)
    unknown = [
        i for i in order if settings.copy_unknown and settings.attention != "none" and UNKNOWN in found[i].tokens
    ]
    looked = (
        model.attention_weights([sources[i].tolist() for i in unknown], [found[i].tokens for i in unknown])
        if unknown
        else []
    )
    weights = dict(zip(unknown, looked, strict=True))
    written = []
    for i, best in enumerate(found):
        tokens = prepared.target.decode(best.tokens)
        if i in weights:
            words = prepared.source.segmenter.split(texts[i])
            places = weights[i].argmax(1).tolist()
            tokens = [words[at] if id == UNKNOWN else t for t, id, at in zip(tokens, best.tokens, places, strict=False)]
        text = prepared.target.segmenter.join(tokens)
        written.append({"translation": text, "ids": best.tokens, "log_probability": best.log_probability})
    return written


def looks(
    model: Any, prepared: Prepared, sources: Sequence[Ids], written: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """Where the words of some translations looked, as the report draws it: the first ones of middling length."""
    fits = [i for i, ids in enumerate(written) if 5 <= len(sources[i]) <= 32 and 3 <= len(ids) <= 32]
    chosen = (fits or [i for i, ids in enumerate(written) if len(sources[i]) and len(ids)])[:SHOWN]
    if not chosen:
        return []
    weights = model.attention_weights([sources[i].tolist() for i in chosen], [list(written[i]) for i in chosen])
    return [
        {
            "source": prepared.source.decode(sources[i]),
            "target": [*prepared.target.decode(written[i]), "(end)"],
            "weights": [[round(value, 4) for value in row] for row in found.tolist()],
        }
        for i, found in zip(chosen, weights, strict=True)
    ]


def by_length(sources: Sequence[Ids]) -> list[int]:
    """The numbers of sources, the shortest first: those decoded side by side are then of like length."""
    return sorted(range(len(sources)), key=lambda i: len(sources[i]))
