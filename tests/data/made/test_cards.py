"""The made transactions: the same for a seed, and with nothing to be seen in single events."""

from __future__ import annotations

import pytest

from rondeau.data.made.cards import FRAUD, made_transactions
from rondeau.errors import ArgumentError


def test_made_frauds_differ_from_honest_purchases_by_their_order_alone() -> None:
    events = made_transactions(400, seed=1)
    assert events.labels is not None
    again = made_transactions(400, seed=1)
    assert again.digests() == events.digests()
    assert made_transactions(400, seed=2).digests() != events.digests()
    large = (events.numbers["amount"] >= 400) & (events.numbers["amount"] <= 1500)
    share = events.labels[large].mean()
    assert 0.2 < share < 0.6  # a large purchase says little by itself
    assert FRAUD == ("test", "abroad", "large")
    with pytest.raises(ArgumentError, match="cards"):
        made_transactions(3)
