"""What the classification of texts can be asked."""

from __future__ import annotations

from dataclasses import dataclass

from rondeau.data.texts.segment import KINDS
from rondeau.errors import ArgumentError
from rondeau.tasks.settings import Settings, option
from rondeau.tasks.texts.network import POOLINGS


@dataclass(frozen=True)
class TextClassificationSettings(Settings):
    """What the classification of texts is asked, beyond what every job is."""

    encoding: str = option("utf-8", "How text files are written: utf-8, latin-1, cp1252, utf-16, ...")
    text_column: str | None = option(None, "Column of the texts in a table. Default: guessed.")
    label_column: str | None = option(None, "Column of the classes in a table. Default: guessed.")
    tokens: str = option("words", "What a text is split into.", KINDS)
    lower: bool = option(True, "Turn texts into lower case.")
    vocabulary: int = option(50_000, "Words that are learnt, at most; for bpe, the pieces.")
    min_count: int | None = option(None, "Learn words that come so often. Default: 2, with few documents or vectors 1.")
    longest: int = option(500, "Tokens that are read of a text, at most: of a longer one the first and the last half.")
    vectors: str | None = option(None, "Word vectors to begin with: a .vec or GloVe text file, .gz too.")
    train_vectors: bool = option(True, "Go on learning the vectors.")
    embedding: int = option(100, "Features of a word's vector, where none are given.")
    pooling: str = option("max", "What stands for the text.", POOLINGS)
    word_dropout: float = option(0.3, "Share of the words that are blanked out in training.")
    class_weight: str = option("none", "Let rare classes count as much as frequent ones.", ("none", "balanced"))
    positive: str | None = option(None, "Of two classes the one to be found. Default: the rarer one.")
    threshold: str = option("validation", "Of two classes: where the line is drawn.", ("validation", "0.5"))
    dropout: float = option(0.5, "Rate before, between and after the recurrent layers.")
    epochs: int = option(6, "Times all of the training part is read, at most.")

    def check(self) -> None:
        """Raise `ArgumentError` for settings no run can begin with."""
        super().check()
        for name in ("longest", "embedding", "vocabulary"):
            if getattr(self, name) < 2:
                raise ArgumentError(name, expected="2 or more", got=getattr(self, name))
        for name in ("dropout", "word_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ArgumentError(name, expected="0 or more, below 1", got=getattr(self, name))
        if self.min_count is not None and self.min_count < 1:
            raise ArgumentError("min_count", expected="1 or more", got=self.min_count)
        if self.tokens == "bpe" and self.vocabulary < 256:
            raise ArgumentError("vocabulary: there are 256 bytes", expected="256 or more", got=self.vocabulary)
        if self.vectors is not None and self.tokens != "words":
            raise ArgumentError("vectors are those of words", got=f"tokens={self.tokens!r}", fix="Leave them out")
        if self.vectors is None and not self.train_vectors:
            raise ArgumentError("train_vectors: there are none but those that are learnt", fix="Give some: --vectors")
