"""What the tasks on sequences of bases or amino acids are asked."""

from __future__ import annotations

from dataclasses import dataclass

from rondeau.data.dna.alphabets import ALPHABETS
from rondeau.errors import ArgumentError
from rondeau.tasks.settings import Asking, Settings, option

STRANDS = ("one", "augment", "tied")
POOLINGS = ("auto", "places", "max_mean", "last")


@dataclass(frozen=True)
class DnaSettings(Settings):
    """What all of them are asked."""

    alphabet: str = option("auto", "Of what the sequences are; auto: told by their letters.", ("auto", *ALPHABETS))
    sequence_column: str | None = option(None, "Column of the sequences in a table. Default: recognised.")
    kmer: int = option(1, "Letters that are read as one.")
    units: int = option(32, "Units of a recurrent layer, in each direction.")
    cell: str = option("gru", "The recurrent cell.", ("lstm", "gru", "simple_rnn"))

    def check(self) -> None:
        super().check()
        if not 1 <= self.kmer <= 8:
            raise ArgumentError("kmer", expected="1 to 8", got=self.kmer)


@dataclass(frozen=True)
class ReaderSettings(DnaSettings):
    """What those are asked that read whole sequences, in both directions."""

    strands: str = option(
        "one", "The other strand: not read; learnt from as well; or read by the same weights, answers added.", STRANDS
    )
    filters: int = option(32, "Filters of the convolution in front; 0: none.")
    kernel: int = option(9, "Letters that a filter sees.")
    dropout: float = option(0.3, "Rate after the convolution, the recurrent layers, and their summary.")
    batch_size: int = option(64, "Sequences of a batch.")
    learning_rate: float = option(4e-3, "Of Adam, at the start; it falls along a cosine.")
    epochs: int = option(12, "Times all of the training part is read, at most.")

    def check(self) -> None:
        super().check()
        for name, least in (("filters", 0), ("kernel", 1)):
            if getattr(self, name) < least:
                raise ArgumentError(name, expected=f"{least} or more", got=getattr(self, name))


@dataclass(frozen=True)
class ClassificationSettings(ReaderSettings):
    """What the classification of sequences is asked."""

    label_column: str | None = option(None, "Column of the classes in a table. Default: recognised.")
    quality: bool = option(True, "Read the qualities of FASTQ as well.")
    pool: int = option(2, "Steps of which the strongest is kept after the convolution.")
    pooling: str = option(
        "auto", "What stands for a sequence: each place's state, or the largest and mean, or the last.", POOLINGS
    )
    class_weights: str = option("equal", "How much a sequence counts: the same, or its class.", ("equal", "balanced"))

    def check(self) -> None:
        super().check()
        if self.pool < 1:
            raise ArgumentError("pool", expected="1 or more", got=self.pool)


@dataclass(frozen=True)
class TaggingSettings(ReaderSettings):
    """What the tagging of letters is asked."""

    track: str | None = option(None, "BED, GFF or GTF with the features. Default: the one beside the sequences.")
    features: tuple[str, ...] = option((), "Kinds of features that are tags, the first one wins. Default: recognised.")
    tags_column: str | None = option(None, "Column of the tags in a table, a letter each. Default: recognised.")
    stranded: bool = option(False, "A feature on the other strand is another tag (gene-).")
    window: int = option(1000, "Letters of a long sequence that are read at once.")
    units: int = option(64, "Units of a recurrent layer, in each direction.")
    batch_size: int = option(16, "Stretches of a batch.")

    def check(self) -> None:
        super().check()
        if self.window < 20:
            raise ArgumentError("window", expected="20 or more", got=self.window)
        if self.kmer != 1:
            fix = "Leave it out: the convolution reads neighbouring letters together"
            raise ArgumentError("kmer: each letter gets a tag of its own", expected=1, got=self.kmer, fix=fix)


@dataclass(frozen=True)
class LanguageSettings(DnaSettings):
    """What a language model of sequences is asked."""

    strands: str = option("augment", "Learn from one strand or from both.", ("one", "augment"))
    embedding: int = option(16, "Features of a letter, or of a k-mer.")
    units: int = option(128, "Units of a recurrent layer.")
    dropout: float = option(0.1, "Rate before, between and after the recurrent layers.")
    window: int = option(256, "Letters or k-mers that are read at once.")
    context: int = option(64, "Letters or k-mers read before those that are judged.")
    batch_size: int = option(32, "Windows of a batch.")
    learning_rate: float = option(4e-3, "Of Adam, at the start; it falls along a cosine.")
    bases: int | None = option(None, "Letters that an epoch reads, others in each. Default: all of the training part.")
    epochs: int = option(10, "Epochs.")

    def check(self) -> None:
        super().check()
        for name, least in (("embedding", 1), ("window", 8), ("context", 0), ("bases", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ArgumentError(name, expected=f"{least} or more", got=value)


@dataclass(frozen=True)
class LanguageAsking(Asking):
    """What `rondeau predict` can be asked of a language model."""

    reference: str | None = option(None, "Sequences that variants are of: file or folder. Default: those learnt from.")
