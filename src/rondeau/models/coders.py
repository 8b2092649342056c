"""The halves of an `EncoderDecoder`, as layers."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rondeau.cells import GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells
from rondeau.cells.attention import AttentionCell
from rondeau.errors import ArgumentError
from rondeau.init import RandomNormal
from rondeau.layers import GRU, LSTM, Bidirectional, Dense, Dropout, Embedding, Layer, SimpleRNN
from rondeau.recurrence import scan
from rondeau.sequence import Ragged

CELLS: dict[str, Any] = {"lstm": LSTMCell, "gru": GRUCell, "simple_rnn": SimpleRNNCell}
_LAYERS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "simple_rnn": SimpleRNN}


class Encoder(Layer):
    """Ids, as `Ragged`, to a memory, `Ragged` `(batch, time, units)`, and the final states of all its layers in a row.

    `bidirectional` layers have half the units in each direction, so that memory and states are `units` wide as well.
    """

    def __init__(
        self, size: int, embedding_dim: int, units: int, cell: str, layers: int, bidirectional: bool, dropout: float
    ) -> None:
        super().__init__()
        self.units, self.bidirectional = units, bidirectional
        self.embedding = Embedding(size, embedding_dim, name="source_embedding")
        self.recurrent = torch.nn.ModuleList()
        features = embedding_dim
        for number in range(1, layers + 1):
            name = f"encoder_{cell}_{number}"
            options = {"return_sequences": True, "return_state": True, "dropout": dropout, "name": name}
            layer = _LAYERS[cell](units // 2 if bidirectional else units, **options)
            layer = Bidirectional(layer) if bidirectional else layer
            layer.build_for((None, None, features))
            self.recurrent.append(layer)
            features = units

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape, self.units)

    def forward(self, ids: Ragged) -> tuple[Ragged, tuple[Tensor, ...]]:
        memory = self.embedding(ids)
        states: list[Tensor] = []
        for layer in self.recurrent:
            memory, *final = layer(memory)
            if self.bidirectional:
                there, back = final[: len(final) // 2], final[len(final) // 2 :]
                final = [torch.cat(both, -1) for both in zip(there, back, strict=True)]
            states += final
        return memory, tuple(states)


class DecoderState(NamedTuple):
    """Where a decoder stands: the state of its cell, and the memory it reads, as its context."""

    cell: Any
    context: dict[str, Tensor]


class Decoder(Layer):
    """Ids so far, as `Ragged`, to logits of the next id, `Ragged` `(batch, time, size)`, and the state behind them.

    With attention the cell's output h and what it read, r, become `tanh(W [h, r])` before the logits (Luong et al.);
    `deep` puts the id's own features e beside them, `tanh(W [h, r, e])` (Pascanu et al. 2014, arXiv 1312.6026).
    `tied`: the logits are products with the embedding's own rows (Press & Wolf 2017, arXiv 1608.05859).
    """

    def __init__(
        self,
        size: int,
        embedding_dim: int,
        units: int,
        cell: str,
        layers: int,
        attention: str | None,
        dropout: float,
        deep: bool = False,
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.size, self.deep, self.tied = size, deep, tied
        # rows that are also answers: as long as a unit vector, so that the first logits are small
        rows: Any = RandomNormal(stddev=1 / math.sqrt(embedding_dim)) if tied else "uniform"
        self.embedding = Embedding(size, embedding_dim, rows, name="target_embedding")
        cells = [CELLS[cell](units, dropout=dropout) for _ in range(layers)]
        inside = cells[0] if layers == 1 else StackedRNNCells(cells)
        self.cell = inside if attention is None else AttentionCell(inside, attention)
        self.cell.build_for(embedding_dim)
        width = embedding_dim if tied else units
        self.mix: Dense | None = None
        if attention is not None or deep or width != units:
            self.mix = Dense(width, activation="tanh", name="attention_mix")
            self.mix.build_for((None, self.cell.output_size + (embedding_dim if deep else 0)))
        self.drop = Dropout(dropout)
        self.logits: Dense | None = None
        if tied:
            self.bias = self.add_weight("bias", (size,), "zeros")
        else:
            self.logits = Dense(size, name="logits")
            self.logits.build_for((None, units))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape, self.size)

    def begin(self, memory: Ragged, states: tuple[Tensor, ...]) -> DecoderState:
        """The state before the first id, from what the encoder gave."""
        if not isinstance(self.cell, AttentionCell):
            return DecoderState(states, {})
        mask = torch.arange(int(memory.lengths.max())) < memory.lengths[:, None]
        nothing_read = memory.values.new_zeros(len(memory), self.cell.memory_size)
        return DecoderState((*states, nothing_read), self.cell.remember(memory.pad(), mask))

    def run(self, ids: Ragged, state: DecoderState) -> tuple[Ragged, Ragged, Any]:
        """The ids' features, and the cell's outputs and final state."""
        features = self.embedding(ids)
        outputs, after = scan(self.cell, features, state.cell, context=state.context)
        return features, outputs, after

    def forward(self, ids: Ragged, state: DecoderState) -> tuple[Ragged, DecoderState]:
        features, outputs, after = self.run(ids, state)
        if self.deep:
            outputs = outputs.with_values(torch.cat([outputs.values, features.values], -1))
        mixed = self.drop(outputs if self.mix is None else self.mix(outputs))
        return self._answer(mixed), DecoderState(after, state.context)

    def _answer(self, mixed: Ragged) -> Ragged:
        if self.logits is None:
            return mixed.with_values(F.linear(mixed.values, self.embedding.embeddings, self.bias))
        logits: Ragged = self.logits(mixed)
        return logits

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """One id for each row: log-probabilities of the next `(rows, size)`, as the searches in `heads` want them."""
        logits, state = self(Ragged(tokens, torch.ones(len(tokens), dtype=torch.int64)), state)
        return torch.log_softmax(logits.values, -1), state

    def attention_weights(self, ids: Ragged, state: DecoderState) -> list[Tensor]:
        """How much each step takes of each step of the source: for every row `(target time, source time)`."""
        if not isinstance(self.cell, AttentionCell):
            raise ArgumentError("the model has no attention", fix="Make it with attention='additive' or 'dot'")
        _, outputs, _ = self.run(ids, state)
        row = ids.row_index.to(outputs.device)
        query = outputs.values[:, : -self.cell.memory_size]
        keys, mask = state.context["keys"], state.context["memory_mask"]
        weights = ids.with_values(self.cell.weights(query, keys[row], mask[row]))
        return [w[:, :n] for w, n in zip(weights.rows(), mask.sum(1).tolist(), strict=True)]
