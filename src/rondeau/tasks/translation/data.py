"""What a translation is asked, what it learns from, and how that is divided."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from rondeau.data.disk.rows_of_ids import StoredIds
from rondeau.data.progress import progress
from rondeau.data.splits import split_rows
from rondeau.data.texts.pairs import Pairs, PairStore, leaked
from rondeau.data.texts.sides import Side
from rondeau.errors import ArgumentError, DataError
from rondeau.tasks.job import Data
from rondeau.tasks.settings import Asking, Settings, option

Ids = NDArray[np.int64]
BYTES = 256  # pieces there are at least


@dataclass(frozen=True)
class TranslationSettings(Settings):
    """What a translation is asked."""

    cell: str = option("gru", "The recurrent cell.", ("lstm", "gru", "simple_rnn"))
    units: int = option(256, "Units of encoder and decoder each; the encoder's are halved between its directions.")
    batch_size: int = option(64, "Pairs of a batch.")
    learning_rate: float = option(2e-3, "Of Adam, at the start; it falls along a cosine.")
    source_language: str | None = option(None, "Side to read: a file's suffix (de) or a column's name.")
    target_language: str | None = option(None, "Side to write: a file's suffix (en) or a column's name.")
    encoding: str = option("utf-8", "How the text is written.")
    unit: str = option("words", "What a token is, on both sides.", ("words", "characters", "bpe"))
    lower: bool = option(False, "Turn everything into lower case.")
    min_count: int = option(2, "How often a word must come in the training part to be known.")
    pieces: int = option(8000, "Byte-pair pieces of each side, with --unit bpe.")
    embedding: int = option(256, "Features of a token.")
    attention: str = option("additive", "How the decoder looks at the source.", ("additive", "dot", "none"))
    bidirectional: bool = option(True, "Read the source both ways.")
    tied: bool = option(True, "The answers' weights are the target's embedding.")
    label_smoothing: float = option(0.1, "Share of each target spread over all tokens while training.")
    max_tokens: int = option(100, "Longer pairs are left out of training; nothing longer is written.")
    beam: int = option(5, "Hypotheses kept while writing.")
    length_penalty: float = option(1.0, "How much longer translations are favoured: 0 for not at all.")
    copy_unknown: bool = option(True, "Write the source word looked at most where the answer is a word not known.")

    def check(self) -> None:
        super().check()
        for name in ("min_count", "pieces", "embedding", "max_tokens", "beam"):
            if getattr(self, name) < 1:
                raise ArgumentError(name, expected="1 or more", got=getattr(self, name))
        if self.unit == "bpe" and self.pieces < BYTES:
            raise ArgumentError("pieces", expected=f"{BYTES} or more, as each byte is one", got=self.pieces)
        if not 0 <= self.label_smoothing < 1:
            raise ArgumentError("label_smoothing", expected="0 or more, below 1", got=self.label_smoothing)


@dataclass(frozen=True)
class TranslationAsking(Asking):
    """What `rondeau predict` can be asked of a translation."""

    beam: int | None = option(
        None, "Hypotheses kept while writing, 1 for the likeliest word each time. Default: the run's."
    )
    length_penalty: float | None = option(None, "How much longer translations are favoured. Default: the run's.")

    def check(self) -> None:
        if self.beam is not None and self.beam < 1:
            raise ArgumentError("beam", expected="1 or more", got=self.beam)


@dataclass(frozen=True)
class Prepared:
    """The two sides' tokens, as the training part has them, and the sides' names ("" for none)."""

    source: Side
    target: Side
    names: tuple[str, str]
    _encoded: WeakKeyDictionary[PairStore, tuple[StoredIds, StoredIds]] = field(
        default_factory=WeakKeyDictionary, compare=False, repr=False
    )

    def to_json(self) -> dict[str, Any]:
        """As `Translation.load_prepared` takes it."""
        return {"source": self.source.to_json(), "target": self.target.to_json(), "names": list(self.names)}

    def encode(self, pairs: PairStore) -> tuple[StoredIds, StoredIds]:
        """Both sides of pairs as ids, on disk; they are made once."""
        if pairs not in self._encoded:
            sources = progress(pairs, "splitting sources", unit="pairs")
            targets = progress(pairs, "splitting targets", unit="pairs")
            self._encoded[pairs] = (
                StoredIds(self.source.encode(pair.source) for pair in sources),
                StoredIds(self.target.encode(pair.target) for pair in targets),
            )
        return self._encoded[pairs]


@dataclass
class PairData(Data):
    """Pairs, and the sides' names."""

    names: tuple[str, str] = ("", "")


def divide(found: Pairs, settings: TranslationSettings) -> tuple[dict[str, PairStore], list[str]]:
    """The three parts: the files' own, and what they lack drawn from the training part; and what was noticed.

    Pairs of one source, or of one group where they have groups, stay together. Where the files' own parts share pairs,
    the training part gives them up.
    """
    parts, notes = dict(found.parts), list(found.notes)
    for name, twice in leaked(parts).items():
        if twice:
            here = f"{len(twice):,} pairs of the {name} part stand in the training part too"
            notes.append(f"{here} (such as {twice[0].where}); they were left out of training")
            train = parts["train"]
            parts["train"] = train.some(np.flatnonzero(~np.isin(train.keys(), twice.keys())))
    shares = {name: getattr(settings, name) for name in ("validation", "test") if not parts.get(name)}
    if shares:
        pairs = parts["train"]
        keys = (pair.source if pair.group is None else pair.group for pair in pairs)
        drawn = split_rows(keys, **{"validation": 0, "test": 0, **shares}, seed=settings.seed)
        for name in ("train", *shares):
            parts[name] = pairs.some(getattr(drawn, name))
        shown = " and ".join(f"{share:.0%} for {name}" for name, share in shares.items())
        notes.append(f"held out: {shown}; pairs of one {settings.group or 'source'} stay together")
    if not len(parts["train"]):
        raise DataError("nothing is left to train on", fix="Give other pairs for training than for testing")
    return {name: parts[name] for name in ("train", "validation", "test")}, notes


def digest_of(parts: Mapping[str, PairStore]) -> str:
    """Tells these pairs, so divided, from others."""
    digest = hashlib.sha256()
    for name, pairs in parts.items():
        digest.update(f"{name} {len(pairs)}\n".encode())
        for pair in pairs:
            digest.update(f"{pair.source}\t{pair.target}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
