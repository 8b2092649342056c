"""Taggers that look at no context: the tag a word most often had, or the one that most words had."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from rondeau.data.texts.conll import Sentence

_LONGEST = 5  # letters of an ending
_RARE = 10  # words up to so frequent say something of words never seen


class MostFrequent:
    """The most frequent tag for every word."""

    name = "most frequent tag"

    def __init__(self, sentences: Iterable[Sentence]) -> None:
        self.tag = _most(Counter(tag for one in sentences for tag in one.tags))
        self.parameters = 1

    def __call__(self, words: Sequence[str]) -> list[str]:
        return [self.tag] * len(words)


class PerWord:
    """The tag a word most often had in training; for a word never seen that of the longest ending it shares.

    Endings are those of rare words, up to five letters, capitalised words apart (as in TnT, Brants 2000, without its
    context).
    """

    name = "most frequent tag per word, endings for unknown words"

    def __init__(self, sentences: Iterable[Sentence]) -> None:
        by_word: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for one in sentences:
            for word, tag in zip(one.words, one.tags, strict=True):
                by_word[word][tag] += 1
        self.by_word = {word: _most(tags) for word, tags in by_word.items()}
        endings: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for word, tags in by_word.items():
            if tags.total() <= _RARE:
                for ending in _endings(word):
                    endings[ending].update(tags)
        everywhere: Counter[str] = Counter()
        for tags in by_word.values():
            everywhere.update(tags)
        self.endings = {ending: _most(tags) for ending, tags in endings.items()}
        self.tag = _most(everywhere)
        self.parameters = len(self.by_word) + len(self.endings)

    def __call__(self, words: Sequence[str]) -> list[str]:
        return [self._tag(word) for word in words]

    def _tag(self, word: str) -> str:
        known = self.by_word.get(word) or self.by_word.get(word.lower())
        if known is not None:
            return known
        return next((self.endings[ending] for ending in _endings(word) if ending in self.endings), self.tag)


def _endings(word: str) -> list[str]:
    """The longest first; a mark in front tells capitalised words and those with digits."""
    mark = "A" if word[:1].isupper() else "0" if any(c.isdigit() for c in word) else "a"
    return [f"{mark}-{word.lower()[-size:]}" for size in range(min(_LONGEST, len(word)), 0, -1)] + [f"{mark}-"]


def _most(tags: Counter[str]) -> str:
    """The most frequent, of equal ones the first by its letters."""
    return min(tags, key=lambda tag: (-tags[tag], tag))
