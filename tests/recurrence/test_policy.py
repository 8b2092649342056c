"""Gradient policies as values, and what a scan says to others."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import rondeau
from rondeau import Full, Keep, Recompute, Truncated, scan
from rondeau.cells import GRUCell
from rondeau.config import deserialize, remake, serialize
from rondeau.errors import ArgumentError, RondeauError

POLICIES = [Full(), Truncated(3), Recompute(every=3)]


def test_they_are_values() -> None:
    assert Truncated(3) == Truncated(steps=3) != Truncated(4)
    assert Recompute(3) == Recompute(every=3) != Truncated(3)
    assert Full() == Full() != Truncated(3)
    assert len({*POLICIES, Truncated(3), Recompute(3), Full()}) == 3
    assert list(map(repr, POLICIES)) == ["Full()", "Truncated(3)", "Recompute(every=3)"]
    assert Truncated(np.int64(5)) == Truncated(5)
    for policy in POLICIES:
        assert pickle.loads(pickle.dumps(policy)) == policy
        assert copy.deepcopy(policy) == policy == remake(policy)
        assert deserialize(serialize(policy), vars(rondeau)) == policy


@pytest.mark.parametrize("kind", [Truncated, Recompute])
@pytest.mark.parametrize("wrong", [0, -1, 2.0, True, None, "3", torch.tensor(2.5)])
def test_a_window_has_a_whole_number_of_steps(kind: Any, wrong: Any) -> None:
    with pytest.raises(ArgumentError, match=rf"{kind.__name__}: .* a whole number, at least 1"):
        kind(wrong)


@pytest.mark.parametrize("wrong", ["recompute", 5, Truncated, True])
def test_nothing_else_is_a_policy(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="gradient: expected None, Full"):
        scan(GRUCell(2), torch.zeros(1, 3, 2), gradient=wrong)


def test_which_outputs_are_kept_is_all_or_last() -> None:
    with pytest.raises(ArgumentError, match="Keep: outputs: expected 'all' or 'last', got 'first'"):
        Keep(outputs="first")
    with pytest.raises(RondeauError, match="Keep keeps nothing"):
        Keep(outputs="all")
    keep = Keep(outputs="last")
    scan(GRUCell(2), torch.zeros(1, 3, 2), keep=keep)
    with pytest.raises(RondeauError, match="states were not kept"):
        keep.states  # noqa: B018
