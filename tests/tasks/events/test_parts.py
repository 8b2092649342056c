"""Events in pieces, batches, aggregates: nothing of the future, nothing of the test part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rondeau.data.disk import mapped
from rondeau.data.made.cards import made_transactions
from rondeau.data.tables.event_sorter import sorted_events
from rondeau.data.tables.events import Coded, Events
from rondeau.errors import CheckpointError, DataError
from rondeau.tasks.events import baselines
from rondeau.tasks.events.aggregates import aggregates
from rondeau.tasks.events.model import event_model, event_scores
from rondeau.tasks.events.pieces import NUMBERS, EventBatches, Pieces, pieces, ranges
from rondeau.tasks.events.preparation import EventPreparation


def small() -> Events:
    return sorted_events(
        Coded.of(["b", "a", "a", "b", "a", "a"]),
        [5.0, 1.0, 3.0, 7.0, 2.0, 9.0],
        {"shop": Coded.of(["x", "y", "y", "x", None, "z"])},
        {"amount": [10.0, 1.0, 3.0, 20.0, np.nan, 4.0]},
        [0, 0, 1, 1, 0, -1],
    )


def every(events: Events, longest: int = 400) -> Pieces:
    return Pieces(events, pieces(events, np.arange(len(events.entities)), -np.inf, np.inf, longest))


def prepared(events: Events) -> EventPreparation:
    return EventPreparation.fit(events, [np.arange(len(events))], 3.0)


def test_pieces_of_a_time_read_the_past_and_count_the_rest() -> None:
    events = small()
    assert pieces(events, np.array([0, 1]), 2.5, 8.0, 400).tolist() == [[0, 0, 2, 3], [1, 4, 4, 6]]
    assert Pieces(events, pieces(events, np.array([0, 1]), -np.inf, np.inf, 400)).known().tolist() == [0, 1, 2, 4, 5]


def test_long_histories_are_cut_and_every_event_counts_once() -> None:
    events = sorted_events(Coded.of(["a"] * 23), np.arange(23.0), {}, {}, [0] * 23)
    table = pieces(events, np.array([0]), -np.inf, np.inf, 8)
    assert Pieces(events, table).rows().tolist() == list(range(23))
    assert all(end - begin <= 12 and counted - begin <= 4 for _, begin, counted, end in table.tolist())
    assert all(counted - begin == 4 for _, begin, counted, end in table.tolist()[1:])


def test_ranges_one_after_the_other() -> None:
    assert ranges(np.array([3, 0, 5]), np.array([5, 0, 8])).tolist() == [3, 4, 5, 6, 7]
    assert ranges(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []


def test_batches_weigh_what_counts() -> None:
    events = small()
    batches = EventBatches(
        Pieces(events, pieces(events, np.array([0, 1]), 2.5, np.inf, 400)), prepared(events), 2, shuffle=False
    )
    batch = batches.batch(np.array([0, 1]))
    assert batch.y.values[:, 0].tolist() == [0, 0, 1, 0, 0, 1]
    assert batch.weight.values.tolist() == [0, 0, 3, 0, 1, 3]  # before the cut 0, without a label 0
    assert batch.x["shop"].lengths.tolist() == [4, 2]
    assert batch.x[NUMBERS].values.shape == (6, prepared(events).features)
    with pytest.raises(DataError, match="no events"):
        EventBatches(Pieces(events, np.zeros((0, 4), np.int64)), prepared(events), 2, shuffle=False)


def test_scores_do_not_know_the_future() -> None:
    events = made_transactions(20)
    preparation = prepared(events)
    torch.manual_seed(0)
    model = event_model(preparation, "lstm", 8, 1, 0.0)
    whole = event_scores(model, preparation, every(events), 4)
    cut = np.median(events.times)
    early = Pieces(events, pieces(events, np.arange(len(events.entities)), -np.inf, cut, 400))
    scores = event_scores(model, preparation, early, 4)
    np.testing.assert_allclose(scores, whole[early.rows()], atol=1e-6)
    late = Pieces(events, pieces(events, np.arange(len(events.entities)), cut, np.inf, 400))
    np.testing.assert_allclose(event_scores(model, preparation, late, 4), whole[late.rows()], atol=1e-6)


def test_aggregates_are_of_the_past_alone() -> None:
    events = small()
    found = aggregates(events, prepared(events))
    of = dict(zip(found.names, found.values.T, strict=True))
    np.testing.assert_array_equal(of["events before"], [0, 1, 2, 3, 0, 1])
    np.testing.assert_array_equal(of["mean amount"], np.float32([np.nan, 1, 1, 2, np.nan, 10]))
    np.testing.assert_array_equal(of["largest amount"], np.float32([np.nan, 1, 1, 3, np.nan, 10]))
    np.testing.assert_array_equal(of["last amount"], np.float32([np.nan, 1, np.nan, 3, np.nan, 10]))
    np.testing.assert_array_equal(of["shop: this one before"], [0, 0, 1, 1, 0, 1])  # two unknown
    np.testing.assert_array_equal(of["shop: words before"], [0, 1, 2, 2, 0, 1])
    np.testing.assert_array_equal(of["time since the first"], [0, 1, 2, 8, 0, 2])
    changed = sorted_events(
        Coded.of(["b", "a", "a", "b", "a", "a"]),
        [5.0, 1.0, 3.0, 7.0, 2.0, 9.0],
        {"shop": Coded.of(["x", "y", "y", "x", None, "q"])},
        {"amount": [10.0, 1.0, 3.0, 20.0, np.nan, 400.0]},
    )
    other = aggregates(changed, prepared(events))
    np.testing.assert_array_equal(found.values[:3], other.values[:3])  # the fourth of a is another one


def test_unseen_words_and_other_columns() -> None:
    events = small()
    preparation = prepared(events)
    assert preparation.ids("shop", Coded.of(["x", "never"])).tolist() == [2, 1]
    assert preparation.ids("shop", Coded.of(["z"])).tolist() == [1]  # it came once: there is something to learn
    with pytest.raises(DataError, match=r"no number of this name.*amount"):
        preparation.check(sorted_events(Coded.of(["a"]), [0.0], {"shop": Coded.of(["x"])}, {}))
    again = EventPreparation.from_json(preparation.to_json())
    assert again.names() == preparation.names()
    np.testing.assert_array_equal(again.values(events, np.arange(6)), preparation.values(events, np.arange(6)))
    with pytest.raises(CheckpointError, match="damaged"):
        EventPreparation.from_json({"words": 3})


def test_baselines_of_many_stretches_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    events = made_transactions(60, seed=2)
    events = replace(events, numbers={"amount": np.round(events.numbers["amount"])})  # so that sums are exact
    preparation = prepared(events)
    entities = np.arange(60)
    parts = [
        Pieces(events, pieces(events, entities[some], -np.inf, np.inf, 400))
        for some in (entities < 40, (entities >= 40) & (entities < 50), entities >= 50)
    ]
    assert parts[0].counts() == (len(parts[0].known()), int((events.labels[parts[0].known()] == 1).sum()))  # type: ignore[index]
    whole = list(baselines.baseline_scores(parts, preparation, 0))
    monkeypatch.setattr(baselines, "BLOCK", 100)
    monkeypatch.setattr(mapped, "BLOCK", 64)
    again = list(baselines.baseline_scores(parts, preparation, 0))
    assert np.concatenate(list(parts[0].blocks())).tolist() == parts[0].rows().tolist()
    for (name, *scores), (other, *told) in zip(whole, again, strict=True):
        assert name == other
        assert [len(one) for one in scores] == [len(part.known()) for part in parts[1:]]
        for one, two in zip(scores, told, strict=True):
            np.testing.assert_allclose(one, two, rtol=64 * np.finfo(np.float32).eps)
    few = list(baselines.baseline_scores(parts, preparation, 0, most=100))
    assert [len(one) for one in few[0][1:]] == [100, len(parts[2].known())]
    known = parts[0].known()
    assert (
        baselines.chosen(parts[0], 4).tolist() == known[np.linspace(0, len(known) - 1, 4).round().astype(int)].tolist()
    )
