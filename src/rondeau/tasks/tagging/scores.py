"""How good tags are: figures with intervals, and what a report tells of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.texts.conll import Sentence
from rondeau.data.texts.schemes import entities
from rondeau.data.texts.vocabulary import Vocabulary
from rondeau.tasks.bootstrap import intervals

Tags = Sequence[str]
_WORST = 12
_SHOWN = 8
_DRAWN = 30  # tags in the confusion matrix, the most frequent


def scores(
    sentences: Sequence[Sentence], predicted: Sequence[Tags], bio: bool, seed: int = 0
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Token accuracy, and for entities precision, recall and F1, micro-averaged as seqeval does; with their intervals.

    Whole documents are drawn for the intervals where the sentences have some.
    """
    counts = np.stack([_counted(one, tags, bio) for one, tags in zip(sentences, predicted, strict=True)])

    def figures(rows: NDArray[np.int64]) -> dict[str, float]:
        return _figures(counts[rows].sum(0), bio)

    groups = [one.group for one in sentences]
    documents = groups if None not in groups and len(set(groups)) > 1 else None
    return _figures(counts.sum(0), bio), intervals(figures, len(counts), documents, seed=seed)


def _counted(one: Sentence, predicted: Tags, bio: bool) -> NDArray[np.int64]:
    """Right tags, all of them, entities found rightly, found, and there."""
    right = sum(a == b for a, b in zip(one.tags, predicted, strict=True))
    if not bio:
        return np.array([right, len(one.tags), 0, 0, 0])
    true, found = set(entities(one.tags)), set(entities(predicted))
    return np.array([right, len(one.tags), len(true & found), len(found), len(true)])


def _figures(sums: NDArray[np.int64], bio: bool) -> dict[str, float]:
    right, tags, both, found, there = sums.tolist()
    accuracy = right / tags if tags else float("nan")
    if not bio:
        return {"accuracy": accuracy}
    precision, recall = both / found if found else 0.0, both / there if there else 0.0
    f1 = 2 * both / (found + there) if found + there else 0.0
    return {"entity_f1": f1, "entity_precision": precision, "entity_recall": recall, "accuracy": accuracy}


def findings(
    sentences: Sequence[Sentence], predicted: Sequence[Tags], labels: Sequence[str], words: Vocabulary, bio: bool
) -> dict[str, Any]:
    """Entries of the report: what is taken for what, known and unknown words, the worst and some other sentences."""
    pairs = Counter(
        pair for one, tags in zip(sentences, predicted, strict=True) for pair in zip(one.tags, tags, strict=True)
    )
    names = sorted({*labels, *(true for true, _ in pairs)})  # also those never seen in training
    often = Counter[str]()
    for (true, _), count in pairs.items():
        often[true] += count
    drawn = sorted(sorted(names, key=lambda name: -often[name])[:_DRAWN])
    found: dict[str, Any] = {
        "confusion": {"labels": drawn, "counts": [[pairs[true, one] for one in drawn] for true in drawn]},
        "by_group": [_by_familiarity(sentences, predicted, words), _by_tag(pairs, names)],
        "worst": _worst(sentences, predicted),
        "examples": [_shown(one, tags) for one, tags in list(zip(sentences, predicted, strict=True))[:_SHOWN]],
    }
    if bio:
        found["by_group"].insert(0, _by_kind(sentences, predicted))
    return found


def _by_familiarity(sentences: Sequence[Sentence], predicted: Sequence[Tags], words: Vocabulary) -> dict[str, Any]:
    right, total = Counter[str](), Counter[str]()
    for one, tags in zip(sentences, predicted, strict=True):
        for word, true, tag in zip(one.words, one.tags, tags, strict=True):
            kind = "known" if word.lower() in words else "unknown"
            total[kind] += 1
            right[kind] += true == tag
    rows = [[kind, total[kind], right[kind] / total[kind]] for kind in sorted(total)]
    return {
        "title": "Words that the model knows, and others",
        "heads": ["word", "tokens", "accuracy"],
        "rows": rows,
    }


def _by_tag(pairs: Counter[tuple[str, str]], names: Sequence[str]) -> dict[str, Any]:
    rows: list[list[Any]] = []
    for name in names:
        true = sum(count for (a, _), count in pairs.items() if a == name)
        found = sum(count for (_, b), count in pairs.items() if b == name)
        if true or found:
            both = pairs[name, name]
            rows.append([name, true, both / found if found else None, both / true if true else None])
    rows.sort(key=lambda row: -row[1])
    return {"title": "Tags", "heads": ["tag", "tokens", "precision", "recall"], "rows": rows}


def _by_kind(sentences: Sequence[Sentence], predicted: Sequence[Tags]) -> dict[str, Any]:
    there, found, both = Counter[str](), Counter[str](), Counter[str]()
    for one, tags in zip(sentences, predicted, strict=True):
        true, given = set(entities(one.tags)), set(entities(tags))
        there.update(e.kind for e in true)
        found.update(e.kind for e in given)
        both.update(e.kind for e in true & given)
    rows = [
        [kind, there[kind], *_rates(both[kind], found[kind], there[kind])]
        for kind in sorted({*there, *found}, key=lambda kind: (-there[kind], kind))
    ]
    heads = ["entity", "number", "precision", "recall", "F1"]
    return {"title": "Kinds of entity", "heads": heads, "rows": rows}


def _rates(both: int, found: int, there: int) -> list[float | None]:
    both_of = 2 * both / (found + there) if found + there else None
    return [both / found if found else None, both / there if there else None, both_of]


def _worst(sentences: Sequence[Sentence], predicted: Sequence[Tags]) -> list[dict[str, Any]]:
    """The sentences with the largest share of wrong tags among those with three wrong or more."""
    wrong = [
        sum(a != b for a, b in zip(one.tags, tags, strict=True)) for one, tags in zip(sentences, predicted, strict=True)
    ]
    order = sorted(range(len(wrong)), key=lambda i: (wrong[i] < 3, -wrong[i] / len(sentences[i].words), -wrong[i]))
    return [
        {"wrong": f"{wrong[i]} of {len(sentences[i].words)}", **_shown(sentences[i], predicted[i])}
        for i in order[:_WORST]
        if wrong[i]
    ]


def _shown(one: Sentence, tags: Tags) -> dict[str, Any]:
    """A sentence with its tags; `true>predicted` where they differ."""
    parts = [
        f"{word}/{true if true == tag else f'{true}>{tag}'}"
        for word, true, tag in zip(one.words, one.tags, tags, strict=True)
    ]
    return {"sentence": " ".join(parts), "where": one.place}
