"""A small made-up language with word classes that only the context tells: data to try a tagger on.

Most of its stems are noun and verb in one, some adjective and adverb; which they are follows from the words around
them, some of them far: a sentence that begins with `ka` puts the verb first. New stems come all the time, so endings
matter too: they mark some of the words, never all.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from rondeau.data.texts.conll import Sentence

Tagged = list[tuple[str, str]]
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


def demo_sentences(count: int = 3000, seed: int = 0) -> Iterator[Sentence]:
    """`count` sentences in documents of ten, the same for the same seed on every machine.

    >>> first = next(demo_sentences(1))
    >>> len(first.words) == len(first.tags)
    True
    """
    language = _Language(random.Random(seed))
    for number in range(count):
        sentence = language.sentence()
        words, tags = zip(*sentence, strict=True)
        yield Sentence(words, tags, f"document {number // 10 + 1}", f"made sentence {number + 1}")


class _Language:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._actions = [self._stem() for _ in range(250)]  # a noun and a verb
        self._qualities = [self._stem() for _ in range(80)]  # an adjective and an adverb

    def sentence(self) -> Tagged:
        subject, predicate = self._nouns(), self._predicate()
        if self._chance.random() < 0.35:
            sentence: Tagged = [("ka", "PART"), *predicate, *subject]
        else:
            sentence = [*subject, *predicate]
        if self._chance.random() < 0.25:
            sentence += [("mu", "CONJ"), *self._nouns(), *self._predicate()]
        return [*sentence, (".", "PUNCT")]

    def _nouns(self, depth: int = 0) -> Tagged:
        """A pronoun, or a noun with what belongs to it; `sa` is a pronoun alone and a determiner before a noun."""
        if self._chance.random() < 0.25:
            return [(self._one(("sa", "mi", "tu")), "PRON")]
        found: Tagged = []
        if self._chance.random() < 0.6:
            found.append((self._one(("sa", "ti", "lo")), "DET"))
        if self._chance.random() < 0.4:
            found.append((self._quality("ir"), "ADJ"))
        found.append((self._action("on"), "NOUN"))
        if depth < 2 and self._chance.random() < 0.3:
            found += [(self._one(("ne", "do", "pe")), "ADP"), *self._nouns(depth + 1)]
        return found

    def _predicate(self) -> Tagged:
        found: Tagged = []
        if self._chance.random() < 0.3:
            found.append((self._one(("pe", "va")), "AUX"))  # `pe` is an adposition elsewhere
        found.append((self._action("es"), "VERB"))
        if self._chance.random() < 0.4:
            found.append((self._quality("ul"), "ADV"))
        if self._chance.random() < 0.6:
            found += self._nouns(1)
        return found

    def _action(self, ending: str) -> str:
        return self._word(self._actions, ending)

    def _quality(self, ending: str) -> str:
        return self._word(self._qualities, ending)

    def _word(self, stems: list[str], ending: str) -> str:
        """A stem, common ones more often; one in thirty is new, and one in five has an ending."""
        stem = self._stem() if self._chance.random() < 0.03 else stems[int(len(stems) * self._chance.random() ** 2)]
        return stem + ending if self._chance.random() < 0.2 else stem

    def _stem(self) -> str:
        return "".join(self._one(_CONSONANTS) + self._one(_VOWELS) for _ in range(2 + int(2 * self._chance.random())))

    def _one(self, choices: tuple[str, ...] | str) -> str:
        return choices[int(len(choices) * self._chance.random())]
