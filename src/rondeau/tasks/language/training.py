"""A language model on any text, beside baselines that know less."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from rondeau.data.faults import Faults
from rondeau.data.tables.rows import TABLES
from rondeau.data.texts.corpus import default_corpus, default_corpus_name
from rondeau.data.texts.documents import read_texts
from rondeau.data.texts.large_text import (
    LARGE,
    LargeSplit,
    encode_large,
    read_large_text,
    shared_with_large,
    size_of,
    train_on_large,
)
from rondeau.data.texts.text import SEPARATOR, Document, Split, describe_shared, divide_text, read_text, shared_lines
from rondeau.data.texts.text_lines import suffix_of
from rondeau.data.texts.tokenizer import BPETokenizer, CharacterTokenizer
from rondeau.data.texts.windows import TextWindows
from rondeau.data.texts.word_tokenizer import WordTokenizer
from rondeau.errors import ArgumentError, CheckpointError, DataError
from rondeau.insight import Insight
from rondeau.insight.results import Results, Row
from rondeau.models import Sequential
from rondeau.models.language_model import generate, language_model
from rondeau.tasks.along import BitsPerCharacter, Keeper, Perplexity
from rondeau.tasks.language.baselines import count_bits, feed_forward_bits
from rondeau.tasks.language.judging import METRIC, PERPLEXITY, STRETCHES, model_bits, scores
from rondeau.tasks.language.ngram import InterpolatedNgram, Unigram
from rondeau.tasks.reproduce import reproduce
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.settings import Common, option
from rondeau.tasks.speed import Speed
from rondeau.tasks.task import View, settings_of
from rondeau.training import optimizers
from rondeau.training.checkpoint import BackupAndRestore
from rondeau.training.interrupt import StopOnInterrupt
from rondeau.training.lookup import unknown
from rondeau.training.losses import SparseCategoricalCrossentropy
from rondeau.training.optimizers import schedules
from rondeau.training.provenance import FORMAT, VERSION

Ids = np.ndarray[Any, Any]
logger = logging.getLogger(__name__)
Tokenizer = CharacterTokenizer | BPETokenizer | WordTokenizer
TOKENS = ("characters", "words", "bpe")


@dataclass(frozen=True)
class Settings(Common):
    """What a run is asked to do; stands in its `config.json`.

    `path`: a text file or folder, None for the default corpus. `window`: the state goes on from window to window.
    """

    validation: float = option(0.05, "Share of the text on which the best epoch is chosen.")
    test: float = option(0.05, "Share of the text held out to the end.")
    tokens: str = option("characters", "What the text is cut into; bpe needs the extra `text`.", TOKENS)
    vocabulary: int | None = option(None, "Pieces of bpe to learn (default 2000), or words at most (default 20000).")
    sampled: int | None = option(None, "Of many words: look at so many drawn ones in training (a sampled softmax).")
    units: int = option(192, "Units of a recurrent layer.")
    layers: int = option(2, "Recurrent layers.")
    embedding: int = option(64, "Features of a token.")
    dropout: float = option(0.2, "Rate before, between and after the recurrent layers.")
    text_column: str | None = option(None, "Column of the texts in a table. Default: guessed.")
    on_error: str = option("fail", "What a record of a table that cannot be used does.", ("fail", "skip"))
    window: int = option(64, "Steps of backpropagation through time.")
    batch_size: int = option(32, "Parts of the text read side by side.")
    epochs: int = option(12, "Times the whole text is read.")
    learning_rate: float = option(1e-2, "Of Adam, at the start; it falls along a cosine.")


VOCABULARY = {"characters": 0, "words": 20_000, "bpe": 2000}


class Corpus(NamedTuple):
    """The text of a run, its tokens, and its name; of a large text, what is for training stays on disk.

    `notes`: how it was divided, and whether held-out lines stand in the training text too; `skipped`: records left out.
    """

    name: str
    text: Split | LargeSplit
    tokenizer: Tokenizer
    ids: tuple[Ids, Ids, Ids]
    notes: Sequence[str] = ()
    skipped: Mapping[str, Any] = {}

    @property
    def characters(self) -> dict[str, int]:
        """How many there are in each part."""
        return {"train": len(self.text.train), "validation": len(self.text.validation), "test": len(self.text.test)}

    @property
    def note(self) -> str | None:
        """What is done otherwise than with smaller texts."""
        if not isinstance(self.text, LargeSplit):
            return None
        excerpt = min(EXCERPT, len(self.ids[0]))
        return f"more than memory is to hold: read from disk; baselines learn from the last {excerpt:,} tokens"


def read_corpus(settings: Settings, tokenizer: Tokenizer | None = None) -> Corpus:
    """Read, divide and tokenize. Raises `DataError` for text that is missing, unreadable or too short."""
    if settings.path is not None and size_of(settings.path) > LARGE and not is_table(Path(settings.path)):
        return _read_large(settings, settings.path, tokenizer)
    documents, skipped = (default_corpus(), {}) if settings.path is None else _documents(settings, settings.path)
    name = default_corpus_name() if settings.path is None else settings.path
    text, notes = divide_text(documents, settings.validation, settings.test, settings.seed)
    if tokenizer is None:
        tokenizer = train_tokenizer(settings, text.train)
    train, validation, test = (tokenizer.encode(part) for part in text)
    notes.append(describe_shared(shared_lines(text)))
    return _long_enough(settings, Corpus(name, text, tokenizer, (train, validation, test), notes, skipped))


def _documents(settings: Settings, path: str) -> tuple[list[Document], dict[str, Any]]:
    """The documents of a text file, a folder, or a table's column, and which records were left out."""
    if not is_table(Path(path)):
        return read_text(path), {}
    faults = Faults(settings.on_error)
    found = [Document(one.where, one.text) for one in read_texts(path, text_column=settings.text_column, faults=faults)]
    kept = [document for document in found if document.text.strip()]
    if not kept:
        raise DataError("no text in the table", expected="at least one record with text", got=len(found), where=path)
    left_out = [f"{len(found) - len(kept):,} empty documents"] if len(kept) < len(found) else []
    if faults.total or left_out:
        logger.warning("%s: left out: %s", path, "; ".join([*left_out, *filter(None, [faults.describe()])]))
    return kept, faults.to_json()


def is_table(path: Path) -> bool:
    """Whether a file's name is that of a table of texts."""
    return suffix_of(path) in TABLES and path.is_file()


def _read_large(settings: Settings, path: str, tokenizer: Tokenizer | None) -> Corpus:
    text = read_large_text(path, settings.validation, settings.test, settings.seed)
    if tokenizer is None:
        _check_tokens(settings)
        tokenizer = train_on_large(text.train, settings.tokens, settings.vocabulary or VOCABULARY[settings.tokens])
    ids = encode_large(text, tokenizer)
    shared = shared_with_large(text, tokenizer)
    notes = ["held out are whole documents" if text.train.by_document else "held out is the end of the text"]
    return _long_enough(settings, Corpus(path, text, tokenizer, ids, [*notes, describe_shared(shared)]))


def _long_enough(settings: Settings, corpus: Corpus) -> Corpus:
    train, *held_out = corpus.ids
    window = max(settings.window, 1)
    _require("training", train, max(settings.batch_size, 1), window, ", or a smaller window or batch size")
    for part, ids in zip(("validation", "test"), held_out, strict=True):
        _require(part, ids, VALIDATION_ROWS, 1, "")
    return corpus


VALIDATION_ROWS = 16
EXCERPT = 1 << 22  # tokens of a large text that baselines, which hold all of it in memory, learn from


def _require(part: str, ids: Ids, rows: int, window: int, otherwise: str) -> None:
    """Raise `DataError` for a part of the text that has no window for every row."""
    if len(ids) < rows * window + 1:
        raise DataError(
            f"the {part} text is too short",
            expected=f"at least {rows * window + 1:,} tokens ({rows} rows of a window of {window}, and the next token)",
            got=f"{len(ids):,}",
            fix=f"Give more text{otherwise}",
        )


def train_tokenizer(settings: Settings, text: str) -> Tokenizer:
    """Characters, words or byte-pair pieces of the training text."""
    _check_tokens(settings)
    if settings.tokens == "characters":
        return CharacterTokenizer.train(text)
    kind = WordTokenizer if settings.tokens == "words" else BPETokenizer
    return kind.train(text, settings.vocabulary or VOCABULARY[settings.tokens])


def _check_tokens(settings: Settings) -> None:
    if settings.tokens not in TOKENS:
        raise unknown("kind of tokens", settings.tokens, TOKENS)


def join(documents: list[Document]) -> str:
    """Documents as one text, as `split_text` joins them."""
    return SEPARATOR.join(document.text for document in documents)


def digest(text: Split | LargeSplit) -> str:
    """Tells one division of one text from another."""
    if isinstance(text, LargeSplit):
        return text.train.digest
    return hashlib.blake2b("\0".join(text).encode(), digest_size=16).hexdigest()


def begin(settings: Settings, out: Path, overwrite: bool = False) -> tuple[RunFolder, Corpus]:
    """A new run folder with its settings and vocabulary, once data and settings have been found good."""
    corpus = read_corpus(settings)
    check(settings, corpus)
    run = RunFolder.create(out, overwrite)
    data = {"name": corpus.name, "digest": digest(corpus.text), "characters": corpus.characters}
    data |= {"notes": [*corpus.notes, *filter(None, [corpus.note])], "skipped": corpus.skipped}
    described = {"format": FORMAT, "version": VERSION, "task": "language_model"}
    run.write_json(run.vocabulary, corpus.tokenizer.to_json())
    asked = {"settings": asdict(settings), "data": data, "reproduce": reproduce(settings, "language_model")}
    run.write_json(run.config, {**described, **asked})
    return run, corpus


def check(settings: Settings, corpus: Corpus) -> None:
    """Raise `ArgumentError` for settings no run can begin with, before anything is written."""
    settings.check()
    if settings.window < 1:
        raise ArgumentError("window", expected="1 or more", got=settings.window)
    if settings.sampled is not None and not 1 <= settings.sampled < corpus.tokenizer.size:
        expected = f"1 or more, below the {corpus.tokenizer.size:,} tokens there are"
        raise ArgumentError("sampled", expected=expected, got=settings.sampled)
    build(settings, corpus.tokenizer.size)


def reopen(path: Path) -> tuple[RunFolder, Settings, Corpus]:
    """A run to go on with. Raises `CheckpointError` if its text has changed since."""
    run = RunFolder.open(path)
    settings, corpus = read_again(run)
    run.remove_leftovers()
    return run, settings, corpus


def read_again(run: RunFolder) -> tuple[Settings, Corpus]:
    """The settings and the text of a run. Raises `CheckpointError` if the text has changed since."""
    settings = settings_of(Settings, run)
    corpus = read_corpus(settings, run.tokenizer())
    if digest(corpus.text) != run.read_json(run.config)["data"]["digest"]:
        raise CheckpointError(
            "the text is not the one the run began with",
            where=settings.path or corpus.name,
            fix="Put the old text back, or begin a new run",
        )
    return settings, corpus


def build(settings: Settings, tokens: int) -> Sequential:
    """The model that the settings describe."""
    s = settings
    return language_model(tokens, s.cell, s.units, s.layers, s.embedding, s.dropout, s.sampled)


def untrained(settings: Settings, corpus: Corpus) -> tuple[Sequential, TextWindows]:
    """The model as the run's seed begins it, compiled, and the text it is to learn from."""
    torch.manual_seed(settings.seed)
    model = build(settings, corpus.tokenizer.size)
    train = TextWindows(corpus.ids[0], settings.batch_size, name="the training text")
    updates = len(train.in_windows(settings.window)) * settings.epochs
    rate = schedules.CosineDecay(settings.learning_rate, updates, alpha=0.02)
    loss = SparseCategoricalCrossentropy(from_logits=True) if settings.sampled is None else "sampled_softmax"
    model.compile(optimizers.Adam(rate, global_clipnorm=settings.clipnorm), loss, device=settings.device)
    return model, train


def fit(run: RunFolder, settings: Settings, corpus: Corpus, view: View) -> bool:
    """Train, or go on training, until the last epoch; false if interrupted. The best model by validation is kept."""
    model, train = untrained(settings, corpus)
    validation = TextWindows(corpus.ids[1], VALIDATION_ROWS, name="the validation text")
    per_token = [size / len(ids) for size, ids in zip(corpus.characters.values(), corpus.ids, strict=True)]
    backup = BackupAndRestore(run.checkpoint, seconds=settings.checkpoint_seconds, delete_checkpoint=False)
    speed = Speed(lambda batches: int(train.lengths.clamp(max=batches * settings.window).sum()), run)
    callbacks = [
        Perplexity() if settings.tokens == "words" else BitsPerCharacter(per_token[0], per_token[1]),
        Keeper(run),
        *([Insight(run.path, history=False)] if settings.insight else []),
        speed,
        *view(settings.batch_size * settings.window, speed),
        StopOnInterrupt(),
        backup,
    ]
    model.fit(
        train,
        window=settings.window,
        epochs=settings.epochs,
        validation_data=validation,
        callbacks=callbacks,
        verbose=0,
    )
    return not backup.loop.interrupted


def compare(run: RunFolder, settings: Settings, corpus: Corpus, view: View) -> Results:
    """The best model and the three baselines on the same held-out text; written to `results.json`.

    Intervals are over stretches of 1,000 characters, see `scores`. Of a large text the baselines learn the last four
    million tokens, and their names say so.
    """
    whole, validation, test = corpus.ids
    train = np.asarray(whole[-EXCERPT:]) if isinstance(corpus.text, LargeSplit) else whole
    learnt = "" if len(train) == len(whole) else f" (of the last {len(train):,} training tokens)"
    model = run.load_model()
    weights = model.count_params()
    tokenizer, size = corpus.tokenizer, corpus.tokenizer.size
    unigram, ngram = Unigram(train, size), InterpolatedNgram(train, size, 5)
    epochs = math.ceil(settings.epochs / 3)  # it learns faster than the recurrent model, and then learns by heart
    budget = (size, weights, epochs, settings.seed, settings.device)
    network, network_bits = feed_forward_bits(train, validation, test, *budget, view)
    found = (
        (f"unigram{learnt}", unigram.parameters, count_bits(unigram, test)),
        (f"5-gram, interpolated Kneser-Ney{learnt}", ngram.parameters, count_bits(ngram, test)),
        (f"feed-forward over the last 16 tokens{learnt}", network, network_bits),
        (f"{settings.cell}, {settings.layers} x {settings.units}", weights, model_bits(model, test)),
    )
    per_token = len(corpus.text.test) / len(test)
    rows = [Row(name, parameters, *scores(bits, per_token)) for name, parameters, bits in found]
    notes = [STRETCHES]
    unknown_share = 0.0 if tokenizer.unknown is None else float((test == tokenizer.unknown).mean())
    if settings.tokens == "words":
        share = f"{unknown_share:.1%} of the test's tokens are not among the {size:,} known"
        notes.insert(0, f"{share}; they are told as one word")
    metrics = [PERPLEXITY] if settings.tokens == "words" else [METRIC, PERPLEXITY]
    results = Results(metrics, rows, "the held-out test text", notes)
    run.write_json(run.results, results.to_json())
    return results


def write_samples(run: RunFolder, settings: Settings, corpus: Corpus, length: int = 500) -> str:
    """How the best model goes on with the held-out text's beginning, at three temperatures; gives the middle one.

    All three are written to `samples.txt`. Characters of the beginning that the run has never seen are left out.
    """
    model, tokenizer = run.load_model(), corpus.tokenizer
    prompt = [int(i) for i in tokenizer.encode(corpus.text.test[:40]) if i != tokenizer.unknown]
    prompt = prompt or [int(corpus.ids[0][0])]  # a held-out text of other letters altogether
    forbidden = [] if tokenizer.unknown is None else [tokenizer.unknown]
    drawn = {}
    for temperature in (0.5, 0.8, 1.0):
        ids = generate(model, prompt, length, temperature, seed=settings.seed, forbidden=forbidden)
        drawn[temperature] = f"{tokenizer.decode(prompt)}|{tokenizer.decode(list(ids))}"
    parts = [f"temperature {temperature}\n\n{text}\n" for temperature, text in drawn.items()]
    run.samples.write_text(("\n" + "-" * 72 + "\n").join(parts), encoding="utf-8")
    return drawn[0.8]


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """A prompt's ids. Raises `DataError` for characters the run has never seen, and for an empty prompt."""
    ids = [int(i) for i in tokenizer.encode(prompt)]
    if not ids:
        raise DataError("the prompt is empty", expected="at least one character")
    if tokenizer.unknown is not None and tokenizer.unknown in ids:
        at = ids.index(tokenizer.unknown)
        words = isinstance(tokenizer, WordTokenizer)
        one, parts = ("word", WordTokenizer.split(prompt)) if words else ("character", list(prompt))
        raise DataError(f"the prompt has a {one} the run has never seen", got=repr(parts[at]), where=f"{one} {at}")
    return ids
