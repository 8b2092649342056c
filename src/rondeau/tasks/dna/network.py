"""Networks over letters: a convolution finds motifs, recurrent layers read them in both directions."""

from __future__ import annotations

from typing import Any

from rondeau import layers
from rondeau.init import RandomNormal
from rondeau.models import Model
from rondeau.tasks.dna.reading import Reading

CELLS = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}
_KMER_FEATURES = 32


def sequence_network(
    reading: Reading,
    outputs: int,
    *,
    cell: str = "gru",
    units: int = 32,
    depth: int = 1,
    dropout: float = 0.3,
    filters: int = 32,
    kernel: int = 9,
    pool: int = 1,
    pooling: str | None = "max_mean",
    length: int | None = None,
    tied: bool = False,
    swapped: list[int] | None = None,
) -> Any:
    """Ids `(batch, time)` -> `(batch, outputs)`, or with `pooling` None `(batch, time, outputs)`: logits.

    Args:
        reading: what the ids are; with qualities the model is called with `{"sequence": ids, "quality": (batch, time,
            1)}`. A symbol that stands for several letters is read as each of them in part.
        cell, units, depth, dropout: of the recurrent layers, which read both ways; dropout stands after the
            convolution too.
        filters, kernel, pool: of the convolution (0 filters: none) and of the pooling behind it.
        pooling: what stands for the whole: 'places' (the states of all places, for sequences of one `length`),
            'max_mean', 'last'.
        tied: read both strands with the same weights and add what is answered (Shrikumar et al. 2017).
        swapped: with `tied` and answers for each step, of each answer that on the other strand.
    """
    # Ragged wherever rows differ in length; of one length they are a plain tensor, whose places can be told apart
    ids = layers.Input((length,), dtype="int64", name="sequence")
    quality = layers.Input((length, 1), name="quality") if reading.quality else None
    table = _table(reading)
    body = _Body(cell, units, depth, dropout, filters, kernel, pool, pooling, outputs)

    def read(symbols: Any, right: Any) -> Any:
        x = table(symbols)
        if right is not None:
            x = beside([x, right])
        return body(x)

    beside = layers.Concatenate(name="with_quality")
    y = read(ids, quality)
    if tied:
        other = layers.ReverseComplement(reading.complement, name="other_strand")(ids)
        turned = None if quality is None else layers.ReverseComplement(name="other_quality")(quality)
        z = read(other, turned)
        y = layers.Add(name="both_strands")([y, z if pooling else layers.ReverseComplement(features=swapped)(z)])
    inputs = ids if quality is None else {"sequence": ids, "quality": quality}
    model: Any = Model(inputs, y, name="sequence_network")
    if reading.kmer == 1:
        table.set_weights([reading.alphabet.chances])
    return model


def _table(reading: Reading) -> Any:
    """Symbols as shares of letters, which are not learnt; k-mers as vectors, which are."""
    if reading.kmer == 1:
        return layers.Embedding(reading.size, reading.alphabet.size, name="letters", trainable=False)
    return layers.Embedding(reading.size, _KMER_FEATURES, RandomNormal(stddev=0.3), name="kmers")


class _Body:
    """Layers from features of letters to answers; they may be called for several strands."""

    def __init__(
        self,
        cell: str,
        units: int,
        depth: int,
        dropout: float,
        filters: int,
        kernel: int,
        pool: int,
        pooling: str | None,
        outputs: int,
    ) -> None:
        motifs = layers.Conv1D(filters, kernel, padding="same", activation="relu", name="motifs")
        self.pooling, self.motifs = pooling, [motifs] if filters else []
        self.reading: list[Any] = []
        if filters and pool > 1 and pooling is not None:
            self.reading.append(layers.MaxPooling1D(pool, padding="same"))
        if filters:
            self.reading.append(layers.Dropout(dropout))
        for level in range(depth):
            last = level == depth - 1
            whole = pooling != "last" or not last
            self.reading.append(layers.Bidirectional(CELLS[cell](units, return_sequences=whole)))
            if not last or pooling != "places":
                self.reading.append(layers.Dropout(dropout))
        self.flat, self.beside = layers.Flatten(), layers.Concatenate(name="summary")
        # where very many numbers stand for a sequence: twice the dropout
        self.dropped = layers.Dropout(1 - (1 - dropout) ** 2)
        self.pools = layers.GlobalMaxPooling1D(), layers.GlobalAveragePooling1D()
        self.answer = layers.Dense(outputs, name="answer")

    def __call__(self, x: Any) -> Any:
        for layer in self.motifs:
            x = layer(x)
        for layer in self.reading:
            x = layer(x)
        if self.pooling == "max_mean":
            x = self.beside([pool(x) for pool in self.pools])
        elif self.pooling == "places":
            x = self.dropped(self.flat(x))
        return self.answer(x)
