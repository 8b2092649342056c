from __future__ import annotations

import json
from typing import Any

import pytest
import torch

import rondeau
from rondeau import Sequential, layers
from rondeau.errors import ArgumentError, DataError, NotCompiledError
from rondeau.insight.checks import Checks, check_inputs, checks_from_json, checks_to_json
from rondeau.insight.memory import Comparison, memory_helps
from rondeau.losses import SparseCategoricalCrossentropy
from rondeau.sequence import Ragged

STEPS = 20


class Sums(rondeau.Model):
    """The sum over the last `span` steps of the first feature: at the end, or at every step."""

    def __init__(self, span: int, by_step: bool = False, scale: float = 1.0) -> None:
        super().__init__()
        self.span, self.by_step = span, by_step
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def forward(self, x: Any) -> Any:
        if isinstance(x, Ragged):
            rows = [self._sums(row[None])[0] for row in x.rows()]
            return Ragged.from_rows(rows) if self.by_step else torch.stack(rows)
        return self._sums(x)

    def _sums(self, x: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(x[..., :1], (0, 0, self.span - 1, 0))
        sums = self.scale * padded.unfold(1, self.span, 1).sum(-1)
        return sums if self.by_step else sums[:, -1]


def compiled(model: Any) -> Any:
    model.compile("sgd", "mse", device="cpu")
    return model


def data(rows: int = 40) -> torch.Tensor:
    return torch.randn(rows, STEPS, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("by_step", [False, True])
def test_what_a_model_reads_is_what_its_loss_depends_on(by_step: bool) -> None:
    x, model = data(), compiled(Sums(4, by_step))
    y = model(x).detach() + 0.1
    checks = check_inputs(model, x, y)
    assert checks.loss == pytest.approx(0.01, rel=1e-4)
    assert len(checks.exchanged) == 9
    assert min(checks.exchanged) > 1.0
    recent = dict(checks.recent)
    assert recent[1] > 0.1
    if by_step:
        assert recent[16] > 1.5 * checks.loss, "the fourth chunk begins anew and lacks what was before it"
    else:
        assert recent[4] == recent[16] == checks.loss
    assert checks.steps == STEPS


def test_a_model_that_ignores_its_input() -> None:
    x, model = data(), compiled(Sums(4, scale=0.0))
    checks = check_inputs(model, x, torch.ones(40, 1))
    assert set(checks.exchanged) == {checks.loss}
    assert {loss for _, loss in checks.recent} == {checks.loss}


@pytest.mark.parametrize("by_step", [False, True])
def test_rows_of_unequal_lengths(by_step: bool) -> None:
    x, model = data(12), compiled(Sums(3, by_step))
    rows = [row[: 5 + place] for place, row in enumerate(x)]
    y = [model(row[None])[0].detach() for row in rows]
    for given in (rows, Ragged.from_rows(rows)):
        checks = check_inputs(model, given, y if by_step else torch.stack(y), spans=(1, 3))
        assert checks.loss == pytest.approx(0.0, abs=1e-10)
        assert min(checks.exchanged) > 0.5
        assert checks.recent[0][1] > 0.5
        assert (checks.recent[1][1] > 0.01) == by_step
        assert checks.steps == 16


def test_states_and_weights_stay_as_they_are() -> None:
    model = rondeau.Sequential(
        [layers.LSTM(4, return_sequences=True, stateful=True), layers.Dropout(0.5), layers.Dense(1)]
    )
    compiled(model)
    x = data(8)
    y = torch.zeros(8, STEPS, 1)
    model.fit(x, y, batch_size=8, verbose=0)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    state = model.states()
    first, again = check_inputs(model, x, y), check_inputs(model, x, y)
    assert first == again
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    after = model.states()
    assert after.keys() == state.keys()
    torch.testing.assert_close(after, state, rtol=0, atol=0)


def test_at_most_so_many_rows() -> None:
    x, model = data(), compiled(Sums(1))
    y = x[:, -1, :1].clone()
    y[1:-1] += 100.0
    assert check_inputs(model, x, y, rows=2).loss == 0.0


def test_checks_survive_json() -> None:
    checks = Checks(0.1, [0.3, 0.4], [(1, 0.5)], 20, Comparison(2, 0.1, 0.2, 33))
    assert checks_from_json(json.loads(json.dumps(checks_to_json(checks)))) == checks
    bare = Checks(0.1, [])
    assert checks_from_json(json.loads(json.dumps(checks_to_json(bare)))) == bare


@pytest.mark.parametrize(
    ("x", "y", "options", "error"),
    [
        (data(4), torch.zeros(3, 1), {}, DataError),
        (data(0), torch.zeros(0, 1), {}, DataError),
        (data(4), torch.zeros(4, 1), {"spans": (0,)}, ArgumentError),
        ((data(4), data(4)), torch.zeros(4, 1), {}, ArgumentError),
    ],
)
def test_checks_refuse(x: Any, y: Any, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="check_inputs"):
        check_inputs(compiled(Sums(1)), x, y, **options)


@pytest.mark.parametrize("by_step", [False, True])
def test_memory_helps_where_the_past_decides(by_step: bool) -> None:
    x = data(100)
    needs, needs_not = compiled(Sums(4, by_step)), compiled(Sums(1, by_step))
    far = memory_helps(needs, x, needs(x).detach(), epochs=3)
    assert far.helps
    assert far.model == 0.0
    assert far.feed_forward > 1.0
    noise = 0.1 * torch.randn(100, STEPS, 1) if by_step else 0.1 * torch.randn(100, 1)
    y = needs_not(x).detach() + noise
    near = memory_helps(compiled(Sums(1, by_step, scale=0.5)), x, y, epochs=10)
    assert not near.helps
    assert near.feed_forward < 0.1


def test_a_feed_forward_network_of_several_steps_knows_more() -> None:
    x, model = data(200), compiled(Sums(3))
    y = model(x).detach()
    one, three = (memory_helps(model, x, y, steps=steps).feed_forward for steps in (1, 3))
    assert three < 0.2 * one


def test_ids_and_classes() -> None:
    ids = torch.randint(5, (100, 12), generator=torch.Generator().manual_seed(0))
    model = rondeau.Sequential([layers.Embedding(5, 4), layers.GRU(4, return_sequences=True), layers.Dense(5)])
    model.compile("adam", rondeau.losses.SparseCategoricalCrossentropy(from_logits=True), device="cpu")
    model.fit(ids, ids, verbose=0)
    found = memory_helps(model, ids, ids, validation_data=(ids[:20], ids[:20]))
    assert found.feed_forward < 0.1
    assert not found.helps


def test_the_global_generator_is_left_alone() -> None:
    x, model = data(), compiled(Sums(1))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    memory_helps(model, x, torch.zeros(40, 1), epochs=1)
    assert torch.equal(torch.rand(1), expected)


def test_memory_helps_refuses() -> None:
    x, y = data(), torch.zeros(40, 1)
    with pytest.raises(NotCompiledError):
        memory_helps(Sums(1), x, y)
    with pytest.raises(ArgumentError, match="steps"):
        memory_helps(compiled(Sums(1)), x, y, steps=0)
    with pytest.raises(DataError, match="x"):
        memory_helps(compiled(Sums(1)), list(x), y)
    with pytest.raises(DataError, match="no rows"):
        memory_helps(compiled(Sums(1)), x[:1], y[:1])


def test_ids_that_only_held_out_rows_have_and_whole_numbers_that_are_no_ids() -> None:
    loss = SparseCategoricalCrossentropy(from_logits=True)
    ids, y = torch.randint(0, 4, (20, 6)), torch.randint(0, 3, (20,))
    model = Sequential([layers.Input((None,), dtype="int64"), layers.Embedding(9, 3), layers.LSTM(4), layers.Dense(3)])
    model.compile("sgd", loss)
    assert memory_helps(model, ids, y, (torch.full((4, 6), 8), y[:4]), epochs=1).feed_forward > 0
    model = Sequential([layers.Input((None, 2)), layers.LSTM(4), layers.Dense(3)])
    model.compile("sgd", loss)
    assert memory_helps(model, torch.randint(0, 9, (20, 6, 2)), y, epochs=1).feed_forward > 0
