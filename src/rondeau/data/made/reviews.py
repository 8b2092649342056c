"""Short reviews made from a seed, in which not the words but their order says whether one is good."""

from __future__ import annotations

import random

from rondeau.data.texts.documents import Document
from rondeau.errors import ArgumentError

ASPECTS = (
    *("plot", "acting", "music", "ending", "script", "camera", "humour", "pace", "dialogue", "cast", "story"),
    *("editing", "lighting", "opening", "finale", "hero", "villain", "sound"),
)
GOOD = (
    *("good", "moving", "clever", "fresh", "gripping", "lovely", "brilliant", "funny", "honest", "rich", "warm"),
    *("elegant", "superb", "thrilling", "subtle", "bold", "charming", "vivid"),
)
BAD = (
    *("bad", "dull", "clumsy", "stale", "boring", "ugly", "awful", "silly", "shallow", "poor", "cold"),
    *("crude", "terrible", "tedious", "noisy", "timid", "tiresome", "grey"),
)
_DEGREES = ("", "", "very ", "really ", "quite ", "rather ", "so ")
_VERBS = ("is", "was", "seems", "felt")
_NOT = ("not", "never", "hardly")
_FILL = ("i saw it on a {} .", "we went there on a {} .", "the room was full on that {} .", "my friends came on {} .")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_PLAIN, _TURNED = 1 / 3, 0.3  # reviews of one thing alone; words that are turned round
_NOISE = 0.03  # reviews whose class is the wrong one: nobody reaches 100 %


def made_reviews(rows: int = 4000, seed: int = 0) -> list[Document]:
    """Reviews of the classes `good` and `bad`, half each.

    Most praise one thing and blame another, and what counts is the side that the review comes down on: the one after
    `but`, the one before `although` in the middle, the one after the comma where `although` stands in front. A `not`,
    `never` or `hardly` turns the word after it round. A third speaks of one thing alone. So a bag of words and pairs of
    words is right for the plain ones and guesses at the others. Three in a hundred have the wrong class.

    >>> made_reviews(2, seed=1)[0].label in ("good", "bad")
    True
    """
    if rows < 2:
        raise ArgumentError("made_reviews: rows", expected="2 or more", got=rows)
    draw = random.Random(seed)
    documents = []
    for row in range(rows):
        good = row % 2 == 0
        text = _review(good, draw)
        label = good != (draw.random() < _NOISE)
        documents.append(Document(text, "good" if label else "bad", where=f"review {row + 1}"))
    draw.shuffle(documents)
    return documents


def _review(good: bool, draw: random.Random) -> str:
    first, second = draw.sample(ASPECTS, 2)
    plain = draw.random() < _PLAIN
    weighty, other = _clause(first, good, draw), _clause(second, not good, draw)
    form = draw.randrange(4)
    if plain:
        text = f"{weighty} ."
    elif form == 0:
        text = f"{other} , but {weighty} ."
    elif form == 1:
        text = f"{weighty} , although {other} ."
    elif form == 2:
        text = f"although {other} , {weighty} ."
    else:
        text = f"{other} . but {weighty} ."
    fill = [draw.choice(_FILL).format(draw.choice(_DAYS)) for _ in range(draw.randrange(3))]
    place = draw.randrange(len(fill) + 1)
    return " ".join([*fill[:place], text, *fill[place:]])


def _clause(aspect: str, good: bool, draw: random.Random) -> str:
    turned = draw.random() < _TURNED
    word = draw.choice(GOOD if good != turned else BAD)
    negation = f"{draw.choice(_NOT)} " if turned else ""
    return f"the {aspect} {draw.choice(_VERBS)} {negation}{draw.choice(_DEGREES)}{word}"
