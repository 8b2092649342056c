"""What comes next in sequences of bases or amino acids; new ones; what variants change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rondeau import layers
from rondeau.data.dna.alphabets import DNA, Alphabet
from rondeau.data.dna.files import from_standard_input, kind_of, read_records, sequence_files
from rondeau.data.dna.genome import index_genome
from rondeau.data.dna.records import SequenceRecord, encoded
from rondeau.data.dna.store import SequenceStore
from rondeau.data.dna.tables import looks_like_sequences
from rondeau.data.dna.variants import looks_like_variants, read_variants
from rondeau.data.faults import Faults
from rondeau.data.made.genes import made_genome
from rondeau.data.progress import progress
from rondeau.data.tables.rows import read_head
from rondeau.errors import ArgumentError, DataError
from rondeau.init import RandomNormal
from rondeau.insight.results import Metric, Row
from rondeau.models.language_model import generate
from rondeau.models.sequential import Sequential
from rondeau.tasks.bootstrap import intervals
from rondeau.tasks.dna.effects import Reference, effects, sequence_costs
from rondeau.tasks.dna.labelled import alphabet_of
from rondeau.tasks.dna.markov import chosen
from rondeau.tasks.dna.pieces import Pieces, Stretch, digest_of, divide
from rondeau.tasks.dna.settings import LanguageAsking, LanguageSettings
from rondeau.tasks.dna.windows import Tokens, Windows, costs
from rondeau.tasks.job import Data, Job, Judged, placed
from rondeau.tasks.look import LONGEST, Explained
from rondeau.tasks.run_folder import RunFolder
from rondeau.training.losses import SparseCategoricalCrossentropy
from rondeau.training.source import Source

METRICS = (Metric("bits_per_base", higher=False, digits=4), Metric("perplexity", higher=False))
_CELLS = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}
_JUDGED = 2_000_000  # letters of the test part that are judged, evenly spread
_COUNTED = 50_000_000  # letters of the training part that baselines count, likewise
_SAMPLE = 300  # letters


@dataclass(frozen=True)
class Prepared:
    """How sequences are read."""

    tokens: Tokens

    def to_json(self) -> dict[str, Any]:
        """As `load_prepared` takes it."""
        return self.tokens.to_json()


class DnaLanguageModel(Job[LanguageSettings]):
    """A language model of letters or k-mers."""

    name, title, settings, steps = (
        "dna_language_model",
        "language model of DNA, RNA, proteins",
        LanguageSettings,
        "bases",
    )
    demo = "made contigs with genes"
    asking = LanguageAsking
    extra = "bio"
    metrics = METRICS

    def guess(self, path: Path) -> str | None:
        try:
            files = sequence_files(path)
            if all(kind_of(file) == "table" for file in files):
                column = looks_like_sequences(read_head(files[0]))
                return None if column is None else f"column {column!r} holds sequences, without classes"
        except DataError:
            return None
        found = [file.name for file in files if kind_of(file) != "table"]
        return f"{found[0]} holds sequences, without classes or features"

    def demo_settings(self) -> LanguageSettings:
        told = {"units": 96, "epochs": 40, "window": 128, "batch_size": 16, "learning_rate": 5e-3}
        return LanguageSettings(**told, validation=0.15, test=0.15)  # type: ignore[arg-type]

    # data

    def read(self, settings: LanguageSettings) -> Data:
        if settings.group is not None:
            fix = "Leave it out: whole records, or stretches, are held out"
            raise ArgumentError("group: sequences to be continued have no such column", got=settings.group, fix=fix)
        faults = Faults(settings.on_error)
        if settings.path is None:
            records = made_genome(records=40, seed=settings.seed, elements=3)
            source: Any = SequenceStore(DNA, encoded(records, DNA, faults))
            name, notes = "contigs made by the package", list[str]()
        else:
            files = sequence_files(settings.path)
            alphabet, why = alphabet_of(files, settings)
            source = source_of(files, alphabet, settings.sequence_column, faults)
            name, notes = Path(settings.path).name, [why]
        if settings.strands == "augment" and source.alphabet.complement is None:
            notes.append("proteins have no other strand: one is read")
        train, held, test, more = divide(
            source, settings.validation, settings.test, settings.seed, settings.window * settings.kmer
        )
        parts = train, held, test
        sizes = {"letters": dict(zip(("train", "validation", "test"), (one.letters for one in parts), strict=True))}
        digest = digest_of(source, parts)
        return Data(name, train, held, test, sizes, digest, faults.to_json(), [*notes, *more])

    def prepare(self, settings: LanguageSettings, data: Data) -> Prepared:
        return Prepared(Tokens(data.train.source.alphabet, settings.kmer))

    def load_prepared(self, data: dict[str, Any]) -> Prepared:
        return Prepared(Tokens.from_json(data))

    # the model

    def build(self, settings: LanguageSettings, prepared: Prepared, data: Data | None) -> Any:
        return network(prepared.tokens, settings)

    def loss(self, settings: LanguageSettings, prepared: Prepared, data: Data) -> Any:
        return SparseCategoricalCrossentropy(from_logits=True)

    def fit_metrics(self, settings: LanguageSettings, prepared: Prepared) -> list[Any]:
        return ["accuracy"]

    def batches(self, settings: LanguageSettings, prepared: Prepared, examples: Pieces, training: bool) -> Source:
        both = training and settings.strands == "augment" and prepared.tokens.alphabet.complement is not None
        pieces = examples if training else spread(examples, _JUDGED)
        windows = Windows(pieces, prepared.tokens, settings.window, both)
        if not len(windows):
            got = f"{examples.letters:,} letters"
            raise DataError("a part of the sequences has no window", expected="a k-mer or more", got=got)
        return windows.source(settings.batch_size, training, settings.bases if training else None)

    def count_steps(self, settings: LanguageSettings, prepared: Prepared, examples: Pieces) -> int:
        letters = examples.letters * (2 if settings.strands == "augment" else 1)
        return letters if settings.bases is None else min(letters, settings.bases)

    def name_of(self, settings: LanguageSettings) -> str:
        read = "" if settings.kmer == 1 else f" of {settings.kmer}-mers"
        return f"{settings.cell}{read}, {settings.layers} x {settings.units}"

    # answers

    def judge(self, model: Any, settings: LanguageSettings, prepared: Prepared, examples: Pieces) -> Judged:
        stretches = judged(examples, settings)
        given = stretches_with_context(stretches, settings)
        bits = costs(model, prepared.tokens, given)
        scores, ends = scored(bits, stretches, settings.kmer, settings.seed)
        rows = [
            {"place": stretches.place(n), "bits_per_base": _rounded(float(np.nanmean(own)) / settings.kmer)}
            for n, own in enumerate(bits)
            if np.isfinite(own).any()
        ]
        worst = sorted(rows, key=lambda row: -float(row["bits_per_base"] or 0))[:12]
        return Judged(scores, ends, {"worst": worst}, rows)

    def baselines(self, settings: LanguageSettings, prepared: Prepared, data: Data) -> list[Row]:
        size = prepared.tokens.alphabet.size
        test = judged(data.test, settings)
        given = stretches_with_context(test, settings)
        known = [codes[before:] for codes, before in given]
        even = [np.where(codes < size, np.log2(size), np.nan) for codes in known]
        rows = [Row("every letter alike", 0, *scored(even, test, 1, settings.seed))]
        train, held = spread(data.train, _COUNTED), spread(data.validation, _JUDGED)
        learnt = "" if train.letters == data.train.letters else f" (of {train.letters:,} training letters)"
        both = settings.strands == "augment" and prepared.tokens.alphabet.complement is not None
        turn = prepared.tokens.alphabet.reverse_complement
        for most in (0, None):
            counted = chosen(
                lambda: chain(train.codes(), map(turn, train.codes()) if both else ()), held.codes, size, most
            )
            bits = [counted.bits(codes, before) for codes, before in given]
            name = "each letter's share" if most == 0 else f"Markov chain of order {counted.order}"
            rows.append(Row(f"{name}{learnt}", counted.parameters, *scored(bits, test, 1, settings.seed)))
        return rows

    def read_examples(self, settings: LanguageSettings, prepared: Prepared, path: str) -> tuple[Pieces, list[str]]:
        faults = Faults(settings.on_error)
        source = source_of(sequence_files(path), prepared.tokens.alphabet, settings.sequence_column, faults)
        whole = Pieces.whole(source)
        notes = [f"left out: {faults.describe()}"] if faults.total else []
        if whole.letters > _JUDGED:
            notes.append(f"{_JUDGED:,} of {whole.letters:,} letters are judged, evenly spread")
        return whole, notes

    def predict(self, run: RunFolder, path: str, device: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What a variant changes, for each in a VCF or a table of them; of plain sequences what they cost.

        Options: `reference`, a file or folder of sequences (default: those the run learnt from).
        """
        options = self.asked(options)
        file = from_standard_input() if path == "-" else None
        place = Path(path) if file is None else file
        try:
            if not place.is_dir() and place.exists() and looks_like_variants(place):
                yield from self._effects(run, place, device, options)
            else:
                yield from super().predict(run, str(place), device, options)
        finally:
            if file is not None:
                file.unlink()

    def _effects(self, run: RunFolder, path: Path, device: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        settings, prepared = self.opened(run)
        model = placed(run.load_model(), device)
        faults, source = Faults(settings.on_error), None
        given = options.get("reference")
        where = settings.path if given is None else str(given)
        if where is not None and (given is not None or Path(where).exists()):
            skipping = Faults(settings.on_error)
            source = source_of(sequence_files(where), prepared.tokens.alphabet, settings.sequence_column, skipping)
        elif where is None:
            source = self.read(settings).train.source
        reference = Reference(source, prepared.tokens)
        both = settings.strands == "augment" and prepared.tokens.alphabet.complement is not None
        context = settings.window * settings.kmer // 2
        yield from effects(model, reference, read_variants(path, faults), context, both, faults)

    def read_inputs(self, settings: LanguageSettings, prepared: Prepared, path: str) -> Iterator[SequenceRecord]:
        faults = Faults(settings.on_error)
        for place in sequence_files(path):
            records = read_records(place, faults, settings.sequence_column)
            for record, _ in encoded(records, prepared.tokens.alphabet, faults, unique=False):
                yield record

    def answers(
        self,
        model: Any,
        settings: LanguageSettings,
        prepared: Prepared,
        inputs: list[SequenceRecord],
        options: dict[str, Any],
    ) -> Iterable[dict[str, Any]]:
        alphabet = prepared.tokens.alphabet
        plain = (one._replace(tags=None, quality=None) for one in inputs)
        store = SequenceStore(alphabet, encoded(plain, alphabet, Faults(settings.on_error), False))
        found = sequence_costs(model, prepared.tokens, store, settings.window, settings.context)
        for one, (bits, letters) in zip(inputs, found, strict=True):
            mean = bits / letters if letters else None
            yield {
                "id": one.id,
                "where": one.where,
                "letters": letters,
                "bits_per_base": None if mean is None else round(mean, 6),
                "perplexity": None if mean is None else round(2**mean, 6),
            }

    def write(
        self,
        run: RunFolder,
        prompt: str,
        length: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        """New letters, `length` of them or a k-mer more, after those of the prompt."""
        settings, prepared = self.opened(run)
        tokens = prepared.tokens
        codes = tokens.alphabet.encode(prompt.strip())
        if (codes >= len(tokens.alphabet.symbols)).any():
            at = int(np.flatnonzero(codes >= len(tokens.alphabet.symbols))[0])
            expected = f"{tokens.alphabet.name}: {tokens.alphabet.symbols}"
            got = repr(prompt.strip()[at])
            raise DataError("the prompt has a letter that is not of the alphabet", expected=expected, got=got)
        model = network(tokens, settings, stateful=True)
        model(torch.zeros((1, 1), dtype=torch.int64))
        model.set_weights(run.load_model().get_weights())
        ids = [tokens.begin, *tokens.ids(codes).tolist()]
        yield tokens.alphabet.decode(codes)
        for token in generate(model, ids, -(-length // tokens.kmer), temperature, top_k, top_p, seed):
            yield tokens.text([token])

    def explain(self, model: Any, settings: LanguageSettings, prepared: Prepared, example: Any) -> Explained | None:
        """Why the last letter of a stretch's beginning was told as it was."""
        tokens = prepared.tokens
        most = LONGEST * tokens.kmer
        codes = example.codes(most) if isinstance(example, Stretch) else tokens.alphabet.encode(example.letters)[:most]
        ids = tokens.ids(codes)
        if len(ids) < 2 or settings.kmer > 1:
            return None
        x = torch.from_numpy(ids[:-1])[None].to(next(model.parameters()).device)
        with torch.no_grad():
            token = int(model(x)[0, -1].argmax())
        steps = list(tokens.alphabet.decode(codes[:-1]))

        def target(y: Any) -> Tensor:
            return torch.log_softmax(y[:, -1], -1)[:, token]

        return Explained(x, steps, f"next: {tokens.text([token])}", len(steps) - 1, target)


def network(tokens: Tokens, settings: LanguageSettings, stateful: bool = False) -> Sequential:
    """Ids `(batch, time)` -> logits of what is told next, `(batch, time, told)`; `stateful` for writing step by step.

    An ambiguous letter is read as each of those that it may be, in part.
    """
    s = settings
    model = Sequential(name="sequence_language_model")
    shares = layers.Embedding(tokens.begin + 1, tokens.told, name="letters", trainable=False)
    if tokens.kmer == 1:
        model.add(shares)
        model.add(layers.Dense(s.embedding, use_bias=False, kernel_initializer=RandomNormal(stddev=1.0)))
    else:
        drawn = RandomNormal(stddev=1.0)
        model.add(layers.Embedding(tokens.begin + 1, s.embedding, embeddings_initializer=drawn, name="kmers"))
    for _ in range(s.layers):
        model.add(layers.Dropout(s.dropout))
        model.add(_CELLS[s.cell](s.units, return_sequences=True, stateful=stateful))
    model.add(layers.Dropout(s.dropout))
    model.add(layers.Dense(tokens.told))
    if tokens.kmer == 1:
        shares.set_weights([tokens.chances])
    return model


def source_of(files: list[Path], alphabet: Alphabet, column: str | None, faults: Faults) -> Any:
    """A `Genome` of FASTA with bases, read once and found again; a `SequenceStore` of all else."""
    if alphabet.size == 4 and all(kind_of(file) == "fasta" for file in files):
        return index_genome(files, alphabet, faults)
    unique = all(kind_of(file) in ("fasta", "genbank") for file in files)
    records = (
        one._replace(features=(), tags=None, quality=None)
        for file in files
        for one in read_records(file, faults, column)
    )
    store = SequenceStore(alphabet, encoded(progress(records, "reading", unit="sequences"), alphabet, faults, unique))
    if not len(store):
        raise DataError("there are no sequences", where=files[0], expected="sequences with letters", got=0)
    return store


def spread(pieces: Pieces, most: int) -> Pieces:
    """Stretches that hold about `most` letters, evenly spread; all where they hold fewer."""
    if pieces.letters <= most:
        return pieces
    cut = pieces.cut(10_000)
    return cut.select(np.linspace(0, len(cut) - 1, max(most // 10_000, 1)).astype(np.int64))


def judged(examples: Pieces, settings: LanguageSettings) -> Pieces:
    """The stretches that are judged, whole k-mers each."""
    cut = spread(examples, _JUDGED).cut(2 * settings.window * settings.kmer)
    ends = cut.begins + cut.lengths // settings.kmer * settings.kmer
    kept = np.flatnonzero(ends > cut.begins)
    return Pieces(cut.source, cut.rows[kept], cut.begins[kept], ends[kept])


def stretches_with_context(pieces: Pieces, settings: LanguageSettings) -> list[tuple[NDArray[np.uint8], int]]:
    """The symbols of each, behind some that are given; how many."""
    before = settings.context * settings.kmer
    found = []
    for number in range(len(pieces)):
        given = int(min(pieces.begins[number], before)) // settings.kmer * settings.kmer
        found.append((pieces.read(number, given), given))
    return found


def scored(
    bits: list[NDArray[np.float64]], pieces: Pieces, kmer: int, seed: int
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Bits and perplexity of a letter, and their intervals: stretches are drawn, of ten or more records these.

    Raises `DataError` where no letter is plain.
    """
    sums = np.array([np.nansum(own) for own in bits])
    counts = np.array([np.isfinite(own).sum() * kmer for own in bits], np.int64)
    if not counts.sum():
        raise DataError("there is no plain letter to be told", expected="sequences with plain letters")

    def figures(rows: Any) -> dict[str, float]:
        total = counts[rows].sum()
        mean = float(sums[rows].sum() / total) if total else float("nan")
        return {"bits_per_base": mean, "perplexity": 2**mean}

    groups = pieces.rows.tolist() if len(set(pieces.rows.tolist())) >= 10 else None
    return figures(slice(None)), intervals(figures, len(bits), groups, seed=seed)


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, 4)
