"""`Transducer`: the head that writes symbols while it reads frames, each after those before it (Graves 2012)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from rondeau.cells import GRUCell, LSTMCell, SimpleRNNCell
from rondeau.cells.base import state_leaves
from rondeau.heads.ctc import BLANK, check_rows, check_symbols
from rondeau.heads.lattice import NEVER, log_likelihood
from rondeau.init import by_name
from rondeau.layers import Dense, Dropout, Embedding
from rondeau.layers.base import Layer
from rondeau.layers.core import known_features
from rondeau.layers.graph import Shape
from rondeau.module import positive
from rondeau.recurrence import scan
from rondeau.sequence import Ragged

CELLS: dict[str, Any] = {"lstm": LSTMCell, "gru": GRUCell, "simple_rnn": SimpleRNNCell}
MOST_NODES = 1 << 16  # of lattices whose joint features are held in memory at a time


class Written(NamedTuple):
    """What the prediction network makes of the symbols so far: features `(rows, joint)`, the tensors of its state."""

    features: Tensor
    state: list[Tensor]


class Transducer(Layer):
    """The recurrent neural network transducer (Graves 2012, arXiv 1211.3711).

    Between two frames any number of symbols may be written. Their log-probability at a node of the lattice, frame t
    after u symbols, is that of a joint network, `W tanh(A f_t + B g_u)`, over an encoder's features f of the frame and
    those g of a prediction network, which has read the symbols: an embedding and a recurrent cell.

    Called with features `Ragged` `(frames, features)` and transcripts `Ragged` `(symbols,)` it gives each transcript's
    negative log-likelihood, natural, `(rows,)`. For decoding see `rondeau.heads.transducer_decoding`.

    Args:
        classes: symbols and the blank, which is class 0.
        joint: width of the joint network (default 128).
        cell: of the prediction network: 'lstm' (default), 'gru' or 'simple_rnn'; units: its width (default 128).
        embedding_dim: features of a symbol (default 32).
        dropout: rate on the prediction network's output in training (default 0).
        most_nodes: nodes whose joint features are held at a time; where a batch has more they are computed again for
            the derivative, so that memory does not grow with frames * symbols * `joint`.

    Raises `ArgumentError`, and for what it is called with `ShapeError` and `DataError`.

    >>> head = Transducer(classes=4, joint=8, units=8)
    >>> head(Ragged.from_rows([torch.zeros(5, 3)]), Ragged.from_rows([[1, 3]])).shape
    torch.Size([1])
    """

    input_rank = 3
    fixed_features = True

    def __init__(
        self,
        classes: int,
        joint: int = 128,
        cell: str = "lstm",
        units: int = 128,
        embedding_dim: int = 32,
        dropout: float = 0.0,
        most_nodes: int = MOST_NODES,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        owner = type(self).__name__
        self.classes, self.joint = positive(owner, "classes", classes), positive(owner, "joint", joint)
        self.most_nodes = positive(owner, "most_nodes", most_nodes)
        self.embedding = Embedding(classes, embedding_dim, name="symbols")  # 0: nothing is written yet
        self.cell = by_name(cell, CELLS, "cell")(units)
        self.drop = Dropout(dropout)
        self.of_frames = Dense(joint, name="frames_to_joint")
        self.of_symbols = Dense(joint, use_bias=False, name="symbols_to_joint")
        self.logits = Dense(classes, name="logits")
        self.embedding.build_for((None, None))
        self.cell.build_for(embedding_dim)
        self.of_symbols.build_for((None, units))
        self.logits.build_for((None, joint))

    def build(self, input_shape: Shape) -> None:
        self.of_frames.build_for((None, known_features(self, input_shape)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0],)

    def forward(self, frames: Ragged, symbols: Ragged) -> Tensor:
        check_rows(frames, symbols)
        check_symbols(symbols, self.classes)
        symbols = symbols.to(frames.device, torch.long)
        read = frames.with_values(self.of_frames(frames.values))
        written = self._predicted(symbols)
        blank, emit = self._logs(read, written, symbols)
        return -log_likelihood(blank, emit, frames.lengths, symbols.lengths)

    def _predicted(self, symbols: Ragged) -> Ragged:
        """The prediction network's part of the joint, values `(symbols + rows, joint)`: a step before the first."""
        lengths = symbols.lengths + 1
        begins = torch.zeros(int(lengths.sum()), dtype=torch.bool)
        begins[lengths.cumsum(0) - lengths] = True
        read = symbols.values.new_full((len(begins),), BLANK)
        read[~begins.to(read.device)] = symbols.values
        outputs = scan(self.cell, Ragged(self.embedding(read), lengths))[0].values
        return Ragged(self.of_symbols(self.drop(outputs)), lengths)

    def _logs(self, read: Ragged, written: Ragged, symbols: Ragged) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the blank and of the next symbol at all nodes, padded by what is impossible."""
        device, sizes = read.device, read.lengths * written.lengths
        rows = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        node = torch.arange(len(rows)) - (sizes.cumsum(0) - sizes)[rows]
        t, u = node // written.lengths[rows], node % written.lengths[rows]
        next_symbol = torch.zeros(len(written.values), dtype=torch.long, device=device)
        ends = (written.lengths.cumsum(0) - 1).to(device)
        inner = torch.ones_like(next_symbol, dtype=torch.bool).index_fill(0, ends, False)
        next_symbol[inner] = symbols.values
        at, of = (read.offsets[rows] + t).to(device), (written.offsets[rows] + u).to(device)
        cut = zip(torch.split(at, self.most_nodes), torch.split(of, self.most_nodes), strict=True)
        pieces = [self._piece(read.values, written.values, next_symbol, *places) for places in cut]
        blanks, emits = (torch.cat(both) for both in zip(*pieces, strict=True))
        time, nodes = int(read.lengths.max()), int(written.lengths.max())
        place = ((rows * time + t) * nodes + u).to(device)
        blank, emit = (
            torch.full((len(sizes) * time * nodes,), NEVER, dtype=blanks.dtype, device=device)
            .index_copy(0, place, values)
            .view(len(sizes), time, nodes)
            for values in (blanks, emits)
        )
        return blank, emit[:, :, :-1]

    def _piece(self, read: Tensor, written: Tensor, symbols: Tensor, at: Tensor, of: Tensor) -> tuple[Tensor, Tensor]:
        whole = len(at) < self.most_nodes
        if whole or not torch.is_grad_enabled():
            return self._nodes(read, written, symbols, at, of)
        from torch.utils.checkpoint import checkpoint

        found: tuple[Tensor, Tensor] = checkpoint(
            self._nodes, read, written, symbols, at, of, use_reentrant=False, preserve_rng_state=False
        )
        return found

    def _nodes(self, read: Tensor, written: Tensor, symbols: Tensor, at: Tensor, of: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.join(read.index_select(0, at), written.index_select(0, of))
        totals = torch.logsumexp(logits, -1)
        chosen = logits.gather(1, symbols[of][:, None])[:, 0]
        return logits[:, BLANK] - totals, chosen - totals

    # for decoding

    def join(self, read: Tensor, written: Tensor) -> Tensor:
        """Scores of the classes, `(nodes, classes)`, of a frame's part and the symbols' part, each `(nodes, joint)`."""
        logits: Tensor = self.logits(torch.tanh(read + written))
        return logits

    def read(self, frames: Tensor) -> Tensor:
        """The frames' part of the joint: `(frames, features)` -> `(frames, joint)`."""
        found: Tensor = self.of_frames(frames)
        return found

    def begin(self, rows: int = 1) -> Written:
        """Before the first symbol."""
        weight = self.embedding.embeddings
        state = self.cell.initial_state(rows, dtype=weight.dtype, device=weight.device)
        return self.write(torch.full((rows,), BLANK, device=weight.device), [leaf for _, leaf in state_leaves(state)])

    def write(self, symbols: Tensor, state: list[Tensor]) -> Written:
        """After one more symbol in each row, `(rows,)`."""
        steps = Ragged(self.embedding(symbols), torch.ones(len(symbols), dtype=torch.long))
        outputs, after = scan(self.cell, steps, state)
        return Written(self.of_symbols(outputs.values), [leaf for _, leaf in state_leaves(after)])
