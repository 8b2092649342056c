"""Entities in any scheme mean the same."""

from __future__ import annotations

import random

import pytest

from rondeau.data.texts.schemes import bio_forbidden, entities, scheme_of, to_bio

# two persons side by side, then a place, then nothing
WRITTEN = {
    "IOB1": ["I-PER", "I-PER", "B-PER", "O", "I-LOC", "O"],
    "BIO": ["B-PER", "I-PER", "B-PER", "O", "B-LOC", "O"],
    "BIOES": ["B-PER", "E-PER", "S-PER", "O", "S-LOC", "O"],
    "BILOU": ["B-PER", "L-PER", "U-PER", "O", "U-LOC", "O"],
}


@pytest.mark.parametrize("scheme", WRITTEN)
def test_every_scheme_is_recognised_and_becomes_bio(scheme):
    assert scheme_of([WRITTEN[scheme]]) == ("BIOES" if scheme == "BILOU" else scheme)
    assert to_bio(WRITTEN[scheme]) == WRITTEN["BIO"]
    assert [(e.kind, e.begin, e.end) for e in entities(WRITTEN[scheme])] == [
        ("PER", 0, 2),
        ("PER", 2, 3),
        ("LOC", 4, 5),
    ]


def test_other_tags_are_no_entities():
    assert scheme_of([["NOUN", "VERB"]]) is None
    assert scheme_of([["B-PER", "X-PER"]]) is None
    assert scheme_of([["O", "O"]]) is None


def test_entities_are_those_of_seqeval():
    metrics = pytest.importorskip("seqeval.metrics.sequence_labeling")
    chance = random.Random(0)
    for _ in range(300):
        tags = [chance.choice(["O", "B-A", "I-A", "B-B", "I-B"]) for _ in range(chance.randint(0, 9))]
        theirs = [(kind, begin, end + 1) for kind, begin, end in metrics.get_entities(tags)]
        assert [tuple(e) for e in entities(tags)] == theirs


def test_forbidden_pairs_are_just_those_that_bio_cannot_have():
    labels = ["O", "B-A", "I-A", "B-B", "I-B"]
    forbidden = set(bio_forbidden(labels))
    for i, before in [(None, None), *enumerate(labels)]:
        for j, tag in enumerate(labels):
            written = [tag] if before is None else [before.replace("I-", "B-"), tag]
            assert ((i, j) in forbidden) == (to_bio(written) != written)


def test_what_follows_an_end_begins_anew():
    assert to_bio(["S-A", "I-A", "E-A", "E-A"]) == ["B-A", "B-A", "I-A", "B-A"]
