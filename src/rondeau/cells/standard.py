"""What SimpleRNN, LSTM and GRU cells have in common: Keras's arguments, their weights, and variational dropout."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.parameter import Parameter

from rondeau import activations, init
from rondeau.cells.base import Cell, Context
from rondeau.errors import ArgumentError
from rondeau.module import positive, share


class StandardCell(Cell):
    """A cell of `gates` gates with one input kernel, one recurrent kernel and a bias; see the cells for their formulas.

    Args (of all three cells, as in Keras; defaults stand in their signatures):
        units: size of the output and of each state.
        activation, recurrent_activation: of the candidate and of the gates: names, or functions tensor -> tensor.
        use_bias: whether there is a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: names, or callables shape -> tensor.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties, added to `losses`.
        dropout, recurrent_dropout: share of the inputs and of the previous output zeroed in training, 0 <= rate < 1.
        seed: of the dropout; None draws from torch's global generator.

    Raises `ArgumentError` for units below 1, a rate outside its range, or an unknown name.

    Dropout is variational (Gal & Ghahramani 2016, arXiv 1512.05287): one mask per row for the inputs and one for the
    recurrent products, the same at every step, drawn before the loop and scaled by 1 / (1 - rate).

    Weights, in Keras's order: `kernel` (features, gates * units), `recurrent_kernel` (output_size,
    gates * units), `bias`; the output has `units` features, but for a cell that projects it.
    """

    gates: int
    per_row = ("input_mask", "recurrent_mask")

    def __init__(
        self,
        units: int,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        recurrent_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        recurrent_regularizer: Any,
        bias_regularizer: Any,
        dropout: float,
        recurrent_dropout: float,
        seed: int | None,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        self.units = self.output_size = positive(owner, "units", units)
        self.dropout = share(owner, "dropout", dropout)
        self.recurrent_dropout = share(owner, "recurrent_dropout", recurrent_dropout)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer, self.kernel_regularizer = kernel_initializer, kernel_regularizer
        self.recurrent_initializer, self.recurrent_regularizer = recurrent_initializer, recurrent_regularizer
        self.bias_initializer, self.bias_regularizer = bias_initializer, bias_regularizer
        self.seed = seed

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """The bias of all gates side by side."""
        return (self.gates * self.units,)

    def build(self, features: int) -> None:
        wide = self.gates * self.units
        self.kernel = self.add_weight("kernel", (features, wide), self.kernel_initializer, self.kernel_regularizer)
        self.recurrent_kernel = self.add_weight(
            "recurrent_kernel", (self.output_size, wide), self.recurrent_initializer, self.recurrent_regularizer
        )
        self.bias: Parameter | None = None
        if self.use_bias:
            self.bias = self.add_weight("bias", self.bias_shape, self._begin_bias(), self.bias_regularizer)
        elif self._chrono is not None:
            fix = "Leave use_bias true, or bias_initializer out"
            raise ArgumentError(
                f"{type(self).__name__}: the chrono initialiser sets a bias, and there is none", fix=fix
            )

    @property
    def _chrono(self) -> init.Chrono | None:
        """How long units are to remember at first, where the bias is to begin so."""
        chosen = init.get(self.bias_initializer)
        return chosen if isinstance(chosen, init.Chrono) else None

    def _begin_bias(self) -> Any:
        chrono = self._chrono
        return self.bias_initializer if chrono is None else lambda _: self.remembering(chrono.steps(self.units))

    def remembering(self, steps: Float[Tensor, " units"]) -> Tensor:
        """The bias, of `bias_shape`, with which each unit keeps s / (s + 1) of its state a step.

        Raises `ArgumentError` for a cell without a gate that does so.
        """
        fix = "Use LSTM or GRU, or another bias_initializer"
        raise ArgumentError(
            f"{type(self).__name__} has no gate that keeps its state: nothing for chrono to set", fix=fix
        )

    def draw(self, lengths: Int64[Tensor, " batch"], generator: torch.Generator | None) -> dict[str, Any]:
        """`input_mask` `(batch, features)`, `recurrent_mask` `(batch, output_size)`, where their rates are above 0."""
        masks = {}
        if self.dropout:
            masks["input_mask"] = self._mask((len(lengths), self.kernel.shape[0]), self.dropout, generator)
        if self.recurrent_dropout:
            masks["recurrent_mask"] = self._mask((len(lengths), self.output_size), self.recurrent_dropout, generator)
        return masks

    def _mask(self, shape: tuple[int, int], rate: float, generator: torch.Generator | None) -> Tensor:
        mask = torch.empty(shape, dtype=self.kernel.dtype, device=self.kernel.device)
        return mask.bernoulli_(1 - rate, generator=generator) / (1 - rate)

    def drop_inputs(self, x: Float[Tensor, "batch features"], context: Context) -> Float[Tensor, "batch features"]:
        """x as the kernel sees it: masked in training if there is `dropout`."""
        return x * context.input_mask if self.training and self.dropout else x

    def drop_recurrent(self, h: Float[Tensor, "batch units"], context: Context) -> Float[Tensor, "batch units"]:
        """h as the recurrent kernel sees it: masked in training if there is `recurrent_dropout`."""
        return h * context.recurrent_mask if self.training and self.recurrent_dropout else h
