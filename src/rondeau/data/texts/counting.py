"""Tokens of many documents: counted in one pass, and written as ids in another, in bounded memory."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from os import PathLike
from typing import Any

from rondeau.data.disk.packed import Packed, PackedWriter, smallest_type
from rondeau.data.progress import progress
from rondeau.data.texts.vocabulary import Vocabulary

MOST = 5_000_000  # different tokens that are counted at once
_AT_ONCE = 2000  # documents encoded together

logger = logging.getLogger(__name__)


def count_tokens(
    documents: Iterable[Iterable[str]], what: str = "counting words", total: int | None = None, most: int = MOST
) -> Counter[str]:
    """How often each token comes, in one pass; `Vocabulary.from_counts` makes a vocabulary of it.

    Where there would be more than `most` different ones, the rarest are forgotten, again and again: a token may then be
    counted too low by a number that is logged (Manku & Motwani 2002, "Approximate frequency counts over data streams").

    >>> count_tokens([["a", "b"], ["a"]]).most_common(1)
    [('a', 2)]
    """
    counts: Counter[str] = Counter()
    missed = 0  # at most, of any token
    for document in progress(documents, what, total, "documents"):
        counts.update(document)
        if len(counts) > most:
            while len(counts) > most // 2:
                missed += 1
                counts = Counter({token: count - 1 for token, count in counts.items() if count > 1})
    if missed:
        logger.warning("more than %s different tokens: counts may be too low by %s", f"{most:,}", f"{missed:,}")
    return counts


def pack_tokens(
    documents: Iterable[Iterable[str]],
    vocabulary: Vocabulary,
    folder: str | PathLike[str],
    what: str = "encoding",
    total: int | None = None,
    about: dict[str, Any] | None = None,
) -> Packed:
    """The ids of each document's tokens, as a row of a `Packed` in `folder`, in the smallest type that holds them."""
    with PackedWriter(folder, smallest_type(vocabulary.size), about=about) as writer:
        for several in _batches(progress(documents, what, total, "documents")):
            ids = vocabulary.encode(chain.from_iterable(several))
            writer.extend(ids, [len(tokens) for tokens in several])
    return Packed(folder)


def _batches(documents: Iterator[Iterable[str]]) -> Iterator[list[list[str]]]:
    while several := [list(tokens) for tokens in islice(documents, _AT_ONCE)]:
        yield several
