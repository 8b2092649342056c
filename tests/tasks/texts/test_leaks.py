"""Documents recognised, and words that give the class away."""

from __future__ import annotations

import numpy as np
import pytest

from rondeau.data.texts.segment import Segmenter
from rondeau.data.texts.vocabulary import Vocabulary
from rondeau.tasks.texts import leaks
from rondeau.tasks.texts.examples import Encoded, Reading
from rondeau.tasks.texts.leaks import remember, seen_share, telling_words


def test_documents_are_recognised() -> None:
    texts = [f"text {i}" for i in range(100)]
    seen = remember(texts, 100)
    assert len(seen) == 100
    assert seen_share(["TEXT  5", "another", "text 99 ", "more"], seen, 100) == 0.5
    assert seen_share([], seen, 100) == 0


def test_of_many_documents_some_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "KEPT", 500)
    texts = [f"text {i}" for i in range(5000)]
    seen = remember(texts, 5000)
    assert 350 < len(seen) < 550
    assert seen_share(texts, seen, 5000) == 1
    assert seen_share([*texts, *(f"new {i}" for i in range(5000))], seen, 5000) == pytest.approx(0.5, abs=0.06)


def test_words_that_give_the_class_away() -> None:
    texts = [f"it is {'spam' if i % 3 == 0 else 'ham' if i % 2 else 'eggs'} {i % 7}" for i in range(90)]
    y = np.array([0 if i % 3 == 0 else 1 for i in range(90)])
    words = Segmenter()
    vocabulary = Vocabulary.build(map(words.split, texts))
    encoded = Encoded(Reading(words, vocabulary, 10), texts)
    assert telling_words(encoded, y, ["junk", "mail"], vocabulary) == [("spam", "junk")]
    assert telling_words(encoded, np.arange(90) % 2, ["a", "b"], vocabulary) == []


def test_words_never_learnt_give_nothing_away() -> None:
    texts = [f"it is {'eggs' if i % 2 else f'unlike{i}'}" for i in range(60)]
    words = Segmenter()
    vocabulary = Vocabulary.build(map(words.split, texts), min_count=2)
    encoded = Encoded(Reading(words, vocabulary, 10), texts)
    assert telling_words(encoded, np.arange(60) % 2, ["a", "b"], vocabulary) == [("eggs", "b")]
