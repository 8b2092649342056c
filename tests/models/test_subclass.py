from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import rondeau
from rondeau import layers
from rondeau.errors import ArgumentError, DataError, ShapeError

X = np.random.default_rng(0).normal(size=(6, 4, 3)).astype("float32")
Y1, Y2 = np.zeros((6, 2), "float32"), np.ones((6, 1), "float32")


class Reader(rondeau.Model):
    """Layers of both libraries."""

    def __init__(self, units: int = 4, **options: Any) -> None:
        super().__init__(**options)
        self.read = layers.LSTM(units)
        self.middle = torch.nn.Sequential(torch.nn.Linear(units, 3), torch.nn.ReLU())
        self.out = layers.Dense(2)

    def forward(self, x: Any) -> Any:
        return self.out(self.middle(self.read(x)))


class Two(rondeau.Model):
    def __init__(self, form: str = "dict") -> None:
        super().__init__()
        self.form = form
        self.read, self.a, self.b = layers.LSTM(4), layers.Dense(2), layers.Dense(1)

    def forward(self, x: Any) -> Any:
        h = self.read(x)
        named = {"a": self.a(h), "b": self.b(h)}
        return named if self.form == "dict" else type({"list": [], "tuple": ()}[self.form])(named.values())


class Sides(rondeau.Model):
    def __init__(self) -> None:
        super().__init__()
        self.read, self.out = layers.LSTM(3), layers.Dense(2)

    def forward(self, x: Any) -> Any:
        left, right = x.values() if isinstance(x, dict) else x
        return self.out(self.read(left) - self.read(right))


def compiled(model: Any) -> Any:
    model.compile(
        "adam", "mse", metrics=["mae"] if model.output_names == ["output"] and not isinstance(model, Two) else None
    )
    return model


def test_one_input_and_output(tmp_path: Path) -> None:
    model = compiled(Reader(5))
    assert not model.ready
    history = model.fit(X, Y1, epochs=2, verbose=0, validation_split=0.3).history
    assert list(history) == ["loss", "mae", "val_loss", "val_mae"]
    assert model.ready
    assert [layer.name for layer in model.layers] == ["lstm", "dense"]
    assert len(model.get_weights()) == 3 + 2 + 2
    model.save(tmp_path)
    loaded = rondeau.load(tmp_path, {"Reader": Reader})
    assert np.array_equal(loaded.predict(X), model.predict(X))
    histories = [one.fit(X, Y1, shuffle=False, verbose=0).history for one in (model, loaded)]
    assert histories[0] == histories[1]


def test_called_before_it_is_trained() -> None:
    model = Reader()
    assert model(torch.as_tensor(X)).shape == (6, 2)
    torch.optim.SGD(model.parameters(), lr=0.1)
    compiled(model).fit(X, Y1, verbose=0)


@pytest.mark.parametrize("form", ["dict", "list", "tuple"])
def test_several_outputs(form: str, tmp_path: Path) -> None:
    names = ["a", "b"] if form == "dict" else ["output_1", "output_2"]
    for y in ([Y1, Y2], (Y1, Y2), dict(zip(names, (Y1, Y2), strict=True))):
        model = compiled(Two(form))
        history = model.fit(X, y, epochs=2, verbose=0, validation_data=(X, y)).history
        assert list(history)[:3] == ["loss", *(f"{name}_loss" for name in names)]
        assert model.output_names == names
        assert len(model.evaluate(X, y, verbose=0)) == 3
    out = model.predict(X)
    assert isinstance(out, dict if form == "dict" else list)
    model.save(tmp_path)
    again = rondeau.load(tmp_path, {"Two": Two}).predict(X)
    assert all(
        map(np.array_equal, out.values() if form == "dict" else out, again.values() if form == "dict" else again)
    )


def test_several_outputs_from_a_loader() -> None:
    rows = [(X[i], {"a": Y1[i], "b": Y2[i]}) for i in range(6)]
    model = compiled(Two())
    assert list(model.fit(DataLoader(rows, batch_size=4), verbose=0).history) == ["loss", "a_loss", "b_loss"]  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["list", "tuple"])
def test_several_outputs_from_batches_that_list_them(form: str) -> None:
    rows = DataLoader([(X[i], (Y1[i], Y2[i])) for i in range(6)], batch_size=4)  # type: ignore[arg-type]
    for batches in (rows, iter([(X, [Y1, Y2])] * 2), iter([(X, (Y1, Y2))])):
        model = compiled(Two(form))
        history = model.fit(batches, verbose=0).history
        assert list(history) == ["loss", "output_1_loss", "output_2_loss"]


def test_one_array_for_two_outputs_is_refused() -> None:
    with pytest.raises(DataError, match="y does not fit"):
        compiled(Two("list")).fit(X, Y1, verbose=0)
    with pytest.raises(DataError, match="y does not fit the model: expected 2 arrays"):
        compiled(Two()).fit(iter([(X, Y1)]), verbose=0)


@pytest.mark.parametrize("x", [(X, X[::-1].copy()), {"l": X, "r": X[::-1].copy()}], ids=["tuple", "dict"])
def test_several_inputs(x: Any, tmp_path: Path) -> None:
    model = compiled(Sides())
    model.fit(x, Y1, verbose=0, validation_split=0.5)
    assert model.predict(x, batch_size=4).shape == (6, 2)
    out = model.predict(x)
    model.save(tmp_path)
    assert np.array_equal(rondeau.load(tmp_path, {"Sides": Sides}).predict(x), out)
    with pytest.raises(DataError, match="several inputs or outputs come in a tuple or dict"):
        model.fit([X, X], Y1, verbose=0)


def test_outputs_that_change_their_number() -> None:
    class Fickle(Two):
        def forward(self, x: Any) -> Any:
            made = super().forward(x)
            return made if self.training else made["a"]

    with pytest.raises(ShapeError, match="another number of outputs than before: expected 1, got 2"):
        compiled(Fickle()).fit(X, Y1, verbose=0)


def test_call_is_named_forward() -> None:
    with pytest.raises(ArgumentError, match=r"Wrong defines call. Name it forward"):

        class Wrong(rondeau.Model):
            def call(self, x: Any) -> Any:
                return x


class Summary(layers.Layer):
    """Says nothing of its output's shape."""

    def forward(self, x: Any) -> Any:
        return torch.cat([x[:, -1], x.mean(1)], -1)


class Needy(layers.Layer):
    """Cannot run on zeros."""

    def forward(self, x: Any) -> Any:
        if not x.any():
            raise ValueError("nothing there")
        return x[:, 0, :2]


CUSTOM = {kind.__name__: kind for kind in (Reader, Two, Summary, Needy)}


def test_a_subclassed_model_inside_a_graph(tmp_path: Path) -> None:
    x = layers.Input((None, 3))
    first, second = Two()(x)
    model = rondeau.Model(x, [layers.Dense(1)(Reader()(x)), layers.Concatenate()([first, second])])
    assert [tensor.shape for tensor in model.outputs] == [(None, 1), (None, 3)]
    before = model.predict(X)
    model.save(tmp_path)
    assert all(map(np.array_equal, rondeau.load(tmp_path, CUSTOM).predict(X), before))


@pytest.mark.parametrize("known", [True, False])
def test_layers_that_do_not_say_what_they_make(known: bool, tmp_path: Path) -> None:
    first = [layers.Input((None, 3))] if known else []
    model = rondeau.Sequential([*first, layers.Dense(5), Summary(), layers.Dense(2)])
    if known:
        assert model.output_shape == (None, 2)
        assert model.count_params() == 20 + 22
    nested = rondeau.Sequential([*first, Reader(), layers.Dense(1)])
    needy = rondeau.Sequential([*first, layers.Dense(4), Needy(), layers.Dense(1)])
    assert needy.output_shape is None
    for i, (one, features) in enumerate([(model, 2), (nested, 1), (needy, 1)]):
        out = one.predict(X)
        assert out.shape == (6, features)
        one.save(tmp_path / str(i))
        assert np.array_equal(rondeau.load(tmp_path / str(i), CUSTOM).predict(X), out)


def test_a_trial_leaves_no_trace() -> None:
    stack = rondeau.Sequential([layers.GRU(2, stateful=True), layers.Dropout(0.5, seed=1)])
    stack.predict(X)
    states, random = stack.states(), torch.get_rng_state()
    stack.train()

    class Wrapped(rondeau.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = stack

        def forward(self, x: Any) -> Any:
            return self.inner(x)

    assert Wrapped().compute_output_shape((None, None, 3)) == (None, 2)
    assert all(map(torch.equal, states.values(), stack.states().values()))
    assert torch.equal(random, torch.get_rng_state())
    assert stack.training


def test_a_model_that_cannot_be_tried_says_what_to_define() -> None:
    with pytest.raises(
        ArgumentError, match=r"Sides: what it makes of \(None, 4, 3\) is not known. Define compute_output"
    ):
        Sides()(layers.Input((4, 3)))


def test_stateful_layers_deep_inside() -> None:
    class Deep(rondeau.Model):
        def __init__(self) -> None:
            super().__init__()
            self.stack = torch.nn.ModuleList([layers.GRU(2, stateful=True)])

        def forward(self, x: Any) -> Any:
            return self.stack[0](x)

    model = Deep()
    first = model.predict(X)
    assert list(model.states()) == ["stack.0.h"]
    assert not np.array_equal(model.predict(X), first)
    model.reset_states()
    assert np.array_equal(model.predict(X), first)
