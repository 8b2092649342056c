"""What a text's words alone tell, whatever their order: logistic regression over the weights of words and pairs."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.data.texts.segment import Segmenter
from rondeau.tasks.class_scores import Chances, Ids, macro_f1

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""The inverse strengths of regularisation that are tried."""


class BagOfWords(NamedTuple):
    """A fitted one: its weights' number, the strength that was chosen, and what it makes of texts."""

    parameters: int
    strength: float
    model: Any
    vectorizer: Any
    classes: int

    def chances(self, texts: Iterable[str]) -> Chances:
        """Probabilities of each class, `(texts, classes)`; 0 for a class it has not seen."""
        found = self.model.predict_proba(self.vectorizer.transform(texts))
        chances = np.zeros((len(found), self.classes))
        chances[:, self.model.classes_] = found
        return chances


def fit_bag_of_words(
    texts: Iterable[str],
    labels: Ids,
    validation: Iterable[str],
    validation_labels: Ids,
    classes: int,
    segmenter: Segmenter | None = None,
    balanced: bool = False,
    seed: int = 0,
) -> BagOfWords:
    """Words and pairs of words in lower case, tf-idf with logarithmic counts; the strength of regularisation is chosen
    by the macro-F1 on the validation part.

    Args:
        segmenter: what a word is (default: `Segmenter("words", lower=True)`).
        balanced: whether each class counts the same, however many texts it has.

    Words that come once are left out where there are more than a thousand texts.
    """
    words = Segmenter("words", lower=True) if segmenter is None else segmenter
    vectorizer = importlib.import_module("sklearn.feature_extraction.text").TfidfVectorizer(
        tokenizer=words.split,
        token_pattern=None,
        lowercase=False,
        ngram_range=(1, 2),
        sublinear_tf=True,
        min_df=2 if len(labels) > 1000 else 1,
        dtype=np.float32,
    )
    x = vectorizer.fit_transform(texts)
    held_out = vectorizer.transform(validation)
    linear = importlib.import_module("sklearn.linear_model")
    weights = "balanced" if balanced else None
    best: tuple[float, float, Any] | None = None
    for strength in STRENGTHS:
        model = linear.LogisticRegression(C=strength, max_iter=1000, class_weight=weights, random_state=seed).fit(
            x, labels
        )
        score = macro_f1(validation_labels, model.predict(held_out), classes) if len(validation_labels) else 0.0
        if best is None or score > best[0]:
            best = score, strength, model
    assert best is not None
    parameters = best[2].coef_.size + best[2].intercept_.size
    return BagOfWords(int(parameters), best[1], best[2], vectorizer, classes)


def majority(labels: Ids, classes: int) -> NDArray[np.float64]:
    """The share of each class, `(classes,)`: what is known of a text that is not read."""
    return np.bincount(labels, minlength=classes) / len(labels)
