"""Made reviews: the same for a seed, both classes, and nothing for a bag of words."""

from __future__ import annotations

import pytest

from rondeau.data.made.reviews import made_reviews
from rondeau.errors import ArgumentError


def test_the_same_for_a_seed() -> None:
    assert made_reviews(50, 3) == made_reviews(50, 3) != made_reviews(50, 4)
    reviews = made_reviews(2000, 1)
    assert sum(review.label == "good" for review in reviews) == pytest.approx(1000, abs=60)
    assert len({review.text for review in reviews}) > 1900


def test_a_bag_of_words_does_not_tell_them_apart() -> None:
    pytest.importorskip("sklearn")
    import numpy as np

    from rondeau.tasks.texts.bag_of_words import fit_bag_of_words

    reviews = made_reviews(1200, 0)
    y = np.array([int(review.label == "good") for review in reviews])
    texts = [review.text for review in reviews]
    bag = fit_bag_of_words(texts[:1000], y[:1000], texts[:100], y[:100], 2)
    assert (bag.chances(texts[1000:]).argmax(1) == y[1000:]).mean() < 0.75


def test_wrong_arguments() -> None:
    with pytest.raises(ArgumentError, match="rows"):
        made_reviews(1)
