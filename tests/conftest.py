"""What every test shares: Keras on torch where it is the judge, few threads, a seed."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
