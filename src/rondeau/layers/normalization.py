"""Normalisation of each step by itself."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.layers.base import Layer, each_step
from rondeau.layers.core import known_features
from rondeau.layers.graph import Shape


class LayerNormalization(Layer):
    """`gamma (x - mean) / sqrt(variance + epsilon) + beta` over the last axis (Ba et al. 2016, arXiv 1607.06450).

    Args:
        axis: -1; no other.
        epsilon: default 0.001, as in Keras (torch's is 0.00001).
        center, scale: whether there is a `beta`, a `gamma` (default true).
        beta_initializer, gamma_initializer: default 'zeros', 'ones'.
        beta_regularizer, gamma_regularizer: penalties, added to `losses` (default None).

    The shape stays; a `Ragged` gives a `Ragged`. Weights `gamma` and `beta`, each `(features,)`.

    >>> import torch
    >>> LayerNormalization()(torch.zeros(2, 7, 3)).shape
    torch.Size([2, 7, 3])
    """

    fixed_features = True

    def __init__(
        self,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if axis != -1:
            raise ArgumentError("LayerNormalization: axis", expected="-1, the last one", got=axis)
        self.epsilon, self.center, self.scale = epsilon, center, scale
        self.beta_initializer, self.beta_regularizer = beta_initializer, beta_regularizer
        self.gamma_initializer, self.gamma_regularizer = gamma_initializer, gamma_regularizer

    def build(self, input_shape: Shape) -> None:
        shape = (known_features(self, input_shape),)
        self.gamma: Tensor | None = None
        self.beta: Tensor | None = None
        if self.scale:
            self.gamma = self.add_weight("gamma", shape, self.gamma_initializer, self.gamma_regularizer)
        if self.center:
            self.beta = self.add_weight("beta", shape, self.beta_initializer, self.beta_regularizer)

    def forward(self, x: Any) -> Any:
        return each_step(x, lambda v: F.layer_norm(v, v.shape[-1:], self.gamma, self.beta, self.epsilon))
