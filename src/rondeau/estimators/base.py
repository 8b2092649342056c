"""What the estimators share: their parameters, and how a model is prepared, trained, asked and written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from rondeau.data.splits import split_rows
from rondeau.data.texts.vocabulary import Vocabulary
from rondeau.errors import ArgumentError
from rondeau.estimators.inputs import Inputs, read_inputs
from rondeau.models import Model
from rondeau.tasks.series.model import CELLS, series_model
from rondeau.tasks.series.preparation import channel_scales, scaled
from rondeau.training import optimizers
from rondeau.training.callbacks import EarlyStopping
from rondeau.training.optimizers import schedules


class SequenceEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no type hints
    """Base of the estimators of sequences.

    Args:
        cell: 'lstm' (default), 'gru' or 'simple_rnn'; units (default 64) and layers (1): of the recurrent layers.
        bidirectional: recurrent layers in both directions (default true).
        filters, kernel: of a convolution in front (default 0 filters: none; kernel 9).
        embedding: features of a word, where sequences hold words (default 32).
        dropout: rate after each of these (default 0.3).
        epochs: at most (default 50); batch_size: sequences (default 16).
        learning_rate: of Adam, at the start (default 3e-3); it falls along a cosine. clipnorm: longest gradient (1.0).
        validation_fraction: share held out to choose the best epoch by (default 0: the last epoch's weights are kept).
        patience: stop after so many epochs without a better one; needs a validation_fraction (default None).
        random_state: as everywhere in scikit-learn; a whole number makes fits repeat themselves. Torch's own generator
            is left as it was.
        device: 'auto' (default), 'cpu', 'cuda'; verbose: as in `Model.fit` (default 0).

    Attributes: `model_`, the trained `rondeau.Model`; `n_features_in_`; `history_`, logs by name, a value an epoch.
    """

    def __init__(
        self,
        cell: str = "lstm",
        units: int = 64,
        layers: int = 1,
        bidirectional: bool = True,
        filters: int = 0,
        kernel: int = 9,
        embedding: int = 32,
        dropout: float = 0.3,
        epochs: int = 50,
        batch_size: int = 16,
        learning_rate: float = 3e-3,
        clipnorm: float = 1.0,
        validation_fraction: float = 0.0,
        patience: int | None = None,
        random_state: Any = None,
        device: str = "auto",
        verbose: int = 0,
    ) -> None:
        self.cell, self.units, self.layers, self.bidirectional = cell, units, layers, bidirectional
        self.filters, self.kernel, self.embedding, self.dropout = filters, kernel, embedding, dropout
        self.epochs, self.batch_size, self.learning_rate, self.clipnorm = epochs, batch_size, learning_rate, clipnorm
        self.validation_fraction, self.patience = validation_fraction, patience
        self.random_state, self.device, self.verbose = random_state, device, verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """The model as its configuration and weights: what it was compiled with has no part in answers."""
        state = dict(super().__getstate__())
        model = state.pop("model_", None)
        if model is not None:
            state["_weights"] = {name: t.detach().cpu().numpy() for name, t in model.state_dict().items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        weights = state.pop("_weights", None)
        super().__setstate__(state)
        if weights is not None:
            self.model_ = self._build(self.outputs_)
            self.model_.load_state_dict({name: torch.from_numpy(np.array(w)) for name, w in weights.items()})
            self.model_.eval()

    def _prepare(self, x: Any) -> Inputs:
        """X, and what is learnt from it: a scale for each feature, or the words there are."""
        self._check()
        inputs = read_inputs(self, x, reset=True)
        self.table_ = inputs.table
        self.vocabulary_ = Vocabulary.build(inputs.sequences) if inputs.words else None
        self.scales_ = () if inputs.words else channel_scales(inputs.sequences)
        return inputs

    def _check(self) -> None:
        if self.cell not in CELLS:
            raise ArgumentError("cell", expected=" or ".join(map(repr, CELLS)), got=repr(self.cell))
        for name in ("units", "layers", "epochs", "batch_size", "kernel", "embedding"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
                raise ArgumentError(name, expected="a whole number, 1 or more", got=repr(value))
        if not 0 <= self.validation_fraction < 1:
            raise ArgumentError("validation_fraction", expected="0 or more, below 1", got=self.validation_fraction)
        if self.patience is not None and not self.validation_fraction:
            fix = "Give validation_fraction=0.1 as well"
            raise ArgumentError("patience needs held-out data to go by", fix=fix)

    def _values(self, inputs: Inputs) -> list[NDArray[Any]]:
        """As the model takes them: `(steps, features)` float32, or ids of words."""
        if self.vocabulary_ is not None:
            return [self.vocabulary_.encode(words) for words in inputs.sequences]
        return [scaled(one, self.scales_, f"sequence {i}") for i, one in enumerate(inputs.sequences)]

    def _build(self, outputs: int) -> Model:
        words = None if self.vocabulary_ is None else self.vocabulary_.size
        features = self.embedding if words else sum(scale.width for scale in self.scales_)
        shape = (features, outputs, self.cell, self.units, self.layers, self.dropout, self.filters, self.kernel, 1)
        return series_model(*shape, self.bidirectional, self.each_step, words)

    each_step = False  # an answer for each step, or one for each sequence

    def _train(
        self,
        x: Sequence[NDArray[Any]],
        y: Any,
        outputs: int,
        loss: Any,
        labels: Sequence[Any] | None = None,
        class_weight: dict[int, float] | None = None,
    ) -> None:
        """Make the model and fit it; nothing of torch's own generator is used up."""
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.outputs_ = outputs
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model_ = self._build(outputs)
            train, held = np.arange(len(x)), None
            if self.validation_fraction:
                parts = split_rows(range(len(x)), self.validation_fraction, 0.0, seed, labels)
                train, rows = parts.train, parts.validation
                held = ([x[i] for i in rows.tolist()], _rows(y, rows))
            updates = max(1, -(-len(train) // self.batch_size) * self.epochs)
            rate = schedules.CosineDecay(self.learning_rate, updates, alpha=0.02)
            self.model_.compile(optimizers.Adam(rate, global_clipnorm=self.clipnorm), loss, device=self.device)
            best = EarlyStopping(patience=self.patience or self.epochs, restore_best_weights=True)
            history = self.model_.fit(
                [x[i] for i in train.tolist()],
                _rows(y, train),
                batch_size=self.batch_size,
                epochs=self.epochs,
                validation_data=held,
                callbacks=[best] if held else [],
                class_weight=class_weight,
                verbose=self.verbose,
            )
        self.history_ = history.history
        self.n_iter_ = len(next(iter(self.history_.values()), []))

    def _outputs(self, x: Any) -> Any:
        """What the model says: `(sequences, outputs)`, or with `each_step` a list of `(steps, outputs)`; float64."""
        check_is_fitted(self)
        values = self._values(read_inputs(self, x, reset=False))
        said = self.model_.predict(values, batch_size=256)
        if self.each_step:
            return [np.asarray(one, np.float64) for one in said]
        return np.asarray(said, np.float64)


def _rows(y: Any, rows: NDArray[np.int64]) -> Any:
    return y[rows] if isinstance(y, np.ndarray) else [y[i] for i in rows]


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares over the last axis."""
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shares / shares.sum(-1, keepdims=True))
