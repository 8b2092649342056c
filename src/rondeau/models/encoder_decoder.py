"""`EncoderDecoder`: one sequence in, another out (Cho et al. 2014; Sutskever, Vinyals & Le 2014)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, DataError
from rondeau.heads.beam import Hypothesis, beam_search, greedy
from rondeau.models.coders import CELLS, Decoder, DecoderState, Encoder
from rondeau.models.model import Model
from rondeau.models.pairs import PairSource, put_before, put_behind, token_ids
from rondeau.module import positive, share
from rondeau.sequence import Ragged
from rondeau.training.batch import is_array
from rondeau.training.data import Source, make_source
from rondeau.training.losses import SparseCategoricalCrossentropy
from rondeau.training.trainer import in_mode


class EncoderDecoder(Model):
    """A recurrent network reads the source; another, which begins in the first one's final state, writes the target.

    `fit(source, target)` trains it with teacher forcing: the decoder reads the true target so far, a begin token in
    front, and answers with the next token, at last an end token. `translate` and `greedy` write targets.

    Sequences are lists of ids of unequal length, arrays `(rows, time)` padded with 0, or `Ragged`: ids count from 1,
    and begin and end are not among them: the model adds and removes them. A sequence may be empty.

    Args:
        source_size, target_size: the vocabularies: every id is below.
        units: width of encoder, memory and decoder (default 128).
        embedding_dim: features of a token (default: `units`).
        cell: 'lstm' (default), 'gru' or 'simple_rnn'.
        layers: recurrent layers in encoder and decoder each (default 1).
        bidirectional: the encoder reads both ways, each with half of the units (default no).
        attention: 'additive' (default; Bahdanau et al. 2015, arXiv 1409.0473), 'dot' (Luong et al. 2015,
            arXiv 1508.04025) or None; see `AttentionCell`.
        dropout: share dropped in training of every recurrent layer's inputs and of the last layer's (default 0).
        deep_output: the answer also looks at the token just read (default no; Pascanu et al. 2014, arXiv 1312.6026).
        tied: the answers' weights are the target's embedding itself (default no; Press & Wolf 2017, arXiv 1608.05859):
            fewer weights, and a smaller product where `embedding_dim` is less than `units`.
        begin, end: ids of the begin and end tokens, if the vocabulary has them (default: two more, behind it).

    Called with `[source, target so far]` it gives logits `Ragged` `(batch, time, vocabulary)`. Raises `ArgumentError`
    for arguments out of range; the methods raise `DataError` and `ShapeError` for data that does not fit.

    >>> model = EncoderDecoder(source_size=10, target_size=10, units=8)
    >>> model.compile("adam")
    >>> history = model.fit([[1, 2], [3, 4, 5]], [[2, 1], [5, 4, 3]], verbose=0)
    >>> len(model.translate([[1, 2], [3, 4, 5]]))
    2
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        units: int = 128,
        embedding_dim: int | None = None,
        cell: str = "lstm",
        layers: int = 1,
        bidirectional: bool = False,
        attention: str | None = "additive",
        dropout: float = 0.0,
        begin: int | None = None,
        end: int | None = None,
        name: str | None = None,
        deep_output: bool = False,
        tied: bool = False,
    ) -> None:
        super().__init__(name=name)
        owner = type(self).__name__
        embedding_dim = units if embedding_dim is None else embedding_dim
        sizes = {"source_size": source_size, "target_size": target_size, "units": units, "layers": layers}
        for argument, value in {**sizes, "embedding_dim": embedding_dim}.items():
            positive(owner, argument, value)
        share(owner, "dropout", dropout)
        if cell not in CELLS:
            raise ArgumentError(f"{owner}: cell", expected=" or ".join(map(repr, CELLS)), got=repr(cell))
        if attention not in ("additive", "dot", None):
            raise ArgumentError(f"{owner}: attention", expected="'additive', 'dot' or None", got=repr(attention))
        if bidirectional and units % 2:
            raise ArgumentError(f"{owner}: units, half of them in each direction", expected="an even number", got=units)
        for argument, token in (("begin", begin), ("end", end)):
            if token is not None and not 0 < token < target_size:
                expected = f"an id from 1 to {target_size - 1} (target_size={target_size})"
                raise ArgumentError(f"{owner}: {argument}", expected=expected, got=token)
        self.target_size = target_size
        self.begin_token = target_size if begin is None else begin
        self.end_token = target_size + (begin is None) if end is None else end
        size = target_size + (begin is None) + (end is None)
        self.encoder = Encoder(source_size, embedding_dim, units, cell, layers, bidirectional, dropout)
        self.decoder = Decoder(size, embedding_dim, units, cell, layers, attention, dropout, deep_output, tied)
        self._output_count = 1  # all weights are there: nothing needs to be tried out

    @property
    def input_count(self) -> int:
        return 2

    def forward(self, x: Any) -> Ragged:
        if not isinstance(x, (list, tuple)) or len(x) != 2:
            got = f"{len(x)} of them" if isinstance(x, (list, tuple)) else type(x).__name__
            fix = "translate(source) writes targets; pairs(source, target) makes what the model is called with"
            raise DataError("the input", expected="[source, target so far]", got=got, where=self.name, fix=fix)
        source, target = token_ids(x[0], "source"), token_ids(x[1], "target so far")
        logits: Ragged = self.decoder(target, self._read(source))[0]
        return logits

    def _read(self, source: Ragged) -> DecoderState:
        return self.decoder.begin(*self.encoder(source))

    # training

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, *args: Any, **options: Any) -> None:
        """As `Model.compile`; the loss is crossentropy from logits unless another is given."""
        loss = SparseCategoricalCrossentropy(from_logits=True) if loss is None else loss
        super().compile(optimizer, loss, *args, **options)

    def pairs(self, source: Any, target: Any) -> tuple[list[Ragged], Ragged]:
        """What teacher forcing takes: `[source, begin + target]`, and `target + end`; `fit` and `evaluate` call it.

        Raises `DataError` for targets with ids outside the vocabulary, or with begin or end in them.
        """
        read, written = token_ids(source, "source"), token_ids(target, "target")
        if len(read) != len(written):
            raise DataError("source and target differ in rows", expected=len(read), got=len(written))
        outside = ((written.values < 0) | (written.values >= self.target_size)).nonzero()
        if len(outside):
            expected = f"1 to {self.target_size - 1} (target_size={self.target_size})"
            row = int(written.row_index[int(outside[0])])
            got = int(written.values[int(outside[0])])
            raise DataError("target: an id is outside the vocabulary", expected=expected, got=got, where=f"row {row}")
        marks = torch.isin(written.values, written.values.new_tensor([self.begin_token, self.end_token])).nonzero()
        if len(marks):
            row, got = int(written.row_index[int(marks[0])]), int(written.values[int(marks[0])])
            fix = "Leave them out; the model adds them"
            raise DataError("target: the begin or end token is in it", got=got, where=f"row {row}", fix=fix)
        return [read, put_before(self.begin_token, written)], put_behind(self.end_token, written)

    def _source(self, x: Any, y: Any = None, weight: Any = None, **options: Any) -> Source:
        if options.get("window") is not None:
            raise ArgumentError(f"{self.name}: window has no meaning: it reads all of the source before it writes")
        if y is not None:
            return super()._source(*self.pairs(x, y), weight, **options)
        if is_array(x) or isinstance(x, (list, tuple, Mapping)):
            return super()._source(x, None, weight, **options)
        return PairSource(make_source(x, None, weight, **options), self.pairs)

    # writing

    def translate(
        self, source: Any, beam: int = 5, length_penalty: float = 1.0, max_length: int = 100, batch_size: int = 64
    ) -> list[list[int]]:
        """The best target for each source that a beam search finds, as ids without begin and end.

        Args:
            source: sequences of ids.
            beam: hypotheses kept for each source (default 5); length_penalty and max_length as in `heads.beam_search`.
            batch_size: sources decoded side by side (default 64).
        """
        return [best.tokens for best, *_ in self.hypotheses(source, beam, length_penalty, max_length, batch_size)]

    def greedy(self, source: Any, max_length: int = 100, batch_size: int = 64) -> list[list[int]]:
        """For each source the ids that come from taking the most probable one each time."""
        found: list[list[int]] = []
        with self._writing():
            for (rows,) in self._batches(batch_size, source=source):
                ends = (self.begin_token, self.end_token, max_length)
                found += [one.tokens for one in greedy(self.decoder.step, self._read(rows), *ends)]
        return found

    def hypotheses(
        self, source: Any, beam: int = 5, length_penalty: float = 1.0, max_length: int = 100, batch_size: int = 64
    ) -> list[list[Hypothesis]]:
        """All that the beam search of `translate` found, for each source: `Hypothesis`, best first."""
        found: list[list[Hypothesis]] = []
        with self._writing():
            for (rows,) in self._batches(batch_size, source=source):
                ends = (self.begin_token, self.end_token, beam, max_length, length_penalty)
                found += beam_search(self.decoder.step, self._read(rows), *ends)
        return found

    def log_probability(self, source: Any, target: Any, batch_size: int = 64) -> Tensor:
        """The logarithm of each target's probability, its end included: `(rows,)`."""
        totals = []
        with self._writing():
            for rows, written in self._batches(batch_size, source=source, target=target):
                x, y = self.pairs(rows, written)
                logs = torch.log_softmax(self(x).values, -1).gather(1, y.values[:, None])[:, 0]
                totals.append(logs.new_zeros(len(y)).index_add(0, y.row_index.to(logs.device), logs))
        return torch.cat(totals)

    def attention_weights(self, source: Any, target: Any, batch_size: int = 64) -> list[Tensor]:
        """Where each token of the target looked, and last the end: for every row `(target time + 1, source time)`.

        Raises `ArgumentError` for a model without attention.
        """
        found: list[Tensor] = []
        with self._writing():
            for rows, written in self._batches(batch_size, source=source, target=target):
                x, _ = self.pairs(rows, written)
                found += self.decoder.attention_weights(x[1], self._read(x[0]))
        return found

    def _batches(self, size: int, **data: Any) -> Iterator[list[Ragged]]:
        """Sources, or sources and targets, some rows at a time."""
        rows = [token_ids(part, name) for name, part in data.items()]
        if len({len(part) for part in rows}) > 1:
            raise DataError("source and target differ in rows", expected=len(rows[0]), got=len(rows[1]))
        device = next(self.parameters()).device
        for chosen in torch.split(torch.arange(len(rows[0])), positive(type(self).__name__, "batch_size", size)):
            yield [part.select(chosen).to(device) for part in rows]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with in_mode(self, training=False), torch.no_grad():
            yield
