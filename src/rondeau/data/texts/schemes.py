"""How entities are written as tags of words: IOB1, BIO, BIOES (and BILOU); all are turned into BIO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_SINGLE, _END = ("S", "U"), ("E", "L")


class Entity(NamedTuple):
    """`kind`, and the words from `begin` up to, not with, `end`."""

    kind: str
    begin: int
    end: int


def scheme_of(labels: Iterable[Sequence[str]]) -> str | None:
    """'IOB1', 'BIO' or 'BIOES' (BILOU likewise) where all tags are `O` or a prefix and a kind; None for other tags.

    Args:
        labels: the tags of each sentence.

    IOB1 (Ramshaw & Marcus 1995) writes `B-` only where an entity follows another of its kind at once; BIO writes it at
    the beginning of each. Tags that do both are BIO, written carelessly: an `I-` that follows nothing begins an entity.

    >>> scheme_of([["O", "I-PER", "I-PER", "B-PER"]]), scheme_of([["B-PER", "O"]]), scheme_of([["NOUN", "VERB"]])
    ('IOB1', 'BIO', None)
    """
    begins: Counter[str] = Counter()
    seen: set[str] = set()
    for tags in labels:
        before = "O"
        for tag in tags:
            prefix, _, kind = tag.partition("-")
            if tag != "O" and (not kind or prefix not in ("B", "I", *_SINGLE, *_END)):
                return None
            seen.add(prefix)
            if tag != "O" and (before == "O" or before.partition("-")[2] != kind):
                begins[prefix] += 1
            before = tag
    if not seen - {"O"}:
        return None
    if seen & {*_SINGLE, *_END}:
        return "BIOES"
    return "IOB1" if begins["I"] and not begins["B"] else "BIO"


def to_bio(tags: Sequence[str]) -> list[str]:
    """Tags of any of the schemes as BIO: every entity begins with `B-`.

    >>> to_bio(["I-PER", "E-PER", "S-LOC", "I-LOC", "O", "I-ORG"])
    ['B-PER', 'I-PER', 'B-LOC', 'B-LOC', 'O', 'B-ORG']
    """
    found: list[str] = []
    inside: str | None = None  # kind of the entity that may go on
    for tag in tags:
        prefix, _, kind = tag.partition("-")
        if tag == "O":
            found.append(tag)
            inside = None
            continue
        begins = prefix == "B" or prefix in _SINGLE or inside != kind
        found.append(f"{'B' if begins else 'I'}-{kind}")
        inside = None if prefix in (*_SINGLE, *_END) else kind
    return found


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of BIO tags; an `I-` that continues nothing begins one, as conlleval and seqeval count it.

    >>> entities(["B-PER", "I-PER", "O", "I-LOC"])
    [Entity(kind='PER', begin=0, end=2), Entity(kind='LOC', begin=3, end=4)]
    """
    found: list[Entity] = []
    begin, inside = 0, None
    for place, tag in enumerate([*to_bio(tags), "O"]):
        if inside is not None and not tag.startswith("I-"):
            found.append(Entity(inside, begin, place))
            inside = None
        if tag.startswith("B-"):
            begin, inside = place, tag[2:]
    return found


def bio_forbidden(labels: Sequence[str]) -> list[tuple[int | None, int | None]]:
    """What cannot be in BIO: `I-X` after anything but `B-X` and `I-X`, or first of all.

    Pairs (tag before, tag) of places in `labels`; None before the first word. For `rondeau.heads.CRF`.

    >>> bio_forbidden(["O", "B-X", "I-X"])
    [(None, 2), (0, 2)]
    """
    found: list[tuple[int | None, int | None]] = []
    for i, tag in enumerate(labels):
        if tag.startswith("I-"):
            before = [
                (None, i),
                *((j, i) for j, one in enumerate(labels) if one[:2] not in ("B-", "I-") or one[2:] != tag[2:]),
            ]
            found += before
    return found
