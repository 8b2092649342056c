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
    """Mean 0 and variance 1 over the last axis, then `gamma` and `beta` (Ba et al. 2016, arXiv 1607.06450).

    epsilon 0.001, center and scale true, as in Keras; `axis` is the last one.
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
