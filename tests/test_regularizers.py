from __future__ import annotations

import numpy as np
import pytest
import torch

from rondeau import regularizers
from rondeau.errors import ArgumentError


@pytest.mark.parametrize("arguments", [{}, {"l1": 0.3}, {"l2": 0.2}, {"l1": 0.3, "l2": 0.2}])
@pytest.mark.parametrize("name", ["L1L2", "L1", "L2"])
def test_penalties_are_keras(name: str, arguments: dict[str, float]) -> None:
    keras = pytest.importorskip("keras")
    if not set(arguments) <= {name.lower(), *({"l1", "l2"} if name == "L1L2" else ())}:
        pytest.skip("it has no such argument")
    weight = torch.randn(4, 3)
    ours = getattr(regularizers, name)(**arguments)(weight)
    theirs = getattr(keras.regularizers, name)(**arguments)(weight)
    assert ours.shape == ()
    np.testing.assert_allclose(ours, np.asarray(theirs), rtol=1e-6)


def test_names_classes_and_callables() -> None:
    weight = torch.tensor([1.0, -2.0])
    for name, value in (("l1", 0.03), ("l2", 0.05), ("l1_l2", 0.08), ("L1L2", 0.08), (regularizers.L1, 0.03)):
        penalty = regularizers.get(name)
        assert penalty is not None
        assert float(penalty(weight)) == pytest.approx(value)
    assert regularizers.get(None) is None
    assert regularizers.get(torch.sum) is torch.sum
    again = regularizers.L1L2.from_config(regularizers.L1L2(l2=0.5).get_config())
    assert (again.l1, again.l2) == (0.0, 0.5)


def test_what_is_no_regulariser() -> None:
    with pytest.raises(ArgumentError, match=r"l1, l2 >= 0, got 0.0, -1"):
        regularizers.L1L2(l2=-1)
    with pytest.raises(ArgumentError, match="there is no regularizer 'l3'"):
        regularizers.get("l3")
    with pytest.raises(ArgumentError, match="not a regulariser"):
        regularizers.get(0.01)
