"""A dictionary from pairs."""

from __future__ import annotations

import numpy as np
import pytest

from rondeau.tasks.translation.dictionary import Dictionary


def ids(*rows: list[int]) -> list[np.ndarray]:
    return [np.asarray(row, np.int64) for row in rows]


def test_words_find_each_other_in_any_order() -> None:
    rng = np.random.default_rng(0)
    sources = [rng.permutation(np.arange(2, 12))[: rng.integers(2, 6)] for _ in range(200)]
    targets = [rng.permutation(source + 20) for source in sources]
    dictionary = Dictionary(sources, targets)
    assert dictionary.translate(np.arange(2, 12)) == list(range(22, 32))
    assert dictionary.parameters == len(
        {(s, t) for a, b in zip(sources, targets, strict=True) for s in (0, *a) for t in b}
    )


def test_unknown_words_are_left_out_and_never_written() -> None:
    dictionary = Dictionary(ids([2, 1], [2], [3]), ids([5, 1], [5], [1]))
    assert dictionary.translate(np.array([2, 1, 3, 9])) == [5]


def test_no_pairs_make_an_empty_one() -> None:
    assert Dictionary(ids([]), ids([])).translate(np.array([2])) == []


def test_the_first_round_is_the_one_by_hand() -> None:
    """Brown et al.'s step from equal chances: each target word is shared evenly by all source words and nothing."""
    dictionary = Dictionary(ids([2, 3], [2]), ids([5, 6], [5]), rounds=1)
    # 2 with 5: 1/3 + 1/2, 2 with 6: 1/3; 3 with 5 and 6: 1/3 each
    assert dictionary.best == {2: 5, 3: 5}
    assert dictionary.chances == {2: pytest.approx((5 / 6) / (7 / 6)), 3: pytest.approx(1 / 2)}
