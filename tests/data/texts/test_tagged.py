"""Tagged text in little memory, its batches, and the made-up language."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rondeau.data.made.language import demo_sentences
from rondeau.data.texts.conll import Sentence
from rondeau.data.texts.tagged import TaggedBatches, TaggedText, WordCodes
from rondeau.data.texts.vocabulary import Vocabulary
from rondeau.errors import DataError

SENTENCES = [
    Sentence(("The", "cat"), ("D", "N"), "one", "f:1"),
    Sentence(("Sleep",), ("V",), "one", "f:4"),
    Sentence(("the", "the", "cats"), ("D", "D", "N"), None, "f:9"),
]
CODES = WordCodes(Vocabulary(["the", "cat", "sleep"]), Vocabulary(list("thecasl")), width=4)


def test_sentences_come_back_as_they_were():
    text = TaggedText(SENTENCES)
    assert list(text) == SENTENCES
    assert text.tokens == 6
    assert list(text[1:]) == SENTENCES[1:]
    assert list(text.select([2, 0])) == [SENTENCES[2], SENTENCES[0]]
    assert text.select([2, 0]).lengths.tolist() == [3, 2]
    assert text.digest() != text.select([2, 0]).digest()


def test_relabelled():
    text = TaggedText(SENTENCES).relabelled(lambda tags: [tag.lower() for tag in reversed(tags)])
    assert text[0].tags == ("n", "d")
    assert text[2].words == SENTENCES[2].words


def test_batches_hold_words_characters_and_tags():
    batches = TaggedBatches(TaggedText(SENTENCES), CODES, ["D", "N", "V"], 2, training=False)
    first, second = batches.batches(0, 0, 0)
    assert first.x["words"].lengths.tolist() == [2, 1]
    assert first.x["words"].values.tolist() == [2, 3, 4]
    assert second.x["words"].values.tolist() == [2, 2, 1]  # cats is unknown
    assert second.y.values.tolist() == [0, 0, 1]
    assert second.weight is None
    assert second.x["characters"].values[2].tolist() == CODES.spelled("cats").tolist()
    assert first.x["characters"].values[2].tolist() == [1, 8, 4, 1]  # of Sleep the first and last two; S and p unknown


def test_a_tag_never_seen_weighs_nothing():
    batches = TaggedBatches(TaggedText(SENTENCES), CODES, ["D", "N"], 3, training=False)
    (batch,) = batches.batches(0, 0, 0)
    assert batch.weight.values.tolist() == [1, 1, 0, 1, 1, 1]


def test_training_batches_hold_every_sentence_once_in_another_order_each_epoch():
    text = TaggedText(demo_sentences(300))
    codes = WordCodes(Vocabulary.build(one.words for one in text), Vocabulary(list("abc")))
    batches = TaggedBatches(text, codes, text.labels, 8, training=True)
    epochs = [[batch.x["words"] for batch in batches.batches(epoch, 0, 7)] for epoch in (0, 1, 0)]
    flat = [torch.cat([words.values for words in epoch]) for epoch in epochs]
    assert torch.equal(flat[0], flat[2])
    assert not torch.equal(flat[0], flat[1])
    assert torch.equal(flat[0].sort().values, flat[1].sort().values)
    padded = sum(int(words.lengths.max()) * len(words) for words in epochs[0])
    assert text.tokens / padded > 0.9  # padded they would waste less than a tenth
    resumed = [batch.x["words"] for batch in batches.batches(0, 5, 7)]
    assert torch.equal(resumed[0].values, epochs[0][5].values)


def test_no_sentences_are_refused():
    with pytest.raises(DataError, match="no sentences"):
        TaggedBatches(TaggedText([]), CODES, ["D"], 2, training=True)


def test_the_made_up_language_repeats_itself_and_needs_context():
    first, again, other = (list(demo_sentences(200, seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    tags: dict[str, set[str]] = {}
    for one in first:
        for word, tag in zip(one.words, one.tags, strict=True):
            tags.setdefault(word, set()).add(tag)
    ambiguous = np.mean([len(tags[word]) > 1 for one in first for word in one.words])
    assert ambiguous > 0.3
