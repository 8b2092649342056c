"""EncoderDecoder: what it learns, and that its ways of computing the same thing agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

import rondeau as keras
from rondeau.cells import StackedRNNCells
from rondeau.errors import ArgumentError, DataError, ShapeError
from rondeau.models.pairs import PairSource, token_ids
from rondeau.training.data import IterableSource

SIZE = 11
SOURCE = [[3, 1, 4, 1, 5], [9], [], [2, 6, 5], [3, 5]]
TARGET = [[5, 1, 4], [9, 9, 9, 9], [1], [], [5, 3]]
KINDS = [
    {"attention": "additive"},
    {"attention": "dot", "cell": "gru", "bidirectional": True},
    {"attention": None, "cell": "simple_rnn"},
    {"attention": "additive", "layers": 2, "bidirectional": True},
    {"attention": None, "cell": "gru", "layers": 2},
    {"attention": "dot", "layers": 2, "embedding_dim": 3, "begin": 1, "end": 2},
    {"attention": "additive", "cell": "gru", "embedding_dim": 6, "deep_output": True, "tied": True},
    {"attention": None, "embedding_dim": 3, "tied": True},
]


def make(units: int = 8, seed: int = 0, **options: Any) -> keras.EncoderDecoder:
    keras.utils.set_random_seed(seed)
    return keras.EncoderDecoder(SIZE, SIZE, units=units, **options)


def target_of(options: dict[str, Any]) -> list[list[int]]:
    """TARGET without the ids that mark begin and end."""
    return [[token + 2 if token < 3 else token for token in row] for row in TARGET] if "begin" in options else TARGET


def reversals(rows: int, seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(1, SIZE, size=rng.integers(3, 11)).tolist() for _ in range(rows)]


TRAINING = reversals(3000, seed=0)
HELD_OUT = [row for row in reversals(900, seed=1) if row not in TRAINING][:400]


def exact_matches(model: keras.EncoderDecoder) -> float:
    return float(np.mean([found == row[::-1] for found, row in zip(model.greedy(HELD_OUT), HELD_OUT, strict=True)]))


def learn_to_reverse(attention: str | None) -> keras.EncoderDecoder:
    """A model after four epochs over three thousand sequences."""
    model = make(units=64, embedding_dim=32, cell="gru", attention=attention)
    steps = 4 * -(-len(TRAINING) // 32)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(8e-3, steps)))
    model.fit(TRAINING, [row[::-1] for row in TRAINING], epochs=4, verbose=0)
    return model


@pytest.fixture(scope="module")
def attentive() -> keras.EncoderDecoder:
    return learn_to_reverse("additive")


@pytest.fixture(scope="module")
def inattentive() -> keras.EncoderDecoder:
    return learn_to_reverse(None)


def test_learns_to_reverse_with_attention_and_less_well_without(
    attentive: keras.EncoderDecoder, inattentive: keras.EncoderDecoder
) -> None:
    assert len(HELD_OUT) == 400
    models = {"additive": attentive, "dot": learn_to_reverse("dot"), "none": inattentive}
    matches = {name: exact_matches(model) for name, model in models.items()}
    print(f"exact matches on held-out sequences: {matches}")
    assert matches["additive"] > 0.95
    assert matches["dot"] > 0.95
    assert matches["none"] < 0.8


def test_attention_looks_at_the_mirrored_place(attentive: keras.EncoderDecoder) -> None:
    weights = attentive.attention_weights(HELD_OUT, [row[::-1] for row in HELD_OUT])
    hits = []
    for row, looked in zip(HELD_OUT, weights, strict=True):
        assert looked.shape == (len(row) + 1, len(row))
        assert torch.allclose(looked.sum(1), torch.ones(len(row) + 1), rtol=0, atol=1e-5)
        hits += (looked[:-1].argmax(1) == torch.arange(len(row)).flip(0)).tolist()
    assert np.mean(hits) > 0.9


def test_beam_search_finds_what_is_more_probable(
    attentive: keras.EncoderDecoder, inattentive: keras.EncoderDecoder
) -> None:
    for model, sources in ((attentive, HELD_OUT[:50]), (inattentive, HELD_OUT[:100])):
        beams = model.hypotheses(sources, beam=5, length_penalty=0.0, max_length=30)
        written = model.translate(sources, beam=5, length_penalty=0.0, max_length=30)
        assert written == [best.tokens for best, *_ in beams]
        assert all(best.ended for best, *_ in beams)
        found = model.log_probability(sources, written)
        told = torch.tensor([best.log_probability for best, *_ in beams])
        assert torch.allclose(told, found, rtol=0, atol=1e-4)
        plain = model.greedy(sources, max_length=30)
        assert model.translate(sources, beam=1, max_length=30) == plain
        by_greedy = model.log_probability(sources, plain)
        assert float(found.mean()) >= float(by_greedy.mean())
    assert (
        float(found.mean()) > float(by_greedy.mean()) + 0.01
    )  # where the model is in doubt there is something to find


@pytest.fixture
def double() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("options", KINDS)
def test_the_teacher_forced_loss_is_the_one_step_by_step(options: dict[str, Any]) -> None:
    model, target = make(**options), target_of(options)
    model.compile("sgd")
    loss = model.evaluate(SOURCE, target)
    logs, totals = [], []
    for source, row in zip(SOURCE, target, strict=True):
        state = model.decoder.begin(*model.encoder(token_ids([source], "source")))
        token, total = model.begin_token, 0.0
        for answer in [*row, model.end_token]:
            log, state = model.decoder.step(torch.tensor([token]), state)
            assert log.exp().sum().item() == pytest.approx(1, abs=1e-12)
            logs.append(log[0, answer].item())
            token, total = answer, total + logs[-1]
        totals.append(total)
    assert loss == pytest.approx(-np.mean(logs), abs=1e-12)
    assert model.log_probability(SOURCE, target, batch_size=2).tolist() == pytest.approx(totals, abs=1e-12)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("options", KINDS)
def test_rows_know_nothing_of_each_other(options: dict[str, Any]) -> None:
    model, target = make(**options), target_of(options)
    together = model.hypotheses(SOURCE, beam=3, max_length=6)
    greedy = model.greedy(SOURCE, max_length=6)
    probabilities = model.log_probability(SOURCE, target)
    for i, source in enumerate(SOURCE):
        alone = model.hypotheses([source], beam=3, max_length=6)[0]
        assert [one.tokens for one in alone] == [one.tokens for one in together[i]]
        assert [one.score for one in alone] == pytest.approx([one.score for one in together[i]], abs=1e-12)
        assert model.greedy([source], max_length=6) == [greedy[i]]
        one = model.log_probability([source], [target[i]])
        assert float(one) == pytest.approx(float(probabilities[i]), abs=1e-12)


def padded(rows: list[list[int]], padding: str) -> Any:
    return keras.utils.pad_sequences(rows, padding=padding)


@pytest.mark.parametrize("padding", ["pre", "post"])
def test_lists_padded_arrays_and_ragged_are_the_same(padding: str) -> None:
    forms: list[Any] = [
        (SOURCE, TARGET),
        (padded(SOURCE, padding), padded(TARGET, padding)),
        (torch.as_tensor(padded(SOURCE, padding)).float(), torch.as_tensor(padded(TARGET, padding))),
        (keras.Ragged.from_rows(SOURCE), keras.Ragged.from_rows(TARGET)),
        (padded(SOURCE, padding).tolist(), TARGET),
        ([[*row, 0] for row in SOURCE], [[0, *row] for row in TARGET]),
    ]
    weights, translations = [], []
    for source, target in forms:
        model = make()
        model.compile("adam")
        model.fit(source, target, epochs=2, batch_size=2, verbose=0)
        weights.append(torch.cat([w.detach().flatten() for w in model.parameters()]))
        translations.append(model.translate(source, max_length=5))
    assert all(torch.equal(weights[0], other) for other in weights)
    assert all(translations[0] == other for other in translations)


class PairSet(Dataset[Any]):
    """Rows of SOURCE with those of TARGET."""

    def __len__(self) -> int:
        return len(SOURCE)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(SOURCE[row]), torch.tensor(TARGET[row])


def test_batches_of_pairs_train_like_pairs_in_memory() -> None:
    def batches() -> Any:
        for start in range(0, 5, 2):
            yield SOURCE[start : start + 2], TARGET[start : start + 2]

    arrays = (torch.as_tensor(padded(rows, "post")) for rows in (SOURCE, TARGET))
    loader = DataLoader(torch.utils.data.TensorDataset(*arrays), batch_size=2)
    ways: list[dict[str, Any]] = [
        {"x": SOURCE, "y": TARGET, "batch_size": 2, "shuffle": False},
        {"x": batches(), "steps_per_epoch": 3},
        {"x": loader},
        {"x": PairSet(), "batch_size": 2, "shuffle": False},
    ]
    weights = []
    for way in ways:
        model = make()
        model.compile("adam")
        history = model.fit(**way, validation_data=(SOURCE, TARGET), verbose=0)
        assert history.history["val_loss"] == [pytest.approx(model.evaluate(SOURCE, TARGET), abs=1e-6)]
        weights.append(torch.cat([w.detach().flatten() for w in model.parameters()]))
    assert all(torch.equal(weights[0], other) for other in weights)


def test_batches_of_pairs_carry_weights_and_their_place() -> None:
    model = make()
    model.compile("adam")
    weights = np.arange(5.0)
    expected = model.evaluate(SOURCE, TARGET, sample_weight=weights)
    assert model.evaluate(iter([(SOURCE, TARGET, weights)])) == pytest.approx(expected, rel=1e-6)
    inner = IterableSource([(SOURCE, TARGET)], steps=2)
    paired = PairSource(inner, model.pairs)
    assert len(list(paired.batches(0, 0, 0))) == len(paired) == 2
    assert {name: int(part) for name, part in paired.state().items()} == {"pass": 1, "taken": 1}
    fresh = IterableSource([(SOURCE, TARGET)], steps=2)
    PairSource(fresh, model.pairs).load_state(paired.state())
    assert fresh.state() == paired.state()


def test_fit_takes_the_other_options_of_a_model() -> None:
    model = make()
    model.compile("adam", metrics=["accuracy"], weighted_metrics=["accuracy"])
    history = model.fit(SOURCE, TARGET, validation_split=0.4, sample_weight=np.ones(5), verbose=0)
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history.history)
    assert np.isfinite(model.train_on_batch(SOURCE, TARGET)[0])
    assert np.isfinite(model.test_on_batch(SOURCE, TARGET)[0])
    for one, target, size in ((model, TARGET, SIZE + 2), (make(begin=1, end=2), target_of({"begin": 1}), SIZE)):
        rows = one.predict(one.pairs(SOURCE, target)[0], batch_size=2)
        assert [row.shape for row in rows] == [(len(row) + 1, size) for row in target]


def test_sample_weights_weigh_all_steps_of_a_row() -> None:
    model = make()
    model.compile("sgd", weighted_metrics=["accuracy"])
    model.evaluate(SOURCE, TARGET, sample_weight=np.array([1, 0, 0, 0, 0]))
    weighted = model.evaluate(SOURCE, TARGET, sample_weight=np.array([1.0, 0, 0, 0, 0]))[0]
    alone = model.evaluate(SOURCE[:1], TARGET[:1])[0]
    steps = sum(len(row) + 1 for row in TARGET)
    assert weighted * steps == pytest.approx(alone * (len(TARGET[0]) + 1), rel=1e-5)


@pytest.mark.parametrize("options", KINDS)
def test_every_weight_learns_and_every_kind_writes(options: dict[str, Any]) -> None:
    model, target = make(**options, dropout=0.2), target_of(options)
    x, y = model.pairs(SOURCE, target)
    F.cross_entropy(model(x).values, y.values).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []
    translations = model.translate(SOURCE, beam=2, max_length=4)
    assert [len(row) <= 4 for row in translations] == [True] * 5
    assert all(token < SIZE + 2 for row in translations for token in row)


def test_the_decoder_begins_where_the_encoder_ended() -> None:
    source = token_ids([row for row in SOURCE if row], "source")
    memory, states = make(layers=2).encoder(source)
    assert len(states) == 4  # h and c of the first layer, then of the second
    assert torch.equal(states[2], memory.last())
    assert not torch.equal(states[0], states[2])
    both_ways, (h,) = make(cell="gru", bidirectional=True).encoder(source)
    assert torch.equal(h[:, :4], both_ways.last()[:, :4])
    assert torch.equal(h[:, 4:], both_ways.values[source.offsets][:, 4:])
    assert torch.equal(make(layers=2).decoder.begin(memory, states).cell[1], states[1])


def test_tied_answers_are_products_with_the_embedding() -> None:
    model = make(tied=True, embedding_dim=4)
    untied = make(embedding_dim=4)
    size = SIZE + 2
    # no (8, size) kernel; the mix is as wide as the embedding instead of 8
    assert untied.count_params() - model.count_params() == 8 * size + (16 + 1) * (8 - 4)
    x, _ = model.pairs(SOURCE, TARGET)
    before = model(x).values
    F.cross_entropy(before, torch.zeros(len(before), dtype=torch.int64)).backward()
    assert model.decoder.embedding.embeddings.grad[model.end_token].any()  # never read: through the answers alone
    with torch.no_grad():
        model.decoder.embedding.embeddings[model.end_token] += 1
    assert not torch.equal(model(x).values[:, model.end_token], before[:, model.end_token])
    assert torch.equal(model(x).values[:, :SIZE], before[:, :SIZE])  # the end is never read


def test_a_deep_output_sees_the_token_just_read() -> None:
    model = make(deep_output=True, attention=None)
    x, _ = model.pairs(SOURCE, TARGET)
    before = model(x).values
    with torch.no_grad():
        model.decoder.cell.kernel.zero_()  # the cell no longer reads tokens
    x2, _ = model.pairs(SOURCE, [[token % 10 + 1 for token in row] for row in TARGET])
    assert not torch.equal(model(x2).values, model(x).values)
    assert not torch.equal(before, model(x).values)
    plain = make(attention=None)
    with torch.no_grad():
        plain.decoder.cell.kernel.zero_()
    assert torch.equal(plain(x2).values, plain(x).values)


def test_dropout_falls_on_every_layer_s_inputs() -> None:
    model = make(dropout=0.5, layers=2)
    rates = [m.dropout for m in model.modules() if hasattr(m, "dropout") and not isinstance(m, StackedRNNCells)]
    assert rates == [0.5] * 4
    plain = make(layers=2)
    x, _ = plain.pairs(SOURCE, TARGET)
    before = plain(x, training=True).values
    plain.decoder.drop.rate = 0.5
    assert not torch.equal(before, plain(x, training=True).values)


def test_dropout_is_for_training_only_and_repeats_with_the_seed() -> None:
    model = make(dropout=0.5, layers=2)
    x, _ = model.pairs(SOURCE, TARGET)
    torch.manual_seed(1)
    first = model(x, training=True).values
    torch.manual_seed(1)
    assert torch.equal(first, model(x, training=True).values)
    assert not torch.equal(first, model(x, training=True).values)
    assert torch.equal(model(x, training=False).values, model(x, training=False).values)
    model.train()
    assert model.log_probability(SOURCE, TARGET).tolist() == model.log_probability(SOURCE, TARGET).tolist()
    assert model.training


@pytest.mark.parametrize("options", KINDS)
def test_a_loaded_model_writes_the_same(options: dict[str, Any], tmp_path: Path) -> None:
    model, target = make(**options), target_of(options)
    model.compile("adam")
    model.fit(SOURCE, target, verbose=0)
    model.save(tmp_path / "model")
    loaded = keras.load(tmp_path / "model")
    assert isinstance(loaded, keras.EncoderDecoder)
    assert loaded.hypotheses(SOURCE, max_length=6) == model.hypotheses(SOURCE, max_length=6)
    assert torch.equal(loaded.log_probability(SOURCE, target), model.log_probability(SOURCE, target))
    after = [one.fit(SOURCE, target, epochs=2, shuffle=False, verbose=0).history["loss"] for one in (model, loaded)]
    assert after[0] == after[1]


def test_the_summary_counts_both_halves() -> None:
    lines: list[str] = []
    model = make()
    model.summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert "encoder (Encoder)" in text
    assert "decoder (Decoder)" in text
    assert f"Total params: {sum(p.numel() for p in model.parameters()):,}" in text


def test_sources_may_all_be_empty() -> None:
    for attention in ("additive", None):
        model = make(attention=attention)
        nothing = np.zeros((3, 4), dtype=int)
        assert model.translate(nothing, max_length=3) == model.translate(np.zeros((3, 0), dtype=int), max_length=3)
        model.compile("adam")
        assert np.isfinite(model.fit(nothing, TARGET[:3], verbose=0).history["loss"][0])


def test_arguments_out_of_range_are_refused() -> None:
    for wrong, message in [
        ({"units": 0}, "units: expected a positive integer, got 0"),
        ({"layers": 1.5}, "layers: expected a positive integer"),
        ({"dropout": 1.0}, "dropout"),
        ({"cell": "rnn"}, "cell: expected 'lstm' or 'gru' or 'simple_rnn', got 'rnn'"),
        ({"attention": "self"}, "attention: expected 'additive', 'dot' or None, got 'self'"),
        ({"units": 7, "bidirectional": True}, "expected an even number, got 7"),
        ({"begin": 0}, "begin: expected an id from 1 to 10"),
        ({"end": 11}, "end: expected an id from 1 to 10"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            make(**{"units": 8, **wrong})  # type: ignore[arg-type]


def test_data_that_does_not_fit_is_refused() -> None:
    model = make()
    model.compile("adam")
    with pytest.raises(DataError, match="id 0 is padding, but ids stand on both sides \\(at row 1\\)"):
        model.fit([[1, 2], [1, 0, 2]], [[1], [1]], verbose=0)
    with pytest.raises(DataError, match="token id 11 is outside the table"):
        model.fit([[1, 11]], [[1]], verbose=0)
    with pytest.raises(DataError, match="target: an id is outside the vocabulary \\(at row 1\\): expected 1 to 10"):
        model.fit([[1], [1]], [[1], [1, 11]], verbose=0)
    with pytest.raises(DataError, match="source and target differ in rows: expected 2, got 1"):
        model.fit([[1], [1]], [[1]], verbose=0)
    with pytest.raises(DataError, match="source and target differ in rows"):
        model.log_probability([[1], [1]], [[1]])
    with pytest.raises(DataError, match="whole numbers"):
        model.translate(np.array([[1.5, 2.0]]))
    with pytest.raises(ShapeError, match="expected sequences of ids, \\(rows, time\\), got \\(3,\\)"):
        model.translate([1, 2, 3])
    with pytest.raises(DataError, match="translate\\(source\\) writes targets"):
        model(torch.ones(2, 3))
    with pytest.raises(DataError, match="the begin or end token is in it \\(at row 0\\)"):
        make(begin=1, end=2).pairs([[3]], [[3, 2]])
    with pytest.raises(ArgumentError, match="no attention"):
        make(attention=None).attention_weights(SOURCE, TARGET)
    with pytest.raises(ArgumentError, match="batch_size"):
        model.translate(SOURCE, batch_size=0)
