"""Counting baselines: exact distributions, held to a dictionary version of the formula."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rondeau.data.texts.corpus import default_corpus
from rondeau.data.texts.text import Document, read_text, split_text
from rondeau.data.texts.tokenizer import CharacterTokenizer
from rondeau.errors import ArgumentError, DataError
from rondeau.tasks.language.ngram import InterpolatedNgram, Unigram, _discounts

EPSILON = float(np.finfo(np.float64).eps)
SHAKESPEARE = Path(__file__).parents[3] / "../shared/data/tinyshakespeare/input.txt"


def markov(length: int, size: int, seed: int = 0) -> list[int]:
    """Tokens that hang on the two before; the last quarter of the vocabulary never comes."""
    generator = np.random.default_rng(seed)
    used = max(1, size * 3 // 4)
    table = generator.dirichlet(np.full(used, 0.2), (used, used))
    tokens = [0, 0]
    while len(tokens) < length:
        tokens.append(int(generator.choice(used, p=table[tokens[-2], tokens[-1]])))
    return tokens[:length]


def slow_probability(train: list[int], size: int, order: int, context: list[int], token: int) -> float:
    """Chen & Goodman's interpolated modified Kneser-Ney, straight from the definition."""
    n = min(order, len(context) + 1)
    result = 1 / size
    for k in range(1, n + 1):
        history = tuple(context[len(context) - k + 1 :])
        counts = slow_counts(train, order, k)
        followers = {gram[-1]: c for gram, c in counts.items() if gram[:-1] == history}
        if not followers:
            break
        discount = slow_discounts(counts)
        total = sum(followers.values())
        taken = sum(discount[min(c, 3)] for c in followers.values())
        count = followers.get(token, 0)
        result = (count - discount[min(count, 3)]) / total + taken / total * result
    return result


def slow_counts(train: list[int], order: int, k: int) -> Counter[tuple[int, ...]]:
    grams = [tuple(train[i : i + k]) for i in range(len(train) - k + 1)]
    if k == order:
        return Counter(grams)
    before: defaultdict[tuple[int, ...], set[int | None]] = defaultdict(set)
    for i, gram in enumerate(grams):
        before[gram].add(train[i - 1] if i else None)
    return Counter({gram: len(tokens) for gram, tokens in before.items()})


def slow_discounts(counts: Counter[tuple[int, ...]]) -> list[float]:
    n = Counter(counts.values())
    if not n[1] or not n[2]:
        return [0, 0.5, 0.5, 0.5]
    y = n[1] / (n[1] + 2 * n[2])
    if n[3] and n[4]:
        several = [0, 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        if several[2] > 0 and several[3] > 0:
            return several
    return [0, y, y, y]


@pytest.fixture(scope="module")
def model() -> InterpolatedNgram:
    return InterpolatedNgram(markov(3000, 12), size=12, order=4)


def test_unigram_by_hand() -> None:
    model = Unigram([0, 0, 2], size=3)
    assert model.probabilities([0, 1, 2]).tolist() == [3 / 6, 1 / 6, 2 / 6]
    assert model.bits([0, 0]) == pytest.approx(2.0, rel=EPSILON)
    assert model.next_distribution([1]).tolist() == [3 / 6, 1 / 6, 2 / 6]
    assert Unigram([], size=4).bits([1, 2]) == 4.0


def test_unigram_gives_away_no_array_of_its_own() -> None:
    model = Unigram([0], size=2)
    model.next_distribution()[:] = 0
    assert model.next_distribution().sum() == 1


def test_ngram_is_the_formula() -> None:
    train, held_out = markov(300, 8), [*markov(60, 8, seed=1), 7, 0, 1]
    discounts = set()
    for order in (1, 2, 3, 5):
        model = InterpolatedNgram(train, size=8, order=order)
        expected = [slow_probability(train, 8, order, held_out[:i], t) for i, t in enumerate(held_out)]
        np.testing.assert_allclose(model.probabilities(held_out), expected, rtol=64 * EPSILON)
        discounts |= {len(set(slow_discounts(slow_counts(train, order, k)))) for k in range(1, order + 1)}
    assert discounts == {2, 4}  # both the three discounts and the one that stands in were at work


@settings(deadline=None, max_examples=60)
@given(data=st.data(), order=st.integers(1, 5), size=st.integers(1, 6))
def test_ngram_is_the_formula_on_any_text(data: st.DataObject, order: int, size: int) -> None:
    tokens = st.integers(0, size - 1)
    train = data.draw(st.lists(tokens, min_size=order, max_size=40))
    held_out = data.draw(st.lists(tokens, max_size=8))
    model = InterpolatedNgram(train, size, order)
    expected = [slow_probability(train, size, order, held_out[:i], t) for i, t in enumerate(held_out)]
    np.testing.assert_allclose(model.probabilities(held_out), expected, rtol=64 * EPSILON)


def test_distribution_sums_to_one_after_every_context(model: InterpolatedNgram) -> None:
    contexts = [[], *([a] for a in range(12)), *([a, b, c] for a in range(12) for b in range(12) for c in (0, 5, 11))]
    for context in contexts:
        distribution = model.next_distribution(context)
        assert distribution.min() > 0
        assert abs(distribution.sum() - 1) < 8 * EPSILON


def test_distribution_agrees_with_probabilities(model: InterpolatedNgram) -> None:
    text = [*markov(50, 12, seed=2), 11, 3, 4]
    expected = [model.next_distribution(text[:i])[t] for i, t in enumerate(text)]
    np.testing.assert_allclose(model.probabilities(text), expected, rtol=8 * EPSILON)


def test_context_at_the_very_end_of_the_training_text() -> None:
    # 7 is followed by nothing: it leaves all to the unigrams, whole.
    model = InterpolatedNgram([0, 1, 0, 1, 7], size=8, order=3)
    assert np.array_equal(model.next_distribution([7]), model.next_distribution())
    assert abs(model.next_distribution([1, 7]).sum() - 1) < 8 * EPSILON


def test_parameters_count_every_number() -> None:
    assert Unigram([0, 1], size=5).parameters == 5
    # Weights of 2 tokens and 3 pairs (01, 10, 00); backoffs of the empty context and of 2 tokens.
    assert InterpolatedNgram([0, 1, 0, 0], size=5, order=2).parameters == 2 + 3 + 1 + 2


def test_bits_add_up(model: InterpolatedNgram) -> None:
    text = markov(100, 12, seed=3)
    assert model.bits(text) == pytest.approx(-sum(np.log2(model.probabilities(text))), rel=100 * EPSILON)
    assert model.bits([]) == 0


def test_trigram_comes_near_the_entropy_of_a_trigram_source() -> None:
    text = markov(22_000, 12)
    table = np.random.default_rng(0).dirichlet(np.full(9, 0.2), (9, 9))  # the one that `markov` draws
    train, held_out = text[:20_000], text[20_000:]
    source = -sum(np.log2(table[a, b, c]) for a, b, c in zip(held_out, held_out[1:], held_out[2:], strict=False))
    bits = {order: InterpolatedNgram(train, 12, order).bits(held_out) for order in (2, 3, 4)}
    assert source < bits[3] < 1.03 * source
    assert bits[4] < 1.05 * source  # smoothing bears an order that is too high
    assert bits[2] > 1.5 * source


def test_sample_is_repeatable_and_like_the_text(model: InterpolatedNgram) -> None:
    drawn = model.sample(400, context=[0, 0], seed=1)
    assert drawn.shape == (400,)
    assert drawn.dtype == np.int64
    assert np.array_equal(drawn, model.sample(400, context=[0, 0], seed=1))
    assert not np.array_equal(drawn, model.sample(400, context=[0, 0], seed=2))
    noise = np.random.default_rng(0).integers(0, 12, 400)
    assert model.bits(drawn) < 0.5 * model.bits(noise)
    assert model.sample(0).shape == (0,)


def test_sample_follows_its_context() -> None:
    model = InterpolatedNgram([0, 1, 2, 3, 4, 5, 6, 7] * 200, size=8, order=3)
    follows = [model.sample(1, context=[3, 4], seed=seed)[0] for seed in range(20)]
    assert follows.count(5) >= 18


def test_discounts_of_a_peculiar_text() -> None:
    assert _discounts(np.array([5, 6, 7])).tolist() == [0, 0.5, 0.5, 0.5]  # nothing seen once
    assert _discounts(np.array([1, 1, 2])).tolist() == [0, 0.5, 0.5, 0.5]  # no count of three
    single = [0, 1 / 3, 1 / 3, 1 / 3]
    assert _discounts(np.array([1, 2, 3])).tolist() == single  # no count of four
    assert _discounts(np.array([1, 2, 3, 3, 4])).tolist() == single  # the second would be 0
    assert _discounts(np.array([1, 2, 3, 4, 4, 4])).tolist() == single  # the third would be negative
    assert _discounts(np.array([1, 2, 3, 4])) == pytest.approx([0, 1 / 3, 1, 5 / 3], rel=4 * EPSILON)


def test_large_vocabulary_does_not_overflow() -> None:
    # size**order is far beyond 64 bits.
    generator = np.random.default_rng(0)
    train = generator.integers(0, 50_000, 5000)
    model = InterpolatedNgram(np.concatenate([train, train]), size=50_000, order=5)
    assert model.probabilities(train)[4:].min() > 0.1
    assert abs(model.next_distribution(train[:4]).sum() - 1) < 64 * EPSILON


@pytest.mark.parametrize("make", [Unigram, InterpolatedNgram])
def test_wrong_ids(make: Any) -> None:
    good = [0, 1, 2, 0, 1, 2]
    for wrong in (-1, 3):
        with pytest.raises(DataError, match=rf"outside the vocabulary \(at position 6\).*got {wrong}"):
            make([*good, wrong], 3)
        with pytest.raises(DataError, match=rf"outside the vocabulary \(at position 0\).*got {wrong}"):
            make(good, 3).bits([wrong])
    with pytest.raises(DataError, match="wrong kind"):
        make([0.5] * 6, 3)


def test_wrong_orders() -> None:
    with pytest.raises(ArgumentError, match="at least 1, got 0"):
        InterpolatedNgram([0, 1], 2, order=0)
    with pytest.raises(DataError, match="shorter than an n-gram: expected at least 5, got 2"):
        InterpolatedNgram([0, 1], 2)


def bits_per_character(documents: list[Document]) -> list[float]:
    split = split_text(documents)
    tokenizer = CharacterTokenizer.train(split.train)
    train, test = tokenizer.encode(split.train), tokenizer.encode(split.test)
    models = [Unigram(train, tokenizer.size), *(InterpolatedNgram(train, tokenizer.size, n) for n in (1, 3, 5))]
    return [model.bits(test) / len(split.test) for model in models]


def test_default_corpus() -> None:
    unigram, order_1, order_3, order_5 = bits_per_character(default_corpus())
    assert 4 < unigram < 5.5  # the text hangs on the Python, so the bounds are wide
    assert order_1 > order_3 + 1
    assert order_3 > order_5 + 0.5
    assert 1.5 < order_5 < 2.5


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="tiny Shakespeare is not at ../shared/data")
def test_tiny_shakespeare() -> None:
    unigram, _, _, order_5 = bits_per_character(read_text(SHAKESPEARE))
    assert [unigram, order_5] == pytest.approx([4.850, 2.336], abs=0.001)
